"""Keeps the delivery of webhooks going."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from wavisor.actors.event_bus import EventHub
from wavisor.actors.loop_job import LoopJob
from wavisor.actors.supervisor import ChildContext, ExitReason
from wavisor.storage import EventRecord
from wavisor.webhooks.doorbell import Doorbell

__all__ = ["Deliveries", "WebhookDispatcher"]


class Deliveries(Protocol):
    """One run of deliveries; a :class:`~wavisor.webhooks.Dispatcher`."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Deliver until cancelled."""
        ...

    def ring(self, endpoint_id: str | None = None) -> None:
        """Hear that there is something to do."""
        ...


class WebhookDispatcher(LoopJob):
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
        super().__init__(context, loop, "delivery of webhooks")
        self._make = make
        self._doorbell = doorbell
        self._hub = hub
        self._detach: list[Callable[[], None]] = []
        self._current: Deliveries | None = None

    async def work(self) -> None:
        """Deliver until cancelled."""
        self._current = self._make()
        await self._current.run()

    def on_start(self) -> None:
        """Begin to deliver."""
        self._detach = [self._doorbell.attach(self._ring), self._hub.subscribe(self._on_event)]
        super().on_start()

    def on_exit(self, reason: ExitReason) -> None:
        """End the run; requests in flight get a short grace."""
        for detach in self._detach:
            detach()
        super().on_exit(reason)

    def _on_event(self, record: EventRecord) -> None:
        if record.awaited:
            self._ring(None)

    def _ring(self, endpoint_id: str | None) -> None:
        current = self._current
        if current is not None:
            current.ring(endpoint_id)
