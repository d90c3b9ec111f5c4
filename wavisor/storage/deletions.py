"""Subscriptions that go: marked at once, and then removed bit by bit by whoever finds the mark.

Each bit is a short transaction, so that nobody else waits for long, and the next process goes on
wherever this one stops. The row itself goes last; the audit trail stays.
"""

from __future__ import annotations

from typing import Any

from wavisor.storage import audit, current
from wavisor.storage.errors import HasOperator, NotFound
from wavisor.storage.models import (
    Campaign,
    CampaignRecipient,
    IdempotencyKey,
    Instance,
    Media,
    MessageStat,
    OptOut,
    Subscription,
    User,
    WebhookEndpoint,
)
from wavisor.storage.records import NewAudit, SubscriptionRecord
from wavisor.storage.rows import subscription_record
from wavisor.storage.scope import Scope

__all__ = [
    "begin",
    "finish",
    "list_begun",
    "next_endpoint",
    "next_instance",
    "shed",
    "shed_files",
]


def begin(subscription_id: str, *, operators_too: bool = False) -> SubscriptionRecord | None:
    """Mark a subscription to be removed; from now on it is suspended for good. A write.

    Args:
        subscription_id: Which one.
        operators_too: Also one that an operator of the platform belongs to, as long as there are
            others.

    Returns:
        The subscription as it was; None when it was marked before.

    Raises:
        NotFound: There is no such subscription.
        HasOperator: An operator of the platform belongs to it.
    """
    row = _lock(subscription_id)
    if row is None:
        raise NotFound("no such subscription")
    if row.deleted_at is not None:
        return None
    inside = User.subscription == subscription_id
    if User.select().where(User.is_operator, inside).exists():
        if not operators_too:
            raise HasOperator("an operator of the platform belongs to it")
        if not User.select().where(User.is_operator, ~inside).exists():
            raise HasOperator("the last operator of the platform belongs to it")
    now = current.now()
    values = {"deleted_at": now, "suspended_at": row.suspended_at or now}
    Subscription.update(**values).where(Subscription.id == subscription_id).execute()
    return subscription_record(row)


def list_begun() -> list[str]:
    """Return the ids of the subscriptions that are to be removed, oldest mark first."""
    rows = Subscription.select(Subscription.id).where(Subscription.deleted_at.is_null(False))
    return [row.id for row in rows.order_by(Subscription.deleted_at, Subscription.id)]


def next_endpoint(scope: Scope) -> tuple[str | None, str] | None:
    """Return a webhook that the tenant still has, with its instance; None without one."""
    row = scope.select(WebhookEndpoint, WebhookEndpoint.id, WebhookEndpoint.instance).first()
    return None if row is None else (row.instance_id, row.id)


def next_instance(scope: Scope) -> str | None:
    """Return the id of an instance that the tenant still has; None without one."""
    row = scope.select(Instance, Instance.id).order_by(Instance.id).first()
    return None if row is None else str(row.id)


def shed(scope: Scope, *, limit: int = 1000) -> int:
    """Delete some of what the tenant has most of besides its instances and webhooks. A write.

    To be repeated while it returns anything.

    Returns:
        How many rows are gone, about ``limit`` of each kind at most.
    """
    count = 0
    for model, key in (
        (OptOut, OptOut.id),
        (IdempotencyKey, IdempotencyKey.key),
        # All of an hour go at once: they are few.
        (MessageStat, MessageStat.hour),
    ):
        some = scope.select(model, key).order_by(key).limit(limit)
        count += int(scope.delete(model).where(key.in_(some)).execute())
    return count + _shed_campaigns(scope, limit)


def _shed_campaigns(scope: Scope, limit: int) -> int:
    """Delete recipients of one campaign, or the campaign once it has none."""
    row = scope.select(Campaign, Campaign.id).first()
    if row is None:
        return 0
    mine = CampaignRecipient.campaign == row.id
    some = (
        CampaignRecipient.select(CampaignRecipient.position)
        .where(mine)
        .order_by(CampaignRecipient.position)
        .limit(limit)
    )
    gone = CampaignRecipient.delete().where(mine, CampaignRecipient.position.in_(some)).execute()
    if not gone:
        scope.delete(Campaign).where(Campaign.id == row.id).execute()
    return int(gone) or 1


def shed_files(scope: Scope, *, limit: int = 500) -> list[str] | None:
    """Delete the rows of some of the tenant's files. A write.

    Returns:
        The paths of those that were stored, for the caller to remove where no other tenant names
        them; None when there were no rows left.
    """
    some = scope.select(Media, Media.id).limit(limit)
    gone = list(scope.delete(Media).where(Media.id.in_(some)).returning(Media.path).execute())
    return [row.path for row in gone if row.path is not None] if gone else None


def finish(scope: Scope) -> bool:
    """Delete the subscription itself, with its users, keys and templates. A write.

    Returns:
        False when something is still there that has to go before: a request that was under way
        when it was marked may have added it.
    """
    row = _lock(scope.subscription_id)
    if row is None:
        return True
    if any(scope.select(model).exists() for model in (Instance, WebhookEndpoint, Media)):
        return False
    Subscription.delete().where(Subscription.id == scope.subscription_id).execute()
    entry = NewAudit(
        actor_kind="system",
        actor_id=None,
        action="subscription.deleted",
        target=scope.subscription_id,
        before={"name": row.name, "tier": row.tier},
    )
    audit.append(scope.subscription_id, entry)
    return True


def _lock(subscription_id: str) -> Any:
    return current.lock_rows(
        Subscription.select().where(Subscription.id == subscription_id)
    ).get_or_none()
