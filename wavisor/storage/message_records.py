"""What the repositories of messaging take and return: frozen values that carry no connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from wavisor.domain import ChatKind, MediaState, MessageDirection, MessageStatus

__all__ = [
    "ChatRecord",
    "Claim",
    "ClaimOutcome",
    "DueFiles",
    "ExpectedFile",
    "HistoryBatch",
    "HistoryIntake",
    "InboundMessage",
    "MediaRecord",
    "MediaUser",
    "MessageFilter",
    "MessageLife",
    "MessageRecord",
    "NewMessage",
    "Party",
    "QueueDue",
    "QueueLimits",
    "QueueState",
    "ReceiptRecord",
    "ResponseKind",
    "ResponseRecord",
    "StatusChange",
]


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody, or a chat, on WhatsApp; None for what is unknown.

    ``jid`` is the address as WhatsApp gave it, ``lid`` the hidden one (``…@lid``), ``phone`` the
    number in E.164.
    """

    jid: str = field(repr=False)
    lid: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many messages may wait to be sent before further ones are refused."""

    instance: int = 10_000
    subscription: int = 50_000


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue of one instance at one moment."""

    instance_id: str
    waiting: int
    """How many messages wait, those for later included."""
    due_since: datetime | None
    """Since when the message could go that goes next; None when none may go yet."""
    paused: str | None
    """Why nobody new is written to; None when nothing holds that back."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be queued."""

    chat: str = field(repr=False)
    """JID of the chat."""
    kind: str
    """``text``, ``image`` or another kind; what statistics and filters tell apart."""
    content: dict[str, Any] = field(repr=False)
    """What it consists of, as JSON."""
    text: str | None = field(default=None, repr=False)
    """Its text or caption, for the search."""
    options: dict[str, Any] | None = field(default=None, repr=False)
    media_id: str | None = None
    quoted_id: str | None = None
    """WhatsApp's id of the message that it answers."""
    priority: int = 0
    """Higher ones go first; 0 is normal."""
    send_at: datetime | None = None
    """Not before this time; None for as soon as possible."""
    expires_at: datetime | None = None
    """It fails when it is still queued then."""
    created_by: str | None = None
    """Id of the user or API key that asked for it; None for the gateway itself."""


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A message that came from WhatsApp, or one's own from another of the account's devices."""

    whatsapp_id: str
    chat: Party
    chat_kind: ChatKind
    sender: Party
    from_me: bool
    kind: str
    content: dict[str, Any] = field(repr=False)
    timestamp: datetime
    """WhatsApp's time of it."""
    text: str | None = field(default=None, repr=False)
    options: dict[str, Any] | None = field(default=None, repr=False)
    media_id: str | None = None
    file: ExpectedFile | None = None
    """What came with it, where ``media_id`` is not known."""
    quoted_id: str | None = None
    chat_name: str | None = field(default=None, repr=False)
    """What the chat is called, where this message tells."""
    unread: bool = True
    """Whether it counts as unread. One's own never do."""
    status: MessageStatus | None = None
    """Of one's own from before the link: how far it had come; None for sent."""


@dataclass(frozen=True, slots=True)
class HistoryBatch:
    """Messages of one chat from before the link, the newest first."""

    chat: Party
    name: str | None = field(repr=False)
    """What the phone calls the chat."""
    archived: bool
    pinned: bool
    messages: tuple[InboundMessage, ...]


@dataclass(frozen=True, slots=True)
class HistoryIntake:
    """What became of a :class:`HistoryBatch`."""

    chat: str = field(repr=False)
    """The JID under which the chat is kept."""
    stored: int
    known: int
    """How many were there already."""
    unread: int
    """How many of the stored ones are unread."""


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A status that a message had, since when, and why where there is a reason."""

    status: MessageStatus
    at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A message of either direction."""

    position: int
    id: str
    subscription_id: str
    instance_id: str
    direction: MessageDirection
    chat: str = field(repr=False)
    sender: Party | None = field(repr=False)
    """Who wrote it; None for those that were queued here."""
    from_me: bool
    kind: str
    text: str | None = field(repr=False)
    content: dict[str, Any] = field(repr=False)
    options: dict[str, Any] | None = field(repr=False)
    media_id: str | None
    status: MessageStatus
    failure: dict[str, Any] | None
    history: tuple[StatusChange, ...]
    """Its statuses, oldest first."""
    whatsapp_id: str | None
    secret: str | None = field(repr=False)
    """By which the session finds the message in its own store when the answer was lost."""
    quoted_id: str | None
    recipients: int | None
    """Of a group's message: how many were to get it; None when that is not known."""
    starred: bool
    from_history: bool
    """Whether it came with the past that the phone told after linking."""
    priority: int
    attempts: int
    """How often it was handed over."""
    send_at: datetime | None
    retry_at: datetime | None
    """When it is tried again; None when nothing has failed yet, or nothing will follow."""
    expires_at: datetime | None
    timestamp: datetime | None
    """WhatsApp's time of an inbound message."""
    created_at: datetime
    """When it became known here; of one from history its own time."""
    created_by: str | None
    """Id of the user or API key that asked for it to be sent; None for all others."""
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None
    played_at: datetime | None
    edited_at: datetime | None
    revoked_at: datetime | None
    file: MediaRecord | None = None
    """Its file, where it was looked for: by those functions that read messages."""

    @property
    def wire_chat(self) -> str:
        """The chat as WhatsApp named it with this message, which may be by a hidden address."""
        return str(self._origin.get("chat", self.chat))

    @property
    def wire_sender(self) -> str | None:
        """The sender as WhatsApp named them with this message; None for what was queued here.

        Receipts and whatever else names the message go by these: WhatsApp knows it by no other
        address.
        """
        known = None if self.sender is None else self.sender.jid
        sender: str | None = self._origin.get("sender", known)
        return sender

    @property
    def _origin(self) -> dict[str, Any]:
        origin: dict[str, Any] = (self.options or {}).get("origin", {})
        return origin


