"""When clients tried to connect, so that a bench can tell how gently they come back."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Attempt", "Attempts", "Outcome", "peak_rate"]

KEPT = 100_000
"""Attempts remembered; older ones are forgotten."""


class Outcome(StrEnum):
    """How far a connection attempt came."""

    DIALED = "dialed"
    REFUSED = "refused"
    PAIRING = "pairing"
    LOGGED_IN = "logged_in"
    REJECTED = "rejected"
    """Answered with ``<failure>`` at login."""


@dataclass(slots=True)
class Attempt:
    """One connection that reached the proxy for the chat server.

    ``at`` is monotonic, ``wall`` is seconds since the epoch.
    """

    at: float
    wall: float
    label: str | None = None
    phone: str | None = None
    device: int | None = None
    outcome: Outcome = Outcome.DIALED


class Attempts:
    """All connection attempts since the start or the last :meth:`clear`."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._attempts: deque[Attempt] = deque(maxlen=KEPT)
        self.total = 0

    def begin(self, label: str | None = None) -> Attempt:
        """Record an attempt; who it is and how it ends is filled in later."""
        attempt = Attempt(self._monotonic(), self._wall(), label)
        self._attempts.append(attempt)
        self.total += 1
        return attempt

    def withdraw(self, attempt: Attempt) -> None:
        """Forget an attempt: it was none, only somebody who looked whether there is anyone."""
        with contextlib.suppress(ValueError):  # forgotten already
            self._attempts.remove(attempt)
            self.total -= 1

    def since(self, at: float = 0.0) -> list[Attempt]:
        """Return the attempts made at or after a monotonic time."""
        return [attempt for attempt in self._attempts if attempt.at >= at]

    def clear(self) -> None:
        """Forget everything."""
        self._attempts.clear()
        self.total = 0


def peak_rate(attempts: Iterable[Attempt], window: float = 1.0) -> int:
    """Return the most attempts that fell into any ``window`` seconds."""
    recent: deque[float] = deque()
    peak = 0
    for at in sorted(attempt.at for attempt in attempts):
        recent.append(at)
        while recent[0] <= at - window:
            recent.popleft()
        peak = max(peak, len(recent))
    return peak
