"""Deliveries of webhooks as the dispatcher reads and settles them, for all tenants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import peewee

from wavisor.clock import format_time
from wavisor.domain import DeliveryStatus, DisabledReason, EventType
from wavisor.event_data.instances import WebhookDisabled
from wavisor.storage import audit, current, events
from wavisor.storage.models import Event, Instance, WebhookDelivery, WebhookEndpoint
from wavisor.storage.prepared import Prepared
from wavisor.storage.records import EventRecord, NewAudit, NewEvent
from wavisor.storage.webhook_records import (
    Attempt,
    EndpointRecord,
    Parcel,
    Settled,
    StreamKey,
)
from wavisor.storage.webhooks import endpoint_record

__all__ = [
    "DisableRule",
    "cancel_abandoned",
    "count_pending",
    "due_endpoints",
    "find_endpoints",
    "last_position",
    "next_due",
    "pending_streams",
    "pull_in",
    "purge",
    "read_new",
    "read_retries",
    "read_stream",
    "settle",
]

_PENDING = peewee.SQL("status = 'pending'")
# In a join both tables could have such a column.
_PENDING_HERE = peewee.SQL('"t1"."status" = \'pending\'')

_SETTLE = Prepared(
    lambda slot: WebhookDelivery.update(
        status=slot("status"),
        attempts=slot("attempts"),
        next_attempt_at=slot("next_attempt_at"),
        last_attempt_at=slot("at"),
        response_status=slot("response_status"),
        response_excerpt=slot("response_excerpt"),
        error=slot("error"),
        latency_ms=slot("latency_ms"),
        ended_at=slot("ended_at"),
    ).where(WebhookDelivery.position == slot("position"), _PENDING)
)


@dataclass(frozen=True, slots=True)
class DisableRule:
    """When an endpoint that takes nothing is switched off.

    Both must hold, so that neither a jump of the clock nor a busy minute does it alone.
    """

    after: timedelta = timedelta(days=5)
    failures: int = 10


def last_position() -> int:
    """Return the position of the newest delivery; 0 when there is none."""
    return int(WebhookDelivery.select(peewee.fn.MAX(WebhookDelivery.position)).scalar() or 0)


def pending_streams(endpoint_id: str | None = None) -> tuple[int, list[StreamKey]]:
    """Return what has pending deliveries, of one endpoint or of all that are switched on.

    Returns:
        The position of the newest delivery at the same moment, and the streams.
    """
    on = WebhookEndpoint.select(WebhookEndpoint.id).where(WebhookEndpoint.enabled)
    if endpoint_id is not None:
        on = on.where(WebhookEndpoint.id == endpoint_id)
    query = (
        WebhookDelivery.select(WebhookDelivery.endpoint, WebhookDelivery.instance)
        .where(_PENDING, WebhookDelivery.endpoint.in_(on))
        .distinct()
    )
    return last_position(), _tuples(query)


def find_endpoints(ids: Collection[str]) -> list[EndpointRecord]:
    """Return those of these endpoints that exist."""
    query = WebhookEndpoint.select().where(WebhookEndpoint.id.in_(list(ids)))
    return [endpoint_record(row) for row in query]


def read_new(after: int, *, limit: int) -> list[Parcel]:
    """Return pending deliveries made after a position, oldest first."""
    query = _parcels().where(WebhookDelivery.position > after, _PENDING_HERE)
    return _read(query.order_by(WebhookDelivery.position).limit(limit))


def read_stream(
    stream: StreamKey, *, first_only: bool, limit: int, held: Collection[int] = ()
) -> list[Parcel]:
    """Return the pending deliveries of a stream, in its order.

    Args:
        stream: Which.
        first_only: Leave out those that were attempted before.
        limit: How many at most.
        held: Positions of those that the caller has already.
    """
    endpoint, instance = stream
    query = _parcels().where(WebhookDelivery.endpoint == endpoint, _PENDING_HERE)
    query = query.where(
        WebhookDelivery.instance.is_null()
        if instance is None
        else WebhookDelivery.instance == instance
    )
    if first_only:
        query = query.where(WebhookDelivery.attempts == 0)
    found = _read(query.order_by(WebhookDelivery.position).limit(limit + len(held)))
    return [one for one in found if one.position not in held][:limit]


def read_retries(
    endpoint_id: str, now: datetime, *, limit: int, held: Collection[int] = ()
) -> list[Parcel]:
    """Return an endpoint's deliveries whose next attempt is due, longest due first."""
    query = _parcels().where(
        WebhookDelivery.endpoint == endpoint_id,
        _PENDING_HERE,
        WebhookDelivery.next_attempt_at <= now,
    )
    found = _read(query.order_by(WebhookDelivery.next_attempt_at).limit(limit + len(held)))
    return [one for one in found if one.position not in held][:limit]


