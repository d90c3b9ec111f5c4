"""What comes in: messages, once each, and what changes earlier ones of either direction.

A change names its target by WhatsApp's id. Anybody could name anybody's message, so an edit or a
revocation counts only when it comes from the one who wrote the message; in groups administrators
revoke others' messages, and WhatsApp's server checks that who does so as one is one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import peewee

from wavisor.domain import ChatKind, MessageStatus
from wavisor.storage import chat_addresses, chats, current, downloads
from wavisor.storage.errors import NotFound
from wavisor.storage.incoming import insert_incoming
from wavisor.storage.message_records import (
    InboundMessage,
    MessageRecord,
    Party,
    ResponseKind,
    ResponseRecord,
)
from wavisor.storage.models import Instance, Message, MessageResponse
from wavisor.storage.participants import place_of, shares_address
from wavisor.storage.prepared import Prepared
from wavisor.storage.rows import message_record, response_record
from wavisor.storage.scope import Scope
from wavisor.storage.statistics import counted

__all__ = [
    "apply_edit",
    "apply_revoke",
    "apply_sent",
    "has_edit",
    "has_response",
    "has_revoke",
    "list_responses",
    "receive",
    "respond",
]


# One that is repeated, or that history told of, may come under another address of its sender.
_KNOWN = Prepared(
    lambda slot: Message.select(Message.position).where(
        Message.instance == slot("instance"),
        Message.whatsapp_id == slot("whatsapp_id"),
        Message.chat == slot("chat"),
        Message.from_me == slot("from_me"),
        Message.from_history
        | shares_address(slot, Message.sender_jid, Message.sender_lid, Message.sender_phone),
    )
)
_OWNS = Prepared(
    lambda slot: Scope(slot("scope")).select(Instance, Instance.id).where(Instance.id == slot("id"))
)


def receive(scope: Scope, instance_id: str, message: InboundMessage) -> MessageRecord | None:
    """Store a message that came in, and count it in its chat. A write.

    Args:
        scope: The tenant.
        instance_id: Which of its instances got it.
        message: The message.

    Returns:
        The message; None when it is stored already: WhatsApp repeats what it is not sure of.

    Raises:
        NotFound: The tenant has no such instance.
    """
    if _OWNS.one(scope=scope.subscription_id, id=instance_id) is None:
        raise NotFound("no such instance")
    chat = chat_addresses.resolve(instance_id, message.chat)
    sender = chat_addresses.address_of(message.sender)
    known = _KNOWN.one(
        instance=instance_id,
        whatsapp_id=message.whatsapp_id,
        chat=chat,
        from_me=message.from_me,
        jid=sender.jid,
        lid=sender.lid,
        phone=sender.phone,
    )
    if known is not None:
        return None
    row = insert_incoming(
        scope,
        instance_id,
        chat,
        sender,
        message,
        # An own one of another device is already sent; its receipts come to this device as well.
        status=MessageStatus.SENT,
        at=current.now(),
        media_id=message.media_id,
    )
    if row is None:
        return None
    if message.file is not None and message.media_id is None:
        row.media_id = downloads.expect(scope, message.file).id
        downloads.attach(row.position, row.media_id)
    chats.touch(
        scope,
        instance_id,
        chat,
        message.chat,
        position=row.position,
        at=row.created_at,
        kind=message.kind,
        unread=int(message.unread and not message.from_me),
        name=message.chat_name,
        known_since=message.timestamp,
    )
    return counted(message_record(row))


def _find(instance_id: str, chat: Party, whatsapp_id: str) -> list[Any]:
    """Return the messages of a chat with an id of WhatsApp's; there is hardly ever more than one.

    The row is locked: a second change waits for the first.
    """
    query = Message.select().where(
        Message.instance == instance_id,
        Message.whatsapp_id == whatsapp_id,
        Message.chat == chat_addresses.resolve(instance_id, chat),
    )
    return list(current.lock_rows(query))


def _wrote(row: Any, author: Party, from_me: bool) -> bool:
    if from_me or row.from_me:
        return bool(row.from_me) and from_me
    known = chat_addresses.address_of(author)
    ours = {row.sender_jid, row.sender_lid, row.sender_phone}
    return bool(ours & {one for one in (known.jid, known.lid, known.phone) if one is not None})


def apply_edit(
    instance_id: str,
    *,
    chat: Party,
    whatsapp_id: str,
    author: Party,
    from_me: bool,
    text: str,
    at: datetime,
) -> MessageRecord | None:
    """Give a message its new text or caption, unless a later edit came first. A write.

    Args:
        instance_id: Whose message.
        chat: Its chat.
        whatsapp_id: WhatsApp's id of the message that was edited.
        author: Who edited it.
        from_me: Whether that is the account itself.
        text: What it says now.
        at: When it was edited.

    Returns:
        The message; None when it is unknown, not the author's, revoked, or newer already.
    """
    for row in _find(instance_id, chat, whatsapp_id):
        late = row.edited_at is not None and row.edited_at >= at
        if late or row.revoked_at is not None or not _wrote(row, author, from_me):
            continue
        part = "text" if row.content.get("type") == "text" else "caption"
        return _changed(row, text=text, content={**row.content, part: text}, edited_at=at)
    return None


def apply_revoke(
    instance_id: str,
    *,
    chat: Party,
    whatsapp_id: str,
    author: Party,
    from_me: bool,
    by_admin: bool,
    at: datetime,
) -> MessageRecord | None:
    """Note that a message was taken back for everyone; what it said stays here. A write.

    Whoever says to do it as an admin of the group is one: WhatsApp's server checks that. The other
    arguments and the answer are those of :func:`apply_edit`.
    """
    for row in _find(instance_id, chat, whatsapp_id):
        may = by_admin and chat_addresses.kind_of(row.chat) is ChatKind.GROUP
        if row.revoked_at is None and (may or _wrote(row, author, from_me)):
            return _changed(row, revoked_at=at)
    return None


def has_edit(instance_id: str, *, chat: Party, whatsapp_id: str, text: str, at: datetime) -> bool:
    """Tell whether a message has had this very edit already. In a write."""
    return any(
        row.edited_at == at and row.text == text for row in _find(instance_id, chat, whatsapp_id)
    )


def has_revoke(instance_id: str, *, chat: Party, whatsapp_id: str, at: datetime) -> bool:
    """Tell whether a message was taken back by this very revocation already. In a write."""
    return any(row.revoked_at == at for row in _find(instance_id, chat, whatsapp_id))


def _changed(row: Any, **values: Any) -> MessageRecord:
    rows = (
        Message.update(**values)
        .where(Message.position == row.position)
        .returning(Message)
        .execute()
    )
    return message_record(next(iter(rows)))


def respond(
    instance_id: str,
    kind: ResponseKind,
    *,
    chat: Party,
    whatsapp_id: str,
    sender: Party,
    value: dict[str, Any] | None,
    at: datetime,
) -> MessageRecord | None:
    """Attach somebody's reaction or vote to a message, instead of an earlier one. A write.

    Args:
        instance_id: Whose message.
        kind: Reaction or vote.
        chat: The message's chat.
        whatsapp_id: WhatsApp's id of the message.
        sender: Whose reaction or vote it is.
        value: What it is; None takes it back.
        at: When it was made; one older than what is there changes nothing.

    Returns:
        The message; None when it is unknown or nothing changed.
    """
    found = _find(instance_id, chat, whatsapp_id)
    if not found:
        return None
    person = _place(found[0].position, kind, sender)
    # One that was taken back stays as an empty value, so that a late earlier one loses to it.
    changed = (
        MessageResponse.insert(
            message=found[0].position,
            kind=kind.value,
            sender=person.jid,
            lid=person.lid,
            phone=person.phone,
            value=value or {},
            at=at,
        )
        .on_conflict(
            conflict_target=[
                MessageResponse.message,
                MessageResponse.kind,
                MessageResponse.sender,
            ],
            update={
                MessageResponse.lid: peewee.EXCLUDED.lid,
                MessageResponse.phone: peewee.EXCLUDED.phone,
                MessageResponse.value: peewee.EXCLUDED.value,
                MessageResponse.at: peewee.EXCLUDED.at,
            },
            where=MessageResponse.at < peewee.EXCLUDED.at,
        )
        .returning(MessageResponse.sender)
        .execute()
    )
    return message_record(found[0]) if list(changed) else None


def has_response(
    instance_id: str,
    kind: ResponseKind,
    *,
    chat: Party,
    whatsapp_id: str,
    sender: Party,
    value: dict[str, Any] | None,
    at: datetime,
) -> bool:
    """Tell whether this very reaction or vote is attached already; arguments as of `respond`."""
    return any(
        response.at == at and response.value == (value or {})
        for row in _find(instance_id, chat, whatsapp_id)[:1]
        for response in MessageResponse.select().where(
            MessageResponse.message == row.position,
            MessageResponse.kind == kind.value,
            MessageResponse.sender == _place(row.position, kind, sender).jid,
        )
    )


_SAME_PERSON = Prepared(
    lambda slot: MessageResponse.select(
        MessageResponse.sender, MessageResponse.lid, MessageResponse.phone
    ).where(
        MessageResponse.message == slot("message"),
        MessageResponse.kind == slot("kind"),
        shares_address(slot, MessageResponse.sender, MessageResponse.lid, MessageResponse.phone),
    )
)


def _place(position: int, kind: ResponseKind, sender: Party) -> Party:
    """Return somebody under the address of their response to a message, old or new. A write."""
    known = chat_addresses.address_of(sender)
    found = _SAME_PERSON.rows(
        message=position, kind=kind.value, jid=known.jid, lid=known.lid, phone=known.phone
    )
    place = place_of(known, [Party(one.sender, one.lid, one.phone) for one in found])
    if place.former is not None:
        MessageResponse.update(sender=place.person.jid).where(
            MessageResponse.message == position,
            MessageResponse.kind == kind.value,
            MessageResponse.sender == place.former,
        ).execute()
    return place.person


def list_responses(position: int) -> tuple[ResponseRecord, ...]:
    """Return the reactions to a message and the votes in its poll, oldest first."""
    rows = (
        MessageResponse.select()
        .where(MessageResponse.message == position)
        .order_by(MessageResponse.at, MessageResponse.sender)
    )
    return tuple(response_record(row) for row in rows if row.value)


def apply_sent(message: MessageRecord) -> MessageRecord | None:
    """Let a sent edit, revocation or reaction take effect on its target. A write.

    Args:
        message: As :func:`~wavisor.storage.outcomes.mark_sent` returned it.

    Returns:
        The target; None when the message changes no other one, or its target is unknown.
    """
    target = message.content.get("target")
    account = Instance.get_or_none(Instance.id == message.instance_id)
    if not isinstance(target, dict) or account is None or account.jid is None:
        return None
    at = message.sent_at or current.now()
    chat, me = Party(target["chat"]), Party(account.jid, account.lid, account.phone)
    common: dict[str, Any] = {"chat": chat, "whatsapp_id": target["id"], "at": at}
    match message.content.get("type"):
        case "edit":
            return apply_edit(
                message.instance_id,
                **common,
                author=me,
                from_me=True,
                text=message.content["text"],
            )
        case "revoke":
            return apply_revoke(
                message.instance_id, **common, author=me, from_me=True, by_admin=True
            )
        case "reaction":
            emoji = message.content.get("emoji")
            value = {"emoji": emoji} if emoji else None
            return respond(
                message.instance_id, ResponseKind.REACTION, **common, sender=me, value=value
            )
    return None