@dataclass(frozen=True, slots=True)
class QueueDue:
    """What of an instance's queue is to be sent now, and when to look again."""

    message: MessageRecord | None
    new_contact: bool
    """Whether the message would be the first to somebody."""
    next_at: datetime | None
    """When a scheduled or failed message becomes due, or a queued one expires; None for never."""
    expired: bool
    """Whether messages wait that have expired."""


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """How far a message has come with one recipient."""

    recipient: Party
    status: MessageStatus
    delivered_at: datetime | None
    read_at: datetime | None
    played_at: datetime | None


class ResponseKind(StrEnum):
    """What people attach to a message, one of each kind per person."""

    REACTION = "reaction"
    VOTE = "vote"


@dataclass(frozen=True, slots=True)
class ResponseRecord:
    """A reaction to a message or a vote in its poll."""

    kind: ResponseKind
    sender: Party
    value: dict[str, Any] = field(repr=False)
    at: datetime


@dataclass(frozen=True, slots=True)
class MessageLife:
    """A message with everything that became of it."""

    message: MessageRecord
    receipts: tuple[ReceiptRecord, ...]
    responses: tuple[ResponseRecord, ...]


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages to list; None everywhere for all."""

    instance_id: str | None = None
    chat: str | None = field(default=None, repr=False)
    direction: MessageDirection | None = None
    status: frozenset[MessageStatus] | None = None
    kind: str | None = None
    since: datetime | None = None
    """Created here at this time or later."""
    until: datetime | None = None
    """Created here before this time."""
    text: str | None = field(default=None, repr=False)
    """Contained in the text or caption; upper and lower case of ASCII are the same."""
    starred: bool | None = None


@dataclass(frozen=True, slots=True)
class ChatRecord:
    """A conversation, with its last message unless that was deleted."""

    subscription_id: str
    instance_id: str
    jid: str = field(repr=False)
    lid: str | None = field(repr=False)
    phone: str | None = field(repr=False)
    name: str | None = field(repr=False)
    kind: ChatKind
    unread: int
    archived: bool
    pinned: bool
    muted_until: datetime | None
    known_since: datetime | None
    """When the first message went through in either direction."""
    last_message: MessageRecord | None = None


@dataclass(frozen=True, slots=True)
class MediaRecord:
    """A file that messages share, or one that is still to be fetched."""

    id: str
    subscription_id: str
    sha256: str | None
    size: int | None
    mime_type: str
    file_name: str | None = field(repr=False)
    path: str | None
    """Relative to the media directory; None until it is stored."""
    state: MediaState
    failure: dict[str, Any] | None
    descriptor: dict[str, Any] | None = field(repr=False)
    """By which WhatsApp is asked for it: ``source``, ``kind`` of media, and ``limit`` in bytes."""
    created_at: datetime
    last_used_at: datetime
    attempts: int = 0
    """How often it was tried to fetch it."""
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """A file as the message tells it with which it came."""

    descriptor: dict[str, Any] = field(repr=False)
    """See :attr:`MediaRecord.descriptor`."""
    mime_type: str
    size: int | None = None
    """In bytes, as its sender says."""
    file_name: str | None = field(default=None, repr=False)
    sha256: str | None = None
    """Of the content, in hexadecimal; the session checks it when it fetches the file."""
    skipped: dict[str, Any] | None = None
    """Why it is not fetched unless somebody asks for it, as ``reason`` and ``detail``; None for
    one that is fetched."""


@dataclass(frozen=True, slots=True)
class DueFiles:
    """What an instance is to fetch now."""

    files: tuple[MediaRecord, ...]
    next_at: datetime | None
    """When the next one is tried again that could not be fetched."""


@dataclass(frozen=True, slots=True)
class MediaUser:
    """A message that has a file."""

    instance_id: str
    message_id: str
    whatsapp_id: str | None
    chat: str = field(repr=False)


class ClaimOutcome(StrEnum):
    """What is to be done about a request with an idempotency key."""

    NEW = "new"
    """Do it, and finish the claim with its answer."""
    DONE = "done"
    """It was done: give the same answer."""
    RUNNING = "running"
    """The same request is being done at this moment."""
    CONFLICT = "conflict"
    """The key belongs to another request."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a request that presented its key."""

    outcome: ClaimOutcome
    token: str | None = field(default=None, repr=False)
    """For a new one: proves at the end that the claim is still one's own."""
    status: int | None = None
    """Of a done one: the HTTP status of its answer."""
    response: Any = field(default=None, repr=False)
