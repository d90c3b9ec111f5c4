"""Token buckets by key, in bounded memory.

A bucket is kept as one number, the time at which it will be full again: that is a token bucket
written as the generic cell rate algorithm (ITU-T I.371). A bucket that is full is the same as one
that is not there.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from wavisor.clock import Clock

__all__ = ["Buckets", "Rate", "Verdict"]


@dataclass(frozen=True, slots=True)
class Rate:
    """So much at once, and the same again over every window."""

    quota: int
    """How much an unused bucket holds; at least 1."""
    window: float
    """Seconds in which an empty bucket becomes full."""

    def __post_init__(self) -> None:
        if self.quota < 1 or self.window <= 0:
            raise ValueError("a rate needs a quota of at least 1 and a window")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass, and what is left after it."""

    allowed: bool
    remaining: int
    reset: float
    """Seconds until the bucket is full again, if nothing more is taken."""
    wait: float
    """Seconds until there is enough; 0 when it is allowed."""


class Buckets:
    """The buckets of all keys of one layer. Used on the event loop only.

    Args:
        clock: tells the time; only its monotonic one is looked at.
        capacity: how many buckets are remembered; beyond that those used longest ago are
            forgotten, and are full again.
    """

    def __init__(self, clock: Clock, *, capacity: int) -> None:
        self._clock = clock
        self._capacity = capacity
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, rate: Rate) -> Verdict:
        """Take one out of a key's bucket, unless it is empty; a refusal takes nothing.

        Args:
            key: whose bucket.
            rate: of which size; it may change from one call to the next.
        """
        now = self._clock.monotonic()
        step = rate.window / rate.quota
        # No further away than an empty bucket: the rate may have been smaller before.
        known = self._full_at.get(key, now)
        full_at = min(max(known, now), now + rate.window)
        if full_at < known:
            self._full_at[key] = full_at
        after = full_at + step
        missing = after - now - rate.window
        # Sums of fractions are not exact; a millionth of a token is none.
        if missing > step * 1e-6:
            return Verdict(False, 0, full_at - now, missing)
        self._full_at[key] = after
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
        remaining = int((now + rate.window - after) / step + 1e-6)
        return Verdict(True, remaining, after - now, 0.0)
