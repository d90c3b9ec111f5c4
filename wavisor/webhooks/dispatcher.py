"""Takes deliveries from the table, has each attempted in its order, and settles them there.

The table is the truth: what is in memory is a part of it, read when its turn has come. A rung
doorbell only says that it is worth looking; a process that dies loses nothing, and repeats at most
what it had not written down, with the same id and the same body.

Within a stream (an endpoint and an instance) first attempts go one after the other. With strict
order a later delivery waits until the one before it is settled; otherwise what failed is attempted
again beside the others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol

import structlog

from wavisor.clock import Clock, Timers
from wavisor.domain import DeliveryStatus
from wavisor.storage import (
    Attempt,
    Database,
    EventRecord,
    Parcel,
    Settled,
    StorageError,
    deliveries,
)
from wavisor.webhooks.attempts import Attempts, Carrier
from wavisor.webhooks.intake import PAUSE_SECONDS, Intake
from wavisor.webhooks.lanes import Lane, Lanes, Retries, Stream
from wavisor.webhooks.ledger import Ledger
from wavisor.webhooks.schedule import DispatchPolicy, SteadyClock

__all__ = ["DispatchObserver", "DispatchPolicy", "Dispatcher"]

log = structlog.get_logger(__name__)


class DispatchObserver(Protocol):
    """Is told what happens, for metrics. Called on the loop: be quick."""

    def on_attempt(self, attempt: Attempt) -> None:
        """Note how an attempt went, once it is written down."""
        ...

    def on_backlog(self, pending: int) -> None:
        """Note how many deliveries wait."""
        ...


class Dispatcher:
    """One run of deliveries, on one event loop; made anew to begin again.

    Args:
        database: where deliveries are.
        carrier: makes the requests; closed at the end.
        policy: the figures.
        clock: for the time.
        timers: for what is due later.
        rng: for the jitter.
        publish: tells events that were written here.
        observer: for metrics.
    """

    def __init__(
        self,
        database: Database,
        carrier: Carrier,
        policy: DispatchPolicy,
        *,
        clock: Clock,
        timers: Timers,
        rng: random.Random,
        publish: Callable[[tuple[EventRecord, ...]], None],
        observer: DispatchObserver,
    ) -> None:
        self._carrier = carrier
        self._policy = policy
        self._steady = SteadyClock(clock)
        self._publish = publish
        self._observer = observer
        self._lanes = Lanes(policy)
        self._intake = Intake(
            database,
            self._lanes,
            policy,
            steady=self._steady,
            timers=timers,
            on_found=self._pump,
            on_backlog=observer.on_backlog,
        )
        self._attempts = Attempts(carrier, policy, clock=clock, steady=self._steady, rng=rng)
        self._ledger = Ledger(database, policy.rule, self._on_written)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._stopping = False

    async def run(self) -> None:
        """Deliver until cancelled.

        Raises:
            Exception: a mistake in here; whoever runs this begins again with a new one.
        """
        self._intake.open()
        writer = asyncio.create_task(self._ledger.run())
        writer.add_done_callback(self._on_task_done)
        try:
            while not await self._patiently(self._intake.recover):
                pass
            while self._failure is None:
                if await self._patiently(self._intake.look):
                    self._pump()
                    await self._intake.wait()
            raise self._failure
        finally:
            await self._stop(writer)

    @property
    def busy(self) -> bool:
        """Whether something is being delivered, or has been and is not written down yet."""
        return bool(self._tasks) or len(self._ledger) > 0

    def ring(self, endpoint_id: str | None = None) -> None:
        """Hear of new deliveries, or of a change of an endpoint. Thread-safe."""
        self._intake.ring(endpoint_id)

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> bool:
        """Take a step, after a pause if the database is away; tell whether it was taken."""
        try:
            await step()
        except StorageError as error:
            log.warning("deliveries of webhooks could not be read", error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)
            return False
        return True

    # Sending

    def _pump(self) -> None:
        """Begin what may begin."""
        while not self._stopping and len(self._ledger) < self._policy.unwritten:
            turn = self._lanes.next_turn()
            if turn is None:
                return
            lane, unit = turn
            work = self._work_stream if isinstance(unit, Stream) else self._work_retries
            task = asyncio.create_task(work(lane, unit))  # type: ignore[arg-type]
            self._tasks.add(task)
            task.add_done_callback(partial(self._on_turn_done, lane, unit, lane.failing))

    def _on_turn_done(
        self, lane: Lane, unit: Stream | Retries, was_failing: bool, task: asyncio.Task[None]
    ) -> None:
        unit.busy = False
        lane.offer(unit)
        self._lanes.end_turn(lane, was_failing=was_failing)
        self._lanes.tidy(lane)
        self._tasks.discard(task)
        self._on_task_done(task)
        self._pump()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StorageError):
            # The table still has it; the next look finds it again.
            log.warning("deliveries of webhooks could not be read", error=str(error))
        elif error is not None:
            self._failure = error
            self._intake.wake()

    async def _work_stream(self, lane: Lane, stream: Stream) -> None:
        """Attempt the next delivery of a stream."""
        strict = lane.endpoint.strict_order
        if not stream.parcels and stream.behind:
            await self._intake.load(
                lane,
                stream,
                partial(deliveries.read_stream, stream.key, first_only=not strict),
            )
        if not stream.parcels or not lane.endpoint.enabled:
            return
        parcel = stream.parcels.popleft()
        if strict and not self._is_due(parcel):
            # Blocked until then: what is held is given back, and read again when it is due.
            self._intake.give_back(lane, stream, parcel)
            return
        attempt = await self._attempt(lane, parcel)
        written = self._ledger.add(attempt)
        if strict:
            await written
            if attempt.status is DeliveryStatus.PENDING:
                self._intake.give_back(lane, stream)

    async def _work_retries(self, lane: Lane, retries: Retries) -> None:
        """Attempt a delivery that failed before."""
        if not retries.parcels and retries.behind:
            read = partial(deliveries.read_retries, lane.endpoint.id, self._steady.now())
            await self._intake.load(lane, retries, read)
        if not retries.parcels or not lane.endpoint.enabled:
            return
        parcel = retries.parcels.popleft()
        # Retries do not wait for each other.
        retries.busy = False
        lane.offer(retries)
        self._lanes.enqueue(lane)
        self._pump()
        self._ledger.add(await self._attempt(lane, parcel))

    def _is_due(self, parcel: Parcel) -> bool:
        return parcel.next_attempt_at is None or parcel.next_attempt_at <= self._steady.now()

    async def _attempt(self, lane: Lane, parcel: Parcel) -> Attempt:
        endpoint = lane.endpoint
        attempt = await self._attempts.make(endpoint, parcel)
        lane.failing = attempt.status is not DeliveryStatus.SUCCEEDED
        if attempt.gone:
            # Known here before it is on disk: nothing more is sent meanwhile.
            self._lanes.update(replace(endpoint, enabled=False))
        return attempt

    # Settling

    def _on_written(self, attempts: list[Attempt], settled: Settled) -> None:
        for attempt in attempts:
            self._observer.on_attempt(attempt)
            lane = self._lanes.find(attempt.endpoint_id)
            if lane is not None:
                lane.held.discard(attempt.position)
                self._lanes.tidy(lane)
            if attempt.next_attempt_at is not None:
                self._intake.due_at(attempt.next_attempt_at)
        for endpoint in settled.endpoints:
            if self._lanes.find(endpoint.id) is not None:
                self._lanes.tidy(self._lanes.update(endpoint))
        if settled.events:
            self._publish(settled.events)
        self._pump()

    async def _stop(self, writer: asyncio.Task[None]) -> None:
        """Let requests in flight end, within their grace, and write down what is known."""
        self._stopping = True
        self._intake.close()
        tasks = set(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._policy.grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        self._carrier.close()
        with suppress(StorageError):
            await self._ledger.flush()
