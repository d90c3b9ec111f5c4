"""Which phone numbers are on WhatsApp, remembered for a while. Runs in session processes.

Asking WhatsApp about numbers is rationed and, done too often, gets accounts banned.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Registrations"]

REGISTERED_FOR = 24 * 3600.0
UNREGISTERED_FOR = 300.0
"""Shorter: people who are told "no account" install WhatsApp and are tried again."""


class Registrations:
    """A bounded cache in front of a question that is expensive to ask.

    Args:
        ask: tells whether a number is registered; may block, and raises when it cannot tell,
            which is not remembered.
        capacity: numbers remembered; the least recently used one is forgotten first.
        now: seconds on a monotonic clock.
    """

    def __init__(
        self,
        ask: Callable[[str], bool],
        capacity: int = 4096,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._capacity = capacity
        self._now = now
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, number: str) -> bool:
        """Tell whether ``number`` (digits without ``+``) is on WhatsApp."""
        with self._lock:
            remembered = self._known.get(number)
            if remembered is not None and remembered[1] > self._now():
                self._known.move_to_end(number)
                return remembered[0]
        registered = self._ask(number)
        lifetime = REGISTERED_FOR if registered else UNREGISTERED_FOR
        with self._lock:
            self._known[number] = registered, self._now() + lifetime
            self._known.move_to_end(number)
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)
        return registered
