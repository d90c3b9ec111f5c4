"""Keeps the series about the queues; asked for by scrapes, off the event loop."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import structlog

from wavisor import metrics
from wavisor.clock import Clock
from wavisor.storage import Database, QueueState, StorageError, messages

__all__ = ["QueueObserver"]

log = structlog.get_logger(__name__)

_FRESH_SECONDS = 5.0
"""For how long one look serves all scrapes."""
_PATIENCE = 2.0


class QueueObserver:
    """Looks at all queues with one statement before a scrape, but not more often than needed.

    Args:
        database: where the queues are.
        clock: what time it is.
        label_of: an instance's label, None for one that has no series of its own.
    """

    def __init__(
        self, database: Database, clock: Clock, label_of: Callable[[str], str | None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._label_of = label_of
        self._lock = threading.Lock()
        self._looked_at: float | None = None
        self._shown: set[str] = set()
        self._remove_hook = metrics.before_scrape(self.look)

    def close(self) -> None:
        """Look no more."""
        self._remove_hook()

    def look(self) -> None:
        """Bring the series up to date. A database that does not answer leaves them as they are."""
        with self._lock:
            now = self._clock.monotonic()
            if self._looked_at is not None and now - self._looked_at < _FRESH_SECONDS:
                return
            self._looked_at = now
            try:
                states = self._database.read_wait(messages.overview, timeout=_PATIENCE)
            except StorageError as error:
                log.warning("the queues could not be looked at", error=str(error))
                return
            self._tell(states)

    def _tell(self, states: list[QueueState]) -> None:
        now = self._clock.now()
        metrics.QUEUE_MESSAGES.set(sum(state.waiting for state in states))
        metrics.QUEUE_AGE.set(max((_age(state, now) for state in states), default=0.0))
        metrics.observe_queue_pauses(Counter(state.paused for state in states if state.paused))
        labelled = [(self._label_of(state.instance_id), state) for state in states]
        own = {label: state for label, state in labelled if label is not None}
        # Not zero: an instance that was deleted meanwhile would come back.
        for label in self._shown - own.keys():
            metrics.INSTANCE_QUEUE_MESSAGES.remove(label)
            metrics.INSTANCE_QUEUE_AGE.remove(label)
        self._shown = set(own)
        for label, state in own.items():
            metrics.INSTANCE_QUEUE_MESSAGES.labels(label).set(state.waiting)
            metrics.INSTANCE_QUEUE_AGE.labels(label).set(_age(state, now))


def _age(state: QueueState, now: datetime) -> float:
    if state.due_since is None:
        return 0.0
    return max(0.0, (now - state.due_since).total_seconds())
