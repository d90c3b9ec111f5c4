"""Messages, their files, receipts and chats, and requests that must not be done twice."""

# ruff: noqa: D106 - Meta is where peewee looks for options

from __future__ import annotations

import peewee

from wavisor.storage.fields import JsonField, PositionField, TextField, TimeField
from wavisor.storage.models.base import BaseModel
from wavisor.storage.models.tenancy import Instance, TenantModel

__all__ = [
    "Chat",
    "IdempotencyKey",
    "Media",
    "Message",
    "MessageReceipt",
    "MessageResponse",
]


class Media(TenantModel):
    """A file that messages of one subscription share, or one that is still to be fetched.

    ``path`` is relative to the media directory, and None until the file is there. ``attempts``
    counts how often it was tried to fetch it, ``retry_at`` is when that is tried again.
    """

    id = TextField(primary_key=True)
    sha256 = TextField(null=True)
    size = peewee.BigIntegerField(null=True)
    mime_type = TextField()
    file_name = TextField(null=True)
    path = TextField(null=True)
    state = TextField()
    failure = JsonField(null=True)
    descriptor = JsonField(null=True)
    attempts = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])
    retry_at = TimeField(null=True)
    created_at = TimeField()
    last_used_at = TimeField()

    class Meta:
        table_name = "media"
        indexes = (
            (("subscription", "sha256"), True),
            (("path",), False),
            (("last_used_at",), False),
        )


# Only the few that are still to be fetched; a query must say `state = 'pending'` literally.
Media.add_index(
    Media.index(Media.subscription, Media.created_at, where=peewee.SQL("state = 'pending'"))
)


class Message(TenantModel):
    """A message of either direction. ``position`` is the order in which they became known here.

    ``created_at`` is when that was, and orders lists; of one from before the link
    (``from_history``) it is WhatsApp's time, so that it stands where it belongs.
    ``history`` has a line for every status: status, time and perhaps a reason. That is appended
    to by the very UPDATE that changes the status, and costs no row of its own.
    """

    position = PositionField()
    id = TextField(unique=True)
    instance = peewee.ForeignKeyField(
        Instance, on_delete="CASCADE", backref="+", lazy_load=False, index=False
    )
    instance_id: str
    direction = TextField()
    chat = TextField()
    sender_jid = TextField(null=True)
    sender_lid = TextField(null=True)
    sender_phone = TextField(null=True)
    from_me = peewee.BooleanField()
    kind = TextField()
    text = TextField(null=True)
    content = JsonField()
    options = JsonField(null=True)
    media = peewee.ForeignKeyField(
        Media, on_delete="SET NULL", backref="+", lazy_load=False, index=False, null=True
    )
    media_id: str | None
    status = TextField()
    failure = JsonField(null=True)
    history = TextField()
    whatsapp_id = TextField(null=True)
    secret = TextField(null=True)
    quoted_id = TextField(null=True)
    recipients = peewee.IntegerField(null=True)
    starred = peewee.BooleanField(default=False)
    from_history = peewee.BooleanField(default=False, constraints=[peewee.SQL("DEFAULT FALSE")])
    priority = peewee.IntegerField(default=0)
    attempts = peewee.IntegerField(default=0)
    send_at = TimeField(null=True)
    retry_at = TimeField(null=True)
    expires_at = TimeField(null=True)
    timestamp = TimeField(null=True)
    created_at = TimeField()
    created_by = TextField(null=True)
    sent_at = TimeField(null=True)
    delivered_at = TimeField(null=True)
    read_at = TimeField(null=True)
    played_at = TimeField(null=True)
    edited_at = TimeField(null=True)
    revoked_at = TimeField(null=True)

    class Meta:
        table_name = "messages"
        indexes = (
            # Also what finds a message by WhatsApp's id.
            (("instance", "whatsapp_id", "chat", "sender_jid"), True),
            (("instance", "created_at", "position"), False),
            (("instance", "chat", "created_at", "position"), False),
            (("subscription", "created_at", "position"), False),
            (("media",), False),
        )


