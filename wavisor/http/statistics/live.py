"""Figures of the day on the websocket feed, as they grow.

They are no events: they are not stored, have no id and are not replayed. A busy instance would
otherwise fill the log of events with sums of what is in it already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from wavisor.clock import Clock
from wavisor.http.feed.interest import STATISTICS_UPDATED, Interest
from wavisor.http.feed.stream import EventStream, StreamedEvent
from wavisor.http.schemas import ApiModel, Time
from wavisor.http.statistics.schemas import FiguresModel
from wavisor.http.statistics.views import figures_of
from wavisor.storage import Database, Scope, StorageError, statistics
from wavisor.storage.statistics import Grouping

__all__ = ["LiveStatistics"]

log = structlog.get_logger(__name__)

_MESSAGES = "message:"
_AT_ONCE = 200
"""How many instances are read at a time; the others follow in the next round."""


class StatisticsData(ApiModel):
    """The figures of an instance on the present day of UTC."""

    day: Time
    totals: FiguresModel


class StatisticsFrame(ApiModel):
    """What is sent; the envelope of events without ``id`` and ``seq``."""

    type: str = STATISTICS_UPDATED
    timestamp: Time
    instance_id: str
    data: StatisticsData


_Listener = tuple[Interest, Callable[[str], None]]


class LiveStatistics:
    """Tells clients of the feed the day's figures, at most once per instance and interval.

    Used on the event loop only.

    Args:
        events: tells when something happens to messages.
        database: has the figures.
        clock: tells which day it is.
        interval: seconds between two frames about one instance.
    """

    def __init__(
        self, events: EventStream, database: Database, clock: Clock, interval: float
    ) -> None:
        self._database = database
        self._clock = clock
        self._interval = interval
        self._listeners: dict[object, _Listener] = {}
        # Ordered, so that nobody waits for ever behind busier ones.
        self._changed: dict[tuple[str, str], None] = {}
        self._round: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None
        self._remove = events.add(self._on_event)

    def add(self, interest: Interest, put: Callable[[str], None]) -> Callable[[], None]:
        """Tell a client from now on; return what ends that."""
        key = object()
        self._listeners[key] = (interest, put)

        def remove() -> None:
            self._listeners.pop(key, None)

        return remove

    def close(self) -> None:
        """Tell nobody anything more."""
        self._remove()
        self._listeners.clear()
        if self._round is not None:
            self._round.cancel()
        if self._telling is not None:
            self._telling.cancel()

    def _on_event(self, event: StreamedEvent) -> None:
        record = event.record
        if not self._listeners or not record.type.startswith(_MESSAGES):
            return
        if self._wanted_by(record.subscription_id, record.instance_id):
            self._changed[record.subscription_id, record.instance_id] = None
            self._schedule()

    def _wanted_by(self, subscription_id: str, instance_id: str) -> list[Callable[[str], None]]:
        return [
            put
            for interest, put in self._listeners.values()
            if interest.covers_instance(subscription_id, instance_id)
        ]

    def _schedule(self) -> None:
        if self._round is None and self._telling is None:
            loop = asyncio.get_running_loop()
            self._round = loop.call_later(self._interval, self._begin_round)

    def _begin_round(self) -> None:
        self._round = None
        self._telling = asyncio.create_task(self._tell())
        self._telling.add_done_callback(self._on_told)

    def _on_told(self, task: asyncio.Task[None]) -> None:
        self._telling = None
        if task.cancelled():
            return
        if task.exception() is not None:
            log.error("telling the statistics failed", exc_info=task.exception())
        if self._changed:
            self._schedule()

    async def _tell(self) -> None:
        chosen = list(self._changed)[:_AT_ONCE]
        for key in chosen:
            del self._changed[key]
        now = self._clock.now()
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        try:
            figures = await self._database.fetch(_read, chosen, statistics.hour_of(day))
        except StorageError as error:
            log.warning("statistics cannot be read", error=str(error))
            return
        for (subscription_id, instance_id), totals in zip(chosen, figures, strict=True):
            frame = _frame(now, day, instance_id, totals)
            for put in self._wanted_by(subscription_id, instance_id):
                put(frame)


def _frame(now: datetime, day: datetime, instance_id: str, totals: FiguresModel) -> str:
    data = StatisticsData(day=day, totals=totals)
    frame = StatisticsFrame(timestamp=now, instance_id=instance_id, data=data)
    return frame.model_dump_json(by_alias=True)


def _read(keys: list[tuple[str, str]], first_hour: int) -> list[FiguresModel]:
    found = []
    for subscription_id, instance_id in keys:
        sums = statistics.totals(
            Scope(subscription_id),
            first_hour=first_hour,
            end_hour=first_hour + 24,
            by=Grouping.STATUS,
            instance_id=instance_id,
        )
        found.append(FiguresModel(**figures_of(sums)))
    return found
