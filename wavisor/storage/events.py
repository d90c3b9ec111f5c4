"""The stored events of instances: appended in one order, listed, replayed, purged."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import peewee

from wavisor.ids import Kind, new_id, timestamp_of
from wavisor.storage import current, enqueueing
from wavisor.storage.current import LockKey
from wavisor.storage.errors import NotFound
from wavisor.storage.fields import storable
from wavisor.storage.models import Event, Instance, WebhookDelivery
from wavisor.storage.prepared import Prepared, insert
from wavisor.storage.records import EventRecord, NewEvent, Page, Replay
from wavisor.storage.rows import event_record
from wavisor.storage.scope import Scope

__all__ = [
    "append",
    "append_to_several",
    "insert_numbered",
    "latest_position",
    "list_for_instance",
    "purge",
    "read_after",
    "replay",
]

# How far before the time in a forgotten event's id its replay starts: longer than an event
# takes from getting its id to being committed.
_REPLAY_MARGIN = timedelta(seconds=5)


_TAKE_NUMBERS = Prepared(
    lambda slot: (
        Instance.update(event_seq=Instance.event_seq + slot("count"))
        .where(Instance.id == slot("id"))
        .returning(Instance.event_seq, Instance.subscription, enqueueing.watched())
    )
)


def append(instance_id: str, events: Sequence[NewEvent]) -> list[EventRecord]:
    """Append events of one instance. A write.

    ``seq`` grows by one per event of the instance. ``position`` grows in the order in which
    transactions become visible: whoever has read up to a position never misses a lower one.

    Raises:
        NotFound: There is no such instance.
    """
    row = _TAKE_NUMBERS.one(count=len(events), id=instance_id)
    if row is None:
        raise NotFound("no such instance")
    return insert_numbered(row, instance_id, events)


def append_to_several(
    by_instance: Mapping[str, Sequence[NewEvent]],
) -> list[EventRecord]:
    """Append events of several instances, as :func:`append` does for one. A write.

    Those of instances that there are no more are left out.
    """
    # All numbers first, always in the same order: then no two writers wait for each other.
    taken = [
        (instance_id, _TAKE_NUMBERS.one(count=len(by_instance[instance_id]), id=instance_id))
        for instance_id in sorted(by_instance)
    ]
    return [
        record
        for instance_id, row in taken
        if row is not None
        for record in insert_numbered(row, instance_id, by_instance[instance_id])
    ]


def insert_numbered(
    numbered: Any, instance_id: str, events: Sequence[NewEvent]
) -> list[EventRecord]:
    """Store events whose numbers the caller has already taken, with their deliveries. A write.

    Every event comes through here.

    Args:
        numbered: What taking the numbers returned of the instance's row: ``event_seq``, the last
            number, ``subscription_id`` and ``watched``.
        instance_id: Whose events.
        events: As many as numbers were taken.
    """
    if not events:
        return []
    # Held until the commit, so that no later position can become visible before this one.
    # Taken after the instance's row, always in that order, so that two writers cannot deadlock.
    current.transaction_lock(LockKey.EVENTS)
    now = current.now()
    subscription_id = numbered.subscription_id
    first_seq = numbered.event_seq - len(events) + 1
    records = []
    for seq, event in enumerate(events, first_seq):
        row = insert(
            Event,
            id=new_id(Kind.EVENT),
            subscription_id=subscription_id,
            instance_id=instance_id,
            seq=seq,
            type=str(event.type),
            timestamp=event.timestamp or now,
            data=event.data,
        )
        records.append(event_record(row))
    if numbered.watched:
        awaited = enqueueing.enqueue(subscription_id, instance_id, records)
        records = [replace(one, awaited=one.id in awaited) for one in records]
    return records


def list_for_instance(
    scope: Scope,
    instance_id: str,
    *,
    limit: int,
    cursor: str | None = None,
    types: Collection[str] | None = None,
) -> Page[EventRecord]:
    """Return events of an instance, newest first.

    Args:
        scope: The tenant; another one's instance has no events.
        instance_id: Whose events.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
        types: Only these types; None for all.

    Raises:
        ValueError: ``cursor`` is none of ours.
    """
    query = scope.select(Event).where(Event.instance == instance_id)
    if cursor is not None:
        query = query.where(Event.seq < int(cursor))
    if types is not None:
        query = query.where(Event.type.in_([str(kind) for kind in types]))
    rows = list(query.order_by(Event.seq.desc()).limit(limit + 1))
    items = tuple(event_record(row) for row in rows[:limit])
    return Page(items, str(items[-1].seq) if len(rows) > limit else None)


def replay(
    scope: Scope,
    after: str,
    *,
    limit: int,
    instances: Collection[str] | None = None,
    types: Collection[str] | None = None,
) -> Replay:
    """Return the tenant's events after the one with the id ``after``, oldest first.

    Args:
        scope: The tenant.
        after: Id of the last event that the client has.
        limit: How many at most.
        instances: Only of these instances; None for all.
        types: Only of these types; None for all.
    """
    known = scope.select(Event, Event.position).where(Event.id == after).get_or_none()
    start = known.position if known is not None else _position_before(scope, after)
    query = scope.select(Event).where(Event.position > start)
    if instances is not None:
        query = query.where(Event.instance.in_(list(instances)))
    if types is not None:
        query = query.where(Event.type.in_([str(kind) for kind in types]))
    rows = list(query.order_by(Event.position).limit(limit + 1))
    items = tuple(event_record(row) for row in rows[:limit])
    return Replay(items, known=known is not None, more=len(rows) > limit)


def _position_before(scope: Scope, event_id: str) -> int:
    made_at = datetime.fromtimestamp(timestamp_of(event_id), UTC)
    row = (
        scope.select(Event, Event.position)
        .where(Event.timestamp < made_at - _REPLAY_MARGIN)
        .order_by(Event.position.desc())
        .limit(1)
        .get_or_none()
    )
    return 0 if row is None else int(row.position)


def read_after(position: int, *, limit: int) -> list[EventRecord]:
    """Return the events of all tenants after a position, for those who publish them."""
    query = Event.select().where(Event.position > position).order_by(Event.position).limit(limit)
    return [event_record(row) for row in query]


def latest_position() -> int:
    """Return the position of the last event of all; 0 when there is none."""
    return int(Event.select(peewee.fn.MAX(Event.position)).scalar() or 0)


def purge(instance_id: str, before: datetime, *, limit: int = 1000) -> int:
    """Delete up to ``limit`` events of an instance older than ``before``. A write.

    Those that a webhook is still to be told of stay. To be repeated while it returns ``limit``:
    small portions let other writes in between.

    Returns:
        How many were deleted.
    """
    to_be_told = WebhookDelivery.select(peewee.SQL("1")).where(
        WebhookDelivery.event_position == Event.position, peewee.SQL("status = 'pending'")
    )
    # Of the first so many, those that are old: an index reads no more than these, whereas to
    # look for old ones among all would read all when there are none.
    first = (
        Event.select(Event.position, Event.timestamp)
        .where(Event.instance == instance_id, ~peewee.fn.EXISTS(to_be_told))
        .order_by(Event.seq)
        .limit(limit)
        .alias("first")
    )
    oldest = peewee.Select([first], [first.c.position]).where(first.c.timestamp < storable(before))
    return int(Event.delete().where(Event.position.in_(oldest)).execute())
