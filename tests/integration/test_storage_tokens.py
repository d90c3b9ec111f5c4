from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from support.manual_clock import ManualClock
from support.tenants import new_account
from wavisor.storage import (
    Database,
    NotFound,
    Rotation,
    RotationOutcome,
    UserRecord,
    accounts,
    sessions,
    tokens,
)
from wavisor.storage.models import RefreshToken


@pytest.fixture
def later(storage_clock: ManualClock) -> datetime:
    return storage_clock.now() + timedelta(days=30)


def rotate(database: Database, old: str, new: str, later: datetime) -> Rotation:
    return database.write_wait(tokens.rotate, old, new_token_id=new, expires_at=later)


def good(database: Database, user: UserRecord, family: str, token: str = "t") -> bool:
    """Whether requests with an access token of a login are answered."""
    found = database.read_wait(sessions.find_account, user.id, session_id=family, token_id=token)
    return found is not None


def test_each_token_of_a_family_is_good_once(database: Database, later: datetime) -> None:
    user = new_account(database).user
    family = database.write_wait(tokens.start_family, user.id, token_id="r1", expires_at=later)
    expected = Rotation(RotationOutcome.ROTATED, family, user.id)
    assert rotate(database, "r1", "r2", later) == expected
    assert rotate(database, "r2", "r3", later) == expected


def test_replayed_token_revokes_its_family_and_no_other(
    database: Database, later: datetime
) -> None:
    user = new_account(database).user
    stolen = database.write_wait(tokens.start_family, user.id, token_id="a1", expires_at=later)
    other = database.write_wait(tokens.start_family, user.id, token_id="b1", expires_at=later)
    rotate(database, "a1", "a2", later)
    replay = rotate(database, "a1", "a3", later)
    assert replay == Rotation(RotationOutcome.REPLAYED, stolen, user.id)
    assert rotate(database, "a2", "a4", later).outcome is RotationOutcome.REVOKED
    assert rotate(database, "a3", "a5", later).outcome is RotationOutcome.UNKNOWN
    assert not good(database, user, stolen)
    assert good(database, user, other)
    assert rotate(database, "b1", "b2", later).outcome is RotationOutcome.ROTATED


def test_of_ten_rotations_at_once_one_succeeds_and_the_family_ends(
    database: Database, later: datetime
) -> None:
    user = new_account(database).user
    family = database.write_wait(tokens.start_family, user.id, token_id="r", expires_at=later)
    barrier = threading.Barrier(10)

    def attempt(number: int) -> RotationOutcome:
        barrier.wait(timeout=30)
        return rotate(database, "r", f"n{number}", later).outcome

    with ThreadPoolExecutor(10) as threads:
        outcomes = Counter(threads.map(attempt, range(10)))
    assert outcomes == {RotationOutcome.ROTATED: 1, RotationOutcome.REPLAYED: 9}
    assert not good(database, user, family)


def test_expired_and_unknown_tokens_are_told_apart(
    database: Database, storage_clock: ManualClock, later: datetime
) -> None:
    user = new_account(database).user
    soon = storage_clock.now() + timedelta(seconds=1)
    database.write_wait(tokens.start_family, user.id, token_id="r", expires_at=soon)
    storage_clock.advance(1)
    assert rotate(database, "r", "n", later).outcome is RotationOutcome.EXPIRED
    assert rotate(database, "x", "y", later) == Rotation(RotationOutcome.UNKNOWN, None, None)


def test_logout_ends_one_login_and_revoke_all_every_one(
    database: Database, later: datetime
) -> None:
    user = new_account(database).user
    first = database.write_wait(tokens.start_family, user.id, token_id="a", expires_at=later)
    second = database.write_wait(tokens.start_family, user.id, token_id="b", expires_at=later)
    assert database.write_wait(tokens.revoke_family, first)
    assert not database.write_wait(tokens.revoke_family, first)
    assert rotate(database, "a", "c", later).outcome is RotationOutcome.REVOKED
    assert good(database, user, second)
    assert database.write_wait(tokens.revoke_all, user.id) == user.token_version + 1
    assert not good(database, user, second)
    found = database.read_wait(accounts.find_user, user.id)
    assert found is not None
    assert found.user.token_version == user.token_version + 1
    with pytest.raises(NotFound):
        database.write_wait(tokens.revoke_all, "usr_none")


def test_revoked_access_token_is_refused_until_it_is_purged(
    database: Database, storage_clock: ManualClock, later: datetime
) -> None:
    user = new_account(database).user
    family = database.write_wait(tokens.start_family, user.id, token_id="r", expires_at=later)
    ends = storage_clock.now() + timedelta(minutes=15)
    for _ in range(2):
        database.write_wait(tokens.revoke_token, "jti-1", ends)
    assert not good(database, user, family, "jti-1")
    assert good(database, user, family, "jti-2")
    assert database.write_wait(tokens.purge_expired) == 0
    storage_clock.advance(15 * 60)
    assert database.write_wait(tokens.purge_expired) == 1
    assert good(database, user, family, "jti-1")


def test_purge_forgets_families_that_ended_but_not_those_kept_alive(
    database: Database, storage_clock: ManualClock, later: datetime
) -> None:
    user = new_account(database).user
    soon = storage_clock.now() + timedelta(days=1)
    kept = database.write_wait(tokens.start_family, user.id, token_id="a", expires_at=soon)
    ended = database.write_wait(tokens.start_family, user.id, token_id="b", expires_at=soon)
    rotate(database, "a", "a2", later)
    storage_clock.advance(2 * 24 * 3600)
    # The one family, and of the other one the token that has ended.
    assert database.write_wait(tokens.purge_expired) == 2
    left = database.read_wait(lambda: [row.id for row in RefreshToken.select()])
    assert left == ["a2"]
    assert good(database, user, kept)
    assert not good(database, user, ended)
    for gone in ("a", "b"):
        assert rotate(database, gone, "b2", later).outcome is RotationOutcome.UNKNOWN
    assert rotate(database, "a2", "a3", later).outcome is RotationOutcome.ROTATED
