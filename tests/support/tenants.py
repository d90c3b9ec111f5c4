"""Tenants with instances, for tests that need some to be there."""

from __future__ import annotations

from itertools import count

from wavisor.storage import (
    AccountRecord,
    Database,
    InstanceRecord,
    Scope,
    accounts,
    instances,
)

_numbers = count(1)


def new_account(database: Database, email: str | None = None) -> AccountRecord:
    return database.write_wait(
        accounts.create_subscription_with_owner,
        email=email or f"owner{next(_numbers)}@example.org",
        password_hash="$2b$not-a-real-hash",
        name="Example",
    )


def new_scope(database: Database) -> Scope:
    return Scope(new_account(database).subscription.id)


def new_instance(database: Database, scope: Scope, name: str = "Shop") -> InstanceRecord:
    return database.write_wait(instances.create, scope, name=name)
