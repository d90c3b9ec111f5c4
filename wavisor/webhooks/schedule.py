"""When a delivery is attempted, and attempted again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from wavisor.clock import Clock
from wavisor.storage.deliveries import DisableRule

__all__ = ["DispatchPolicy", "SteadyClock"]

_MINUTE, _HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class DispatchPolicy:
    """The figures of the dispatcher."""

    concurrency: int = 64
    """Requests at the same time; half of them at most to endpoints that fail."""
    per_endpoint: int = 8
    """Requests at the same time to one endpoint; one that fails gets one."""
    delays: tuple[float, ...] = (
        5.0,
        5 * _MINUTE,
        30 * _MINUTE,
        2 * _HOUR,
        5 * _HOUR,
        10 * _HOUR,
        14 * _HOUR,
        20 * _HOUR,
        24 * _HOUR,
    )
    """Seconds from a failed attempt to the next; after the last one the delivery is given up."""
    jitter: float = 0.1
    """By how much of itself a delay varies, so that what failed together does not return so."""
    retry_after_limit: float = 24 * _HOUR
    """The longest wait that a server may ask for, in seconds."""
    rule: DisableRule = field(default_factory=DisableRule)
    memory: int = 2000
    """Deliveries that are held in memory; the others stay in the table until it is their turn."""
    batch: int = 20
    """Deliveries that are read at once for one endpoint and instance."""
    unwritten: int = 500
    """Outcomes that may wait to be written; no attempt begins while there are more."""
    poll_seconds: float = 30.0
    """Pause between two looks into the table that nothing gave cause for."""
    grace_seconds: float = 2.0
    """How long requests in flight may take when the dispatcher stops."""

    def delay(
        self, attempts: int, retry_after: float | None, rng: random.Random
    ) -> timedelta | None:
        """Return how long to wait after so many failed attempts; None to give up.

        Args:
            attempts: how many there were, at least 1.
            retry_after: seconds that the server asks for.
            rng: for the jitter.
        """
        if attempts > len(self.delays):
            return None
        seconds = self.delays[attempts - 1] * (1 + self.jitter * (2 * rng.random() - 1))
        if retry_after is not None:
            seconds = max(seconds, min(retry_after, self.retry_after_limit))
        return timedelta(seconds=seconds)

    @property
    def longest(self) -> timedelta:
        """The longest wait that there can be."""
        return timedelta(seconds=max((*self.delays, self.retry_after_limit)) * (1 + self.jitter))


class SteadyClock:
    """The wall clock as it would be had nobody set it since the start.

    Waits are reckoned by it, so that a clock that jumps neither holds deliveries back nor makes
    all of them due at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start = clock.now()
        self._started = clock.monotonic()

    def now(self) -> datetime:
        """Return that time."""
        return self._start + timedelta(seconds=self._clock.monotonic() - self._started)
