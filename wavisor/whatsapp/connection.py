"""Whether a session is logged in, and waiting for the end of that. Runs in session processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Connection"]


class Connection:
    """The state of a session's connection, as its events told. Usable from any thread.

    Args:
        now: seconds on a monotonic clock.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._connected = False
        self._ending = False

    @property
    def connected(self) -> bool:
        """Whether the session is logged in."""
        return self._connected

    def gain(self) -> None:
        """Note that WhatsApp let this session in."""
        self._set(connected=True)

    def lose(self) -> None:
        """Note that the connection is gone."""
        self._set(connected=False)

    def end(self) -> None:
        """Note that the session is being ended: nobody is to begin or wait for anything."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def stays(self, seconds: float) -> bool:
        """Wait for so long, and tell at once if the connection is lost or to be ended."""
        with self._changed:
            return not self._changed.wait_for(
                lambda: self._ending or not self._connected, max(seconds, 0.0)
            )

    def _set(self, *, connected: bool) -> None:
        with self._changed:
            self._connected = connected
            self._changed.notify_all()
