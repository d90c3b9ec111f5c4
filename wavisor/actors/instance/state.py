"""What an instance actor knows of its instance; in memory here, in its row after each change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from wavisor.actors.instance.messages import (
    ConnectionData,
    InstanceSnapshot,
    LastError,
    PairingCode,
    QueuePause,
)
from wavisor.actors.instance.qr import QrCounter
from wavisor.domain import (
    ALLOWED_COMMANDS,
    InstanceCommand,
    InstanceStatus,
    Reason,
    WantedState,
)
from wavisor.storage import InstanceRecord

__all__ = [
    "GOING_UP",
    "RESTING",
    "STARTING",
    "Ending",
    "InstanceState",
    "Then",
    "state_of",
    "state_without_actor",
]

GOING_UP = frozenset(
    {
        InstanceStatus.CONNECTING,
        InstanceStatus.QR,
        InstanceStatus.PAIRING,
        InstanceStatus.CONNECTED,
        InstanceStatus.RECONNECTING,
    }
)
"""The statuses in which there is, or soon will be, a session."""

RESTING = frozenset(InstanceStatus) - GOING_UP
"""The statuses that only a user's command leaves."""

STARTING = frozenset({InstanceCommand.CONNECT, InstanceCommand.RESTART})
"""The commands that want a session started."""


class Then(Enum):
    """What follows the end of a session process that was asked to end."""

    REST = "rest"
    """Stay down, in the status of the ending."""
    START = "start"
    """Start anew at once, as a new connection attempt."""
    RETRY = "retry"
    """Start again by the backoff."""


@dataclass(frozen=True)
class Ending:
    """Why the session process is being ended, and what comes after."""

    then: Then
    reason: Reason
    detail: str | None = None
    status: InstanceStatus | None = None
    """The status to take when ``then`` is REST."""
    discard_keys: bool = False
    banned_until: datetime | None = None
    is_error: bool = False
    """Whether the reason becomes ``lastError`` when ``then`` is REST."""
    counts_as_crash: bool = False
    """Whether it is charged to the restart budget when ``then`` is RETRY."""


@dataclass
class InstanceState:
    """The state of one instance; written only by its actor."""

    instance_id: str
    subscription_id: str
    desired: WantedState
    status: InstanceStatus
    reason: Reason | None
    status_changed_at: datetime
    jid: str | None
    """AD-JID of the linked device; None when none is linked."""
    last_error: LastError | None = None
    banned_until: datetime | None = None
    connection: ConnectionData | None = None
    pairing_code: PairingCode | None = None
    next_attempt_at: datetime | None = None
    attempt: int = 0
    paired_at: datetime | None = None
    queue_pause: QueuePause | None = None
    suspended: bool = False
    """Whether the platform's operator has suspended the subscription: then nothing is started,
    and what the user wants is kept for later."""

    @property
    def expected(self) -> WantedState:
        """What it should be in, by which uptime is measured: not what nobody lets it be in."""
        return WantedState.DISCONNECTED if self.suspended else self.desired

    def allowed(self, now: datetime) -> frozenset[InstanceCommand]:
        """Return the commands that would be carried out at present."""
        allowed = ALLOWED_COMMANDS[self.status]
        if self.suspended or (self.banned_until is not None and now < self.banned_until):
            allowed -= STARTING
        return allowed

    def snapshot(self, qr: QrCounter, now: datetime) -> InstanceSnapshot:
        """Return what others may see of this state."""
        return InstanceSnapshot(
            instance_id=self.instance_id,
            desired=self.desired,
            status=self.status,
            reason=self.reason,
            status_changed_at=self.status_changed_at,
            qr=qr.current if self.status is InstanceStatus.QR else None,
            pairing_code=self.pairing_code if self.status is InstanceStatus.QR else None,
            next_attempt_at=self.next_attempt_at,
            attempt=self.attempt,
            banned_until=self.banned_until,
            last_error=self.last_error,
            connection=self.connection if self.status is InstanceStatus.CONNECTED else None,
            allowed=self.allowed(now),
            queue_pause=self.queue_pause,
            jid=self.jid,
        )


def state_of(record: InstanceRecord) -> InstanceState:
    """Return the state that an instance's row tells of."""
    stored = record.last_error
    last_error = None
    if stored is not None:
        last_error = LastError(
            reason=Reason(stored["reason"]),
            detail=stored["detail"],
            at=datetime.fromisoformat(stored["at"]),
            until=datetime.fromisoformat(stored["until"]) if stored.get("until") else None,
        )
    banned = record.status is InstanceStatus.BANNED
    pause = None
    if record.queue_paused_until is not None:
        pause = QueuePause(record.queue_paused_until, record.queue_pause_reason or "")
    return InstanceState(
        instance_id=record.id,
        subscription_id=record.subscription_id,
        desired=record.desired,
        status=record.status,
        reason=Reason(record.reason) if record.reason else None,
        status_changed_at=record.status_changed_at,
        jid=record.jid,
        last_error=last_error,
        banned_until=last_error.until if banned and last_error else None,
        paired_at=record.paired_at,
        queue_pause=pause,
    )


def state_without_actor(record: InstanceRecord) -> InstanceState:
    """Return the state of an instance whose actor is down: then it has no session.

    Its row may tell of one, from before the gateway or the actor ended.
    """
    state = state_of(record)
    if state.status in GOING_UP:
        wanted = state.desired is WantedState.CONNECTED
        state.status = InstanceStatus.CONNECTING if wanted else InstanceStatus.DISCONNECTED
        state.reason = Reason.RESTORED
    return state
