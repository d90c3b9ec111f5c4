"""What happens in chats, groups and among contacts: the events that are about people.

Part of the union in :mod:`wavisor.whatsapp.events`, which is where to import them from.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from wavisor.whatsapp.event_base import EventPart, SessionEvent
from wavisor.whatsapp.inbound import InboundContent
from wavisor.whatsapp.person import Person

__all__ = [
    "CallOffered",
    "ContactUpdated",
    "GroupParticipantsChanged",
    "GroupUpdated",
    "HistoryMessage",
    "HistoryReceived",
    "MessageEdited",
    "MessageReaction",
    "MessageReceived",
    "MessageRevoked",
    "PollVoted",
    "PresenceUpdated",
    "ReceiptReceived",
    "UndecryptableMessage",
]


class _InChat(SessionEvent):
    """Something that somebody did in a chat; ``from_me`` on another of the account's devices."""

    chat: Person
    sender: Person
    from_me: bool
    is_group: bool
    timestamp: datetime


class MessageReceived(_InChat):
    """A message arrived, or one's own from another of the account's devices."""

    type: Literal["message_received"] = "message_received"
    message_id: str
    content: InboundContent
    push_name: str | None = None
    is_broadcast: bool = False
    """Sent to a broadcast list that the account is on."""
    is_channel: bool = False
    is_status: bool = False
    server_id: int | None = None
    """Of a channel's message: its number there, by which one reacts to it."""

    @property
    def kind(self) -> str:
        """The type of the content."""
        return self.content.type

    @property
    def text(self) -> str | None:
        """What it says: its text or caption."""
        return self.content.text or self.content.caption


class UndecryptableMessage(SessionEvent):
    """A message arrived that could not be read; if its sender repeats it, it comes again."""

    type: Literal["undecryptable_message"] = "undecryptable_message"
    message_id: str
    chat: Person
    sender: Person
    timestamp: datetime
    unavailable: bool = False
    """WhatsApp does not show it to linked devices at all, such as what can be viewed once."""


class MessageEdited(_InChat):
    """A message's author gave it another text or caption."""

    type: Literal["message_edited"] = "message_edited"
    message_id: str
    """Of the message that was edited."""
    content: InboundContent
    """What it says now; of an edited caption nothing but that."""


class MessageRevoked(_InChat):
    """A message was taken back for everyone, by its author or by an admin of the group."""

    type: Literal["message_revoked"] = "message_revoked"
    message_id: str
    """Of the message that was taken back."""
    author: Person | None
    """Who had written it, if that is said and is not ``sender``."""
    by_admin: bool = False
    """As an admin of the group, which WhatsApp's server checks."""


class MessageReaction(_InChat):
    """Somebody reacted to a message, or took a reaction back."""

    type: Literal["message_reaction"] = "message_reaction"
    message_id: str
    """Of the message that it is about."""
    message_from_me: bool | None
    """Whether this account wrote that message; None if that cannot be told."""
    author: Person | None
    """Who wrote it, in groups."""
    emoji: str
    """Empty for a reaction that was taken back."""


class PollVoted(_InChat):
    """Somebody voted, or changed a vote: what is listed replaces what they chose before."""

    type: Literal["poll_voted"] = "poll_voted"
    message_id: str
    """Of the poll."""
    selected: tuple[str, ...] = ()
    """The options chosen, each as :func:`~wavisor.whatsapp.inbound.poll_option_hash`."""
    readable: bool = True
    """False when the vote could not be decrypted: the poll came before this device was linked."""


class ReceiptReceived(SessionEvent):
    """A device of ``sender`` got, read or played messages.

    With ``from_me`` it is the account itself that read, on another device, what others wrote.
    """

    type: Literal["receipt_received"] = "receipt_received"
    message_ids: tuple[str, ...]
    chat: Person
    sender: Person
    kind: Literal["delivered", "read", "played"]
    timestamp: datetime
    from_me: bool = False
    is_group: bool = False


class PresenceUpdated(SessionEvent):
    """Somebody came, went, or types. ``chat`` is None where it is not about a chat."""

    type: Literal["presence_updated"] = "presence_updated"
    person: Person
    state: Literal["available", "unavailable", "composing", "recording", "paused"]
    chat: Person | None = None
    last_seen: datetime | None = None


class GroupUpdated(SessionEvent):
    """A group changed; what is None did not."""

    type: Literal["group_updated"] = "group_updated"
    group: Person
    actor: Person | None
    timestamp: datetime
    joined: bool = False
    """This account is in the group from now on."""
    deleted: bool = False
    name: str | None = None
    description: str | None = None
    """Empty when it was removed."""
    announce: bool | None = None
    """Only admins may write."""
    locked: bool | None = None
    """Only admins may change the group's name and picture."""
    ephemeral_seconds: int | None = None
    """0 when messages stay."""
    invite_link: str | None = None
    picture: Literal["changed", "removed"] | None = None
    linked: str | None = None
    """JID of a group that became part of this community, or the community it became part of."""
    unlinked: str | None = None


class GroupParticipantsChanged(SessionEvent):
    """People joined or left a group, or became or ceased to be admins."""

    type: Literal["group_participants_changed"] = "group_participants_changed"
    group: Person
    actor: Person | None
    timestamp: datetime
    joined: tuple[Person, ...] = ()
    left: tuple[Person, ...] = ()
    promoted: tuple[Person, ...] = ()
    demoted: tuple[Person, ...] = ()


class CallOffered(SessionEvent):
    """Somebody calls. A linked device can only reject."""

    type: Literal["call_offered"] = "call_offered"
    call_id: str
    caller: Person
    origin: str
    """JID that a rejection goes to."""
    timestamp: datetime
    video: bool
    group: bool


class ContactUpdated(SessionEvent):
    """Somebody changed or removed their picture."""

    type: Literal["contact_updated"] = "contact_updated"
    person: Person
    picture: Literal["changed", "removed"]
    timestamp: datetime


class HistoryMessage(EventPart):
    """One message from the time before this device was linked."""

    message_id: str
    sender: Person | None
    """None for the account itself, and where it is the chat."""
    from_me: bool
    timestamp: datetime
    push_name: str | None = None
    unread: bool = False
    status: Literal["sent", "delivered", "read", "played"] | None = None
    """Of one's own: how far it had come, where the phone tells."""
    content: InboundContent


class HistoryReceived(SessionEvent):
    """Some messages of one chat from before the link, newest first; several per chat may come."""

    type: Literal["history_received"] = "history_received"
    chat: Person
    name: str | None
    is_group: bool
    unread: int
    archived: bool
    pinned: bool
    messages: tuple[HistoryMessage, ...]
