"""What a phone tells a new companion of the past: chats with their last messages, and names.

Source: whatsmeow ``message.go`` (``DownloadHistorySync``). It travels inside messages of the
phone's app, not through the media host, and is bounded.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from wavisor.sandbox import schemas
from wavisor.sandbox.codec import GROUP_SERVER, Jid
from wavisor.sandbox.content import said
from wavisor.sandbox.person import Person

__all__ = ["history_of"]

_NOTIFICATION = 5
_BOOTSTRAP, _PUSH_NAME = 0, 4
_SERVER_ACK, _READ = 2, 4
_COMPLETE = 100


def history_of(person: Person, limit: int) -> Iterator[bytes]:
    """Yield the contents of the messages that tell a companion the past.

    Args:
        person: whose history it is.
        limit: messages told at most, the newest of all chats.
    """
    chats, names = _chats(person, limit)
    if not chats:
        return
    bootstrap = schemas.HISTORY_SYNC(syncType=_BOOTSTRAP, progress=_COMPLETE, chunkOrder=1)
    for jid, messages in chats.items():
        _add_conversation(person, bootstrap, jid, messages)
    yield _message(bootstrap)
    push_names = schemas.HISTORY_SYNC(syncType=_PUSH_NAME, progress=_COMPLETE)
    for jid_text, name in names.items():
        push_names.pushnames.add(ID=jid_text, pushname=name)
    yield _message(push_names)


def _chats(person: Person, limit: int) -> tuple[dict[Jid, list[Any]], dict[str, str]]:
    """Return messages by chat, oldest first, and the names of all who wrote them."""
    told: list[tuple[int, Jid, Any]] = []
    names: dict[str, str] = {}
    for received in person.received:
        jid = _jid_of(person, received.chat)
        sender = person.world.accounts[received.sender]
        own = sender is person.account
        entry = _entry(jid, received.id, received.raw, received.timestamp, from_me=own)
        if not own:
            names[str(sender.lid)] = sender.name
            entry.pushName = sender.name
            if jid is not None and jid.server == GROUP_SERVER:
                entry.participant = entry.key.participant = str(sender.lid)
        told += [(received.timestamp, jid, entry)] if jid else []
    for sent in person.sent.values():
        jid = None if sent.peer else _jid_of(person, sent.to)
        if jid is not None and sent.status not in ("pending", "failed"):
            entry = _entry(jid, sent.id, sent.content, sent.timestamp, from_me=True)
            entry.status = _READ if sent.reached("read") else _SERVER_ACK
            told.append((sent.timestamp, jid, entry))
    told.sort(key=lambda item: item[0])
    chats: dict[Jid, list[Any]] = {}
    for _, jid, entry in told[-limit:] if limit else []:
        chats.setdefault(jid, []).append(entry)
    return chats, names


def _jid_of(person: Person, chat: str) -> Jid | None:
    """Return the address of a chat that a number or a group's JID names; None for a status."""
    jid = Jid.parse(chat)
    if jid.server == GROUP_SERVER:
        return jid
    account = person.world.account_by_phone(chat)
    return account.lid if account else None


def _entry(
    jid: Jid | None, message_id: str, content: bytes, timestamp: int, *, from_me: bool
) -> Any:
    entry = schemas.HISTORY_SYNC().conversations.add().messages.add().message
    entry.key.remoteJID = str(jid)
    entry.key.fromMe = from_me
    entry.key.ID = message_id
    message = schemas.MESSAGE()
    message.ParseFromString(content)
    entry.message.CopyFrom(said(message) if from_me else message)
    entry.messageTimestamp = timestamp
    return entry


def _add_conversation(person: Person, sync: Any, jid: Jid, messages: list[Any]) -> None:
    conversation = sync.conversations.add(ID=str(jid))
    conversation.conversationTimestamp = messages[-1].messageTimestamp
    account = person.world.account_of(jid)
    group = person.world.groups.get(jid.user)
    if account is not None:
        conversation.name = account.name
        conversation.pnJID = str(account.pn)
        conversation.lidJID = str(account.lid)
        sync.phoneNumberToLidMappings.add(pnJID=str(account.pn), lidJID=str(account.lid))
    elif group is not None:
        conversation.name = group.subject
    # Newest first, as phones tell it.
    for place, message in enumerate(reversed(messages)):
        told = conversation.messages.add(msgOrderID=len(messages) - place)
        told.message.CopyFrom(message)


def _message(sync: Any) -> bytes:
    message = schemas.MESSAGE()
    message.protocolMessage.type = _NOTIFICATION
    notification = message.protocolMessage.historySyncNotification
    notification.syncType = sync.syncType
    notification.progress = sync.progress
    notification.chunkOrder = sync.chunkOrder
    packed = zlib.compress(sync.SerializeToString())
    notification.initialHistBootstrapInlinePayload = packed
    notification.fileLength = len(packed)
    data: bytes = message.SerializeToString()
    return data