def due_endpoints(now: datetime) -> list[str]:
    """Return the endpoints, of those that are switched on, for which a retry is due."""
    due = WebhookDelivery.select(peewee.SQL("1")).where(
        WebhookDelivery.endpoint == WebhookEndpoint.id,
        _PENDING,
        WebhookDelivery.next_attempt_at <= now,
    )
    query = WebhookEndpoint.select(WebhookEndpoint.id).where(
        WebhookEndpoint.enabled, peewee.fn.EXISTS(due)
    )
    return [row.id for row in query]


def next_due(now: datetime) -> datetime | None:
    """Return when the next retry of all will be due; None when none is to come."""
    later = WebhookDelivery.select(peewee.fn.MIN(WebhookDelivery.next_attempt_at)).where(
        WebhookDelivery.endpoint == WebhookEndpoint.id,
        _PENDING,
        WebhookDelivery.next_attempt_at > now,
    )
    query = WebhookEndpoint.select(later.alias("soonest")).where(WebhookEndpoint.enabled)
    times = [soonest for (soonest,) in _tuples(query) if soonest is not None]
    # As text on SQLite; of a fixed width, so that it sorts.
    return WebhookDelivery.next_attempt_at.python_value(min(times)) if times else None


def pull_in(latest: datetime) -> int:
    """Make deliveries that wait beyond a time wait until then; return how many. A write.

    No wait is that long, unless the clock was put back while nobody was there to notice.
    """
    query = WebhookDelivery.update(next_attempt_at=latest).where(
        _PENDING, WebhookDelivery.next_attempt_at > latest
    )
    return int(query.execute())


def count_pending() -> int:
    """Return how many deliveries wait, those of webhooks that are switched off included."""
    return int(WebhookDelivery.select().where(_PENDING).count())


def settle(attempts: Sequence[Attempt], rule: DisableRule) -> Settled:
    """Write down how attempts went, in their order, and what follows for their endpoints. A write.

    An endpoint that is switched off by it gets an audit entry, and an event on the instance that
    it was told of.
    """
    changed: list[EndpointRecord] = []
    told: defaultdict[str, list[NewEvent]] = defaultdict(list)
    by_endpoint = sorted(attempts, key=lambda one: one.endpoint_id)
    for endpoint_id, group in groupby(by_endpoint, key=lambda one: one.endpoint_id):
        same = list(group)
        # Before its deliveries, in which order a deletion goes as well.
        after, off = _judge(endpoint_id, same, rule)
        if after is not None:
            changed.append(after)
        if after is not None and off:
            _tell_disabled(after, same, told)
        for one in same:
            _settle_one(one)
    return Settled(tuple(changed), tuple(events.append_to_several(told)))


def purge(before: datetime, *, limit: int = 1000) -> int:
    """Delete up to ``limit`` deliveries that ended before a time; return how many. A write."""
    oldest = (
        WebhookDelivery.select(WebhookDelivery.position)
        .where(peewee.SQL("ended_at IS NOT NULL"), WebhookDelivery.ended_at < before)
        .order_by(WebhookDelivery.ended_at)
        .limit(limit)
    )
    query = WebhookDelivery.delete().where(WebhookDelivery.position.in_(oldest))
    return int(query.execute())


def cancel_abandoned(before: datetime, *, limit: int = 1000) -> int:
    """Cancel up to ``limit`` deliveries of endpoints switched off since before a time. A write."""
    off = WebhookEndpoint.select(WebhookEndpoint.id).where(
        ~WebhookEndpoint.enabled, WebhookEndpoint.disabled_at < before
    )
    oldest = (
        WebhookDelivery.select(WebhookDelivery.position)
        .where(_PENDING, WebhookDelivery.endpoint.in_(off))
        .order_by(WebhookDelivery.position)
        .limit(limit)
    )
    query = WebhookDelivery.update(
        status=DeliveryStatus.CANCELLED.value, ended_at=current.now(), next_attempt_at=None
    ).where(WebhookDelivery.position.in_(oldest))
    return int(query.execute())


def _tuples(query: Any) -> list[Any]:
    return list(query.tuples())


