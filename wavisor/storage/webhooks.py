"""Endpoints of webhooks, as their tenants manage them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from wavisor.domain import DisabledReason
from wavisor.ids import Kind, new_id
from wavisor.limits import Resource
from wavisor.storage import current, quotas
from wavisor.storage.errors import NotFound, TooMany
from wavisor.storage.models import Instance, WebhookDelivery, WebhookEndpoint
from wavisor.storage.records import Page
from wavisor.storage.scope import Scope
from wavisor.storage.webhook_records import EndpointChanges, EndpointRecord, NewEndpoint

__all__ = [
    "TOGETHER",
    "create",
    "delete",
    "endpoint_record",
    "get",
    "list_page",
    "rotate_secret",
    "shed",
    "update",
]


def endpoint_record(row: Any) -> EndpointRecord:
    """Return the record of an endpoint's row."""
    return EndpointRecord(
        id=row.id,
        subscription_id=row.subscription_id,
        instance_id=row.instance_id,
        url=row.url,
        events=tuple(row.events),
        headers=row.headers,
        description=row.description,
        enabled=bool(row.enabled),
        strict_order=bool(row.strict_order),
        secret=row.secret,
        previous_secret=row.previous_secret,
        previous_until=row.previous_until,
        disabled_reason=DisabledReason(row.disabled_reason) if row.disabled_reason else None,
        disabled_at=row.disabled_at,
        failing_since=row.failing_since,
        failures=row.failures,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


TOGETHER = 20
"""How many endpoints an instance may have, and how many may be for all instances.

Every event of an instance is written once for each, whatever a subscription may have.
"""


def create(scope: Scope, new: NewEndpoint) -> EndpointRecord:
    """Register an endpoint. A write.

    Raises:
        NotFound: The tenant has no such instance.
        LimitReached: The subscription has as many as it may.
        TooMany: The instance has.
    """
    subscription = quotas.lock_subscription(scope)
    if new.instance_id is not None and not _has_instance(scope, new.instance_id):
        raise NotFound("no such instance")
    used = scope.select(WebhookEndpoint, WebhookEndpoint.id).count()
    quotas.require_room(subscription, Resource.WEBHOOKS, used)
    if _of(scope, new.instance_id).count() >= TOGETHER:
        raise TooMany("webhooks for the same events", TOGETHER)
    now = current.now()
    row = WebhookEndpoint.create(
        id=new_id(Kind.WEBHOOK),
        subscription=scope.subscription_id,
        instance=new.instance_id,
        url=new.url,
        events=list(new.events),
        headers=new.headers,
        description=new.description,
        enabled=new.enabled,
        strict_order=new.strict_order,
        secret=new.secret,
        disabled_reason=None if new.enabled else DisabledReason.BY_USER.value,
        disabled_at=None if new.enabled else now,
        created_at=now,
        updated_at=now,
    )
    return endpoint_record(row)


def get(scope: Scope, instance_id: str | None, endpoint_id: str) -> EndpointRecord | None:
    """Return an endpoint of an instance, or one for all instances; None when there is none."""
    row = _of(scope, instance_id).where(WebhookEndpoint.id == endpoint_id).get_or_none()
    return None if row is None else endpoint_record(row)


def list_page(
    scope: Scope, instance_id: str | None, *, limit: int, cursor: str | None = None
) -> Page[EndpointRecord]:
    """Return the endpoints of an instance, or those for all instances, oldest first.

    Args:
        scope: The tenant.
        instance_id: Which instance; None for those that are for all.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
    """
    query = _of(scope, instance_id).where(WebhookEndpoint.id > (cursor or ""))
    rows = list(query.order_by(WebhookEndpoint.id).limit(limit + 1))
    items = tuple(endpoint_record(row) for row in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)


def update(
    scope: Scope, instance_id: str | None, endpoint_id: str, changes: EndpointChanges
) -> EndpointRecord:
    """Change an endpoint. A write.

    Switching it on forgets why it was off and since when it failed.

    Raises:
        NotFound: The tenant has no such endpoint there.
    """
    now = current.now()
    values: dict[str, Any] = {**changes, "updated_at": now}
    if "enabled" in changes:
        off = not changes["enabled"]
        values |= {
            "disabled_reason": DisabledReason.BY_USER.value if off else None,
            "disabled_at": now if off else None,
            "failing_since": None,
            "failures": 0,
        }
    return _change(scope, instance_id, endpoint_id, values)


def rotate_secret(
    scope: Scope,
    instance_id: str | None,
    endpoint_id: str,
    *,
    secret: str,
    previous_until: datetime,
) -> EndpointRecord:
    """Give an endpoint a new secret; the one before signs as well until ``previous_until``.

    A write. What was rotated out earlier ends now: there are two at most.

    Raises:
        NotFound: The tenant has no such endpoint there.
    """
    values = {
        # All on the right are the row's old values.
        "previous_secret": WebhookEndpoint.secret,
        "previous_until": previous_until,
        "secret": secret,
        "updated_at": current.now(),
    }
    return _change(scope, instance_id, endpoint_id, values)


def shed(scope: Scope, instance_id: str | None, endpoint_id: str, *, limit: int = 1000) -> int:
    """Switch an endpoint off and delete up to ``limit`` of its deliveries, before it goes. A write.

    To be repeated while it returns anything. All at once with the endpoint would hold up the
    tenant's events, and on PostgreSQL those of all who wait behind them.

    Raises:
        NotFound: The tenant has no such endpoint there.
    """
    _change(scope, instance_id, endpoint_id, {"enabled": False})
    some = (
        scope.select_by(WebhookDelivery, WebhookDelivery.position)
        .where(WebhookDelivery.endpoint == endpoint_id)
        .limit(limit)
    )
    query = scope.delete(WebhookDelivery).where(WebhookDelivery.position.in_(some))
    return int(query.execute())


def delete(scope: Scope, instance_id: str | None, endpoint_id: str) -> None:
    """Delete an endpoint with its deliveries. A write.

    Raises:
        NotFound: The tenant has no such endpoint there.
    """
    query = scope.delete(WebhookEndpoint).where(
        WebhookEndpoint.id == endpoint_id, _belongs_to(instance_id)
    )
    if not query.execute():
        raise NotFound("no such webhook")


def _change(
    scope: Scope, instance_id: str | None, endpoint_id: str, values: dict[str, Any]
) -> EndpointRecord:
    rows = list(
        scope.update(WebhookEndpoint, **values)
        .where(WebhookEndpoint.id == endpoint_id, _belongs_to(instance_id))
        .returning(WebhookEndpoint)
        .execute()
    )
    if not rows:
        raise NotFound("no such webhook")
    return endpoint_record(rows[0])


def _of(scope: Scope, instance_id: str | None) -> Any:
    return scope.select(WebhookEndpoint).where(_belongs_to(instance_id))


def _belongs_to(instance_id: str | None) -> Any:
    if instance_id is None:
        return WebhookEndpoint.instance.is_null()
    return WebhookEndpoint.instance == instance_id


def _has_instance(scope: Scope, instance_id: str) -> bool:
    return bool(scope.select(Instance, Instance.id).where(Instance.id == instance_id).exists())
