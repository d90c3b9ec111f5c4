"""When to try again after a drop: full-jitter exponential backoff, the first try at once."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["ReconnectBackoff", "ReconnectPolicy"]


@dataclass(frozen=True)
class ReconnectPolicy:
    """Bounds of the wait before each try, in seconds.

    The wait before the second and later tries is drawn evenly from nothing to
    ``min(maximum, initial * 2**n)``. ``maximum`` bounds how long after the return of the network
    an instance is still waiting, so it must stay well under the reconnection target of 30 s.
    """

    initial: float = 1.0
    maximum: float = 8.0


class ReconnectBackoff:
    """The tries since one drop.

    Args:
        policy: bounds of the waits.
        rng: source of the jitter.
    """

    def __init__(self, policy: ReconnectPolicy, rng: random.Random) -> None:
        self._policy = policy
        self._rng = rng
        self.attempt = 0

    def next_delay(self) -> float:
        """Count one more try and return how many seconds to wait before it."""
        self.attempt += 1
        if self.attempt == 1:
            return 0.0
        # The exponent is capped because a float overflows after a thousand failed tries.
        exponent = min(self.attempt - 2, 30)
        ceiling = min(self._policy.maximum, self._policy.initial * 2**exponent)
        return self._rng.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Forget the tries: the instance is connected, or no longer wanted."""
        self.attempt = 0
