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
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import structlog

from wavisor.clock import Clock, Timer, Timers
from wavisor.domain import DeliveryStatus
from wavisor.storage import (
    Attempt,
    Database,
    EndpointRecord,
    EventRecord,
    Parcel,
    Settled,
    StorageError,
    StreamKey,
    deliveries,
)
from wavisor.webhooks.courier import Outcome, Verdict
from wavisor.webhooks.lanes import Lane, Lanes, Retries, Stream
from wavisor.webhooks.ledger import Ledger
from wavisor.webhooks.payload import body_of
from wavisor.webhooks.schedule import DispatchPolicy, SteadyClock
from wavisor.webhooks.signing import signed_headers

__all__ = ["Carrier", "DispatchObserver", "DispatchPolicy", "Dispatcher"]

log = structlog.get_logger(__name__)

_PAGE = 200
_ENDPOINTS_AT_ONCE = 500
_PAUSE_SECONDS = 1.0
_SOON = 0.25
"""The shortest pause between two looks for what is due, in seconds."""


class Carrier(Protocol):
    """Makes requests; a :class:`~wavisor.webhooks.courier.Courier`."""

    async def post(
        self, endpoint_id: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Outcome:
        """Make one; raise nothing that a server could cause."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class DispatchObserver(Protocol):
    """Is told what happens, for metrics. Called on the loop: be quick."""

    def on_attempt(self, attempt: Attempt) -> None:
        """Note how an attempt went, once it is written down."""
        ...

    def on_backlog(self, pending: int) -> None:
        """Note how many deliveries wait."""
        ...


@dataclass(frozen=True)
class _News:
    """What was read from the table at one moment."""

    endpoints: dict[str, EndpointRecord]
    parcels: list[Parcel]
    streams: list[StreamKey]
    position: int = 0


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
        self._database = database
        self._carrier = carrier
        self._policy = policy
        self._clock = clock
        self._steady = SteadyClock(clock)
        self._timers = timers
        self._rng = rng
        self._publish = publish
        self._observer = observer
        self._lanes = Lanes(policy)
        self._ledger = Ledger(database, policy.rule, self._on_written)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._rung = False
        self._changed: deque[str] = deque()
        self._position = 0
        self._scan_at = self._count_at = self._steady.now()
        self._timer: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._stopping = False

    async def run(self) -> None:
        """Deliver until cancelled.

        Raises:
            Exception: a mistake in here; whoever runs this begins again with a new one.
        """
        self._loop = asyncio.get_running_loop()
        writer = asyncio.create_task(self._ledger.run())
        writer.add_done_callback(self._on_task_done)
        try:
            while not await self._patiently(self._recover):
                pass
            while self._failure is None:
                if await self._patiently(self._look):
                    self._pump()
                    await self._woken.wait()
            raise self._failure
        finally:
            await self._stop(writer)

    @property
    def busy(self) -> bool:
        """Whether something is being delivered, or has been and is not written down yet."""
        return bool(self._tasks) or len(self._ledger) > 0

    def ring(self, endpoint_id: str | None = None) -> None:
        """Hear of new deliveries, or of a change of an endpoint. Thread-safe."""
        if endpoint_id is not None:
            self._changed.append(endpoint_id)
        elif self._rung:
            return
        self._rung = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody delivers any more
                self._loop.call_soon_threadsafe(self._woken.set)

    # Reading

    async def _patiently(self, step: Callable[[], object]) -> bool:
        """Take a step, after a pause if the database is away; tell whether it was taken."""
        try:
            await step()  # type: ignore[misc]  # they are all coroutine functions
        except StorageError as error:
            log.warning("deliveries of webhooks could not be read", error=str(error))
            await asyncio.sleep(_PAUSE_SECONDS)
            return False
        return True

    async def _recover(self) -> None:
        """Find what earlier runs have left."""
        latest = self._steady.now() + self._policy.longest
        await self._database.commit(deliveries.pull_in, latest)
        news = await self._database.fetch(_read_streams, None)
        self._position = news.position
        self._take_streams(news)
        self._scan_at = self._steady.now()

    async def _look(self) -> None:
        """Read what is new, changed or due."""
        self._woken.clear()
        while self._changed:
            # Taken off only when it was read, so that a failure forgets nothing.
            await self._refresh(self._changed[0])
            self._changed.popleft()
        if self._rung:
            self._rung = False
            try:
                await self._read_new()
            except StorageError:
                self._rung = True
                raise
        if self._steady.now() >= self._scan_at:
            await self._scan()
        self._set_timer()

    async def _refresh(self, endpoint_id: str) -> None:
        news = await self._database.fetch(_read_streams, endpoint_id)
        lane = self._lanes.find(endpoint_id)
        if lane is not None and endpoint_id not in news.endpoints:
            found = await self._database.fetch(_endpoints, [endpoint_id])
            if endpoint_id in found:
                self._lanes.update(found[endpoint_id])
            else:
                self._lanes.forget(endpoint_id)
        self._take_streams(news)
        self._scan_at = self._steady.now()

    async def _read_new(self) -> None:
        while True:
            news = await self._database.fetch(_read_new, self._position, _PAGE)
            room = self._policy.memory - self._lanes.held
            for parcel in news.parcels:
                self._position = max(self._position, parcel.position)
                endpoint = news.endpoints.get(parcel.endpoint_id)
                if endpoint is None or not endpoint.enabled or parcel.attempts:
                    continue
                room -= self._take(self._lanes.update(endpoint), parcel, room > 0)
            self._pump()
            if len(news.parcels) < _PAGE:
                return

    def _take(self, lane: Lane, parcel: Parcel, has_room: bool) -> bool:
        """Hold a new delivery, or note that its stream has more than it holds."""
        if parcel.position in lane.held:
            return False
        stream = lane.stream(parcel.instance_id)
        taken = (
            has_room
            and not stream.behind
            and not lane.endpoint.strict_order
            and len(stream.parcels) < self._policy.batch
        )
        if taken:
            stream.parcels.append(parcel)
            lane.held.add(parcel.position)
            lane.offer(stream)
        else:
            lane.fall_behind(stream)
        self._lanes.enqueue(lane)
        return taken

    def _take_streams(self, news: _News) -> None:
        for endpoint_id, instance_id in news.streams:
            lane = self._lanes.update(news.endpoints[endpoint_id])
            lane.fall_behind(lane.stream(instance_id))
            self._lanes.enqueue(lane)

    async def _scan(self) -> None:
        """Find the endpoints for which a retry is due, and when the next one will be."""
        now = self._steady.now()
        # Before anything is read: what becomes due meanwhile is not overwritten.
        self._scan_at = now + timedelta(seconds=self._policy.poll_seconds)
        found, soonest = await self._database.fetch(_read_due, now)
        for endpoint in found:
            if endpoint.strict_order:
                self._take_streams(await self._database.fetch(_read_streams, endpoint.id))
                continue
            lane = self._lanes.update(endpoint)
            lane.fall_behind(lane.retries)
            self._lanes.enqueue(lane)
        if now >= self._count_at:
            self._count_at = now + timedelta(seconds=self._policy.poll_seconds / 2)
            self._observer.on_backlog(await self._database.fetch(deliveries.count_pending))
        if soonest is not None:
            self._due_at(soonest)
        # The doorbell may have been missed, and deliveries are also made by other processes.
        await self._read_new()

    def _due_at(self, moment: datetime) -> None:
        if moment < self._scan_at:
            self._scan_at = moment
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = (self._scan_at - self._steady.now()).total_seconds()
        if delay < -_SOON:
            self._woken.set()  # overdue, as after the machine slept
        delay = max(_SOON, delay)
        loop, woken = self._loop, self._woken

        def wake() -> None:
            if loop is not None:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(woken.set)

        self._timer = self._timers.call_later(delay, wake)

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
            self._woken.set()

    async def _work_stream(self, lane: Lane, stream: Stream) -> None:
        """Attempt the next delivery of a stream."""
        strict = lane.endpoint.strict_order
        if not stream.parcels and stream.behind:
            await self._load(
                lane,
                stream,
                partial(deliveries.read_stream, stream.key, first_only=not strict),
            )
        if not stream.parcels or not lane.endpoint.enabled:
            return
        parcel = stream.parcels.popleft()
        if strict and not self._is_due(parcel):
            # Blocked until then: what is held is given back, and read again when it is due.
            self._give_back(lane, stream, parcel)
            return
        attempt = await self._attempt(lane, parcel)
        written = self._ledger.add(attempt)
        if strict:
            await written
            if attempt.status is DeliveryStatus.PENDING:
                self._give_back(lane, stream)

    async def _work_retries(self, lane: Lane, retries: Retries) -> None:
        """Attempt a delivery that failed before."""
        if not retries.parcels and retries.behind:
            read = partial(deliveries.read_retries, lane.endpoint.id, self._steady.now())
            await self._load(lane, retries, read)
        if not retries.parcels or not lane.endpoint.enabled:
            return
        parcel = retries.parcels.popleft()
        # Retries do not wait for each other.
        retries.busy = False
        lane.offer(retries)
        self._lanes.enqueue(lane)
        self._pump()
        self._ledger.add(await self._attempt(lane, parcel))

    async def _load(
        self, lane: Lane, unit: Stream | Retries, read: Callable[..., list[Parcel]]
    ) -> None:
        limit = self._policy.batch if self._lanes.held < self._policy.memory else 1
        held = frozenset(lane.held)
        unit.stale = False
        try:
            found = await self._database.fetch(_load, read, limit, held, lane.endpoint.id)
        except StorageError:
            await asyncio.sleep(_PAUSE_SECONDS)
            raise
        endpoint = found.endpoints.get(lane.endpoint.id)
        if endpoint is None:
            self._lanes.forget(lane.endpoint.id)
            return
        self._lanes.update(endpoint)
        fresh = [one for one in found.parcels if one.position not in lane.held]
        unit.parcels.extend(fresh)
        lane.held.update(one.position for one in fresh)
        unit.behind = lane.endpoint.enabled and (unit.stale or len(found.parcels) == limit)

    def _give_back(self, lane: Lane, stream: Stream, *more: Parcel) -> None:
        parcels = (*more, *stream.parcels)
        lane.held.difference_update(one.position for one in parcels)
        stream.parcels.clear()
        stream.behind = stream.stale
        for parcel in more:
            if parcel.next_attempt_at is not None:
                self._due_at(parcel.next_attempt_at)

    def _is_due(self, parcel: Parcel) -> bool:
        return parcel.next_attempt_at is None or parcel.next_attempt_at <= self._steady.now()

    async def _attempt(self, lane: Lane, parcel: Parcel) -> Attempt:
        endpoint = lane.endpoint
        body = body_of(parcel.event, parcel.body)
        began = self._clock.monotonic()
        if body is None:
            outcome = Outcome(Verdict.EVENT_GONE)
        else:
            signed = signed_headers(endpoint, parcel.event_id, body, self._clock.now())
            headers = {**endpoint.headers, **signed}
            outcome = await self._carrier.post(endpoint.id, endpoint.url, headers, body)
        seconds = self._clock.monotonic() - began
        attempt = self._judge(parcel, outcome, seconds)
        lane.failing = outcome.verdict is not Verdict.SUCCEEDED
        if attempt.gone:
            # Known here before it is on disk: nothing more is sent meanwhile.
            self._lanes.update(replace(endpoint, enabled=False))
        return attempt

    def _judge(self, parcel: Parcel, outcome: Outcome, seconds: float) -> Attempt:
        now, attempts = self._steady.now(), parcel.attempts + 1
        status, next_at = DeliveryStatus.SUCCEEDED, None
        if outcome.verdict is not Verdict.SUCCEEDED:
            status = DeliveryStatus.FAILED
            if outcome.verdict not in (Verdict.GONE, Verdict.EVENT_GONE):
                delay = self._policy.delay(attempts, outcome.retry_after, self._rng)
                if delay is not None:
                    status, next_at = DeliveryStatus.PENDING, now + delay
        return Attempt(
            position=parcel.position,
            endpoint_id=parcel.endpoint_id,
            instance_id=parcel.instance_id,
            attempts=attempts,
            at=now,
            status=status,
            next_attempt_at=next_at,
            response_status=outcome.status,
            response_excerpt=outcome.excerpt,
            error=None if status is DeliveryStatus.SUCCEEDED else outcome.verdict.value,
            latency_ms=round(seconds * 1000),
            age=max(0.0, (now - parcel.created_at).total_seconds()),
            gone=outcome.verdict is Verdict.GONE,
        )

    # Settling

    def _on_written(self, attempts: list[Attempt], settled: Settled) -> None:
        for attempt in attempts:
            self._observer.on_attempt(attempt)
            lane = self._lanes.find(attempt.endpoint_id)
            if lane is not None:
                lane.held.discard(attempt.position)
                self._lanes.tidy(lane)
            if attempt.next_attempt_at is not None:
                self._due_at(attempt.next_attempt_at)
        for endpoint in settled.endpoints:
            if self._lanes.find(endpoint.id) is not None:
                self._lanes.tidy(self._lanes.update(endpoint))
        if settled.events:
            self._publish(settled.events)
        self._pump()

    async def _stop(self, writer: asyncio.Task[None]) -> None:
        """Let requests in flight end, within their grace, and write down what is known."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
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


def _endpoints(ids: Collection[str]) -> dict[str, EndpointRecord]:
    found: dict[str, EndpointRecord] = {}
    wanted = sorted(ids)
    for start in range(0, len(wanted), _ENDPOINTS_AT_ONCE):
        portion = wanted[start : start + _ENDPOINTS_AT_ONCE]
        found |= {one.id: one for one in deliveries.find_endpoints(portion)}
    return found


def _news(parcels: list[Parcel], more: Iterable[str] = ()) -> _News:
    ids = {one.endpoint_id for one in parcels} | set(more)
    return _News(_endpoints(ids) if ids else {}, parcels, [])


def _read_new(after: int, limit: int) -> _News:
    return _news(deliveries.read_new(after, limit=limit))


def _read_streams(endpoint_id: str | None) -> _News:
    position, streams = deliveries.pending_streams(endpoint_id)
    return _News(_endpoints({endpoint for endpoint, _ in streams}), [], streams, position)


def _read_due(now: datetime) -> tuple[list[EndpointRecord], datetime | None]:
    due = deliveries.due_endpoints(now)
    endpoints = list(_endpoints(due).values()) if due else []
    return endpoints, deliveries.next_due(now)


def _load(
    read: Callable[..., list[Parcel]], limit: int, held: frozenset[int], endpoint_id: str
) -> _News:
    return _news(read(limit=limit, held=held), [endpoint_id])
