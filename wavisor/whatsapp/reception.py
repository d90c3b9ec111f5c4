"""Received messages and receipts, told in our own words. Runs in session processes.

The functions only read attributes, so that this module needs no neonize. Sources:
``Neonize.proto`` for the fields, ``goneonize/utils/encoder.go`` for their units, whatsmeow
``types/message.go`` and ``types/presence.go`` for their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from wavisor.whatsapp.addresses import GROUP_SERVER, person, person_of_text
from wavisor.whatsapp.events import (
    Event,
    MessageEdited,
    MessageReaction,
    MessageReceived,
    MessageRevoked,
    Person,
    PollVoted,
    ReceiptReceived,
    UndecryptableMessage,
)
from wavisor.whatsapp.incoming import read_content, unwrap

__all__ = ["Reception"]

_REVOKE, _MESSAGE_EDIT = 0, 14  # ProtocolMessage.Type
_CHANGES = (_REVOKE, _MESSAGE_EDIT)
# EditAttribute: what the server was told that a message does to another (types/message.go).
_ADMIN_EDIT = "3"  # of channels only
_ADMIN_REVOKE = "8"
_DELIVERED, _READ, _READ_SELF, _PLAYED, _PLAYED_SELF, _SERVER_ERROR = 1, 4, 5, 6, 7, 8
_RECEIPTS: dict[int, Literal["delivered", "read", "played"]] = {
    _DELIVERED: "delivered",
    _READ: "read",
    _READ_SELF: "read",
    _PLAYED: "played",
    _PLAYED_SELF: "played",
    # neonize's encoder gives "played by oneself" this value by mistake.
    _SERVER_ERROR: "played",
}
_OWN_RECEIPTS = frozenset({_READ_SELF, _PLAYED_SELF, _SERVER_ERROR})
_MAX_EMOJI = 64
_MAX_ID = 256


class Reception:
    """Makes events of one instance out of what the native client received.

    Args:
        instance: id of the instance.
        own_addresses: tells one's own JIDs, without a device.
        decrypt_vote: returns the hashes of the options that a vote chose, or None when it cannot
            tell. Gets the client's own event.
    """

    def __init__(
        self,
        instance: str,
        own_addresses: Callable[[], frozenset[str]],
        decrypt_vote: Callable[[Any], Iterable[bytes] | None],
    ) -> None:
        self._instance = instance
        self._own_addresses = own_addresses
        self._decrypt_vote = decrypt_vote

    def message(self, event: Any) -> Event | None:
        """Translate ``Message``, whose time is in milliseconds; None for housekeeping."""
        info = event.Info
        if info.Category == "peer":
            return None
        message, _ = unwrap(event.Message)
        protocol = message.protocolMessage
        if protocol.type in _CHANGES and protocol.HasField("key"):
            return self._change(event, protocol)
        if message.HasField("reactionMessage"):
            return self._reaction(event, message.reactionMessage)
        if message.HasField("pollUpdateMessage"):
            return self._vote(event, message.pollUpdateMessage)
        content = read_content(event.Message, person_of_text, view_once=event.IsViewOnce)
        if content is None:
            return None
        where = self._where(info)
        if info.Edit == _ADMIN_EDIT:
            # A channel's edited message comes as the message itself, under its old id.
            return MessageEdited(message_id=info.ID, content=content, **where)
        server = info.MessageSource.Chat.Server
        status = server == "broadcast" and info.MessageSource.Chat.User == "status"
        return MessageReceived(
            message_id=info.ID,
            content=content,
            push_name=info.Pushname or None,
            is_broadcast=server == "broadcast" and not status,
            is_channel=server == "newsletter",
            is_status=status,
            server_id=info.ServerID or None,
            **where,
        )

    def undecryptable(self, event: Any) -> UndecryptableMessage:
        """Translate ``UndecryptableMessage``, whose time is in milliseconds."""
        info, source = event.Info, event.Info.MessageSource
        return UndecryptableMessage(
            instance=self._instance,
            message_id=info.ID,
            chat=_chat(source),
            sender=person(source.Sender, source.SenderAlt),
            timestamp=_moment(info.Timestamp),
            unavailable=event.IsUnavailable,
        )

    def receipt(self, event: Any) -> ReceiptReceived | None:
        """Translate ``Receipt``, whose time is in seconds; None for kinds between devices."""
        source = event.MessageSource
        kind = _RECEIPTS.get(event.Type)
        from_me = source.IsFromMe or event.Type in _OWN_RECEIPTS
        if kind is None or not event.MessageIDs or (from_me and kind == "delivered"):
            return None
        return ReceiptReceived(
            instance=self._instance,
            message_ids=tuple(event.MessageIDs),
            chat=_chat(source),
            sender=person(source.Sender, source.SenderAlt),
            kind=kind,
            timestamp=datetime.fromtimestamp(event.Timestamp, UTC),
            from_me=from_me,
            is_group=source.IsGroup,
        )

    # Messages about messages

    def _change(self, event: Any, protocol: Any) -> Event | None:
        where = self._where(event.Info)
        if protocol.type == _REVOKE:
            key = protocol.key
            author = self._author(event.Info.MessageSource, key)
            return MessageRevoked(
                message_id=key.ID[:_MAX_ID],
                author=author if author != where["sender"] else None,
                by_admin=event.Info.Edit == _ADMIN_REVOKE,
                **where,
            )
        content = read_content(protocol.editedMessage, person_of_text)
        if content is None:
            return None
        return MessageEdited(message_id=protocol.key.ID[:_MAX_ID], content=content, **where)

    def _reaction(self, event: Any, reaction: Any) -> MessageReaction:
        source, key = event.Info.MessageSource, reaction.key
        return MessageReaction(
            message_id=key.ID[:_MAX_ID],
            message_from_me=self._is_mine(source, key),
            author=self._author(source, key),
            emoji=reaction.text[:_MAX_EMOJI],
            **self._where(event.Info),
        )

    def _vote(self, event: Any, update: Any) -> PollVoted:
        selected = self._decrypt_vote(event)
        return PollVoted(
            message_id=update.pollCreationMessageKey.ID[:_MAX_ID],
            selected=tuple(each.hex() for each in selected or ()),
            readable=selected is not None,
            **self._where(event.Info),
        )

    def _is_mine(self, source: Any, key: Any) -> bool | None:
        """Tell whether this account wrote the message that somebody's key names.

        ``fromMe`` is said from the point of view of whoever made the key.
        """
        if key.fromMe:
            return bool(source.IsFromMe)
        if key.participant:
            return person_of_text(key.participant).jid in self._own_addresses()
        if source.IsGroup:
            return None
        return not source.IsFromMe

    def _author(self, source: Any, key: Any) -> Person | None:
        """Return who wrote the message that a key names, in groups."""
        if key.fromMe:
            return person(source.Sender, source.SenderAlt) if source.IsGroup else None
        return person_of_text(key.participant) if key.participant else None

    def _sender(self, source: Any) -> Person:
        sender = person(source.Sender, source.SenderAlt)
        if not source.IsFromMe:
            return sender
        # WhatsApp names the account itself by one address only.
        mine = [person_of_text(jid) for jid in self._own_addresses()]
        lid = next((one.lid for one in mine if one.lid), sender.lid)
        phone = next((one.phone for one in mine if one.phone), sender.phone)
        return Person(jid=sender.jid, lid=lid, phone=phone)

    def _where(self, info: Any) -> dict[str, Any]:
        source = info.MessageSource
        return {
            "instance": self._instance,
            "chat": _chat(source),
            "sender": self._sender(source),
            "from_me": source.IsFromMe,
            "is_group": source.Chat.Server == GROUP_SERVER,
            "timestamp": _moment(info.Timestamp),
        }


def _chat(source: Any) -> Person:
    if source.IsGroup:
        return person(source.Chat)
    return person(source.Chat, source.RecipientAlt if source.IsFromMe else source.SenderAlt)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
