"""What a subscription may have, kept to by whoever writes a row that counts.

Each check is in the transaction that makes the row, under a lock on the subscription, so that any
number of calls at the same time keep to the limit together. Whatever is above a limit that was
lowered stays; only nothing is added to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import peewee

from wavisor.domain import Tier
from wavisor.limits import Resource, limits_of
from wavisor.storage import current
from wavisor.storage.errors import LimitReached, NotFound
from wavisor.storage.models import ApiKey, Instance, Subscription, WebhookEndpoint
from wavisor.storage.prepared import Prepared
from wavisor.storage.records import SubscriptionRecord, UseRecord
from wavisor.storage.rows import subscription_record
from wavisor.storage.scope import Scope

__all__ = [
    "count_messages",
    "get",
    "is_good_key",
    "lock_subscription",
    "messages_left",
    "require_room",
    "retention_days",
    "use",
]

_GET = Prepared(lambda slot: Subscription.select().where(Subscription.id == slot("id")))

# One statement, because every send that is accepted needs it.
_COUNT_MESSAGES = Prepared(
    lambda slot: (
        Subscription.update(
            messages_today=peewee.Case(
                None,
                [
                    (
                        Subscription.messages_day == slot("day"),
                        Subscription.messages_today + slot("by"),
                    )
                ],
                slot("by"),
            ),
            messages_day=slot("day"),
        )
        .where(Subscription.id == slot("id"))
        .returning(Subscription.messages_today, Subscription.tier, Subscription.overrides)
    )
)


def get(scope: Scope) -> SubscriptionRecord:
    """Return the tenant's own subscription.

    Raises:
        NotFound: It is gone.
    """
    row = _GET.one(id=scope.subscription_id)
    if row is None:
        raise NotFound("no such subscription")
    return subscription_record(row)


def lock_subscription(scope: Scope) -> SubscriptionRecord:
    """Return the tenant's subscription, and put all who call this in a row. A write.

    To be called before what exists is counted, in the transaction that adds to it.

    Raises:
        NotFound: It is gone.
    """
    row = current.lock_rows(
        Subscription.select().where(Subscription.id == scope.subscription_id), referable=True
    ).get_or_none()
    if row is None:
        raise NotFound("no such subscription")
    return subscription_record(row)


def require_room(
    subscription: SubscriptionRecord, resource: Resource, used: int, adding: int = 1
) -> None:
    """Check that a subscription may have more of something.

    Args:
        subscription: As :func:`lock_subscription` returned it.
        resource: Of what.
        used: How many it has.
        adding: How many it is to get.

    Raises:
        LimitReached: That would be more than it may have.
    """
    limit: int | None = getattr(limits_of(subscription), resource.value)
    if limit is not None and used + adding > limit:
        raise LimitReached(subscription.tier, resource, limit)


def count_messages(scope: Scope, by: int = 1) -> None:
    """Count messages that are accepted for sending, all or none. A write.

    It holds the subscription's row until the commit, so it comes late in the transaction.

    Raises:
        NotFound: The subscription is gone.
        LimitReached: The day's messages are used up.
    """
    now = current.now()
    row = _COUNT_MESSAGES.one(id=scope.subscription_id, day=_day(now), by=by)
    if row is None:
        raise NotFound("no such subscription")
    limit = limits_of(_Counted(row)).messages_per_day
    if limit is not None and row.messages_today > limit:
        wait = (_midnight_after(now) - now).total_seconds()
        raise LimitReached(Tier(row.tier), Resource.MESSAGES_PER_DAY, limit, seconds=wait)


def messages_left(scope: Scope) -> int | None:
    """Return how many more messages the tenant may have accepted today; None for any number.

    Raises:
        NotFound: The subscription is gone.
    """
    row = _GET.one(id=scope.subscription_id)
    if row is None:
        raise NotFound("no such subscription")
    limit = limits_of(subscription_record(row)).messages_per_day
    return None if limit is None else max(0, limit - _used_today(row))


class _Counted:
    """The little of a subscription that a count returns."""

    def __init__(self, row: Any) -> None:
        self.tier = Tier(row.tier)
        self.overrides: Mapping[str, Any] | None = row.overrides


def is_good_key(now: datetime) -> Any:
    """Return the condition that an API key is neither revoked nor expired."""
    return ApiKey.revoked_at.is_null() & (ApiKey.expires_at.is_null() | (ApiKey.expires_at > now))


def retention_days() -> dict[str, int]:
    """Return after how many days messages go, by subscription; of those that have such a limit."""
    rows = map(subscription_record, Subscription.select())
    limits = ((row.id, limits_of(row).retention_days) for row in rows)
    return {identifier: days for identifier, days in limits if days is not None}


def use(scope: Scope) -> UseRecord:
    """Return how much the tenant has of what is limited.

    Raises:
        NotFound: The subscription is gone.
    """
    row = _GET.one(id=scope.subscription_id)
    if row is None:
        raise NotFound("no such subscription")
    now = current.now()
    return UseRecord(
        subscription=subscription_record(row),
        used={
            Resource.INSTANCES: scope.select(Instance, Instance.id).count(),
            Resource.WEBHOOKS: scope.select(WebhookEndpoint, WebhookEndpoint.id).count(),
            Resource.KEYS: scope.select(ApiKey, ApiKey.id).where(is_good_key(now)).count(),
            Resource.MESSAGES_PER_DAY: _used_today(row),
        },
    )


def _used_today(row: Any) -> int:
    return int(row.messages_today) if row.messages_day == _day(current.now()) else 0


def _day(now: datetime) -> str:
    return now.date().isoformat()


def _midnight_after(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
