"""The event bus: fans committed events out to listeners, in order, one failing alone.

An event is written by whoever changes the state it tells of, in the same transaction
(``storage``); the bus is told after the commit. So what a listener sees is on disk, and what a
crash keeps from the listeners is found by reading on from the last event seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from wavisor.actors.supervisor import SupervisedActor
from wavisor.storage import EventRecord

__all__ = ["EventBus", "EventHub", "EventListener", "Published"]

log = structlog.get_logger(__name__)

EventListener = Callable[[EventRecord], None]
"""Called with each committed event in the bus's thread; must be quick and thread-safe."""


class EventHub:
    """Who listens. Outlives the bus, so that a bus that was restarted knows its listeners."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[EventListener, ...] = ()

    def subscribe(self, listener: EventListener) -> Callable[[], None]:
        """Add a listener; call what is returned to take it off again. Thread-safe."""

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        with self._lock:
            self._listeners = (*self._listeners, listener)
        return unsubscribe

    @property
    def listeners(self) -> tuple[EventListener, ...]:
        """The present listeners, in the order in which they came."""
        return self._listeners


@dataclass(frozen=True)
class Published:
    """Told to the bus: these events were committed, in this order."""

    records: tuple[EventRecord, ...]


class EventBus(SupervisedActor):
    """Hands each committed event to every listener.

    Its inbox has no bound of its own: each entry stands for rows that a database transaction
    wrote first, which is far slower than handing them on.

    Args:
        context: from the supervisor.
        hub: who listens.
        on_published: called once for each event handed out, with its type; for metrics.
    """

    def __init__(
        self, context: Any, hub: EventHub, on_published: Callable[[str], None] | None = None
    ) -> None:
        super().__init__(context)
        self._hub = hub
        self._on_published = on_published

    def handle(self, message: Any) -> Any:
        """Fan out :class:`Published`."""
        if not isinstance(message, Published):
            return super().handle(message)
        for record in message.records:
            if self._on_published is not None:
                self._on_published(record.type)
            for listener in self._hub.listeners:
                self._hand_over(listener, record)
        return None

    def _hand_over(self, listener: EventListener, record: EventRecord) -> None:
        try:
            listener(record)
        except Exception:
            log.exception("an event listener failed", event_type=record.type)
