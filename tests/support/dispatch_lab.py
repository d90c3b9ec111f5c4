"""A dispatcher on a real database and real sockets, in time that a test moves by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from support.manual_clock import ManualClock
from support.tenants import new_instance, new_scope
from wavisor.connector import Connector
from wavisor.netguard import TargetRule
from wavisor.storage import (
    Attempt,
    Database,
    DeliveryRecord,
    EndpointRecord,
    EventRecord,
    InstanceRecord,
    NewEndpoint,
    NewEvent,
    Scope,
    delivery_log,
    events,
    webhooks,
)
from wavisor.webhooks import Courier, Dispatcher, DispatchPolicy, new_secret

WAIT = 60.0


@dataclass
class DispatchLab:
    """Started by ``async with``; a test then stores events and looks at what arrives."""

    database: Database
    clock: ManualClock
    policy: DispatchPolicy = field(default_factory=DispatchPolicy)
    seconds: float = 5.0
    rule: TargetRule = field(default_factory=lambda: TargetRule(allow_private=True))
    connector: Connector | None = None
    attempts: list[Attempt] = field(default_factory=list)
    published: list[EventRecord] = field(default_factory=list)
    backlog: int = -1

    def __post_init__(self) -> None:
        self.scope: Scope = new_scope(self.database)
        self.instance: InstanceRecord = new_instance(self.database, self.scope)

    async def __aenter__(self) -> DispatchLab:
        self._written = asyncio.Condition()
        self._notices: set[asyncio.Task[None]] = set()
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await asyncio.gather(*self._notices)

    def start(self) -> None:
        self.dispatcher = Dispatcher(
            self.database,
            Courier(self.connector or Connector(self.rule), seconds=self.seconds),
            self.policy,
            clock=self.clock,
            timers=self.clock,
            rng=random.Random(1),
            publish=self._publish,
            observer=self,
        )
        self._task = asyncio.create_task(self.dispatcher.run())

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def die(self) -> None:
        """End as by a kill: nothing that is known is written any more."""
        self.dispatcher._ledger._waiting.clear()
        self.dispatcher._stopping = True

    # As an observer

    def on_attempt(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        task = asyncio.create_task(self._notify())
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    def on_backlog(self, pending: int) -> None:
        self.backlog = pending

    def _publish(self, records: tuple[EventRecord, ...]) -> None:
        self.published.extend(records)
        self.dispatcher.ring()

    async def _notify(self) -> None:
        async with self._written:
            self._written.notify_all()

    # For tests

    async def written(self, count: int) -> list[Attempt]:
        """The attempts that are written down, once there are so many."""
        async with self._written, asyncio.timeout(WAIT):
            await self._written.wait_for(lambda: len(self.attempts) >= count)
        return self.attempts

    async def pass_until(self, reached: Callable[[], bool], step: float) -> None:
        """Let time pass in steps, each when nothing more comes of the last, until something is."""
        async with asyncio.timeout(WAIT):
            while not reached():
                self.clock.advance(step)
                before = len(self.attempts)
                with suppress(TimeoutError):
                    async with self._written, asyncio.timeout(0.1):
                        await self._written.wait_for(lambda: len(self.attempts) > before)  # noqa: B023
                # Time stands still while something is on its way, however slow the disk is.
                while self.dispatcher.busy:  # noqa: ASYNC110 - it tells nobody when it is not
                    await asyncio.sleep(0.01)

    async def endpoint(self, url: str, *patterns: str, **more: Any) -> EndpointRecord:
        new = NewEndpoint(url=url, secret=new_secret(), events=patterns or ("*",), **more)
        return await self.database.commit(webhooks.create, self.scope, new)

    async def event(
        self, count: int = 1, instance: InstanceRecord | None = None, data: Any = None
    ) -> list[EventRecord]:
        """Store events and ring, as the bus does."""
        fresh = [NewEvent("message:sent", data or {"n": number}) for number in range(count)]
        target = instance or self.instance
        records = await self.database.commit(events.append, target.id, fresh)
        self.dispatcher.ring()
        return records

    async def log(self, endpoint: EndpointRecord) -> list[DeliveryRecord]:
        """The endpoint's deliveries, oldest first."""
        page = await self.database.fetch(
            delivery_log.list_page, self.scope, endpoint.id, limit=1000
        )
        return list(reversed(page.items))

    async def advance(self, seconds: float) -> None:
        """Let time pass, and what became due begin."""
        self.clock.advance(seconds)
        await asyncio.sleep(0)
