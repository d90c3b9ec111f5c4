"""The tenant's own subscription."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta

from pydantic.alias_generators import to_camel

from wavisor.http.permissions import Permission
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.subscription.schemas import LimitsModel, SubscriptionModel, UseModel
from wavisor.limits import Limits, Resource, limits_of
from wavisor.storage import Scope, UseRecord, quotas

__all__ = ["router"]

router = Router("subscription", "The tenant's own subscription: tier, limits and use.")


@router.route(
    "GET",
    "/api/subscription",
    operation="getSubscription",
    summary="Get tier, limits and use",
    access=Permission.STATS_READ,
    responses={200: SubscriptionModel},
)
async def get_subscription(call: Call[None, None]) -> Reply:
    """Tells the subscription's tier, what it may have, and how much of that it has."""
    scope = Scope(call.principal.subscription_id)
    use = await call.services.database.fetch(quotas.use, scope)
    return Reply(_model(use, call.services.clock.now()))


def _model(record: UseRecord, now: datetime) -> SubscriptionModel:
    subscription = record.subscription
    limits = limits_of(subscription)
    own = subscription.overrides or {}
    return SubscriptionModel(
        id=subscription.id,
        name=subscription.name,
        tier=subscription.tier,
        created_at=subscription.created_at,
        limits=LimitsModel(**asdict(limits)),
        own_limits=sorted(to_camel(name) for name in own if hasattr(limits, name)),
        use={
            to_camel(resource.value): _use(resource, used, limits, now)
            for resource, used in record.used.items()
        },
    )


def _use(resource: Resource, used: int, limits: Limits, now: datetime) -> UseModel:
    limit: int | None = getattr(limits, resource.value)
    return UseModel(
        used=used,
        limit=limit,
        over=limit is not None and used > limit,
        resets_at=_midnight_after(now) if resource is Resource.MESSAGES_PER_DAY else None,
    )


def _midnight_after(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