def _parcels() -> Any:
    return WebhookDelivery.select(
        WebhookDelivery.position,
        WebhookDelivery.id,
        WebhookDelivery.subscription.alias("subscription_id"),
        WebhookDelivery.endpoint.alias("endpoint_id"),
        WebhookDelivery.instance.alias("instance_id"),
        WebhookDelivery.event_id,
        WebhookDelivery.attempts,
        WebhookDelivery.next_attempt_at,
        WebhookDelivery.last_attempt_at,
        WebhookDelivery.created_at,
        WebhookDelivery.body,
        Event.position.alias("event_position"),
        Event.seq,
        Event.type,
        Event.timestamp,
        Event.data,
    ).join(
        Event,
        peewee.JOIN.LEFT_OUTER,
        on=(Event.position == WebhookDelivery.event_position),
    )


def _read(query: Any) -> list[Parcel]:
    return [_parcel(row) for row in query.namedtuples()]


def _parcel(row: Any) -> Parcel:
    event = None
    if row.event_position is not None:
        event = EventRecord(
            position=row.event_position,
            id=row.event_id,
            subscription_id=row.subscription_id,
            instance_id=row.instance_id,
            seq=row.seq,
            type=row.type,
            timestamp=row.timestamp,
            data=row.data,
        )
    return Parcel(
        position=row.position,
        id=row.id,
        endpoint_id=row.endpoint_id,
        instance_id=row.instance_id,
        event_id=row.event_id,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        last_attempt_at=row.last_attempt_at,
        created_at=row.created_at,
        event=event,
        body=row.body,
    )


def _settle_one(one: Attempt) -> None:
    ended = one.status is not DeliveryStatus.PENDING
    _SETTLE.change(
        position=one.position,
        status=one.status.value,
        attempts=one.attempts,
        next_attempt_at=one.next_attempt_at,
        at=one.at,
        response_status=one.response_status,
        response_excerpt=one.response_excerpt,
        error=one.error,
        latency_ms=one.latency_ms,
        ended_at=one.at if ended else None,
    )


def _judge(
    endpoint_id: str, attempts: Sequence[Attempt], rule: DisableRule
) -> tuple[EndpointRecord | None, bool]:
    """Bring an endpoint's record of failure up to date; switch it off where that is due.

    Returns:
        The endpoint where it has changed, and whether it was switched off.
    """
    before = _locked(endpoint_id)
    if before is None:
        return None, False
    since, failures, reason = before.failing_since, before.failures, None
    for one in attempts:
        if one.status is DeliveryStatus.SUCCEEDED:
            since, failures = None, 0
            continue
        since, failures = since or one.at, failures + 1
        if one.gone:
            reason = DisabledReason.GONE
        elif failures >= rule.failures and one.at - since >= rule.after:
            reason = reason or DisabledReason.FAILING
    if (since, failures) == (before.failing_since, before.failures):
        return None, False
    values: dict[str, Any] = {"failing_since": since, "failures": failures}
    off = before.enabled and reason is not None
    if reason is not None and off:
        values |= {
            "enabled": False,
            "disabled_reason": reason.value,
            "disabled_at": current.now(),
            "updated_at": current.now(),
        }
    update = WebhookEndpoint.update(**values).where(WebhookEndpoint.id == endpoint_id)
    [row] = update.returning(WebhookEndpoint).execute()
    return endpoint_record(row), off


def _locked(endpoint_id: str) -> EndpointRecord | None:
    query = WebhookEndpoint.select().where(WebhookEndpoint.id == endpoint_id)
    # Not the strongest lock: events go on getting deliveries for it meanwhile.
    row = current.lock_rows(query, referable=True).get_or_none()
    return None if row is None else endpoint_record(row)


def _tell_disabled(
    endpoint: EndpointRecord,
    attempts: Iterable[Attempt],
    told: defaultdict[str, list[NewEvent]],
) -> None:
    """Note in the audit trail that an endpoint was switched off, and add an event to ``told``."""
    reason = "" if endpoint.disabled_reason is None else endpoint.disabled_reason.value
    audit.append(
        endpoint.subscription_id,
        NewAudit(
            action="webhook.disable",
            actor_kind="system",
            target=endpoint.id,
            before={"enabled": True},
            after={"enabled": False, "reason": reason},
        ),
    )
    instance = (
        endpoint.instance_id
        or next((one.instance_id for one in attempts if one.instance_id is not None), None)
        or _first_instance(endpoint.subscription_id)
    )
    if instance is None:
        return
    data: WebhookDisabled = {
        "webhookId": endpoint.id,
        "reason": reason,
        "failures": endpoint.failures,
        "failingSince": format_time(endpoint.failing_since),
    }
    told[instance].append(NewEvent(EventType.WEBHOOK_DISABLED.value, data))


def _first_instance(subscription_id: str) -> str | None:
    row = (
        Instance.select(Instance.id)
        .where(Instance.subscription == subscription_id)
        .order_by(Instance.id)
        .first()
    )
    return None if row is None else str(row.id)
