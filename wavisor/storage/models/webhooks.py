"""Webhooks: where tenants want to be told of events, and what became of each of them."""

# ruff: noqa: D106 - Meta is where peewee looks for options

from __future__ import annotations

from typing import Any

import peewee

from wavisor.storage.fields import JsonField, PositionField, TextField, TimeField
from wavisor.storage.models.tenancy import Instance, TenantModel

__all__ = ["WebhookDelivery", "WebhookEndpoint"]


class WebhookEndpoint(TenantModel):
    """Where a tenant wants to be told of events: those of one instance, or of all.

    ``failing_since`` and ``failures`` are about the attempts since the last success.
    """

    id = TextField(primary_key=True)
    instance = peewee.ForeignKeyField(
        Instance, on_delete="CASCADE", backref="+", lazy_load=False, index=False, null=True
    )
    instance_id: str | None
    url = TextField()
    events = JsonField()
    headers = JsonField()
    description = TextField(null=True)
    enabled = peewee.BooleanField(default=True)
    strict_order = peewee.BooleanField(default=False)
    secret = TextField()
    previous_secret = TextField(null=True)
    previous_until = TimeField(null=True)
    disabled_reason = TextField(null=True)
    disabled_at = TimeField(null=True)
    failing_since = TimeField(null=True)
    failures = peewee.IntegerField(default=0)
    created_at = TimeField()
    updated_at = TimeField()

    class Meta:
        table_name = "webhook_endpoints"
        indexes = (
            (("subscription", "id"), False),
            (("instance",), False),
        )


class WebhookDelivery(TenantModel):
    """An event that an endpoint is to be told of, and how that went.

    ``position`` is the order of first attempts, that of the events. ``event_position`` leads to
    the event, which is kept for as long as this is pending; ``body`` is there instead where it
    tells of no stored event. ``next_attempt_at`` is None before the first attempt.
    """

    position = PositionField()
    id = TextField(unique=True)
    endpoint = peewee.ForeignKeyField(
        WebhookEndpoint, on_delete="CASCADE", backref="+", lazy_load=False, index=False
    )
    endpoint_id: str
    instance = peewee.ForeignKeyField(
        Instance, on_delete="CASCADE", backref="+", lazy_load=False, index=False, null=True
    )
    instance_id: str | None
    event_id = TextField()
    event_position = peewee.BigIntegerField(null=True)
    event_type = TextField()
    seq = peewee.BigIntegerField(null=True)
    body = TextField(null=True)
    status = TextField()
    attempts = peewee.IntegerField(default=0)
    next_attempt_at = TimeField(null=True)
    last_attempt_at = TimeField(null=True)
    response_status = peewee.IntegerField(null=True)
    response_excerpt = TextField(null=True)
    error = TextField(null=True)
    latency_ms = peewee.IntegerField(null=True)
    created_at = TimeField()
    ended_at = TimeField(null=True)

    class Meta:
        table_name = "webhook_deliveries"
        indexes = (
            (("endpoint", "event_id"), True),
            (("endpoint", "position"), False),
            (("instance",), False),
        )


# What the dispatcher looks for; the queries must say `status = 'pending'` literally.
_looked_for: tuple[tuple[tuple[Any, ...], str], ...] = (
    (
        (WebhookDelivery.endpoint, WebhookDelivery.instance, WebhookDelivery.position),
        "status = 'pending'",
    ),
    (
        (WebhookDelivery.endpoint, WebhookDelivery.next_attempt_at),
        "status = 'pending' AND next_attempt_at IS NOT NULL",
    ),
    ((WebhookDelivery.event_position,), "status = 'pending'"),
    ((WebhookDelivery.ended_at,), "ended_at IS NOT NULL"),
)
for _fields, _where in _looked_for:
    WebhookDelivery.add_index(WebhookDelivery.index(*_fields, where=peewee.SQL(_where)))