# What the queue looks for. Only the few rows that wait are in these, so that a long past makes
# no send slower; the queries must say `status = 'queued'` literally for them to be used.
for _columns, _where in (
    ((Message.instance, Message.priority.desc(), Message.position), "status = 'queued'"),
    ((Message.instance, Message.retry_at), "status = 'queued' AND retry_at IS NOT NULL"),
    ((Message.instance, Message.send_at), "status = 'queued' AND send_at IS NOT NULL"),
    ((Message.instance, Message.expires_at), "status = 'queued' AND expires_at IS NOT NULL"),
    ((Message.instance, Message.status), "status = 'sending'"),
    ((Message.instance, Message.sent_at), "sent_at IS NOT NULL"),
):
    Message.add_index(Message.index(*_columns, where=peewee.SQL(_where)))


class MessageReceipt(BaseModel):
    """How far a message has come with one of its recipients; reached through the message."""

    message = peewee.ForeignKeyField(
        Message, on_delete="CASCADE", backref="+", lazy_load=False, index=False
    )
    message_id: int
    recipient = TextField()
    lid = TextField(null=True)
    phone = TextField(null=True)
    status = TextField()
    delivered_at = TimeField(null=True)
    read_at = TimeField(null=True)
    played_at = TimeField(null=True)

    class Meta:
        table_name = "message_receipts"
        primary_key = peewee.CompositeKey("message", "recipient")


class MessageResponse(BaseModel):
    """What somebody made of a message: a reaction to it, or a vote in its poll.

    One of each kind per person; reached through the message.
    """

    message = peewee.ForeignKeyField(
        Message, on_delete="CASCADE", backref="+", lazy_load=False, index=False
    )
    message_id: int
    kind = TextField()
    sender = TextField()
    lid = TextField(null=True)
    phone = TextField(null=True)
    value = JsonField()
    at = TimeField()

    class Meta:
        table_name = "message_responses"
        primary_key = peewee.CompositeKey("message", "kind", "sender")


class Chat(TenantModel):
    """A conversation of an instance. ``jid`` is what its messages carry as ``chat``.

    ``known_since`` is when it was first written in either way, None while nothing has gone
    through; ``reached_at`` is the same when we wrote first. ``alias`` is the JID of the same number
    in another form, ``checked_at`` when WhatsApp told which form is the account's.
    """

    id = PositionField()
    instance = peewee.ForeignKeyField(
        Instance, on_delete="CASCADE", backref="+", lazy_load=False, index=False
    )
    instance_id: str
    jid = TextField()
    lid = TextField(null=True)
    phone = TextField(null=True)
    name = TextField(null=True)
    kind = TextField()
    last_position = peewee.BigIntegerField()
    last_at = TimeField(constraints=[peewee.SQL("DEFAULT '1970-01-01 00:00:00.000000+00:00'")])
    unread = peewee.IntegerField(default=0)
    archived = peewee.BooleanField(default=False)
    pinned = peewee.BooleanField(default=False)
    muted_until = TimeField(null=True)
    known_since = TimeField(null=True)
    reached_at = TimeField(null=True)
    alias = TextField(null=True)
    checked_at = TimeField(null=True)

    class Meta:
        table_name = "chats"
        indexes = (
            (("instance", "jid"), True),
            (("instance", "lid"), False),
            (("instance", "reached_at"), False),
            (("instance", "alias"), False),
            (("instance", "last_at", "last_position"), False),
            (("subscription", "last_at", "last_position"), False),
        )


class IdempotencyKey(TenantModel):
    """A request that must not be done twice, and its answer once there is one."""

    key = TextField()
    request_hash = TextField()
    token = TextField()
    status = peewee.IntegerField(null=True)
    response = JsonField(null=True)
    created_at = TimeField()

    class Meta:
        table_name = "idempotency_keys"
        primary_key = peewee.CompositeKey("subscription", "key")
        indexes = ((("created_at",), False),)
