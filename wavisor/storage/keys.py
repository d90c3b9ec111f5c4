"""API keys: made, changed and revoked by people of a tenant, and found by their prefix."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from wavisor.ids import Kind, new_id
from wavisor.limits import Resource
from wavisor.storage import current, quotas
from wavisor.storage.accounts import account_of, select_accounts
from wavisor.storage.current import one_statement
from wavisor.storage.errors import KeyLimitReached, KeyRevoked, NotFound
from wavisor.storage.key_records import KeyChanges, KeyRecord, KeyUse, NewKey
from wavisor.storage.models import ApiKey, Instance, User
from wavisor.storage.prepared import Prepared
from wavisor.storage.records import AccountRecord, Page, SubscriptionRecord
from wavisor.storage.scope import Scope

__all__ = [
    "create",
    "find",
    "list_page",
    "note_uses",
    "purge",
    "revoke",
    "revoke_all_of",
    "rotate",
    "update",
]

_KEY_COLUMNS = tuple(one.column_name for one in ApiKey._meta.sorted_fields)

# Revoked and expired keys are found as well: their bearers are told why it is no.
_FIND = Prepared(
    lambda slot: (
        select_accounts()
        .select_extend(*(one.alias(f"key_{one.column_name}") for one in ApiKey._meta.sorted_fields))
        .join(ApiKey, on=(ApiKey.creator == User.id))
        .where(ApiKey.prefix == slot("prefix"), ApiKey.subscription == User.subscription)
    )
)
_NOTE_USE = Prepared(
    lambda slot: ApiKey.update(last_used_at=slot("at"), last_used_address=slot("address")).where(
        ApiKey.id == slot("id"),
        ApiKey.last_used_at.is_null() | (ApiKey.last_used_at < slot("at")),
    )
)


def create(
    scope: Scope, new: NewKey, *, instance_id: str | None, creator_id: str, limit: int
) -> KeyRecord:
    """Store a key, unless there are as many as there may be. A write.

    Concurrent calls are put in a row by a lock on what the key belongs to, so that the limit holds.

    Args:
        scope: The tenant.
        new: The key.
        instance_id: The instance that it is bound to; None for the whole tenant.
        creator_id: Whose rights bound the key's.
        limit: How many keys may be good at the same time, of the instance or of the tenant as such.

    Raises:
        NotFound: The tenant, the instance or the creator is gone.
        KeyLimitReached: There are as many keys as there may be.
        LimitReached: The subscription has as many keys, of all instances, as it may have.
    """
    subscription = _lock_owner(scope, instance_id)
    if not scope.select(User).where(User.id == creator_id).exists():
        raise NotFound("no such user")
    now = current.now()
    is_good = quotas.is_good_key(now)
    if _of(scope, instance_id).where(is_good).count() >= limit:
        raise KeyLimitReached(limit)
    used = scope.select(ApiKey).where(is_good).count()
    quotas.require_room(subscription, Resource.KEYS, used)
    row = ApiKey.create(
        id=new_id(Kind.API_KEY),
        subscription=scope.subscription_id,
        instance=instance_id,
        creator=creator_id,
        name=new.name,
        prefix=new.prefix,
        digest=new.digest,
        permissions=list(new.permissions),
        addresses=list(new.addresses),
        expires_at=new.expires_at,
        created_at=now,
    )
    return _record(row)


def _lock_owner(scope: Scope, instance_id: str | None) -> SubscriptionRecord:
    if instance_id is not None:
        instance = scope.select(Instance).where(Instance.id == instance_id)
        if current.lock_rows(instance, referable=True).get_or_none() is None:
            raise NotFound("no such instance")
    return quotas.lock_subscription(scope)


def list_page(
    scope: Scope, instance_id: str | None, *, limit: int, cursor: str | None = None
) -> Page[KeyRecord]:
    """Return the keys of an instance, or those to the whole tenant, newest first.

    Args:
        scope: The tenant.
        instance_id: None for the keys that are bound to no instance.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
    """
    query = _of(scope, instance_id)
    if cursor is not None:
        query = query.where(ApiKey.id < cursor)
    rows = list(query.order_by(ApiKey.id.desc()).limit(limit + 1))
    items = tuple(_record(row) for row in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)


def _lock(scope: Scope, instance_id: str | None, key_id: str) -> KeyRecord:
    """Return a key of the instance, or of the tenant as such, locked until the transaction ends.

    Raises:
        NotFound: There is none.
    """
    row = current.lock_rows(_of(scope, instance_id).where(ApiKey.id == key_id)).get_or_none()
    if row is None:
        raise NotFound("no such key")
    return _record(row)


def update(
    scope: Scope, instance_id: str | None, key_id: str, changes: KeyChanges
) -> tuple[KeyRecord, KeyRecord]:
    """Change a key; return it as it was and as it is. A write.

    Raises:
        NotFound: There is no such key.
        KeyRevoked: It was revoked.
    """
    before = _good(scope, instance_id, key_id)
    return before, _change(scope, before, dict(changes)) if changes else before


def rotate(
    scope: Scope,
    instance_id: str | None,
    key_id: str,
    *,
    digest: str,
    previous_until: datetime,
) -> KeyRecord:
    """Give a key another secret; the one before stays good for a while. A write.

    The one before that is good no more.

    Args:
        scope: The tenant.
        instance_id: The instance that the key is bound to; None for the whole tenant.
        key_id: The key.
        digest: Of the new secret.
        previous_until: Until when the secret is good that the key has now.

    Raises:
        NotFound: There is no such key.
        KeyRevoked: It was revoked.
    """
    before = _good(scope, instance_id, key_id)
    values = {
        "digest": digest,
        "previous_digest": before.digest,
        "previous_until": previous_until,
    }
    return _change(scope, before, values)


def revoke(scope: Scope, instance_id: str | None, key_id: str) -> KeyRecord | None:
    """Refuse a key from now on; None when it was revoked before. A write.

    Raises:
        NotFound: There is no such key.
    """
    before = _lock(scope, instance_id, key_id)
    if before.revoked_at is not None:
        return None
    return _change(scope, before, {"revoked_at": current.now()})


def revoke_all_of(scope: Scope, creator_id: str) -> list[str]:
    """Refuse every key that a user made; return their ids. A write."""
    rows = (
        scope.update(ApiKey, revoked_at=current.now())
        .where(ApiKey.creator == creator_id, ApiKey.revoked_at.is_null())
        .returning(ApiKey.id)
        .execute()
    )
    return sorted(row.id for row in rows)


@one_statement
def find(prefix: str) -> tuple[KeyRecord, AccountRecord] | None:
    """Return the key with this prefix and the account of its creator, whatever became of it.

    Whoever calls compares the secret, and looks whether the key is still good.

    Returns:
        None when there is no such key, or its creator is gone.
    """
    row = _FIND.one(prefix=prefix)
    if row is None:
        return None
    columns = {name: getattr(row, f"key_{name}") for name in _KEY_COLUMNS}
    return _record_of(columns), account_of(row)


def note_uses(uses: Sequence[KeyUse]) -> None:
    """Write down when and from where keys were used, unless a later use is known. A write."""
    for use in uses:
        _NOTE_USE.change(id=use.key_id, at=use.at, address=use.address)


def purge(before: datetime, *, limit: int = 1000) -> int:
    """Forget up to ``limit`` keys that were revoked before a time; return how many. A write."""
    oldest = (
        ApiKey.select(ApiKey.id)
        .where(ApiKey.revoked_at < before)
        .order_by(ApiKey.revoked_at)
        .limit(limit)
    )
    return int(ApiKey.delete().where(ApiKey.id.in_(oldest)).execute())


def _of(scope: Scope, instance_id: str | None) -> Any:
    bound = ApiKey.instance.is_null() if instance_id is None else ApiKey.instance == instance_id
    return scope.select(ApiKey).where(bound)


def _good(scope: Scope, instance_id: str | None, key_id: str) -> KeyRecord:
    found = _lock(scope, instance_id, key_id)
    if found.revoked_at is not None:
        raise KeyRevoked("the key was revoked")
    return found


def _change(scope: Scope, key: KeyRecord, values: dict[str, Any]) -> KeyRecord:
    [row] = scope.update(ApiKey, **values).where(ApiKey.id == key.id).returning(ApiKey).execute()
    return _record(row)


def _record(row: Any) -> KeyRecord:
    return _record_of({name: getattr(row, name) for name in _KEY_COLUMNS})


def _record_of(columns: dict[str, Any]) -> KeyRecord:
    lists = {name: tuple(columns[name]) for name in ("permissions", "addresses")}
    return KeyRecord(**{**columns, **lists})
