"""Who else gets in: programs by their keys, and people by invitation."""

# ruff: noqa: D106 - Meta is where peewee looks for options

from __future__ import annotations

import peewee

from wavisor.storage.fields import JsonField, TextField, TimeField
from wavisor.storage.models.tenancy import Instance, TenantModel, User

__all__ = ["ApiKey", "Invitation"]


class ApiKey(TenantModel):
    """What a program authenticates with. Of its secret only a digest is kept.

    ``instance`` is None for a key to the whole tenant. ``creator`` is None once that user is gone;
    the key was revoked with them.
    """

    id = TextField(primary_key=True)
    instance = peewee.ForeignKeyField(
        Instance, on_delete="CASCADE", backref="+", lazy_load=False, index=False, null=True
    )
    instance_id: str | None
    creator = peewee.ForeignKeyField(
        User, on_delete="SET NULL", backref="+", lazy_load=False, null=True
    )
    creator_id: str | None
    name = TextField()
    prefix = TextField(unique=True)
    digest = TextField()
    permissions = JsonField()
    addresses = JsonField()
    expires_at = TimeField(null=True)
    created_at = TimeField()
    last_used_at = TimeField(null=True)
    last_used_address = TextField(null=True)
    revoked_at = TimeField(null=True)
    previous_digest = TextField(null=True)
    previous_until = TimeField(null=True)

    class Meta:
        table_name = "api_keys"
        indexes = (
            (("subscription", "instance", "id"), False),
            (("instance",), False),
            (("revoked_at",), False),
        )


class Invitation(TenantModel):
    """Somebody who may join a subscription. Of the token only a digest is kept."""

    id = TextField(primary_key=True)
    email = TextField()
    role = TextField()
    digest = TextField(unique=True)
    creator = peewee.ForeignKeyField(
        User, on_delete="SET NULL", backref="+", lazy_load=False, null=True
    )
    creator_id: str | None
    created_at = TimeField()
    expires_at = TimeField()
    accepted_at = TimeField(null=True)
    revoked_at = TimeField(null=True)

    class Meta:
        table_name = "invitations"
        indexes = (
            (("subscription", "id"), False),
            (("expires_at",), False),
        )
