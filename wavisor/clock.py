"""Time, timers and chance as things that are handed in, so that no test waits or rolls dice.

The gateway uses :class:`SystemClock` and :class:`ThreadedTimers`; tests use the manual ones from
``tests/support``. Everybody who needs "now", "later" or "a little at random" takes one of these
as an argument.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, overload

import structlog

__all__ = ["Clock", "SystemClock", "ThreadedTimers", "Timer", "Timers", "format_time"]

log = structlog.get_logger(__name__)


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Return the wall-clock time as an aware datetime in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean something."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Return the machine's wall-clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the machine's monotonic clock, in seconds."""
        return time.monotonic()


class Timer(Protocol):
    """A call that is due later and can be taken back."""

    def cancel(self) -> None:
        """Take the call back; harmless when it already ran or was taken back."""
        ...


class Timers(Protocol):
    """Runs small callbacks later. Actors use it only to tell themselves something."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Run ``callback`` once, ``delay`` seconds from now, in a thread of the timers.

        The callback must be quick and must not raise: it is expected to put a message into an
        inbox and return.
        """
        ...


_SWEPT_FROM = 1000


class _Entry:
    __slots__ = ("callback", "due")

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ThreadedTimers:
    """All timers of the process on one daemon thread, ordered by a heap.

    One thread for everybody, because a thread per timer (``threading.Timer``) costs a stack for
    each of a thousand instances.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._heap: list[tuple[float, int, _Entry]] = []
        self._sweep_at = _SWEPT_FROM
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
        self._thread.start()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Run ``callback`` on the timers' thread, ``delay`` seconds from now."""
        entry = _Entry(self._clock.monotonic() + max(0.0, delay), callback)
        with self._changed:
            if len(self._heap) >= self._sweep_at:
                self._sweep()
            heapq.heappush(self._heap, (entry.due, next(self._order), entry))
            self._changed.notify()
        return entry

    @property
    def pending(self) -> int:
        """How many are kept, some of those that were taken back included."""
        return len(self._heap)

    def _sweep(self) -> None:
        """Forget what was taken back, which would otherwise stay until it is due.

        Every send has a deadline of minutes and takes it back after milliseconds. As the heap must
        double between two sweeps, they cost next to nothing.
        """
        self._heap = [item for item in self._heap if item[2].callback is not None]
        heapq.heapify(self._heap)
        self._sweep_at = max(_SWEPT_FROM, 2 * len(self._heap))

    def close(self) -> None:
        """Drop every timer and end the thread, waiting up to 1 s for it."""
        with self._changed:
            self._closed = True
            self._heap.clear()
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while (entry := self._next_due()) is not None:
            callback, entry.callback = entry.callback, None
            if callback is None:
                continue
            try:
                callback()
            except Exception:
                log.exception("timer callback failed")

    def _next_due(self) -> _Entry | None:
        with self._changed:
            while not self._closed:
                if not self._heap:
                    self._changed.wait()
                    continue
                due, _, entry = self._heap[0]
                delay = due - self._clock.monotonic()
                if delay <= 0:
                    heapq.heappop(self._heap)
                    return entry
                self._changed.wait(delay)
            return None


@overload
def format_time(moment: datetime) -> str: ...


@overload
def format_time(moment: None) -> None: ...


@overload
def format_time(moment: datetime | None) -> str | None: ...


def format_time(moment: datetime | None) -> str | None:
    """Return ``moment`` as the wire writes it: ISO 8601 in UTC with milliseconds and ``Z``."""
    if moment is None:
        return None
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"
