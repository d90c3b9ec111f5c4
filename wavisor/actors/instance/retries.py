"""Which failed sends are worth another try, and when."""

from __future__ import annotations

import random
from dataclasses import dataclass

from wavisor.whatsapp.events import Failure

__all__ = ["RetryPolicy", "is_transient"]

_TRANSIENT = frozenset(
    {"timeout", "rate_limited", "reach_out_timelock", "internal", "upload_failed", "busy"}
)


def is_transient(failure: Failure) -> bool:
    """Tell whether the same message may well go through later.

    What may have arrived all the same is not: it could then arrive twice.
    """
    return not failure.uncertain and failure.reason in _TRANSIENT


@dataclass(frozen=True)
class RetryPolicy:
    """How often a message is tried, with ever longer waits between."""

    attempts: int = 4
    """At most, the first one included."""
    initial: float = 5.0
    """Seconds after the first failure, on average."""
    factor: float = 4.0
    maximum: float = 300.0

    def delay(self, attempts: int, rng: random.Random) -> float | None:
        """Return the seconds until the next try; None when there is none.

        Args:
            attempts: how many were made.
            rng: spreads the tries of many messages that failed together.
        """
        if attempts >= self.attempts:
            return None
        wait = min(self.maximum, self.initial * self.factor ** max(0, attempts - 1))
        return wait * rng.uniform(0.75, 1.25)
