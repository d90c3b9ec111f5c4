"""Accounts, tokens, instances, events, the audit trail and outbound messages.

A copy of the models as they were then; it must not change with them.
"""

from __future__ import annotations

from typing import Any

import peewee

from wavisor.storage.fields import JsonField, PositionField, TimeField

Table = type[peewee.Model]


def up(migrator: Any, db: peewee.Database) -> None:
    """Create the first tables."""
    subscription, user, *tokens = _accounts(db)
    instance, *logs = _instances(db, subscription)
    messages = _messages(db, subscription, instance)
    for table in (subscription, user, *tokens, instance, *logs, messages):
        table.create_table(safe=False)


def _accounts(db: peewee.Database) -> tuple[Table, ...]:
    """Who logs in, and with which tokens."""

    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Subscription(Base):
        id = peewee.TextField(primary_key=True)
        name = peewee.TextField()
        tier = peewee.TextField()
        created_at = TimeField()
        suspended_at = TimeField(null=True)

        class Meta:
            table_name = "subscriptions"

    class User(Base):
        subscription = peewee.ForeignKeyField(Subscription, on_delete="CASCADE", index=False)

        id = peewee.TextField(primary_key=True)
        email = peewee.TextField(unique=True)
        password_hash = peewee.TextField()
        role = peewee.TextField()
        is_operator = peewee.BooleanField(default=False)
        token_version = peewee.IntegerField(default=1)
        created_at = TimeField()
        last_login_at = TimeField(null=True)

        class Meta:
            table_name = "users"
            indexes = ((("subscription", "id"), False),)

    class TokenFamily(Base):
        id = peewee.TextField(primary_key=True)
        user = peewee.ForeignKeyField(User, on_delete="CASCADE")
        created_at = TimeField()
        expires_at = TimeField()
        revoked_at = TimeField(null=True)

        class Meta:
            table_name = "token_families"
            indexes = ((("expires_at",), False),)

    class RefreshToken(Base):
        id = peewee.TextField(primary_key=True)
        family = peewee.ForeignKeyField(TokenFamily, on_delete="CASCADE")
        expires_at = TimeField()
        used_at = TimeField(null=True)

        class Meta:
            table_name = "refresh_tokens"

    class RevokedToken(Base):
        jti = peewee.TextField(primary_key=True)
        expires_at = TimeField()

        class Meta:
            table_name = "revoked_tokens"
            indexes = ((("expires_at",), False),)

    return Subscription, User, TokenFamily, RefreshToken, RevokedToken


def _instances(db: peewee.Database, subscriptions: Table) -> tuple[Table, ...]:
    """Instances and what is written down about them."""

    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Instance(Base):
        subscription = peewee.ForeignKeyField(subscriptions, on_delete="CASCADE", index=False)

        id = peewee.TextField(primary_key=True)
        name = peewee.TextField()
        desired = peewee.TextField()
        status = peewee.TextField()
        reason = peewee.TextField(null=True)
        last_error = JsonField(null=True)
        status_changed_at = TimeField()
        jid = peewee.TextField(null=True)
        lid = peewee.TextField(null=True)
        phone = peewee.TextField(null=True)
        push_name = peewee.TextField(null=True)
        platform = peewee.TextField(null=True)
        connected_at = TimeField(null=True)
        settings = JsonField()
        event_seq = peewee.BigIntegerField(default=0)
        created_at = TimeField()
        updated_at = TimeField()

        class Meta:
            table_name = "instances"
            indexes = (
                (("subscription", "id"), False),
                (("desired", "id"), False),
            )

    class Event(Base):
        subscription = peewee.ForeignKeyField(subscriptions, on_delete="CASCADE", index=False)

        position = PositionField()
        id = peewee.TextField(unique=True)
        instance = peewee.ForeignKeyField(Instance, on_delete="CASCADE", index=False)
        seq = peewee.BigIntegerField()
        type = peewee.TextField()
        timestamp = TimeField()
        data = JsonField()

        class Meta:
            table_name = "events"
            indexes = (
                (("instance", "seq"), True),
                (("subscription", "position"), False),
                (("timestamp",), False),
            )

    class AuditLog(Base):
        id = peewee.TextField(primary_key=True)
        subscription_id = peewee.TextField(null=True)
        actor_kind = peewee.TextField()
        actor_id = peewee.TextField(null=True)
        action = peewee.TextField()
        target = peewee.TextField(null=True)
        before = JsonField(null=True)
        after = JsonField(null=True)
        address = peewee.TextField(null=True)
        request_id = peewee.TextField(null=True)
        at = TimeField()

        class Meta:
            table_name = "audit_log"
            indexes = (
                (("subscription_id", "id"), False),
                (("target", "id"), False),
            )

    return Instance, Event, AuditLog


def _messages(db: peewee.Database, subscriptions: Table, instances: Table) -> Table:
    """What is to be sent."""

    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class OutboundMessage(Base):
        subscription = peewee.ForeignKeyField(subscriptions, on_delete="CASCADE", index=False)

        position = PositionField()
        id = peewee.TextField(unique=True)
        instance = peewee.ForeignKeyField(instances, on_delete="CASCADE", index=False)
        chat = peewee.TextField()
        kind = peewee.TextField()
        payload = JsonField()
        status = peewee.TextField()
        whatsapp_id = peewee.TextField(null=True)
        failure = JsonField(null=True)
        created_at = TimeField()
        sent_at = TimeField(null=True)
        delivered_at = TimeField(null=True)
        read_at = TimeField(null=True)
        played_at = TimeField(null=True)

        class Meta:
            table_name = "outbound_messages"
            indexes = (
                (("instance", "status", "position"), False),
                (("instance", "whatsapp_id"), False),
                (("subscription", "position"), False),
            )

    return OutboundMessage
