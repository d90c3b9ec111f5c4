"""Reads deliveries from the table to the lanes: what is new, changed, due, or next in a stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from wavisor.clock import Timer, Timers
from wavisor.storage import Database, Parcel, StorageError, deliveries
from wavisor.webhooks.lanes import Lane, Lanes, Retries, Stream
from wavisor.webhooks.news import (
    News,
    find_endpoints,
    read_due,
    read_new,
    read_streams,
    read_unit,
)
from wavisor.webhooks.schedule import DispatchPolicy, SteadyClock

__all__ = ["PAUSE_SECONDS", "Intake"]

PAUSE_SECONDS = 1.0
"""Before the table is asked again when it could not be read."""
_PAGE = 200
_SOON = 0.25
"""The shortest pause between two looks for what is due, in seconds."""


class Intake:
    """Knows when to look into the table, and up to where it has been read.

    All but :meth:`ring` belongs to the loop.

    Args:
        database: where deliveries are.
        lanes: take what is read.
        policy: the figures.
        steady: for the time.
        timers: for what is due later.
        on_found: called after each page of what is new, so that it begins at once.
        on_backlog: told now and then how many deliveries wait.
    """

    def __init__(
        self,
        database: Database,
        lanes: Lanes,
        policy: DispatchPolicy,
        *,
        steady: SteadyClock,
        timers: Timers,
        on_found: Callable[[], None],
        on_backlog: Callable[[int], None],
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._policy = policy
        self._steady = steady
        self._timers = timers
        self._on_found = on_found
        self._on_backlog = on_backlog
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._rung = False
        self._changed: deque[str] = deque()
        self._position = 0
        self._scan_at = self._count_at = steady.now()
        self._timer: Timer | None = None

    def open(self) -> None:
        """Belong to the running loop: from now on a ring wakes who waits."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Wake nobody any more by itself."""
        if self._timer is not None:
            self._timer.cancel()

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

    def wake(self) -> None:
        """End :meth:`wait`."""
        self._woken.set()

    async def wait(self) -> None:
        """Wait until it is time for :meth:`look`."""
        await self._woken.wait()

    async def recover(self) -> None:
        """Find what earlier runs have left."""
        latest = self._steady.now() + self._policy.longest
        await self._database.commit(deliveries.pull_in, latest)
        news = await self._database.fetch(read_streams, None)
        self._position = news.position
        self._take_streams(news)
        self._scan_at = self._steady.now()

    async def look(self) -> None:
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

    async def load(
        self, lane: Lane, unit: Stream | Retries, read: Callable[..., list[Parcel]]
    ) -> None:
        """Read more of what a unit has to do, to the lane.

        Raises:
            StorageError: the table could not be read; a pause has passed since.
        """
        limit = self._policy.batch if self._lanes.held < self._policy.memory else 1
        held = frozenset(lane.held)
        unit.stale = False
        try:
            found = await self._database.fetch(read_unit, read, limit, held, lane.endpoint.id)
        except StorageError:
            await asyncio.sleep(PAUSE_SECONDS)
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

    def give_back(self, lane: Lane, stream: Stream, *more: Parcel) -> None:
        """Hold nothing of a stream any more, nor ``more`` of it; read it again when it is due."""
        parcels = (*more, *stream.parcels)
        lane.held.difference_update(one.position for one in parcels)
        stream.parcels.clear()
        stream.behind = stream.stale
        for parcel in more:
            if parcel.next_attempt_at is not None:
                self.due_at(parcel.next_attempt_at)

    def due_at(self, moment: datetime) -> None:
        """Look again at that moment at the latest."""
        if moment < self._scan_at:
            self._scan_at = moment
            self._set_timer()

    async def _refresh(self, endpoint_id: str) -> None:
        news = await self._database.fetch(read_streams, endpoint_id)
        lane = self._lanes.find(endpoint_id)
        if lane is not None and endpoint_id not in news.endpoints:
            found = await self._database.fetch(find_endpoints, [endpoint_id])
            if endpoint_id in found:
                self._lanes.update(found[endpoint_id])
            else:
                self._lanes.forget(endpoint_id)
        self._take_streams(news)
        self._scan_at = self._steady.now()

    async def _read_new(self) -> None:
        while True:
            news = await self._database.fetch(read_new, self._position, _PAGE)
            room = self._policy.memory - self._lanes.held
            for parcel in news.parcels:
                self._position = max(self._position, parcel.position)
                endpoint = news.endpoints.get(parcel.endpoint_id)
                if endpoint is None or not endpoint.enabled or parcel.attempts:
                    continue
                room -= self._take(self._lanes.update(endpoint), parcel, room > 0)
            self._on_found()
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

    def _take_streams(self, news: News) -> None:
        for endpoint_id, instance_id in news.streams:
            lane = self._lanes.update(news.endpoints[endpoint_id])
            lane.fall_behind(lane.stream(instance_id))
            self._lanes.enqueue(lane)

    async def _scan(self) -> None:
        """Find the endpoints for which a retry is due, and when the next one will be."""
        now = self._steady.now()
        # Before anything is read: what becomes due meanwhile is not overwritten.
        self._scan_at = now + timedelta(seconds=self._policy.poll_seconds)
        found, soonest = await self._database.fetch(read_due, now)
        for endpoint in found:
            if endpoint.strict_order:
                self._take_streams(await self._database.fetch(read_streams, endpoint.id))
                continue
            lane = self._lanes.update(endpoint)
            lane.fall_behind(lane.retries)
            self._lanes.enqueue(lane)
        if now >= self._count_at:
            self._count_at = now + timedelta(seconds=self._policy.poll_seconds / 2)
            self._on_backlog(await self._database.fetch(deliveries.count_pending))
        if soonest is not None:
            self.due_at(soonest)
        # The doorbell may have been missed, and deliveries are also made by other processes.
        await self._read_new()

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
