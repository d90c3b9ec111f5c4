"""API keys and invitations.

A copy of the models as they were then; it must not change with them.
"""

from __future__ import annotations

from typing import Any

import peewee

from wavisor.storage.fields import JsonField, TimeField

Table = Any


def up(migrator: Any, db: peewee.Database) -> None:
    """Create the tables of keys and invitations."""
    base = _base(db)
    earlier = _earlier(base)
    _key_table(base, *earlier).create_table(safe=False)
    _invitation_table(base, *earlier[:2]).create_table(safe=False)


def _base(db: peewee.Database) -> Table:
    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    return Base


def _earlier(base: Table) -> tuple[Table, Table, Table]:
    """What 0001 made, as far as it matters here."""

    class Subscription(base):  # type: ignore[misc]  # made for this database
        id = peewee.TextField(primary_key=True)

        class Meta:
            table_name = "subscriptions"

    class User(base):  # type: ignore[misc]  # likewise
        id = peewee.TextField(primary_key=True)

        class Meta:
            table_name = "users"

    class Instance(base):  # type: ignore[misc]  # likewise
        id = peewee.TextField(primary_key=True)

        class Meta:
            table_name = "instances"

    return Subscription, User, Instance


def _key_table(base: Table, subscriptions: Table, users: Table, instances: Table) -> Table:
    class ApiKey(base):  # type: ignore[misc]  # likewise
        subscription = peewee.ForeignKeyField(subscriptions, on_delete="CASCADE", index=False)

        id = peewee.TextField(primary_key=True)
        instance = peewee.ForeignKeyField(instances, on_delete="CASCADE", index=False, null=True)
        creator = peewee.ForeignKeyField(users, on_delete="SET NULL", null=True)
        name = peewee.TextField()
        prefix = peewee.TextField(unique=True)
        digest = peewee.TextField()
        permissions = JsonField()
        addresses = JsonField()
        expires_at = TimeField(null=True)
        created_at = TimeField()
        last_used_at = TimeField(null=True)
        last_used_address = peewee.TextField(null=True)
        revoked_at = TimeField(null=True)
        previous_digest = peewee.TextField(null=True)
        previous_until = TimeField(null=True)

        class Meta:
            table_name = "api_keys"
            indexes = (
                (("subscription", "instance", "id"), False),
                (("instance",), False),
                (("revoked_at",), False),
            )

    return ApiKey


def _invitation_table(base: Table, subscriptions: Table, users: Table) -> Table:
    class Invitation(base):  # type: ignore[misc]  # likewise
        subscription = peewee.ForeignKeyField(subscriptions, on_delete="CASCADE", index=False)

        id = peewee.TextField(primary_key=True)
        email = peewee.TextField()
        role = peewee.TextField()
        digest = peewee.TextField(unique=True)
        creator = peewee.ForeignKeyField(users, on_delete="SET NULL", null=True)
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

    return Invitation
