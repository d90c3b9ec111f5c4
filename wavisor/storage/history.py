"""Messages from before the link, as the phone told of them; each is stored once.

They differ from those that come in: they stand in lists at the place of their own time, and
WhatsApp names their senders by fewer addresses, so they are recognised by chat and id alone.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import peewee

from wavisor.domain import MessageStatus
from wavisor.storage import chat_addresses, current, downloads
from wavisor.storage.errors import NotFound
from wavisor.storage.incoming import insert_incoming
from wavisor.storage.message_records import HistoryBatch, HistoryIntake, InboundMessage, Party
from wavisor.storage.models import Chat, Instance, Message
from wavisor.storage.scope import Scope

__all__ = ["receive_history"]


def receive_history(scope: Scope, instance_id: str, batch: HistoryBatch) -> HistoryIntake:
    """Store messages of one chat from before the link, but those that are known. A write.

    Args:
        scope: The tenant.
        instance_id: Which of its instances was told.
        batch: The chat and its messages, the newest first.

    Returns:
        What became of them.

    Raises:
        NotFound: The tenant has no such instance.
    """
    instance = scope.select(Instance).where(Instance.id == instance_id).get_or_none()
    if instance is None:
        raise NotFound("no such instance")
    chat = chat_addresses.resolve(instance_id, batch.chat)
    known = _known(instance_id, chat, [one.whatsapp_id for one in batch.messages])
    stored = []
    # The oldest first, so that positions grow with time where times are equal.
    for message in reversed(batch.messages):
        if (message.whatsapp_id, message.from_me) not in known:
            row = _insert(scope, instance, chat, message)
            if row is not None:
                known.add((message.whatsapp_id, message.from_me))
                stored.append((row, message))
    _note_files(scope, stored)
    if stored:
        _note_chat(instance, chat, batch, stored)
    return HistoryIntake(
        chat=chat,
        stored=len(stored),
        known=len(batch.messages) - len(stored),
        unread=sum(_unread(message) for _, message in stored),
    )


def _known(instance_id: str, chat: str, ids: Collection[str]) -> set[tuple[str, bool]]:
    rows = Message.select(Message.whatsapp_id, Message.from_me).where(
        Message.instance == instance_id,
        Message.whatsapp_id.in_(list(ids)),
        Message.chat == chat,
    )
    return {(row.whatsapp_id, bool(row.from_me)) for row in rows}


def _insert(scope: Scope, instance: Any, chat: str, message: InboundMessage) -> Any:
    now = current.now()
    return insert_incoming(
        scope,
        instance.id,
        chat,
        _sender(instance, message),
        message,
        status=message.status or MessageStatus.SENT,
        at=now,
        from_history=True,
        # By this lists are ordered, and old messages go.
        created_at=min(message.timestamp, now),
        read_at=None if message.from_me or message.unread else now,
    )


def _note_files(scope: Scope, stored: list[tuple[Any, InboundMessage]]) -> None:
    files = [(row.position, message.file) for row, message in stored if message.file is not None]
    for position, file in sorted(files, key=lambda one: one[1].sha256 or ""):
        downloads.attach(position, downloads.expect(scope, file).id)


def _sender(instance: Any, message: InboundMessage) -> Party:
    if message.from_me and instance.jid is not None:
        return chat_addresses.address_of(Party(instance.jid, instance.lid, instance.phone))
    return chat_addresses.address_of(message.sender)


def _unread(message: InboundMessage) -> bool:
    return message.unread and not message.from_me


def _note_chat(
    instance: Any, chat: str, batch: HistoryBatch, stored: list[tuple[Any, InboundMessage]]
) -> None:
    """Make the chat, or let it know of older messages than it knew, perhaps of a later one."""
    party, coalesce, new = (
        chat_addresses.address_of(batch.chat),
        peewee.fn.COALESCE,
        peewee.EXCLUDED,
    )
    last = max((row for row, _ in stored), key=lambda row: (row.created_at, row.position))
    since: datetime = min(row.created_at for row, _ in stored)
    later = new.last_at > Chat.last_at
    earlier = Chat.known_since.is_null() | (new.known_since < Chat.known_since)
    Chat.insert(
        subscription=instance.subscription_id,
        instance=instance.id,
        jid=chat,
        lid=party.lid,
        phone=party.phone,
        name=batch.name,
        kind=chat_addresses.kind_of(chat).value,
        last_position=last.position,
        last_at=last.created_at,
        unread=sum(_unread(message) for _, message in stored),
        archived=batch.archived,
        pinned=batch.pinned,
        known_since=since,
    ).on_conflict(
        conflict_target=[Chat.instance, Chat.jid],
        update={
            Chat.lid: coalesce(new.lid, Chat.lid),
            Chat.phone: coalesce(new.phone, Chat.phone),
            Chat.name: coalesce(new.name, Chat.name),
            Chat.unread: Chat.unread + new.unread,
            Chat.known_since: peewee.Case(None, [(earlier, new.known_since)], Chat.known_since),
            Chat.last_position: peewee.Case(None, [(later, new.last_position)], Chat.last_position),
            Chat.last_at: peewee.Case(None, [(later, new.last_at)], Chat.last_at),
        },
    ).execute()
