"""Makes the deliveries of events, in the transaction that writes the events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from wavisor.domain import DeliveryStatus
from wavisor.event_filter import covers
from wavisor.ids import Kind, new_id
from wavisor.storage import current
from wavisor.storage.models import Instance, WebhookDelivery, WebhookEndpoint
from wavisor.storage.prepared import insert
from wavisor.storage.records import EventRecord

__all__ = ["enqueue", "watched"]


def watched() -> Any:
    """Return the column ``watched`` for what changes the row of an instance and returns it.

    It tells whether its tenant has a webhook that is switched on. A tenant without one so pays
    a look into an index for its events, and no statement of their own.
    """
    endpoints = WebhookEndpoint.select(peewee.SQL("1")).where(
        WebhookEndpoint.subscription == Instance.subscription, WebhookEndpoint.enabled
    )
    return peewee.fn.EXISTS(endpoints).alias("watched")


def enqueue(subscription_id: str, instance_id: str, events: Sequence[EventRecord]) -> set[str]:
    """Make a delivery of each event for each endpoint that wants it. A write.

    To be called with the lock of the events held: positions of deliveries become visible in
    their order as those of events do.

    Returns:
        The ids of the events that somebody wants.
    """
    now = current.now()
    wanted = set()
    endpoints = _endpoints(subscription_id, instance_id)
    for event in events:
        for endpoint in endpoints:
            if covers(endpoint.events, event.type):
                wanted.add(event.id)
                insert(
                    WebhookDelivery,
                    subscription_id=subscription_id,
                    id=new_id(Kind.DELIVERY),
                    endpoint_id=endpoint.id,
                    instance_id=instance_id,
                    event_id=event.id,
                    event_position=event.position,
                    event_type=event.type,
                    seq=event.seq,
                    status=DeliveryStatus.PENDING.value,
                    created_at=now,
                )
    return wanted


def _endpoints(subscription_id: str, instance_id: str) -> list[Any]:
    query = (
        WebhookEndpoint.select(WebhookEndpoint.id, WebhookEndpoint.events)
        .where(
            WebhookEndpoint.subscription == subscription_id,
            WebhookEndpoint.enabled,
            WebhookEndpoint.instance.is_null() | (WebhookEndpoint.instance == instance_id),
        )
        .order_by(WebhookEndpoint.id)
    )
    if current.current_database().for_update:
        # One that is being deleted must be gone, or stay until its deliveries are in.
        query = query.for_update("FOR KEY SHARE")  # type: ignore[arg-type]  # takes clauses too
    return list(query)
