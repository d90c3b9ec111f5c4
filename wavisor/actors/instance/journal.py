"""Writes what happens to an instance: row, audit entry and events in one transaction, then tells.

Nothing is told before it is on disk, so that the feed never claims what a crash could undo.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ParamSpec, TypeVar

from wavisor.actors.errors import DomainError
from wavisor.actors.instance import payloads
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.state import InstanceState
from wavisor.clock import Clock
from wavisor.domain import EventType, InstanceStatus
from wavisor.storage import (
    Database,
    DatabaseBusy,
    DatabaseUnavailable,
    EventRecord,
    InstanceChanges,
    NewAudit,
    NewEvent,
    events,
    instances,
)

__all__ = ["EventPublisher", "Journal", "StorageBusyError"]

P = ParamSpec("P")
T = TypeVar("T")

EventPublisher = Callable[[tuple[EventRecord, ...]], None]
"""Fans committed events out; must not raise or block."""

_PAUSE = 0.25
"""Seconds between two tries to write while the database is locked or away."""


class StorageBusyError(DomainError):
    """The database could not be written in time; nothing was changed. HTTP answers 503."""


class Journal:
    """The one way by which an instance actor reads and writes its rows; blocks its thread.

    A database that is locked or lost for a while must not cost a healthy session its connection,
    so writes that nobody waits for are tried for ``storage_patience`` seconds.
    """

    def __init__(
        self, database: Database, publish: EventPublisher, clock: Clock, policy: InstancePolicy
    ) -> None:
        self._database = database
        self._publish = publish
        self._clock = clock
        self._policy = policy
        self._closing = threading.Event()

    def close(self) -> None:
        """Stop waiting for a database that is away; may be called from any thread."""
        self._closing.set()

    def record(
        self,
        state: InstanceState,
        new_events: Sequence[tuple[EventType, Mapping[str, Any]]],
        *,
        old: InstanceStatus,
        detail: str | None,
        patience: float | None,
    ) -> None:
        """Write the state, its audit entry and the events; tell the events when committed.

        Raises:
            StorageBusyError: the database was busy for longer than ``patience``.
            StorageError: the same for the policy's patience, where none was given.
        """
        audit = None
        if state.status is not old:
            audit = self._audit(state, old, detail)
        records = self.write(
            patience,
            instances.record_transition,
            state.instance_id,
            _changes(state),
            [NewEvent(type=kind.value, data=data) for kind, data in new_events],
            audit,
        )
        self.tell(tuple(records))

    def _audit(self, state: InstanceState, old: InstanceStatus, detail: str | None) -> NewAudit:
        return NewAudit(
            action="instance.status",
            actor_kind="system",
            target=state.instance_id,
            before={"status": old.value},
            after={
                "status": state.status.value,
                "reason": state.reason.value if state.reason else None,
                "desired": state.desired.value,
                "detail": detail,
            },
        )

    def append(self, instance_id: str, kind: EventType, data: Mapping[str, Any]) -> None:
        """Write one event and tell it when committed."""
        record = self.write(
            None, events.append, instance_id, [NewEvent(type=kind.value, data=data)]
        )
        self.tell(tuple(record))

    def tell(self, records: tuple[EventRecord, ...]) -> None:
        """Hand committed events to the bus."""
        if records:
            self._publish(records)

    def read(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a reading function of a repository.

        Raises:
            StorageError: the database was busy for longer than the policy's patience.
        """
        return self._with_patience(
            None, lambda: self._database.read_wait(partial(function, *args, **kwargs))
        )

    def write(
        self,
        patience: float | None,
        function: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a writing function of a repository; returns after the commit.

        Raises:
            StorageBusyError: the database was busy for longer than ``patience`` seconds.
            StorageError: the same for the policy's patience, where none was given.
        """
        return self._with_patience(
            patience, lambda: self._database.write_wait(partial(function, *args, **kwargs))
        )

    def _with_patience(self, patience: float | None, run: Callable[[], T]) -> T:
        waited_for = patience is not None
        limit = patience if patience is not None else self._policy.storage_patience
        deadline = self._clock.monotonic() + limit
        while True:
            try:
                return run()
            except (DatabaseBusy, DatabaseUnavailable) as error:
                # A write that may have been committed is not repeated: the actor crashes, and
                # its successor goes by what the database says.
                if isinstance(error, DatabaseUnavailable) and error.outcome_unknown:
                    raise
                if self._clock.monotonic() < deadline and not self._closing.wait(_PAUSE):
                    continue
                # Nobody is there to be told to try again, and the actor knows more than its row:
                # it crashes, and its successor goes by what the database says.
                if not waited_for:
                    raise
                raise StorageBusyError(str(error)) from error


def _changes(state: InstanceState) -> InstanceChanges:
    changes: InstanceChanges = {
        "desired": state.desired,
        "status": state.status,
        "reason": state.reason.value if state.reason else None,
        "last_error": payloads.last_error_json(state.last_error),
        "status_changed_at": state.status_changed_at,
        "jid": state.jid,
        "paired_at": state.paired_at,
    }
    connection = state.connection
    if connection is not None:
        changes["lid"] = connection.lid
        changes["phone"] = connection.phone
        changes["push_name"] = connection.push_name
        changes["platform"] = connection.platform
        changes["connected_at"] = connection.connected_at
    elif state.jid is None:
        changes |= {
            "lid": None,
            "phone": None,
            "push_name": None,
            "platform": None,
            "connected_at": None,
        }
    return changes
