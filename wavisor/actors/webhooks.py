"""Keeps the delivery of webhooks going.

The work is done on the event loop. Should it end by a mistake, it is begun anew after a pause, by
this actor: the root would restart all instances along with it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from wavisor.actors.ask import tell
from wavisor.actors.event_bus import EventHub
from wavisor.actors.supervisor import ChildContext, ExitReason, SupervisedActor
from wavisor.storage import EventRecord
from wavisor.webhooks.doorbell import Doorbell

__all__ = ["Deliveries", "WebhookDispatcher"]

log = structlog.get_logger(__name__)

_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
_STOP_SECONDS = 4.0
_CALM_SECONDS = 300.0


class Deliveries(Protocol):
    """One run of deliveries; a :class:`~wavisor.webhooks.Dispatcher`."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Deliver until cancelled."""
        ...

    def ring(self, endpoint_id: str | None = None) -> None:
        """Hear that there is something to do."""
        ...


@dataclass(frozen=True)
class _Ended:
    """The run of this number is over."""

    number: int
    error: BaseException | None


@dataclass(frozen=True)
class _Begin:
    """It is time to begin anew."""


class WebhookDispatcher(SupervisedActor):
    """Runs deliveries on the loop while it lives.

    Args:
        context: from the root.
        loop: where they run.
        make: returns a new run; called on the loop.
        doorbell: rung by whoever changes endpoints or asks for deliveries.
        hub: for the events that somebody is to be told of.
    """

    def __init__(
        self,
        context: ChildContext,
        loop: asyncio.AbstractEventLoop,
        make: Callable[[], Deliveries],
        doorbell: Doorbell,
        hub: EventHub,
    ) -> None:
        super().__init__(context)
        self._env = context.environment
        self._loop = loop
        self._make = make
        self._doorbell = doorbell
        self._hub = hub
        self._runs = 0
        self._failures = 0
        self._began_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._detach: list[Callable[[], None]] = []
        self._current: Deliveries | None = None

    def on_start(self) -> None:
        """Begin to deliver."""
        self._detach = [self._doorbell.attach(self._ring), self._hub.subscribe(self._on_event)]
        self._start_run()

    def handle(self, message: Any) -> Any:
        """Begin anew after a failure."""
        match message:
            case _Ended(number=number, error=error) if number == self._runs:
                self._begin_later(error)
            case _Ended():
                pass
            case _Begin():
                self._start_run()
            case _:
                return super().handle(message)
        return None

    def on_exit(self, reason: ExitReason) -> None:
        """End the run; requests in flight get a short grace."""
        for detach in self._detach:
            detach()
        stopped = asyncio.run_coroutine_threadsafe(self._stop_run(), self._loop)
        concurrent.futures.wait([stopped], _STOP_SECONDS)

    def _start_run(self) -> None:
        self._runs += 1
        self._began_at = self._env.clock.monotonic()
        number, ref = self._runs, self.actor_ref
        running = asyncio.run_coroutine_threadsafe(self._run(), self._loop)

        def report(done: concurrent.futures.Future[None]) -> None:
            error = None if done.cancelled() else done.exception()
            tell(ref, _Ended(number, error))

        running.add_done_callback(report)

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        self._current = self._make()
        await self._current.run()

    def _begin_later(self, error: BaseException | None) -> None:
        if self._env.clock.monotonic() - self._began_at > _CALM_SECONDS:
            self._failures = 0
        pause = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1
        log.error("delivery of webhooks ended; it begins anew", seconds=pause, exc_info=error)
        ref = self.actor_ref

        def begin() -> None:
            tell(ref, _Begin())

        self._env.timers.call_later(pause, begin)

    def _on_event(self, record: EventRecord) -> None:
        if record.awaited:
            self._ring(None)

    def _ring(self, endpoint_id: str | None) -> None:
        current = self._current
        if current is not None:
            current.ring(endpoint_id)

    async def _stop_run(self) -> None:
        self._runs += 1  # nothing that ends from now on is begun anew
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
