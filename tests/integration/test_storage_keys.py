"""API keys in both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from support.manual_clock import ManualClock
from support.tenants import new_account, new_instance
from wavisor.limits import Resource
from wavisor.storage import (
    AccountRecord,
    Database,
    KeyLimitReached,
    KeyRecord,
    KeyRevoked,
    KeyUse,
    LimitReached,
    NewKey,
    NotFound,
    Scope,
    accounts,
    instances,
    keys,
    quotas,
)
from wavisor.storage.current import is_one_statement
from wavisor.storage.models import User

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def account(database: Database) -> AccountRecord:
    return new_account(database)


def create(
    database: Database,
    account: AccountRecord,
    instance: str | None = None,
    *,
    prefix: str = "p",
    limit: int = 50,
    expires_at: datetime | None = None,
) -> KeyRecord:
    new = NewKey("Shop", prefix, "d" * 64, ["messages:send"], ["10.0.0.0/8"], expires_at)
    return database.write_wait(
        keys.create,
        Scope(account.subscription.id),
        new,
        instance_id=instance,
        creator_id=account.user.id,
        limit=limit,
    )


def test_a_key_is_found_by_its_prefix_with_its_creator(
    database: Database, account: AccountRecord
) -> None:
    made = create(database, account, prefix="first")
    create(database, new_account(database), prefix="second")
    found = database.read_wait(keys.find, "first")
    assert found is not None
    assert found[0] == made
    assert found[1] == account
    assert database.read_wait(keys.find, "third") is None
    assert "d" * 64 not in repr(found)


def test_finding_a_key_is_one_statement(database: Database, account: AccountRecord) -> None:
    create(database, account, prefix="first")
    assert is_one_statement(keys.find)
    with database.count_queries() as counted:
        database.read_wait(keys.find, "first")
    assert counted.count == 1


def test_keys_of_instances_and_of_the_tenant_are_apart(
    database: Database, account: AccountRecord
) -> None:
    scope = Scope(account.subscription.id)
    one, other = (new_instance(database, scope).id for _ in range(2))
    made = {
        place: create(database, account, place, prefix=str(place)) for place in (None, one, other)
    }
    for place, key in made.items():
        assert database.read_wait(keys.list_page, scope, place, limit=9).items == (key,)
        for elsewhere in made.keys() - {place}:
            with pytest.raises(NotFound):
                database.write_wait(keys.revoke, scope, elsewhere, key.id)


def test_nothing_is_done_to_another_tenants_key(database: Database, account: AccountRecord) -> None:
    key = create(database, account)
    stranger = Scope(new_account(database).subscription.id)
    for attempt in (
        lambda: keys.revoke(stranger, None, key.id),
        lambda: keys.update(stranger, None, key.id, {"name": "Mine"}),
        lambda: keys.rotate(stranger, None, key.id, digest="x", previous_until=NOW),
    ):
        with pytest.raises(NotFound):
            database.write_wait(attempt)
    assert database.read_wait(keys.list_page, stranger, None, limit=9).items == ()
    found = database.read_wait(keys.find, "p")
    assert found is not None
    assert found[0] == key


def test_a_key_for_another_tenants_instance_is_not_made(
    database: Database, account: AccountRecord
) -> None:
    foreign = new_instance(database, Scope(new_account(database).subscription.id)).id
    with pytest.raises(NotFound):
        create(database, account, foreign)


def test_of_many_keys_made_at_once_only_so_many_are(
    database: Database, account: AccountRecord
) -> None:
    instance = new_instance(database, Scope(account.subscription.id)).id
    barrier = threading.Barrier(8)

    def attempt(number: int) -> bool:
        barrier.wait(timeout=30)
        try:
            create(database, account, instance, prefix=f"p{number}", limit=3)
        except KeyLimitReached as error:
            assert error.limit == 3
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, range(8))) == 3


def test_all_keys_of_a_tenant_together_are_limited_by_its_subscription(
    database: Database, account: AccountRecord
) -> None:
    scope = Scope(account.subscription.id)
    places = [None, *(new_instance(database, scope).id for _ in range(3))]
    database.write_wait(accounts.set_overrides, scope.subscription_id, {"keys": 3})
    barrier = threading.Barrier(8)

    def attempt(number: int) -> bool:
        barrier.wait(timeout=30)
        try:
            create(database, account, places[number % 4], prefix=f"p{number}")
        except LimitReached as error:
            assert (error.resource, error.limit) == (Resource.KEYS, 3)
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, range(8))) == 3
    assert database.read_wait(quotas.use, scope).used[Resource.KEYS] == 3


def test_keys_that_are_over_do_not_count(
    database: Database, account: AccountRecord, storage_clock: ManualClock
) -> None:
    scope = Scope(account.subscription.id)
    soon = storage_clock.now() + timedelta(seconds=10)
    create(database, account, prefix="a", limit=1, expires_at=soon)
    with pytest.raises(KeyLimitReached):
        create(database, account, prefix="b", limit=1)
    storage_clock.advance(10)
    second = create(database, account, prefix="c", limit=1)
    database.write_wait(keys.revoke, scope, None, second.id)
    create(database, account, prefix="d", limit=1)


def test_rotating_keeps_the_one_secret_before(
    database: Database, account: AccountRecord, storage_clock: ManualClock
) -> None:
    scope, key = Scope(account.subscription.id), create(database, account)
    until = storage_clock.now() + timedelta(hours=1)
    for digest, before in (("e" * 64, "d" * 64), ("f" * 64, "e" * 64)):
        rotated = database.write_wait(
            keys.rotate, scope, None, key.id, digest=digest, previous_until=until
        )
        assert (rotated.digest, rotated.previous_digest) == (digest, before)
        assert (rotated.prefix, rotated.previous_until) == (key.prefix, until)


def test_a_revoked_key_stays_revoked_until_it_is_forgotten(
    database: Database, account: AccountRecord, storage_clock: ManualClock
) -> None:
    scope, key = Scope(account.subscription.id), create(database, account)
    revoked = database.write_wait(keys.revoke, scope, None, key.id)
    assert revoked is not None
    assert revoked.revoked_at == storage_clock.now()
    assert database.write_wait(keys.revoke, scope, None, key.id) is None
    with pytest.raises(KeyRevoked):
        database.write_wait(keys.update, scope, None, key.id, {"name": "Again"})
    with pytest.raises(KeyRevoked):
        database.write_wait(keys.rotate, scope, None, key.id, digest="x", previous_until=NOW)
    storage_clock.advance(10)
    assert database.write_wait(keys.purge, revoked.revoked_at) == 0
    assert database.write_wait(keys.purge, storage_clock.now()) == 1
    assert database.read_wait(keys.find, key.prefix) is None


def test_the_latest_use_is_kept(
    database: Database, account: AccountRecord, storage_clock: ManualClock
) -> None:
    key = create(database, account)
    earlier, later = storage_clock.now(), storage_clock.now() + timedelta(seconds=5)
    for use in (KeyUse(key.id, later, "10.0.0.2"), KeyUse(key.id, earlier, "10.0.0.1")):
        database.write_wait(keys.note_uses, [use])
    found = database.read_wait(keys.find, key.prefix)
    assert found is not None
    assert (found[0].last_used_at, found[0].last_used_address) == (later, "10.0.0.2")


def test_keys_go_with_their_instance(database: Database, account: AccountRecord) -> None:
    scope = Scope(account.subscription.id)
    instance = new_instance(database, scope).id
    create(database, account, instance)
    database.write_wait(instances.delete, scope, instance)
    assert database.read_wait(keys.find, "p") is None


def test_keys_of_a_user_who_is_gone_are_good_no_more(
    database: Database, account: AccountRecord
) -> None:
    scope, key = Scope(account.subscription.id), create(database, account)
    assert database.write_wait(keys.revoke_all_of, scope, account.user.id) == [key.id]
    assert database.write_wait(keys.revoke_all_of, scope, account.user.id) == []
    database.write_wait(lambda: User.delete().where(User.id == account.user.id).execute())
    assert database.read_wait(keys.find, key.prefix) is None
    [left] = database.read_wait(keys.list_page, scope, None, limit=9).items
    assert left.creator_id is None
    assert left.revoked_at is not None
