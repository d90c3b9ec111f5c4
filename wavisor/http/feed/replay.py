"""What a client missed, and then what happens: no event twice and none left out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from wavisor.http.feed.frames import Replayed
from wavisor.http.feed.interest import Interest
from wavisor.http.feed.outflow import Outflow
from wavisor.http.feed.stream import StreamedEvent
from wavisor.storage import Database, Scope, events
from wavisor.storage import Replay as ReplayedEvents

__all__ = ["Subscription"]

_PORTION = 100


@dataclass
class _Chunk:
    found: ReplayedEvents
    horizon: int
    """No event up to this position is missing in what was found."""


class Subscription:
    """The events that one client asked for, from the moment it asked.

    While missed events are read from storage, those that happen are kept back; once storage has
    no more, the kept ones that are newer than the last read follow, and then everything at once.

    Args:
        interest: what the client wants.
        outflow: where frames go.
        buffer_limit: how many events are kept back; beyond that they are read from storage too.
        since: id of the last event that the client has; None to begin now.
    """

    def __init__(
        self, interest: Interest, outflow: Outflow, buffer_limit: int, since: str | None
    ) -> None:
        self.interest = interest
        self._outflow = outflow
        self._buffer_limit = buffer_limit
        self._since = since
        self._live = since is None
        self._kept: deque[StreamedEvent] = deque()
        self._overrun = False
        self._horizon = 0

    def on_event(self, event: StreamedEvent) -> None:
        """Take an event that has just happened, in the order of positions."""
        if not self.interest.covers(event.record):
            return
        if self._live:
            # An event can be in storage, and replayed from there, before it comes this way.
            if event.record.position > self._horizon:
                self._outflow.put(event.frame)
        elif len(self._kept) < self._buffer_limit:
            self._kept.append(event)
        else:
            self._kept.clear()
            self._overrun = True

    async def replay(self, database: Database) -> None:
        """Send what was missed, then go live; ends when that is done.

        Raises:
            StorageError: events cannot be read.
        """
        if self._since is None:
            return
        after, count, complete = self._since, 0, True
        reading = True
        while reading:
            self._overrun = False
            chunk = await self._read(database, after)
            complete = complete and (chunk.found.known or count > 0)
            self._horizon = chunk.horizon
            for record in chunk.found.events:
                await self._outflow.put_patiently(StreamedEvent(record).frame)
                after, count = record.id, count + 1
            reading = chunk.found.more or self._overrun
        replayed = Replayed(count=count, complete=complete)
        await self._outflow.put_patiently(replayed.model_dump_json(by_alias=True))
        while self._kept:
            event = self._kept.popleft()
            if event.record.position > self._horizon:
                await self._outflow.put_patiently(event.frame)
        # Nothing is awaited between the last look at what was kept and this.
        self._live = True

    async def _read(self, database: Database, after: str) -> _Chunk:
        return await database.fetch(_read_chunk, self.interest, after)


def _read_chunk(interest: Interest, after: str) -> _Chunk:
    # Looked up first: what is committed between the two reads is then found, and not left out.
    latest = events.latest_position()
    found = events.replay(
        Scope(interest.subscription_id),
        after,
        limit=_PORTION,
        instances=interest.instances,
        types=interest.types,
    )
    last = found.events[-1].position if found.events else 0
    return _Chunk(found, max(latest, last))
