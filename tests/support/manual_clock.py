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
    """A ``Clock`` and ``Timers`` in one; ``advance`` moves time and runs what is due, in order."""

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._elapsed = 0.0
        self._heap: list[tuple[float, int, ManualTimer]] = []
        self._order = itertools.count()
        self._lock = threading.RLock()

    def now(self) -> datetime:
        with self._lock:
            return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        with self._lock:
            return self._elapsed

    def call_later(self, delay: float, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(callback)
        with self._lock:
            due = self._elapsed + max(0.0, delay)
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
            target = self._elapsed + seconds
        while True:
            with self._lock:
                if not self._heap or self._heap[0][0] > target:
                    self._elapsed = target
                    return
                due, _, timer = heapq.heappop(self._heap)
                self._elapsed = max(self._elapsed, due)
                callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
