"""Webhooks: endpoints, and a row for each event that one of them is to be told of.

A copy of the models as they were then; it must not change with them.
"""

from __future__ import annotations

from typing import Any

import peewee

from wavisor.storage.fields import JsonField, PositionField, TimeField

Table = Any


def up(migrator: Any, db: peewee.Database) -> None:
    """Create the tables."""
    base, subscription, instance = _earlier(db)
    endpoint = _endpoints(base, subscription, instance)
    for table in (endpoint, _deliveries(base, subscription, instance, endpoint)):
        table.create_table(safe=False)


def _earlier(db: peewee.Database) -> tuple[Table, Table, Table]:
    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Subscription(Base):
        id = peewee.TextField(primary_key=True)

        class Meta:
            table_name = "subscriptions"

    class Instance(Base):
        id = peewee.TextField(primary_key=True)

        class Meta:
            table_name = "instances"

    return Base, Subscription, Instance


def _endpoints(base: Table, subscriptions: Table, instances: Table) -> Table:
    class WebhookEndpoint(base):  # type: ignore[misc]  # made for this database
        subscription = peewee.ForeignKeyField(subscriptions, on_delete="CASCADE", index=False)

        id = peewee.TextField(primary_key=True)
        instance = peewee.ForeignKeyField(instances, on_delete="CASCADE", index=False, null=True)
        url = peewee.TextField()
        events = JsonField()
        headers = JsonField()
        description = peewee.TextField(null=True)
        enabled = peewee.BooleanField(default=True)
        strict_order = peewee.BooleanField(default=False)
        secret = peewee.TextField()
        previous_secret = peewee.TextField(null=True)
        previous_until = TimeField(null=True)
        disabled_reason = peewee.TextField(null=True)
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

    return WebhookEndpoint


def _deliveries(base: Table, subscriptions: Table, instances: Table, endpoints: Table) -> Table:
    class WebhookDelivery(base):  # type: ignore[misc]  # made for this database
        subscription = peewee.ForeignKeyField(subscriptions, on_delete="CASCADE", index=False)

        position = PositionField()
        id = peewee.TextField(unique=True)
        endpoint = peewee.ForeignKeyField(endpoints, on_delete="CASCADE", index=False)
        instance = peewee.ForeignKeyField(instances, on_delete="CASCADE", index=False, null=True)
        event_id = peewee.TextField()
        event_position = peewee.BigIntegerField(null=True)
        event_type = peewee.TextField()
        seq = peewee.BigIntegerField(null=True)
        body = peewee.TextField(null=True)
        status = peewee.TextField()
        attempts = peewee.IntegerField(default=0)
        next_attempt_at = TimeField(null=True)
        last_attempt_at = TimeField(null=True)
        response_status = peewee.IntegerField(null=True)
        response_excerpt = peewee.TextField(null=True)
        error = peewee.TextField(null=True)
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

    one = WebhookDelivery
    for columns, where in (
        ((one.endpoint, one.instance, one.position), "status = 'pending'"),
        (
            (one.endpoint, one.next_attempt_at),
            "status = 'pending' AND next_attempt_at IS NOT NULL",
        ),
        ((one.event_position,), "status = 'pending'"),
        ((one.ended_at,), "ended_at IS NOT NULL"),
    ):
        one.add_index(one.index(*columns, where=peewee.SQL(where)))
    return one
