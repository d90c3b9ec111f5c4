"""The statistics told a second time: counted anew from the messages that there are."""

from __future__ import annotations

from datetime import timedelta

from wavisor.domain import MessageDirection
from wavisor.storage.figures import happenings
from wavisor.storage.models import Message, MessageStat
from wavisor.storage.rows import read_history
from wavisor.storage.statistics import Counter, Key, hour_of


def recount() -> dict[Key, Counter]:
    """What the counters must say as long as no message was deleted. To be run in the database."""
    counters: dict[Key, Counter] = {}
    for row in Message.select().where(~Message.from_history):
        direction = MessageDirection(row.direction)
        for one in happenings(direction, read_history(row.history)):
            key = Key(
                row.subscription_id,
                row.instance_id,
                hour_of(one.at),
                direction.value,
                row.kind,
                one.figure.value,
                one.reason,
            )
            took = 0 if one.took is None else one.took // timedelta(milliseconds=1)
            counter = Counter(1, int(one.took is not None), took)
            counters[key] = counters.get(key, Counter()).plus(counter)
    return counters


def stored_counters() -> dict[Key, Counter]:
    """The counters as they are stored. To be run in the database."""
    return {
        Key(*(getattr(row, name) for name in Key._fields)): Counter(
            row.number, row.timed, row.milliseconds
        )
        for row in MessageStat.select()
    }
