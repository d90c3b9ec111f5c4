"""What the platform's operator sees and does: all tenants, their users and instances.

Nothing here serves a tenant's request, so nothing is scoped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import peewee

from wavisor.domain import InstanceStatus, Role, Tier
from wavisor.storage import current
from wavisor.storage.errors import BeingDeleted, NotFound
from wavisor.storage.models import Instance, Subscription, User
from wavisor.storage.records import InstanceRecord, Page, SubscriptionRecord
from wavisor.storage.rows import instance_record, subscription_record

__all__ = [
    "PlatformSubscription",
    "PlatformUser",
    "SubscriptionFilter",
    "get_instance",
    "get_subscription",
    "is_suspended",
    "list_instances",
    "list_subscriptions",
    "list_users",
    "rename_subscription",
    "set_suspended",
    "suspended_instances",
]


@dataclass(frozen=True, slots=True)
class PlatformSubscription:
    """A subscription and how large it is."""

    subscription: SubscriptionRecord
    users: int
    instances: int


@dataclass(frozen=True, slots=True)
class PlatformUser:
    """A user, without what only logging in needs."""

    id: str
    subscription_id: str
    email: str = field(repr=False)
    role: Role
    is_operator: bool
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class SubscriptionFilter:
    """Which subscriptions; None for any."""

    name: str | None = None
    """A part of the name, in any letter case."""
    tier: Tier | None = None
    suspended: bool | None = None


def list_subscriptions(
    where: SubscriptionFilter, *, limit: int, cursor: str | None = None
) -> Page[PlatformSubscription]:
    """Return subscriptions, oldest first.

    Args:
        where: Which ones.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
    """
    query = Subscription.select().where(Subscription.id > (cursor or ""))
    if where.name is not None:
        query = query.where(Subscription.name.contains(where.name))
    if where.tier is not None:
        query = query.where(Subscription.tier == where.tier.value)
    if where.suspended is not None:
        query = query.where(Subscription.suspended_at.is_null(not where.suspended))
    rows = list(query.order_by(Subscription.id).limit(limit + 1))
    records = [subscription_record(row) for row in rows[:limit]]
    items = tuple(_with_counts(records))
    return Page(items, records[-1].id if len(rows) > limit else None)


def get_subscription(subscription_id: str) -> PlatformSubscription | None:
    """Return a subscription; None when there is none of this id."""
    row = Subscription.get_or_none(Subscription.id == subscription_id)
    return None if row is None else _with_counts([subscription_record(row)])[0]


def rename_subscription(subscription_id: str, name: str) -> None:
    """Give a subscription another name. A write.

    Raises:
        NotFound: There is no such subscription.
    """
    changed = Subscription.update(name=name).where(Subscription.id == subscription_id).execute()
    if not changed:
        raise NotFound("no such subscription")


def set_suspended(subscription_id: str, *, suspended: bool) -> bool:
    """Suspend a subscription, or let it go on. A write.

    Returns:
        Whether that changed anything.

    Raises:
        NotFound: There is no such subscription.
        BeingDeleted: It is being removed, and will not go on.
    """
    row = current.lock_rows(
        Subscription.select().where(Subscription.id == subscription_id), referable=True
    ).get_or_none()
    if row is None:
        raise NotFound("no such subscription")
    if row.deleted_at is not None and not suspended:
        raise BeingDeleted("the subscription is being deleted")
    at = current.now() if suspended else None
    changed = (
        Subscription.update(suspended_at=at)
        .where(
            Subscription.id == subscription_id,
            Subscription.suspended_at.is_null(suspended),
        )
        .execute()
    )
    return bool(changed)


def is_suspended(subscription_id: str) -> bool:
    """Tell whether a subscription is suspended."""
    return bool(
        Subscription.select()
        .where(Subscription.id == subscription_id, Subscription.suspended_at.is_null(False))
        .exists()
    )


def suspended_instances() -> frozenset[str]:
    """Return the ids of all instances whose subscription is suspended."""
    rows = (
        Instance.select(Instance.id)
        .join(Subscription, on=(Instance.subscription == Subscription.id))
        .where(Subscription.suspended_at.is_null(False))
    )
    return frozenset(row.id for row in rows)


def list_users(
    *,
    subscription_id: str | None = None,
    email: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[PlatformUser]:
    """Return users of all subscriptions, oldest first.

    Args:
        subscription_id: Only those of this one.
        email: A part of the address, in any letter case.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
    """
    query = User.select().where(User.id > (cursor or ""))
    if subscription_id is not None:
        query = query.where(User.subscription == subscription_id)
    if email is not None:
        query = query.where(User.email.contains(email))
    rows = list(query.order_by(User.id).limit(limit + 1))
    items = tuple(
        PlatformUser(
            id=row.id,
            subscription_id=row.subscription_id,
            email=row.email,
            role=Role(row.role),
            is_operator=row.is_operator,
            created_at=row.created_at,
            last_login_at=row.last_login_at,
        )
        for row in rows[:limit]
    )
    return Page(items, items[-1].id if len(rows) > limit else None)


def list_instances(
    *,
    subscription_id: str | None = None,
    status: InstanceStatus | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[InstanceRecord]:
    """Return instances of all subscriptions, oldest first.

    Args:
        subscription_id: Only those of this one.
        status: Only those in this status.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
    """
    query = Instance.select().where(Instance.id > (cursor or ""))
    if subscription_id is not None:
        query = query.where(Instance.subscription == subscription_id)
    if status is not None:
        query = query.where(Instance.status == status.value)
    rows = list(query.order_by(Instance.id).limit(limit + 1))
    items = tuple(instance_record(row) for row in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)


def get_instance(instance_id: str) -> InstanceRecord | None:
    """Return an instance of whichever tenant; None when there is none of this id."""
    row = Instance.get_or_none(Instance.id == instance_id)
    return None if row is None else instance_record(row)


def _with_counts(records: list[SubscriptionRecord]) -> list[PlatformSubscription]:
    ids = [one.id for one in records]
    users, instances = _counts(User, ids), _counts(Instance, ids)
    return [
        PlatformSubscription(one, users.get(one.id, 0), instances.get(one.id, 0)) for one in records
    ]


def _counts(model: Any, subscription_ids: list[str]) -> dict[str, int]:
    query = (
        model.select(model.subscription, peewee.fn.COUNT(model.id))
        .where(model.subscription.in_(subscription_ids))
        .group_by(model.subscription)
        .tuples()
    )
    return dict(query)
