"""Tenants, their users and instances, what happened, and who is logged in."""

# ruff: noqa: D106 - Meta is where peewee looks for options

from __future__ import annotations

import peewee

from wavisor.storage.fields import JsonField, PositionField, TextField, TimeField
from wavisor.storage.models.base import BaseModel

__all__ = [
    "AuditLog",
    "Event",
    "Instance",
    "RefreshToken",
    "RevokedToken",
    "Subscription",
    "TenantModel",
    "TokenFamily",
    "User",
]


class Subscription(BaseModel):
    """A tenant: what pays, and what everything else belongs to.

    ``overrides`` are limits other than its tier's; ``messages_today`` counts the messages that
    were accepted on ``messages_day`` (UTC). Since ``deleted_at`` it is being removed, bit by bit.
    """

    id = TextField(primary_key=True)
    name = TextField()
    tier = TextField()
    created_at = TimeField()
    suspended_at = TimeField(null=True)
    overrides = JsonField(null=True)
    messages_day = TextField(null=True)
    messages_today = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])
    deleted_at = TimeField(null=True)

    class Meta:
        table_name = "subscriptions"


class TenantModel(BaseModel):
    """A table whose rows belong to a subscription; tenants reach it through a ``Scope``."""

    subscription = peewee.ForeignKeyField(
        Subscription, on_delete="CASCADE", backref="+", lazy_load=False, index=False
    )
    subscription_id: str  # peewee makes it


class User(TenantModel):
    """A person who logs in. ``email`` is normalised, so that its uniqueness ignores case."""

    id = TextField(primary_key=True)
    email = TextField(unique=True)
    password_hash = TextField()
    role = TextField()
    is_operator = peewee.BooleanField(default=False)
    token_version = peewee.IntegerField(default=1)
    created_at = TimeField()
    last_login_at = TimeField(null=True)

    class Meta:
        table_name = "users"
        indexes = ((("subscription", "id"), False),)


class Instance(TenantModel):
    """A WhatsApp number that a tenant connects, or wants to.

    ``queued`` counts its messages in that status, so that a bound costs no counting.
    """

    id = TextField(primary_key=True)
    name = TextField()
    desired = TextField()
    status = TextField()
    reason = TextField(null=True)
    last_error = JsonField(null=True)
    status_changed_at = TimeField()
    jid = TextField(null=True)
    lid = TextField(null=True)
    phone = TextField(null=True)
    push_name = TextField(null=True)
    platform = TextField(null=True)
    connected_at = TimeField(null=True)
    settings = JsonField()
    event_seq = peewee.BigIntegerField(default=0)
    queued = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])
    paired_at = TimeField(null=True)
    queue_paused_until = TimeField(null=True)
    queue_pause_reason = TextField(null=True)
    created_at = TimeField()
    updated_at = TimeField()

    class Meta:
        table_name = "instances"
        indexes = (
            (("subscription", "id"), False),
            (("desired", "id"), False),
        )


class Event(TenantModel):
    """Something that happened to an instance. ``position`` orders the events of all tenants."""

    position = PositionField()
    id = TextField(unique=True)
    instance = peewee.ForeignKeyField(
        Instance, on_delete="CASCADE", backref="+", lazy_load=False, index=False
    )
    instance_id: str
    seq = peewee.BigIntegerField()
    type = TextField()
    timestamp = TimeField()
    data = JsonField()

    class Meta:
        table_name = "events"
        indexes = (
            (("instance", "seq"), True),
            (("subscription", "position"), False),
            (("timestamp",), False),
        )


class AuditLog(BaseModel):
    """Who did what. It refers to nothing by foreign key, because it outlives what it tells of."""

    id = TextField(primary_key=True)
    subscription_id = TextField(null=True)
    actor_kind = TextField()
    actor_id = TextField(null=True)
    action = TextField()
    target = TextField(null=True)
    before = JsonField(null=True)
    after = JsonField(null=True)
    address = TextField(null=True)
    request_id = TextField(null=True)
    at = TimeField()

    class Meta:
        table_name = "audit_log"
        indexes = (
            (("subscription_id", "id"), False),
            (("target", "id"), False),
        )


class TokenFamily(BaseModel):
    """One login: the chain of refresh tokens that grew from it, revoked as one."""

    id = TextField(primary_key=True)
    user = peewee.ForeignKeyField(User, on_delete="CASCADE", backref="+", lazy_load=False)
    user_id: str
    created_at = TimeField()
    expires_at = TimeField()
    revoked_at = TimeField(null=True)

    class Meta:
        table_name = "token_families"
        indexes = ((("expires_at",), False),)


class RefreshToken(BaseModel):
    """A refresh token by its id; it is good for one use."""

    id = TextField(primary_key=True)
    family = peewee.ForeignKeyField(TokenFamily, on_delete="CASCADE", backref="+", lazy_load=False)
    family_id: str
    expires_at = TimeField()
    used_at = TimeField(null=True)

    class Meta:
        table_name = "refresh_tokens"
        indexes = ((("expires_at",), False),)


class RevokedToken(BaseModel):
    """An access token that is refused before its time is up."""

    jti = TextField(primary_key=True)
    expires_at = TimeField()

    class Meta:
        table_name = "revoked_tokens"
        indexes = ((("expires_at",), False),)
