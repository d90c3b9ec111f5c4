"""All events of the gateway on the event loop, in their order and without a gap.

The event bus calls its listeners in its own thread, and two events of different instances may
reach it in the other order than they were committed in. A client that resumes after the last
event it saw must not miss an earlier one, so here the stored position decides: what is next is
handed on at once, and a hole is filled from storage.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import structlog

from wavisor.http.instances.views import event_model
from wavisor.storage import Database, EventRecord, StorageError, events

__all__ = ["EventStream", "StreamedEvent"]

log = structlog.get_logger(__name__)

_HOP_LIMIT = 10_000
_PORTION = 500
_RETRY_SECONDS = 0.5
_BREATH = 8
"""After so many events others get their turn, so that a burst reaches the sockets of clients that
read, instead of overflowing their buffers in one go."""


class StreamedEvent:
    """An event on its way to many clients; turned into JSON once for all of them."""

    def __init__(self, record: EventRecord) -> None:
        self.record = record

    @cached_property
    def frame(self) -> str:
        """The event as it stands on the wire."""
        return event_model(self.record).model_dump_json(by_alias=True)


Listener = Callable[[StreamedEvent], None]
"""Called on the event loop; must be quick."""


@dataclass(order=True, frozen=True)
class _Held:
    position: int
    record: EventRecord = field(compare=False)


class EventStream:
    """Hands every event to its listeners in the order of their positions.

    Bounded: when more than 10,000 events wait for the loop, they are dropped here and read from
    storage instead. Used on the event loop only, but for what the bus calls.

    Args:
        subscribe: registers a listener at the event bus; returns what takes it off again.
        database: where holes are filled from.
    """

    def __init__(
        self,
        subscribe: Callable[[Callable[[EventRecord], None]], Callable[[], None]],
        database: Database,
    ) -> None:
        self._subscribe = subscribe
        self._database = database
        self._listeners: dict[object, Listener] = {}
        self._lock = threading.Lock()
        self._hop: deque[EventRecord] = deque()
        self._hop_scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._handed_on = 0
        self._held: list[_Held] = []
        self._position: int | None = None
        self._closed = False

    async def ready(self) -> None:
        """Return once every event that is committed from now on will be handed on.

        The first call subscribes to the bus.

        Raises:
            StorageError: storage does not tell where the events stand.
        """
        if self._position is not None:
            return
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._on_start_done)
        await asyncio.shield(self._starting)

    def add(self, listener: Listener) -> Callable[[], None]:
        """Hand every later event to ``listener``; return what takes it off again."""
        key = object()
        self._listeners[key] = listener

        def remove() -> None:
            self._listeners.pop(key, None)

        return remove

    def close(self) -> None:
        """Stop; nothing is handed on any more."""
        self._closed = True
        if self._unsubscribe is not None:
            self._unsubscribe()
        for task in (self._starting, self._pumping):
            if task is not None:
                task.cancel()
        self._listeners.clear()

    async def _start(self) -> None:
        if self._unsubscribe is None:
            self._loop = asyncio.get_running_loop()
            self._unsubscribe = self._subscribe(self._on_event)
        self._position = await self._database.fetch(events.latest_position)
        self._advance()

    def _on_start_done(self, task: asyncio.Task[None]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # those who waited for it have got it; a later call tries again

    # From the bus's thread to the loop

    def _on_event(self, record: EventRecord) -> None:
        with self._lock:
            if len(self._hop) >= _HOP_LIMIT:
                self._hop.clear()  # what is dropped makes a hole, which is filled from storage
            self._hop.append(record)
            if self._hop_scheduled:
                return
            self._hop_scheduled = True
        assert self._loop is not None  # noqa: S101 - set before the bus knows of us
        try:
            self._loop.call_soon_threadsafe(self._take)
        except RuntimeError:  # the loop is closed, and nobody is left to hear of it
            return

    def _take(self) -> None:
        with self._lock:
            arrived = list(self._hop)
            self._hop.clear()
            self._hop_scheduled = False
        for record in arrived:
            heapq.heappush(self._held, _Held(record.position, record))
        if len(self._held) > _HOP_LIMIT:
            self._held = [max(self._held)]  # the others are read from storage on the way to it
        if self._position is not None:
            self._advance()

    # In order

    def _advance(self) -> None:
        if self._held and self._pumping is None and not self._closed:
            self._pumping = asyncio.create_task(self._pump())

    async def _pump(self) -> None:
        """Hand on what is next, and fill the hole before what is not."""
        try:
            while self._held:
                if self._held[0].position <= (self._position or 0) + 1:
                    await self._hand_on(heapq.heappop(self._held).record)
                else:
                    await self._read_on()
        finally:
            self._pumping = None

    async def _read_on(self) -> None:
        """Read the events after the last one, and hand them on together with those held back.

        What was held back before the read and is not in storage any more was of an instance that
        has been deleted since; it is handed on all the same.
        """
        assert self._position is not None  # noqa: S101 - only then is anything held back
        held = tuple(self._held)
        try:
            found = await self._database.fetch(events.read_after, self._position, limit=_PORTION)
        except StorageError as error:
            log.warning("events cannot be read; trying again", error=str(error))
            await asyncio.sleep(_RETRY_SECONDS)
            return
        end = found[-1].position if len(found) == _PORTION else None
        known = {one.position: one.record for one in held if end is None or one.position <= end}
        known |= {record.position: record for record in found}
        for position in sorted(known):
            await self._hand_on(known[position])
        while self._held and self._held[0].position <= self._position:
            heapq.heappop(self._held)

    async def _hand_on(self, record: EventRecord) -> None:
        if self._position is None or record.position <= self._position:
            return
        self._position = record.position
        event = StreamedEvent(record)
        for listener in tuple(self._listeners.values()):
            try:
                listener(event)
            except Exception:
                log.exception("a listener of the event stream failed", event_type=record.type)
        self._handed_on += 1
        if self._handed_on % _BREATH == 0:
            await asyncio.sleep(0)
