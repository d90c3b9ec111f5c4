"""One table for the messages of both directions, with receipts, media, chats and request keys.

A copy of the models as they were then; it must not change with them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import peewee

from wavisor.storage.fields import JsonField, PositionField, TimeField

Table = Any

_PORTION = 500


def up(migrator: Any, db: peewee.Database) -> None:
    """Create the tables of messaging and move the queue into them."""
    _widen_instances(db)
    subscription, instance, outbound = _earlier(db)
    media, message = _messages(db, subscription, instance)
    chat, key = _chats(db, subscription, instance)
    for table in (media, message, *_parts(db, message), chat, key):
        table.create_table(safe=False)
    _move(outbound, message)
    _fill_chats(message, chat)
    _count_queued(db)
    outbound.drop_table(safe=False)


def _widen_instances(db: peewee.Database) -> None:
    time = "TEXT" if isinstance(db, peewee.SqliteDatabase) else "TIMESTAMPTZ"
    for column in (
        "queued INTEGER NOT NULL DEFAULT 0",
        f"paired_at {time}",
        f"queue_paused_until {time}",
        "queue_pause_reason TEXT",
    ):
        db.execute_sql(f"ALTER TABLE instances ADD COLUMN {column}")


def _base(db: peewee.Database) -> Table:
    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    return Base


def _earlier(db: peewee.Database) -> tuple[Table, Table, Table]:
    """What 0001 made, as far as it matters here."""
    base = _base(db)

    class Subscription(base):  # type: ignore[valid-type, misc]  # made for this database
        id = peewee.TextField(primary_key=True)

        class Meta:
            table_name = "subscriptions"

    class Instance(base):  # type: ignore[valid-type, misc]  # made for this database
        id = peewee.TextField(primary_key=True)

        class Meta:
            table_name = "instances"

    class OutboundMessage(base):  # type: ignore[valid-type, misc]  # made for this database
        position = PositionField()
        id = peewee.TextField(unique=True)
        subscription_id = peewee.TextField()
        instance_id = peewee.TextField()
        chat = peewee.TextField()
        kind = peewee.TextField()
        payload = JsonField()
        status = peewee.TextField()
        whatsapp_id = peewee.TextField(null=True)
        failure = JsonField(null=True)
        created_at = TimeField()
        sent_at = TimeField(null=True)
        delivered_at = TimeField(null=True)
        read_at = TimeField(null=True)
        played_at = TimeField(null=True)

        class Meta:
            table_name = "outbound_messages"

    return Subscription, Instance, OutboundMessage


def _messages(db: peewee.Database, subscriptions: Table, instances: Table) -> tuple[Table, Table]:
    base = _base(db)

    class Media(base):  # type: ignore[valid-type, misc]  # made for this database
        subscription = peewee.ForeignKeyField(subscriptions, on_delete="CASCADE", index=False)

        id = peewee.TextField(primary_key=True)
        sha256 = peewee.TextField(null=True)
        size = peewee.BigIntegerField(null=True)
        mime_type = peewee.TextField()
        file_name = peewee.TextField(null=True)
        path = peewee.TextField(null=True)
        state = peewee.TextField()
        failure = JsonField(null=True)
        descriptor = JsonField(null=True)
        created_at = TimeField()
        last_used_at = TimeField()

        class Meta:
            table_name = "media"
            indexes = (
                (("subscription", "sha256"), True),
                (("path",), False),
                (("last_used_at",), False),
            )

    class Message(base):  # type: ignore[valid-type, misc]  # made for this database
        subscription = peewee.ForeignKeyField(subscriptions, on_delete="CASCADE", index=False)

        position = PositionField()
        id = peewee.TextField(unique=True)
        instance = peewee.ForeignKeyField(instances, on_delete="CASCADE", index=False)
        direction = peewee.TextField()
        chat = peewee.TextField()
        sender_jid = peewee.TextField(null=True)
        sender_lid = peewee.TextField(null=True)
        sender_phone = peewee.TextField(null=True)
        from_me = peewee.BooleanField()
        kind = peewee.TextField()
        text = peewee.TextField(null=True)
        content = JsonField()
        options = JsonField(null=True)
        media = peewee.ForeignKeyField(Media, on_delete="SET NULL", index=False, null=True)
        status = peewee.TextField()
        failure = JsonField(null=True)
        history = peewee.TextField()
        whatsapp_id = peewee.TextField(null=True)
        secret = peewee.TextField(null=True)
        quoted_id = peewee.TextField(null=True)
        recipients = peewee.IntegerField(null=True)
        starred = peewee.BooleanField(default=False)
        priority = peewee.IntegerField(default=0)
        attempts = peewee.IntegerField(default=0)
        send_at = TimeField(null=True)
        retry_at = TimeField(null=True)
        expires_at = TimeField(null=True)
        timestamp = TimeField(null=True)
        created_at = TimeField()
        sent_at = TimeField(null=True)
        delivered_at = TimeField(null=True)
        read_at = TimeField(null=True)
        played_at = TimeField(null=True)
        edited_at = TimeField(null=True)
        revoked_at = TimeField(null=True)

        class Meta:
            table_name = "messages"
            indexes = (
                (("instance", "whatsapp_id", "chat", "sender_jid"), True),
                (("instance", "position"), False),
                (("instance", "chat", "position"), False),
                (("instance", "created_at"), False),
                (("subscription", "position"), False),
                (("media",), False),
            )

    queued = "status = 'queued'"
    for columns, where in (
        ((Message.instance, Message.priority.desc(), Message.position), queued),
        ((Message.instance, Message.retry_at), f"{queued} AND retry_at IS NOT NULL"),
        ((Message.instance, Message.send_at), f"{queued} AND send_at IS NOT NULL"),
        ((Message.instance, Message.expires_at), f"{queued} AND expires_at IS NOT NULL"),
        ((Message.instance, Message.status), "status = 'sending'"),
        ((Message.instance, Message.sent_at), "sent_at IS NOT NULL"),
    ):
        Message.add_index(Message.index(*columns, where=peewee.SQL(where)))
    return Media, Message


def _parts(db: peewee.Database, messages: Table) -> tuple[Table, Table]:
    base = _base(db)

    class MessageReceipt(base):  # type: ignore[valid-type, misc]  # made for this database
        message = peewee.ForeignKeyField(messages, on_delete="CASCADE", index=False)
        recipient = peewee.TextField()
        lid = peewee.TextField(null=True)
        phone = peewee.TextField(null=True)
        status = peewee.TextField()
        delivered_at = TimeField(null=True)
        read_at = TimeField(null=True)
        played_at = TimeField(null=True)

        class Meta:
            table_name = "message_receipts"
            primary_key = peewee.CompositeKey("message", "recipient")

    class MessageResponse(base):  # type: ignore[valid-type, misc]  # made for this database
        message = peewee.ForeignKeyField(messages, on_delete="CASCADE", index=False)
        kind = peewee.TextField()
        sender = peewee.TextField()
        lid = peewee.TextField(null=True)
        phone = peewee.TextField(null=True)
        value = JsonField()
        at = TimeField()

        class Meta:
            table_name = "message_responses"
            primary_key = peewee.CompositeKey("message", "kind", "sender")

    return MessageReceipt, MessageResponse


def _chats(db: peewee.Database, subscriptions: Table, instances: Table) -> tuple[Table, Table]:
    base = _base(db)

    class Chat(base):  # type: ignore[valid-type, misc]  # made for this database
        subscription = peewee.ForeignKeyField(subscriptions, on_delete="CASCADE", index=False)

        id = PositionField()
        instance = peewee.ForeignKeyField(instances, on_delete="CASCADE", index=False)
        jid = peewee.TextField()
        lid = peewee.TextField(null=True)
        phone = peewee.TextField(null=True)
        name = peewee.TextField(null=True)
        kind = peewee.TextField()
        last_position = peewee.BigIntegerField()
        unread = peewee.IntegerField(default=0)
        archived = peewee.BooleanField(default=False)
        pinned = peewee.BooleanField(default=False)
        muted_until = TimeField(null=True)
        known_since = TimeField(null=True)
        reached_at = TimeField(null=True)

        class Meta:
            table_name = "chats"
            indexes = (
                (("instance", "jid"), True),
                (("instance", "lid"), False),
                (("instance", "reached_at"), False),
                (("instance", "last_position"), False),
                (("subscription", "last_position"), False),
            )

    class IdempotencyKey(base):  # type: ignore[valid-type, misc]  # made for this database
        subscription = peewee.ForeignKeyField(subscriptions, on_delete="CASCADE", index=False)

        key = peewee.TextField()
        request_hash = peewee.TextField()
        token = peewee.TextField()
        status = peewee.IntegerField(null=True)
        response = JsonField(null=True)
        created_at = TimeField()

        class Meta:
            table_name = "idempotency_keys"
            primary_key = peewee.CompositeKey("subscription", "key")
            indexes = ((("created_at",), False),)

    return Chat, IdempotencyKey


def _move(outbound: Table, message: Table) -> None:
    """Copy the queue in its order; all there was are texts."""
    last = 0
    while True:
        rows = list(
            outbound.select()
            .where(outbound.position > last)
            .order_by(outbound.position)
            .limit(_PORTION)
        )
        for row in rows:
            message.insert(**_moved(row)).execute()
            last = row.position
        if len(rows) < _PORTION:
            return


def _moved(row: Any) -> dict[str, Any]:
    text = row.payload.get("text")
    times = {
        "sent": row.sent_at,
        "delivered": row.delivered_at,
        "read": row.read_at,
        "played": row.played_at,
    }
    history = [("queued", row.created_at), *((name, at) for name, at in times.items() if at)]
    return {
        "id": row.id,
        "subscription": row.subscription_id,
        "instance": row.instance_id,
        "direction": "outbound",
        "chat": row.chat,
        "from_me": True,
        "kind": row.kind,
        "text": text,
        "content": {"type": "text", "text": text},
        "status": row.status,
        "failure": row.failure,
        "history": "".join(f"{name} {_stamp(at)}\n" for name, at in history),
        "whatsapp_id": row.whatsapp_id,
        "attempts": 0 if row.status == "queued" else 1,
        "created_at": row.created_at,
        **{f"{name}_at": at for name, at in times.items()},
    }


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")


def _fill_chats(message: Table, chat: Table) -> None:
    rows = message.select(
        message.subscription,
        message.instance,
        message.chat,
        peewee.fn.MAX(message.position),
        peewee.fn.MIN(message.sent_at),
    ).group_by(message.subscription, message.instance, message.chat)
    for subscription, instance, jid, last, sent_at in rows.tuples():
        person = jid.endswith(("@s.whatsapp.net", "@lid"))
        chat.insert(
            subscription=subscription,
            instance=instance,
            jid=jid,
            lid=jid if jid.endswith("@lid") else None,
            phone=f"+{jid.partition('@')[0]}" if jid.endswith("@s.whatsapp.net") else None,
            kind="person" if person else "group",
            last_position=last,
            known_since=sent_at,
            reached_at=sent_at if person else None,
        ).execute()


def _count_queued(db: peewee.Database) -> None:
    db.execute_sql(
        "UPDATE instances SET queued = (SELECT COUNT(*) FROM messages WHERE "
        "messages.instance_id = instances.id AND messages.status = 'queued')"
    )
