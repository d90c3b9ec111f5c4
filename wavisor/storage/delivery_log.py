"""Deliveries of webhooks as their tenant sees them: listed, tried out, and asked for again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import peewee

from wavisor.domain import DeliveryStatus
from wavisor.event_filter import covers
from wavisor.ids import Kind, new_id
from wavisor.storage import current
from wavisor.storage.current import LockKey
from wavisor.storage.errors import NotFound, NothingToReplay
from wavisor.storage.models import Event, WebhookDelivery
from wavisor.storage.prepared import insert
from wavisor.storage.records import Page
from wavisor.storage.rows import event_record
from wavisor.storage.scope import Scope
from wavisor.storage.webhook_records import DeliveryRecord, EndpointRecord, ReplayOutcome

__all__ = ["add_test", "get", "list_page", "replay", "replay_range"]

_MILLISECOND = timedelta(milliseconds=1)
_AGAIN: dict[str, Any] = {
    "status": DeliveryStatus.PENDING.value,
    "attempts": 0,
    "next_attempt_at": None,
    "ended_at": None,
}


def list_page(
    scope: Scope,
    endpoint_id: str,
    *,
    limit: int,
    cursor: str | None = None,
    status: DeliveryStatus | None = None,
) -> Page[DeliveryRecord]:
    """Return the deliveries of an endpoint, newest first.

    Args:
        scope: The tenant.
        endpoint_id: Which endpoint.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
        status: Only those in this status.
    """
    query = _with_events(scope).where(WebhookDelivery.endpoint == endpoint_id)
    if cursor is not None:
        query = query.where(WebhookDelivery.position < int(cursor))
    if status is not None:
        query = query.where(WebhookDelivery.status == status.value)
    rows = list(query.order_by(WebhookDelivery.position.desc()).limit(limit + 1))
    items = tuple(_record(row) for row in rows[:limit])
    return Page(items, str(items[-1].position) if len(rows) > limit else None)


def get(scope: Scope, delivery_id: str) -> DeliveryRecord | None:
    """Return a delivery; None when the tenant has no such one."""
    row = _with_events(scope).where(WebhookDelivery.id == delivery_id).get_or_none()
    return None if row is None else _record(row)


def replay(scope: Scope, delivery_id: str) -> DeliveryRecord:
    """Make a delivery pending again, with all its attempts before it. A write.

    One that is pending stays as it is.

    Raises:
        NotFound: The tenant has no such delivery.
        NothingToReplay: What it told of is no longer kept.
    """
    found = get(scope, delivery_id)
    if found is None:
        raise NotFound("no such delivery")
    if found.event is None and found.body is None:
        raise NothingToReplay("the event of this delivery is no longer kept")
    if found.status is not DeliveryStatus.PENDING:
        scope.update(WebhookDelivery, **_AGAIN).where(WebhookDelivery.id == delivery_id).execute()
    after = get(scope, delivery_id)
    if after is None:
        raise NotFound("no such delivery")
    return after


def replay_range(
    scope: Scope,
    endpoint: EndpointRecord,
    *,
    since: datetime,
    until: datetime,
    limit: int,
    undelivered: bool = False,
) -> ReplayOutcome:
    """Deliver the events of a time once more, also those that the endpoint was never told of.

    A write. What is pending anyway is left alone and not counted.

    Args:
        scope: The tenant.
        endpoint: To whom.
        since: The time of the first event.
        until: The time after the last one.
        limit: How many events are looked at, or somewhat more.
        undelivered: Leave out what was delivered.
    """
    # As for an event: positions become visible in their order.
    current.transaction_lock(LockKey.EVENTS)
    query = scope.select(Event).where(Event.timestamp >= since, Event.timestamp < until)
    if endpoint.instance_id is not None:
        query = query.where(Event.instance == endpoint.instance_id)
    query = query.order_by(Event.timestamp, Event.position)
    rows = list(query.limit(limit + 1))
    next_from = None
    if len(rows) > limit:
        # Cut where a millisecond begins, as finely as the wire tells times; what fell into one
        # and the same is done together, however much it is, or there would be no going on.
        next_from = _floor(rows[limit].timestamp)
        if rows[0].timestamp >= next_from:
            next_from += _MILLISECOND
            rows = list(query.where(Event.timestamp < next_from))
        else:
            rows = [row for row in rows if row.timestamp < next_from]
    wanted = [row for row in rows if covers(endpoint.events, row.type)]
    wanted.sort(key=lambda row: row.position)
    count = sum(_again(scope, endpoint, row, undelivered=undelivered) for row in wanted)
    return ReplayOutcome(count, next_from)


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _again(scope: Scope, endpoint: EndpointRecord, event: Any, *, undelivered: bool) -> bool:
    status = (
        scope.select(WebhookDelivery, WebhookDelivery.status)
        .where(WebhookDelivery.endpoint == endpoint.id, WebhookDelivery.event_id == event.id)
        .scalar()
    )
    if status is None:
        _insert(
            scope,
            endpoint,
            instance_id=event.instance_id,
            event_id=event.id,
            event_position=event.position,
            event_type=event.type,
            seq=event.seq,
        )
        return True
    unwanted = [DeliveryStatus.PENDING.value]
    if undelivered:
        unwanted.append(DeliveryStatus.SUCCEEDED.value)
    if status in unwanted:
        return False
    scope.update(WebhookDelivery, **_AGAIN).where(
        WebhookDelivery.endpoint == endpoint.id, WebhookDelivery.event_id == event.id
    ).execute()
    return True


def add_test(scope: Scope, endpoint: EndpointRecord, *, body: str, event_type: str) -> str:
    """Make a delivery that tells of no event; return its id. A write.

    Args:
        scope: The tenant.
        endpoint: To whom.
        body: What is sent, with ``{id}`` in place of the id of its event.
        event_type: What its body says.
    """
    current.transaction_lock(LockKey.EVENTS)
    event_id = new_id(Kind.EVENT)
    return _insert(
        scope,
        endpoint,
        instance_id=None,
        event_id=event_id,
        event_type=event_type,
        body=body.replace("{id}", event_id),
    )


def _insert(scope: Scope, endpoint: EndpointRecord, **values: Any) -> str:
    identifier = new_id(Kind.DELIVERY)
    insert(
        WebhookDelivery,
        subscription_id=scope.subscription_id,
        id=identifier,
        endpoint_id=endpoint.id,
        status=DeliveryStatus.PENDING.value,
        created_at=current.now(),
        **values,
    )
    return identifier


def _with_events(scope: Scope) -> Any:
    return scope.select(WebhookDelivery, WebhookDelivery, Event).join(
        Event,
        peewee.JOIN.LEFT_OUTER,
        on=(Event.position == WebhookDelivery.event_position),
        attr="event",
    )


def _record(row: Any) -> DeliveryRecord:
    event = getattr(row, "event", None)
    return DeliveryRecord(
        position=row.position,
        id=row.id,
        subscription_id=row.subscription_id,
        endpoint_id=row.endpoint_id,
        instance_id=row.instance_id,
        event_id=row.event_id,
        event_type=row.event_type,
        seq=row.seq,
        status=DeliveryStatus(row.status),
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        last_attempt_at=row.last_attempt_at,
        response_status=row.response_status,
        response_excerpt=row.response_excerpt,
        error=row.error,
        latency_ms=row.latency_ms,
        created_at=row.created_at,
        ended_at=row.ended_at,
        event=None if event is None or event.position is None else event_record(event),
        body=row.body,
    )
