"""Named timers of one actor: setting one again replaces it, and a stale tick is recognised."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from wavisor.actors.instance.messages import Tick
from wavisor.clock import Timer, Timers

__all__ = ["NamedTimers", "TimerName"]


class TimerName:
    """The names of the timers of an instance's session, from its start to its end."""

    RESTORE = "restore"
    RETRY = "retry"
    NETWORK_UP = "network_up"
    NETWORK_DOWN = "network_down"
    NETWORK_SILENT = "network_silent"
    SLOT = "slot"
    SLOT_OVERDUE = "slot_overdue"
    CONNECT = "connect"
    PAIRING = "pairing"
    QR = "qr"
    GRACE = "grace"
    EXIT = "exit"


class NamedTimers:
    """The running timers of one actor; used only in that actor's thread.

    Args:
        timers: what runs them.
        post: puts a :class:`Tick` into the actor's inbox; must not raise.
    """

    def __init__(self, timers: Timers, post: Callable[[Tick], None]) -> None:
        self._timers = timers
        self._post = post
        self._running: dict[str, tuple[int, Timer | None]] = {}
        self._tokens = itertools.count(1)

    def set(self, name: str, delay: float, payload: Any = None) -> None:
        """Let a :class:`Tick` of this name arrive in ``delay`` s; an earlier one is cancelled."""
        self.cancel(name)
        tick = Tick(name=name, token=next(self._tokens), payload=payload)
        self._running[name] = (tick.token, self._timers.call_later(delay, lambda: self._post(tick)))

    def expect(self, name: str) -> Callable[[], None]:
        """Return what, called once from any thread, makes a :class:`Tick` of this name arrive.

        For things that are granted rather than due; cancelled like any timer.
        """
        self.cancel(name)
        tick = Tick(name=name, token=next(self._tokens))
        self._running[name] = (tick.token, None)
        return lambda: self._post(tick)

    def cancel(self, name: str) -> None:
        """Take a timer back; harmless when it does not run."""
        running = self._running.pop(name, None)
        if running is not None and running[1] is not None:
            running[1].cancel()

    def cancel_all(self) -> None:
        """Take every timer back."""
        for name in list(self._running):
            self.cancel(name)

    def accept(self, tick: Tick) -> bool:
        """Tell whether the tick is of a timer that still stands, and forget that timer.

        A tick can be in the inbox already when its timer is cancelled or set anew.
        """
        running = self._running.get(tick.name)
        if running is None or running[0] != tick.token:
            return False
        del self._running[tick.name]
        return True
