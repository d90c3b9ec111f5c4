"""A clock and timers that move only when a test says so."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class ManualTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A ``Clock`` and ``Timers`` in one; ``advance`` moves time and runs what is due, in order.

    Only the thread that advances it sees the moments between, as the timers see them that it
    runs. For all others time jumps: whether an actor has handled one tick before the next is due
    must not decide when the timers end that it sets.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._elapsed = 0.0
        self._jumped_to = 0.0
        self._advancing: int | None = None
        self._heap: list[tuple[float, int, ManualTimer]] = []
        self._order = itertools.count()
        self._lock = threading.RLock()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        with self._lock:
            if self._advancing in (None, threading.get_ident()):
                return self._elapsed
            return self._jumped_to

    def call_later(self, delay: float, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(callback)
        with self._lock:
            due = self.monotonic() + max(0.0, delay)
            heapq.heappush(self._heap, (due, next(self._order), timer))
        return timer

    def pending(self) -> list[float]:
        """Seconds until each timer that is still to run, soonest first."""
        with self._lock:
            return sorted(
                due - self._elapsed for due, _, timer in self._heap if timer.callback is not None
            )

    def advance(self, seconds: float) -> None:
        with self._lock:
            outer, self._advancing = self._advancing, threading.get_ident()
            target = self._elapsed + seconds
            self._jumped_to = max(self._jumped_to, target)
        try:
            while (callback := self._next_due(target)) is not None:
                callback()
        finally:
            with self._lock:
                self._advancing = outer

    def _next_due(self, target: float) -> Callable[[], None] | None:
        """Move on to the next timer that is due by then, or else to that moment."""
        with self._lock:
            while self._heap and self._heap[0][0] <= target:
                due, _, timer = heapq.heappop(self._heap)
                self._elapsed = max(self._elapsed, due)
                callback, timer.callback = timer.callback, None
                if callback is not None:
                    return callback
            self._elapsed = max(self._elapsed, target)
            return None
