"""Admission of session starts: at most so many at once, first come, first served.

Starting a session costs a tenth of a second of processor time. When the network returns, or the
gateway starts, every instance wants that at the same moment; without a gate they would slow each
other down and all be late together.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from wavisor.clock import Clock

__all__ = ["StartGate"]


class StartGate:
    """Hands out slots. Thread-safe; its callbacks run in whichever thread frees a slot.

    Args:
        slots: how many sessions may be starting at once.
        lease: seconds after which a slot is taken back from a holder that never released it, so
            that a hung actor cannot keep the others from starting.
        clock: where the time comes from.

    The queue is bounded by the number of instances: a holder asks once at a time.
    """

    def __init__(self, slots: int, lease: float, clock: Clock) -> None:
        self._slots = slots
        self._lease = lease
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, float] = {}
        self._waiting: OrderedDict[str, Callable[[], None]] = OrderedDict()

    def request(self, holder: str, on_granted: Callable[[], None]) -> None:
        """Ask for a slot; ``on_granted`` is called once, at once or later, and must be quick.

        A second request of the same holder replaces its first one, and takes its place in the
        queue: who waits for long and asks again must not fall behind.
        """
        with self._lock:
            self._held.pop(holder, None)
            self._waiting[holder] = on_granted
            granted = self._grant()
        for callback in granted:
            callback()

    def release(self, holder: str) -> None:
        """Give the slot back, or withdraw the request; harmless when there is neither."""
        with self._lock:
            self._held.pop(holder, None)
            self._waiting.pop(holder, None)
            granted = self._grant()
        for callback in granted:
            callback()

    def _grant(self) -> list[Callable[[], None]]:
        now = self._clock.monotonic()
        for holder, since in list(self._held.items()):
            if now - since >= self._lease:
                del self._held[holder]
        granted = []
        while self._waiting and len(self._held) < self._slots:
            holder, callback = self._waiting.popitem(last=False)
            self._held[holder] = now
            granted.append(callback)
        return granted
