"""What a session process tells the gateway, as a tagged union of frozen models.

Nothing here decides anything: a session reports, its instance's actor decides.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from wavisor.whatsapp.chat_events import (
    CallOffered,
    ContactUpdated,
    GroupParticipantsChanged,
    GroupUpdated,
    HistoryMessage,
    HistoryReceived,
    MessageEdited,
    MessageReaction,
    MessageReceived,
    MessageRevoked,
    PollVoted,
    PresenceUpdated,
    ReceiptReceived,
    UndecryptableMessage,
)
from wavisor.whatsapp.event_base import EventPart, SessionEvent
from wavisor.whatsapp.person import Person

__all__ = [
    "EVENTS",
    "Answer",
    "CallOffered",
    "ClientOutdated",
    "ConnectFailed",
    "Connected",
    "ContactUpdated",
    "Disconnected",
    "Event",
    "Exited",
    "Failure",
    "GroupParticipantsChanged",
    "GroupUpdated",
    "HistoryMessage",
    "HistoryReceived",
    "KeepAliveRestored",
    "KeepAliveTimeout",
    "LoggedOut",
    "MessageEdited",
    "MessageReaction",
    "MessageReceived",
    "MessageRevoked",
    "Paired",
    "Person",
    "PollVoted",
    "PresenceUpdated",
    "QrCode",
    "QrPhaseEnded",
    "Ready",
    "ReceiptReceived",
    "StreamError",
    "StreamReplaced",
    "TemporaryBan",
    "UndecryptableMessage",
]


class Ready(SessionEvent):
    """The process is up and has read its :class:`Open`; sent before anything is connected."""

    type: Literal["ready"] = "ready"
    version: int
    pid: int
    client_version: str
    """Version of neonize."""


class QrCode(SessionEvent):
    """A QR code to be shown now; the client shows each for 60 or 20 s (whatsmeow's qrchan.go)."""

    type: Literal["qr_code"] = "qr_code"
    text: str


class QrPhaseEnded(SessionEvent):
    """The QR phase is over without a login."""

    type: Literal["qr_phase_ended"] = "qr_phase_ended"
    outcome: Literal["timeout", "passkey_required", "client_outdated", "error"]
    detail: str | None = None


class Paired(SessionEvent):
    """The phone accepted this device; WhatsApp restarts the stream next, which is not a drop."""

    type: Literal["paired"] = "paired"
    jid: str
    """AD-JID of the new device: what :attr:`Open.jid` takes from now on."""
    lid: str | None = None
    business_name: str | None = None
    platform: str | None = None


class Connected(SessionEvent):
    """Logged in: WhatsApp answers. Also sent after the client reconnected by itself.

    ``jid`` is the AD-JID of this device, as in :class:`Paired`; ``lid`` the account's hidden
    address without a device; ``phone`` its number in E.164.
    """

    type: Literal["connected"] = "connected"
    jid: str
    lid: str | None = None
    phone: str
    push_name: str | None = None
    platform: str | None = None


class Disconnected(SessionEvent):
    """The socket is gone for a transient reason."""

    type: Literal["disconnected"] = "disconnected"
    detail: str | None = None


class ConnectFailed(SessionEvent):
    """Connecting failed. ``code`` is WhatsApp's (``<failure reason=…>``), None for the network's.

    ``permanent`` is true when another try would fail as well: WhatsApp refused this account or
    client, or the key store does not hold the device.
    """

    type: Literal["connect_failed"] = "connect_failed"
    cause: Literal["network", "proxy", "refused", "key_store"] = "network"
    """What failed: reaching WhatsApp, or the proxy to it, WhatsApp's consent, or opening the key
    store."""
    code: int | None = None
    detail: str
    permanent: bool = False


class LoggedOut(SessionEvent):
    """The device was unlinked: on the phone while online, or found so at login.

    :class:`Disconnected` may come first.
    """

    type: Literal["logged_out"] = "logged_out"
    on_connect: bool
    code: int | None = None
    detail: str | None = None


class StreamReplaced(SessionEvent):
    """Another client took this session over.

    A client that is busy at that moment may tell :class:`Disconnected` first and then even try to
    come back, which takes the stream from the other one: end the process.
    """

    type: Literal["stream_replaced"] = "stream_replaced"


class TemporaryBan(SessionEvent):
    """WhatsApp banned the account for a while."""

    type: Literal["temporary_ban"] = "temporary_ban"
    code: int
    detail: str
    expires_in: float | None
    """Seconds until the ban ends; None when WhatsApp does not say."""


class ClientOutdated(SessionEvent):
    """WhatsApp refuses this client version (405)."""

    type: Literal["client_outdated"] = "client_outdated"


class StreamError(SessionEvent):
    """A stream error that the client has no special handling for."""

    type: Literal["stream_error"] = "stream_error"
    code: str


class KeepAliveTimeout(SessionEvent):
    """A keep-alive was not answered in time; ``failures`` in a row so far."""

    type: Literal["keepalive_timeout"] = "keepalive_timeout"
    failures: int


class KeepAliveRestored(SessionEvent):
    """Keep-alives are answered again."""

    type: Literal["keepalive_restored"] = "keepalive_restored"


class Failure(EventPart):
    """Why a command failed, as far as the client can tell."""

    reason: Literal[
        "not_connected",
        "not_on_whatsapp",
        "timeout",
        "rejected",
        "rate_limited",
        "reach_out_timelock",
        "invalid",
        "internal",
        "upload_failed",
        "media_gone",
        "media_corrupt",
        "media_unreachable",
        "too_large",
        "disk",
        "disk_full",
        "not_found",
        "forbidden",
        "busy",
    ]
    """``reach_out_timelock``: WhatsApp lets this number begin no further conversations for now
    (463). ``media_gone``: WhatsApp has deleted the file, only its sender's phone can bring it back.
    ``media_corrupt``: it is not what the message promised. ``media_unreachable``: worth another
    try. ``disk``: it cannot be written here; ``disk_full``: for lack of space. ``not_found`` and
    ``forbidden``: what WhatsApp says to queries. ``busy``: too many are under way."""
    detail: str
    code: int | None = None
    uncertain: bool = False
    """True when WhatsApp may have got it all the same."""


class Answer(SessionEvent):
    """The outcome of the command with this ``id``."""

    type: Literal["answer"] = "answer"
    id: str
    failure: Failure | None = None
    code: str | None = None
    """The pairing code, for ``request_pairing_code``."""
    message_id: str | None = None
    """WhatsApp's id of the message, for sends."""
    timestamp: datetime | None = None
    """The server's time of the message, for sends."""
    recipients: int | None = Field(default=None, ge=0)
    """To how many others a group's message went, for sends; None where that is not known."""
    result: dict[str, Any] | None = None
    """What a query found, as JSON of its result's type (``queries.result_type``)."""


class Exited(SessionEvent):
    """The process is gone; the last event of a session. Made by the driver, never by a child."""

    type: Literal["exited"] = "exited"
    exit_code: int | None
    """The exit code, negative for a signal; None when it is not known."""
    detail: str | None = None


Event = Annotated[
    Ready
    | QrCode
    | QrPhaseEnded
    | Paired
    | Connected
    | Disconnected
    | ConnectFailed
    | LoggedOut
    | StreamReplaced
    | TemporaryBan
    | ClientOutdated
    | StreamError
    | KeepAliveTimeout
    | KeepAliveRestored
    | MessageReceived
    | UndecryptableMessage
    | MessageEdited
    | MessageRevoked
    | MessageReaction
    | PollVoted
    | ReceiptReceived
    | PresenceUpdated
    | GroupUpdated
    | GroupParticipantsChanged
    | CallOffered
    | ContactUpdated
    | HistoryReceived
    | Answer
    | Exited,
    Field(discriminator="type"),
]
EVENTS: TypeAdapter[Event] = TypeAdapter(Event)
