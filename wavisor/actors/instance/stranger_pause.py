"""Holds an instance's queue back for strangers while WhatsApp lets it begin no conversations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from wavisor.actors.instance.messages import QueuePause
from wavisor.actors.instance.pacing import Pacer
from wavisor.actors.instance.settlement import Settlement
from wavisor.actors.instance.timers import NamedTimers
from wavisor.clock import Clock

__all__ = ["QUEUE_RESUME", "StrangerPause"]

QUEUE_RESUME = "queue_resume"

log = structlog.get_logger(__name__)

_LONGEST_TIMER = 86_400.0


class StrangerPause:
    """The pause of one instance; used only in its actor's thread.

    Args:
        instance_id: whose queue.
        pacer: lets nobody new be written to meanwhile.
        settlement: writes the pause down and tells of it.
        timers: the queue's own.
        clock: what time it is.
        on_over: called when strangers may be written to again.

    ``on_changed`` is told of a pause, and None when it is over.
    """

    def __init__(
        self,
        instance_id: str,
        *,
        pacer: Pacer,
        settlement: Settlement,
        timers: NamedTimers,
        clock: Clock,
        on_over: Callable[[], None],
    ) -> None:
        self._instance_id = instance_id
        self._pacer = pacer
        self._settlement = settlement
        self._timers = timers
        self._clock = clock
        self._on_over = on_over
        self._pause: QueuePause | None = None
        self.on_changed: Callable[[QueuePause | None], None] = lambda pause: None

    def begin(self, until: datetime, reason: str) -> None:
        """Write to nobody new before a time, and say so."""
        self.restore(until, reason)
        self._settlement.hold_queue(until, reason)

    def restore(self, until: datetime, reason: str) -> None:
        """Go on with a pause that was written down."""
        self._pause = QueuePause(until, reason)
        self.on_changed(self._pause)
        self._pacer.stop_strangers(until)
        log.warning("queue held back for new contacts", instance=self._instance_id, reason=reason)
        self._await_end()

    def on_tick(self) -> None:
        """Act on :data:`QUEUE_RESUME`."""
        if self._pause is not None and self._pause.until > self._clock.now():
            self._await_end()
            return
        self.end()

    def end(self) -> None:
        """Let strangers be written to again, if they could not."""
        if self._pause is None:
            return
        self._pause = None
        self.on_changed(None)
        self._timers.cancel(QUEUE_RESUME)
        self._pacer.stop_strangers(None)
        self._settlement.hold_queue(None, None)
        self._on_over()

    def _await_end(self) -> None:
        if self._pause is not None:
            wait = (self._pause.until - self._clock.now()).total_seconds()
            self._timers.set(QUEUE_RESUME, min(_LONGEST_TIMER, max(0.0, wait)))
