"""What an instance actor is told and asked, and what it answers. All frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from wavisor.actors.supervisor import DomainError
from wavisor.domain import InstanceCommand, InstanceStatus, Reason, WantedState
from wavisor.media import Arrived
from wavisor.storage import QueueFull, QueueLimits, Scope
from wavisor.whatsapp.events import Event, Failure
from wavisor.whatsapp.queries import AnyQuery

__all__ = [
    "CancelMessage",
    "CommandForbiddenError",
    "Connect",
    "ConnectionData",
    "Delete",
    "Deliver",
    "Disconnect",
    "FetchFiles",
    "FileTakenIn",
    "GetSnapshot",
    "InstanceSnapshot",
    "LastError",
    "Logout",
    "PairingCode",
    "PairingFailedError",
    "QrState",
    "QueryFailedError",
    "QueryForbiddenError",
    "QueuePause",
    "RequestPairingCode",
    "Restart",
    "RetryMessage",
    "RoomReady",
    "RunQuery",
    "SessionEvent",
    "SetSuspended",
    "SettingsChanged",
    "Tick",
]


@dataclass(frozen=True)
class QrState:
    """The code that is to be scanned now."""

    text: str
    attempt: int
    """Which code of this connection attempt it is, from 1."""
    limit: int
    expires_at: datetime


@dataclass(frozen=True)
class PairingCode:
    """A code to be typed on the phone."""

    code: str
    """As WhatsApp shows it, e.g. ``ABCD-1234``."""
    phone: str
    expires_at: datetime


@dataclass(frozen=True)
class LastError:
    """What went wrong last; cleared by a successful connection."""

    reason: Reason
    detail: str
    at: datetime
    until: datetime | None = None
    """For a ban: when it ends, if WhatsApp said so."""


@dataclass(frozen=True)
class ConnectionData:
    """Who an instance is connected as."""

    jid: str
    lid: str | None
    phone: str | None
    push_name: str | None
    platform: str | None
    connected_at: datetime


@dataclass(frozen=True)
class QueuePause:
    """WhatsApp's demand that nobody new be written to."""

    until: datetime
    reason: str
    """``reach_out_timelock``."""


@dataclass(frozen=True)
class InstanceSnapshot:
    """The state of an instance as its actor sees it at one moment."""

    instance_id: str
    desired: WantedState
    status: InstanceStatus
    reason: Reason | None
    status_changed_at: datetime
    qr: QrState | None
    pairing_code: PairingCode | None
    next_attempt_at: datetime | None
    """When the next try to reconnect is due; only while reconnecting."""
    attempt: int
    """How many tries to reconnect were made since the drop."""
    banned_until: datetime | None
    last_error: LastError | None
    connection: ConnectionData | None
    allowed: frozenset[InstanceCommand]
    """The commands that this status allows."""
    jid: str | None
    """AD-JID of the linked device; None when none is linked."""
    queue_pause: QueuePause | None = None
    """While messages to people who have never been written to are held back."""


class QueueFullError(DomainError):
    """There is no place in the queue of the instance, or in all those of its tenant."""

    def __init__(self, full: QueueFull) -> None:
        super().__init__(str(full))
        self.full = full


class CommandForbiddenError(DomainError):
    """The status forbids the command; HTTP answers 409 with what is allowed."""

    def __init__(
        self,
        command: InstanceCommand,
        status: InstanceStatus,
        allowed: frozenset[InstanceCommand],
        detail: str,
    ) -> None:
        super().__init__(detail)
        self.command = command
        self.status = status
        self.allowed = allowed
        self.detail = detail


class PairingFailedError(DomainError):
    """WhatsApp gave no pairing code; ``reason`` is that of the session's ``Failure``."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class QueryForbiddenError(DomainError):
    """Only a connected instance can be asked; HTTP answers 409 with its status."""

    def __init__(self, status: InstanceStatus) -> None:
        super().__init__(f"the instance is {status.value}, not connected")
        self.status = status


class QueryFailedError(DomainError):
    """A query has no result; ``reason`` and ``code`` are those of the session's ``Failure``."""

    def __init__(self, reason: str, detail: str, code: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.code = code


@dataclass(frozen=True)
class Connect:
    """Want the instance connected. Answer: :class:`InstanceSnapshot`. Repeating is harmless."""


@dataclass(frozen=True)
class Disconnect:
    """Want the instance disconnected; the keys stay. Answer: :class:`InstanceSnapshot`."""


@dataclass(frozen=True)
class Restart:
    """End the session process and start a new one. Answer: :class:`InstanceSnapshot`."""


@dataclass(frozen=True)
class Logout:
    """Unlink the device and discard its keys; the slot stays.

    Answer, when the keys are gone: :class:`InstanceSnapshot`.
    """


@dataclass(frozen=True)
class RequestPairingCode:
    """Get a code to be typed on the phone.

    Answer, when WhatsApp has given one: :class:`PairingCode`, or :class:`PairingFailedError`.
    """

    phone: str
    """E.164 digits without ``+``."""


@dataclass(frozen=True)
class Delete:
    """End the session and discard the keys, for good; every later command is forbidden.

    Answer, when the process is gone and no file is left: None.
    """


@dataclass(frozen=True)
class GetSnapshot:
    """Answer: :class:`InstanceSnapshot`."""


@dataclass(frozen=True)
class RunQuery:
    """Ask WhatsApp something, or change what is no message.

    Answer, when WhatsApp has given it: the query's result, or :class:`QueryFailedError`;
    :class:`QueryForbiddenError` at once while the instance is not connected.
    """

    query: AnyQuery


@dataclass(frozen=True)
class Deliver:
    """There is something new to send in the queue of this instance (a hint; rows decide)."""


@dataclass(frozen=True)
class SettingsChanged:
    """The instance's settings are these now; what they say holds from the next message on."""

    settings: dict[str, Any] = field(repr=False)
    """With the credentials of its proxy."""


@dataclass(frozen=True)
class FetchFiles:
    """There is a file that somebody wants fetched (a hint; rows decide)."""


@dataclass(frozen=True)
class RoomReady:
    """The directory that files are fetched into is there, or could not be made."""

    number: int
    """Which time it was asked for."""
    path: Path | None
    detail: str | None = None


@dataclass(frozen=True)
class FileTakenIn:
    """The store has taken a fetched file in, or could not."""

    job: str
    arrived: Arrived | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class SetSuspended:
    """The instance's subscription is suspended, or no longer. Sending it again is harmless."""

    suspended: bool


@dataclass(frozen=True)
class CancelMessage:
    """Take a queued message back. Answer: its record; None when it is not queued any more."""

    scope: Scope
    message_id: str


@dataclass(frozen=True)
class RetryMessage:
    """Queue a failed message again.

    Answer: its record; None when it has not failed; :class:`QueueFullError` when there is no
    place.
    """

    scope: Scope
    message_id: str
    uncertain: bool = False
    """Also one that may have been sent, which then may be sent twice."""
    limits: QueueLimits = field(default_factory=QueueLimits)


@dataclass(frozen=True)
class SessionEvent:
    """An event of the session with this incarnation; others' events are stale and ignored."""

    incarnation: str
    event: Event


@dataclass(frozen=True)
class Tick:
    """A timer of the actor's own fell due."""

    name: str
    token: int
    payload: Any = None
