"""What happened to messages: counted in the transaction in which it happens, summed on demand.

Whoever writes a line into a message's history passes the message on through :func:`counted`. The
counts of all writes that share a commit are written together right before it, each counter once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

import peewee

from wavisor.storage import current
from wavisor.storage.figures import Figure, latest_happenings
from wavisor.storage.message_records import MessageRecord
from wavisor.storage.models import MessageStat
from wavisor.storage.prepared import Prepared
from wavisor.storage.scope import Scope

__all__ = [
    "Counter",
    "Grouping",
    "Key",
    "Sum",
    "counted",
    "hour_of",
    "start_of",
    "totals",
]

_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Key(NamedTuple):
    """Which counter."""

    subscription_id: str
    instance_id: str
    hour: int
    direction: str
    kind: str
    figure: str
    reason: str


class Counter(NamedTuple):
    """How often, and how long the deliveries took whose time is known."""

    number: int = 0
    timed: int = 0
    milliseconds: int = 0

    def plus(self, other: Counter) -> Counter:
        """Return both together."""
        return Counter(*(one + two for one, two in zip(self, other, strict=True)))


class Grouping(StrEnum):
    """What sums are made by."""

    HOUR = "hour"
    DAY = "day"
    KIND = "kind"
    DIRECTION = "direction"
    INSTANCE = "instance"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Sum:
    """A figure of one group."""

    group: str | int
    """The hour or day as a number from 1970, or what else is grouped by; empty by status."""
    figure: Figure
    reason: str
    counter: Counter


def hour_of(moment: datetime) -> int:
    """Return the number of the hour that a moment lies in."""
    return (moment - _EPOCH) // _HOUR


def start_of(hour: int) -> datetime:
    """Return when an hour begins, by its number."""
    return _EPOCH + hour * _HOUR


class _Tally(current.Deferred):
    def __init__(self) -> None:
        self.counters: dict[Key, Counter] = {}

    def note(self, key: Key, counter: Counter) -> None:
        known = self.counters.get(key)
        self.counters[key] = counter if known is None else known.plus(counter)

    def add(self, other: _Tally) -> None:
        for key, counter in other.counters.items():
            self.note(key, counter)

    def write(self) -> None:
        # In one order everywhere, so that two transactions cannot wait for each other.
        for key in sorted(self.counters):
            _ADD.change(**key._asdict(), **self.counters[key]._asdict())


_KEY_FIELDS = tuple(
    getattr(MessageStat, name)
    for name in ("instance_id", "hour", "direction", "kind", "figure", "reason")
)
_SUMMED = (MessageStat.number, MessageStat.timed, MessageStat.milliseconds)

_ADD = Prepared(
    lambda slot: MessageStat.insert(
        {
            field: slot(field.column_name)
            for field in (MessageStat.subscription, *_KEY_FIELDS, *_SUMMED)
        }
    ).on_conflict(
        conflict_target=list(_KEY_FIELDS),
        update={field: field + getattr(peewee.EXCLUDED, field.column_name) for field in _SUMMED},
    )
)


def counted(record: MessageRecord) -> MessageRecord:
    """Count what has just happened to a message; return the message. In a write.

    Args:
        record: The message as it is after a line was added to its history.
    """
    for one in latest_happenings(record):
        key = Key(
            record.subscription_id,
            record.instance_id,
            hour_of(one.at),
            record.direction.value,
            record.kind,
            one.figure.value,
            one.reason,
        )
        took = 0 if one.took is None else one.took // timedelta(milliseconds=1)
        current.deferred(_Tally).note(key, Counter(1, int(one.took is not None), took))
    return record


def totals(
    scope: Scope,
    *,
    first_hour: int,
    end_hour: int,
    by: Grouping,
    instance_id: str | None = None,
) -> list[Sum]:
    """Return the tenant's figures, summed by groups, in the order of the groups.

    Args:
        scope: The tenant.
        first_hour: The first hour, as :func:`hour_of` numbers them.
        end_hour: The hour after the last one.
        by: What to group by.
        instance_id: Only of this instance; None for all, those included that were deleted.
    """
    group = {
        Grouping.HOUR: MessageStat.hour,
        # Whole numbers: what is left of the division is dropped. Spelled out, because
        # PostgreSQL takes two parameters for two different expressions.
        Grouping.DAY: MessageStat.hour / peewee.SQL("24"),
        Grouping.KIND: MessageStat.kind,
        Grouping.DIRECTION: MessageStat.direction,
        Grouping.INSTANCE: MessageStat.instance_id,
        Grouping.STATUS: peewee.Value(""),
    }[by]
    columns: list[Any] = [MessageStat.figure, MessageStat.reason]
    grouped = columns if by is Grouping.STATUS else [group, *columns]
    sums = [peewee.fn.SUM(field) for field in _SUMMED]
    query = scope.select(MessageStat, group, *columns, *sums).where(
        MessageStat.hour >= first_hour, MessageStat.hour < end_hour
    )
    if instance_id is not None:
        query = query.where(MessageStat.instance_id == instance_id)
    rows: Iterable[Any] = query.group_by(*grouped).order_by(*grouped).tuples()
    return [
        Sum(key, Figure(figure), reason, Counter(*map(int, counters)))
        for key, figure, reason, *counters in rows
    ]
