"""Messages from before the link, as far as they are wanted. Runs in session processes.

WhatsApp sends months of them after linking, in large pieces. The client's copy of a piece is
translated and cut off at the limits before any of it goes to the gateway. Sources:
``WAWebProtobufsHistorySync.proto``, ``WAWebProtobufsWeb.proto``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from wavisor.whatsapp.addresses import GROUP_SERVER, LID_SERVER, PHONE_SERVER, person_of_text
from wavisor.whatsapp.events import HistoryMessage, HistoryReceived, Person
from wavisor.whatsapp.incoming import read_content, unwrap

__all__ = ["History"]

FRAME_SHARE = 256 * 1024
"""Characters of JSON after which an event is full; four such fit into a frame in any case."""

_STATUSES: dict[int, Literal["sent", "delivered", "read", "played"]] = {
    2: "sent",
    3: "delivered",
    4: "read",
    5: "played",
}
"""``WebMessageInfo.Status`` of what left the phone."""
_NOT_MESSAGES = ("reactionMessage", "pollUpdateMessage", "protocolMessage")


class History:
    """Makes bounded events out of history.

    Args:
        instance: id of the instance.
        per_chat: messages of one chat that are told, the newest first.
        total: messages that are told in all, while this process lives.
    """

    def __init__(self, instance: str, per_chat: int, total: int) -> None:
        self._instance = instance
        self._per_chat = per_chat
        self._left = total
        self._told: dict[str, int] = {}
        self._unread: dict[str, int] = {}
        self._numbers: dict[str, str] = {}

    @property
    def wanted(self) -> bool:
        """Whether any history is wanted at all."""
        return self._per_chat > 0 and self._left > 0

    def received(self, event: Any) -> Iterator[HistoryReceived]:
        """Translate ``HistorySync``: yields events as long as the limits allow."""
        for pair in event.Data.phoneNumberToLidMappings:
            self._numbers[pair.lidJID] = pair.pnJID
        for conversation in event.Data.conversations:
            if not self._left:
                return
            yield from self._conversation(conversation)

    def _conversation(self, conversation: Any) -> Iterator[HistoryReceived]:
        chat = self._known(_chat(conversation))
        messages: list[HistoryMessage] = []
        size = 0
        for message in self._messages(conversation):
            length = len(message.model_dump_json())
            if messages and size + length > FRAME_SHARE:
                yield self._event(conversation, chat, messages)
                messages, size = [], 0
            messages.append(message)
            size += length
        if messages:
            yield self._event(conversation, chat, messages)

    def _messages(self, conversation: Any) -> Iterator[HistoryMessage]:
        told = self._told.get(conversation.ID, 0)
        unread = self._unread.get(conversation.ID, conversation.unreadCount)
        newest_first = sorted(
            conversation.messages, key=lambda item: item.message.messageTimestamp, reverse=True
        )
        for item in newest_first:
            if told >= self._per_chat or not self._left:
                break
            message = _message(item.message)
            if message is None:
                continue
            told += 1
            self._left -= 1
            sender = None if message.sender is None else self._known(message.sender)
            # A chat's count of unread messages is about the newest ones of others.
            new = unread > 0 and not message.from_me
            unread -= new
            yield message.model_copy(update={"sender": sender, "unread": new})
        self._told[conversation.ID] = told
        self._unread[conversation.ID] = unread

    def _known(self, person: Person) -> Person:
        """Return somebody with the number behind a hidden address, where the history told it."""
        number = None if person.phone else self._numbers.get(person.jid)
        if number is None:
            return person
        return Person(jid=person.jid, lid=person.lid, phone=person_of_text(number).phone)

    def _event(
        self, conversation: Any, chat: Person, messages: list[HistoryMessage]
    ) -> HistoryReceived:
        return HistoryReceived(
            instance=self._instance,
            chat=chat,
            name=(conversation.name or conversation.displayName)[:1024] or None,
            is_group=chat.jid.endswith(f"@{GROUP_SERVER}"),
            unread=conversation.unreadCount,
            archived=conversation.archived,
            pinned=bool(conversation.pinned),
            messages=tuple(messages),
        )


def _chat(conversation: Any) -> Person:
    chat = person_of_text(conversation.ID)
    other = conversation.lidJID if chat.jid.endswith(f"@{PHONE_SERVER}") else conversation.pnJID
    if not other or not chat.jid.endswith((f"@{PHONE_SERVER}", f"@{LID_SERVER}")):
        return chat
    alternative = person_of_text(other)
    return Person(
        jid=chat.jid, lid=chat.lid or alternative.lid, phone=chat.phone or alternative.phone
    )


def _message(web: Any) -> HistoryMessage | None:
    """Translate a ``WebMessageInfo``, whose time is in seconds; None if it says nothing."""
    if not web.HasField("message") or not web.key.ID:
        return None
    left = web.status in _STATUSES
    if web.key.fromMe and web.HasField("status") and not left:
        return None
    inner, _ = unwrap(web.message)
    if any(inner.HasField(name) for name in _NOT_MESSAGES):
        return None
    content = read_content(web.message, person_of_text)
    if content is None:
        return None
    sender = web.participant or web.key.participant
    return HistoryMessage(
        message_id=web.key.ID,
        sender=person_of_text(sender) if sender and not web.key.fromMe else None,
        from_me=web.key.fromMe,
        timestamp=datetime.fromtimestamp(web.messageTimestamp, UTC),
        push_name=web.pushName[:1024] or None,
        status=_STATUSES[web.status] if web.key.fromMe and left else None,
        content=content,
    )
