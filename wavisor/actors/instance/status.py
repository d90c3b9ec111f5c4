"""The status of one instance: taken, written down and told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from wavisor.actors.instance import payloads
from wavisor.actors.instance.journal import Journal, StorageBusyError
from wavisor.actors.instance.messages import LastError
from wavisor.actors.instance.observer import InstanceObserver
from wavisor.actors.instance.state import InstanceState
from wavisor.clock import Clock, format_time
from wavisor.domain import EventType, InstanceStatus, Reason

__all__ = ["StatusKeeper"]

log = structlog.get_logger(__name__)


class StatusKeeper:
    """Keeps an instance's row, events and metrics in step with its state in memory.

    Args:
        state: the state, of which this alone changes the status.
        journal: writes it.
        clock: where the time comes from.
        observer: is told of it, for metrics.
    """

    def __init__(
        self, state: InstanceState, journal: Journal, clock: Clock, observer: InstanceObserver
    ) -> None:
        self._state = state
        self._journal = journal
        self._clock = clock
        self._observer = observer

    def transition(
        self,
        status: InstanceStatus,
        reason: Reason,
        *,
        detail: str | None = None,
        patience: float | None = None,
        more_events: Sequence[tuple[EventType, Mapping[str, Any]]] = (),
    ) -> None:
        """Take a status: write the row, the audit entry and the event at once, then tell others.

        Args:
            status: the new status; may equal the old one when something else changed.
            reason: why.
            detail: a sentence for the log and the audit trail.
            patience: seconds to wait for the database, instead of the policy's.
            more_events: further events of the same transaction, before the status event.

        Raises:
            StorageBusyError: the database was busy for longer than ``patience``; the status is
                as before.
        """
        state = self._state
        old, old_since = state.status, format_time(state.status_changed_at)
        before = replace(state)
        state.reason = reason
        if status is not old:
            state.status = status
            state.status_changed_at = self._clock.now()
        if status is not InstanceStatus.QR:
            state.pairing_code = None
        events = list(more_events or [])
        if status is not old:
            data = payloads.status_changed(old, old_since, state)
            events.append((EventType.INSTANCE_STATUS_CHANGED, data))
        try:
            self._journal.record(state, events, old=old, detail=detail, patience=patience)
        except StorageBusyError:
            state.status, state.reason = before.status, before.reason
            state.status_changed_at = before.status_changed_at
            state.pairing_code = before.pairing_code
            raise
        self._observer.on_status(state.instance_id, status, state.expected)
        if status is not old:
            log.info(
                "instance status changed",
                instance=state.instance_id,
                old=old.value,
                new=status.value,
                reason=reason.value,
                detail=detail,
            )

    def persist(self, *, patience: float | None = None) -> None:
        """Write the state as it is, without a change of status.

        Args:
            patience: seconds to wait for the database, instead of the policy's.

        Raises:
            StorageBusyError: the database was busy for longer than that.
        """
        status = self._state.status
        self._journal.record(self._state, [], old=status, detail=None, patience=patience)
        self._observer.on_status(self._state.instance_id, status, self._state.expected)

    def note_error(self, reason: Reason, detail: str, until: datetime | None = None) -> None:
        """Remember what went wrong; written with the next transition."""
        self._state.last_error = LastError(reason, detail, self._clock.now(), until)
