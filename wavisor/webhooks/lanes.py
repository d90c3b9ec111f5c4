"""Who is next: the deliveries of each endpoint that are in memory, and whose turn it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from wavisor.storage import EndpointRecord, Parcel, StreamKey
from wavisor.webhooks.schedule import DispatchPolicy

__all__ = ["Lane", "Lanes", "Retries", "Stream"]


@dataclass(eq=False)
class Stream:
    """What has an order: the deliveries of one endpoint about one instance.

    Of this, ``behind`` is true while the table has more than is here, ``stale`` when that was
    found out since it was last read, and ``busy`` while it has a turn.
    """

    key: StreamKey
    parcels: deque[Parcel] = field(default_factory=deque)
    behind: bool = False
    stale: bool = False
    busy: bool = False


@dataclass(eq=False)
class Retries:
    """What an endpoint is to be told once more. It has no order among itself."""

    parcels: deque[Parcel] = field(default_factory=deque)
    behind: bool = False
    stale: bool = False
    busy: bool = False


Unit = Stream | Retries


@dataclass(eq=False)
class Lane:
    """One endpoint: its state, and what of it wants a turn."""

    endpoint: EndpointRecord
    streams: dict[str | None, Stream] = field(default_factory=dict)
    retries: Retries = field(default_factory=Retries)
    ready: deque[Unit] = field(default_factory=deque)
    held: set[int] = field(default_factory=set)
    """Positions of deliveries that are here, on their way, or not written down yet."""
    in_flight: int = 0
    queued: bool = False
    failing: bool = False

    def stream(self, instance_id: str | None) -> Stream:
        """Return the stream of an instance."""
        found = self.streams.get(instance_id)
        if found is None:
            found = self.streams[instance_id] = Stream((self.endpoint.id, instance_id))
        return found

    def units(self) -> Iterator[Unit]:
        """Return all that can have turns."""
        yield from self.streams.values()
        yield self.retries

    def offer(self, unit: Unit) -> None:
        """Let a unit wait for its turn, unless it does or has one, or has nothing to do."""
        has_work = bool(unit.parcels) or unit.behind
        if has_work and not unit.busy and unit not in self.ready:
            self.ready.append(unit)

    def fall_behind(self, unit: Unit) -> None:
        """Note that the table has something for a unit that is not here, and let it wait."""
        unit.behind = unit.stale = True
        self.offer(unit)

    def drop_waiting(self) -> None:
        """Forget what is not on its way yet; the table still has it."""
        for unit in self.units():
            self.held.difference_update(one.position for one in unit.parcels)
            unit.parcels.clear()
            unit.behind = unit.stale = False
        self.ready.clear()

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost by forgetting the lane."""
        return not (self.in_flight or self.ready or self.held)


class Lanes:
    """All endpoints that have something to do, and a fair order of turns among them.

    Endpoints that fail share one half of the places, so that any number of dead ones leaves the
    other half to those that are well.
    """

    def __init__(self, policy: DispatchPolicy) -> None:
        self._policy = policy
        self._lanes: dict[str, Lane] = {}
        self._turns: deque[Lane] = deque()
        self._waiting_to_fail: deque[Lane] = deque()
        self.in_flight = 0
        self._failing_in_flight = 0

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes.values()))

    def find(self, endpoint_id: str) -> Lane | None:
        """Return the lane of an endpoint, if there is one."""
        return self._lanes.get(endpoint_id)

    def update(self, endpoint: EndpointRecord) -> Lane:
        """Return the lane of an endpoint as it is now, made where there was none."""
        lane = self._lanes.get(endpoint.id)
        if lane is None:
            lane = self._lanes[endpoint.id] = Lane(endpoint)
        lane.endpoint = endpoint
        lane.failing = endpoint.failing_since is not None
        if not endpoint.enabled:
            lane.drop_waiting()
        return lane

    def forget(self, endpoint_id: str) -> None:
        """Drop an endpoint that no longer exists; what is on its way ends by itself."""
        lane = self._lanes.get(endpoint_id)
        if lane is not None:
            lane.drop_waiting()
            self.tidy(lane)

    def tidy(self, lane: Lane) -> None:
        """Drop a lane that has nothing to do."""
        for instance_id, stream in list(lane.streams.items()):
            if not (stream.parcels or stream.behind or stream.busy):
                del lane.streams[instance_id]
        if lane.idle and self._lanes.get(lane.endpoint.id) is lane:
            del self._lanes[lane.endpoint.id]

    @property
    def held(self) -> int:
        """How many deliveries are in memory."""
        return sum(len(lane.held) for lane in self._lanes.values())

    def enqueue(self, lane: Lane) -> None:
        """Let a lane wait for turns, if it may have one."""
        if not lane.queued and lane.ready and self._has_room(lane):
            lane.queued = True
            self._turns.append(lane)

    def next_turn(self) -> tuple[Lane, Unit] | None:
        """Return whose turn it is, and count it as on its way; None when nobody may begin."""
        while self._turns and self.in_flight < self._policy.concurrency:
            lane = self._turns.popleft()
            lane.queued = False
            if not lane.ready or not self._has_room(lane):
                continue
            if lane.failing and self._failing_in_flight >= self._policy.concurrency // 2:
                lane.queued = True
                self._waiting_to_fail.append(lane)
                continue
            unit = lane.ready.popleft()
            unit.busy = True
            lane.in_flight += 1
            self.in_flight += 1
            self._failing_in_flight += lane.failing
            self.enqueue(lane)
            return lane, unit
        return None

    def end_turn(self, lane: Lane, *, was_failing: bool) -> None:
        """Give a place back. ``was_failing`` is what the lane was when it got it."""
        lane.in_flight -= 1
        self.in_flight -= 1
        if was_failing:
            self._failing_in_flight -= 1
        while self._waiting_to_fail:
            # They come back to the end of the line, and may have recovered meanwhile.
            other = self._waiting_to_fail.popleft()
            other.queued = False
            self.enqueue(other)
        self.enqueue(lane)

    def _has_room(self, lane: Lane) -> bool:
        return lane.in_flight < (1 if lane.failing else self._policy.per_endpoint)
