"""Instances: what tenants ask about theirs, and what an instance's actor writes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import peewee

from wavisor.domain import InstanceStatus, WantedState
from wavisor.ids import Kind, new_id
from wavisor.limits import Resource
from wavisor.storage import audit, current, enqueueing, events, quotas
from wavisor.storage.errors import NotFound
from wavisor.storage.models import Instance
from wavisor.storage.prepared import Prepared
from wavisor.storage.records import (
    EventRecord,
    InstanceChanges,
    InstanceRecord,
    NewAudit,
    NewEvent,
    Page,
)
from wavisor.storage.rows import instance_record
from wavisor.storage.scope import Scope

__all__ = [
    "count_by_status",
    "create",
    "delete",
    "find",
    "get",
    "list_all",
    "list_page",
    "record_transition",
    "update",
]


_GET = Prepared(lambda slot: Scope(slot("scope")).select(Instance).where(Instance.id == slot("id")))
_FIND = Prepared(lambda slot: Instance.select().where(Instance.id == slot("id")))
_PAGE = Prepared(
    lambda slot: (
        Scope(slot("scope"))
        .select(Instance)
        .where(Instance.id > slot("cursor"))
        .order_by(Instance.id)
        .limit(slot("limit"))
    )
)


@cache
def _transition(columns: frozenset[str]) -> Prepared:
    """Return the UPDATE of just these columns; there are few different sets of them."""
    return Prepared(
        lambda slot: (
            Instance.update(
                event_seq=Instance.event_seq + slot("events"),
                **{column: slot(column) for column in columns},
            )
            .where(Instance.id == slot("id"))
            .returning(Instance.event_seq, Instance.subscription, enqueueing.watched())
        )
    )


def create(
    scope: Scope,
    *,
    name: str,
    settings: dict[str, Any] | None = None,
    desired: WantedState = WantedState.DISCONNECTED,
) -> InstanceRecord:
    """Create an instance, unless the subscription's limit is reached. A write.

    Raises:
        NotFound: The subscription is gone.
        LimitReached: It has as many instances as it may have.
    """
    subscription = quotas.lock_subscription(scope)
    used = scope.select(Instance, Instance.id).count()
    quotas.require_room(subscription, Resource.INSTANCES, used)
    now = current.now()
    row = Instance.create(
        id=new_id(Kind.INSTANCE),
        subscription=scope.subscription_id,
        name=name,
        desired=desired.value,
        status=InstanceStatus.DISCONNECTED.value,
        status_changed_at=now,
        settings=settings or {},
        created_at=now,
        updated_at=now,
    )
    return instance_record(row)


@current.one_statement
def get(scope: Scope, instance_id: str) -> InstanceRecord | None:
    """Return the tenant's instance; None when there is none or it is another tenant's."""
    row = _GET.one(scope=scope.subscription_id, id=instance_id)
    return None if row is None else instance_record(row)


@current.one_statement
def list_page(
    scope: Scope,
    *,
    limit: int,
    cursor: str | None = None,
    status: Collection[InstanceStatus] | None = None,
    only: str | None = None,
) -> Page[InstanceRecord]:
    """Return the tenant's instances, oldest first.

    Args:
        scope: The tenant.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
        status: Only those in one of these; None for all.
        only: Only the one with this id; None for all.
    """
    after = cursor or ""
    if only is not None:
        found = _GET.rows(scope=scope.subscription_id, id=only)
        wanted = None if status is None else {one.value for one in status}
        rows = [row for row in found if row.id > after and (wanted is None or row.status in wanted)]
    elif status is None:
        rows = _PAGE.rows(scope=scope.subscription_id, cursor=after, limit=limit + 1)
    else:
        query = scope.select(Instance).where(
            Instance.id > after, Instance.status.in_([one.value for one in status])
        )
        rows = list(query.order_by(Instance.id).limit(limit + 1))
    items = tuple(instance_record(row) for row in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)


def count_by_status(scope: Scope | None) -> dict[InstanceStatus, int]:
    """Return how many instances are in each status, zeros included; of all tenants for None."""
    columns = (Instance.status, peewee.fn.COUNT(Instance.id))
    query = Instance.select(*columns) if scope is None else scope.select(Instance, *columns)
    counts = {InstanceStatus(status): count for status, count in _groups(query)}
    return {status: counts.get(status, 0) for status in InstanceStatus}


def _groups(query: Any) -> list[tuple[str, int]]:
    return list(query.group_by(Instance.status).tuples())


def update(
    scope: Scope,
    instance_id: str,
    *,
    name: str | None = None,
    settings: dict[str, Any] | None = None,
) -> tuple[InstanceRecord, InstanceRecord]:
    """Rename the tenant's instance, or patch its settings. A write.

    Args:
        scope: The tenant.
        instance_id: Which instance.
        name: The new name; None keeps it.
        settings: Merged into the stored ones key by key; a None removes its key.

    Returns:
        The instance as it was and as it is.

    Raises:
        NotFound: The tenant has no such instance.
    """
    stored = current.lock_rows(
        scope.select(Instance).where(Instance.id == instance_id)
    ).get_or_none()
    if stored is None:
        raise NotFound("no such instance")
    merged = {**stored.settings, **(settings or {})}
    values = {
        "name": stored.name if name is None else name,
        "settings": {key: value for key, value in merged.items() if value is not None},
    }
    return instance_record(stored), _update(scope, instance_id, values)


def _update(scope: Scope, instance_id: str, values: dict[str, Any]) -> InstanceRecord:
    rows = list(
        scope.update(Instance, **values, updated_at=current.now())
        .where(Instance.id == instance_id)
        .returning(Instance)
        .execute()
    )
    if not rows:
        raise NotFound("no such instance")
    return instance_record(rows[0])


def delete(scope: Scope, instance_id: str) -> None:
    """Delete the tenant's instance with its events and messages; its audit trail stays. A write.

    Raises:
        NotFound: The tenant has no such instance.
    """
    if not scope.delete(Instance).where(Instance.id == instance_id).execute():
        raise NotFound("no such instance")


@current.one_statement
def find(instance_id: str) -> InstanceRecord | None:
    """Return an instance of whichever tenant; for its actor, not for handlers."""
    row = _FIND.one(id=instance_id)
    return None if row is None else instance_record(row)


def list_all() -> list[InstanceRecord]:
    """Return the instances of all tenants, so that each gets its actor at boot."""
    return [instance_record(row) for row in Instance.select().order_by(Instance.id)]


def record_transition(
    instance_id: str,
    changes: InstanceChanges,
    new_events: Sequence[NewEvent],
    entry: NewAudit | None = None,
) -> list[EventRecord]:
    """Write a change of an instance together with its events and its audit entry. A write.

    Either all of it is stored or nothing.

    Args:
        instance_id: Which instance, of whichever tenant.
        changes: What changes on the instance. A changed ``status`` without a
            ``status_changed_at`` is dated now.
        new_events: What is to be published about it, in order.
        entry: What the audit trail says; None for nothing.

    Returns:
        The events as stored.

    Raises:
        NotFound: The instance was deleted meanwhile.
        ValueError: ``changes`` names something that a transition must not touch.
    """
    unknown = set(changes) - InstanceChanges.__annotations__.keys()
    if unknown:
        raise ValueError(f"a transition cannot change {sorted(unknown)}")
    now = current.now()
    values: dict[str, Any] = {"updated_at": now, **changes}
    if "status" in changes:
        values.setdefault("status_changed_at", now)
    row = _transition(frozenset(values)).one(id=instance_id, events=len(new_events), **values)
    if row is None:
        raise NotFound("no such instance")
    if entry is not None:
        audit.append(row.subscription_id, entry)
    return events.insert_numbered(row, instance_id, new_events)
