from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import pytest

from support.manual_clock import ManualClock
from support.tenants import new_account
from wavisor.domain import RegistrationMode, Role, Tier
from wavisor.storage import (
    Database,
    EmailTaken,
    NotFound,
    RegistrationClosed,
    accounts,
    sessions,
    tokens,
)


def test_first_account_is_operator_and_later_ones_are_not(database: Database) -> None:
    first, second = new_account(database), new_account(database)
    assert first.user.is_operator
    assert not second.user.is_operator
    assert first.user.role is Role.OWNER
    assert first.subscription.tier is Tier.BASIC
    assert first.subscription.id != second.subscription.id


def test_email_is_found_and_taken_in_any_letter_case(database: Database) -> None:
    account = new_account(database, " Größe@Example.ORG ")
    assert database.read_wait(accounts.find_by_email, "GRÖSSE@example.org") == account
    assert database.read_wait(accounts.find_user, account.user.id) == account
    with pytest.raises(EmailTaken):
        new_account(database, "grÖße@EXAMPLE.org")
    assert database.read_wait(accounts.find_by_email, "nobody@example.org") is None


def test_failed_registration_leaves_no_subscription_behind(database: Database) -> None:
    new_account(database, "a@example.org")
    with database.count_queries() as counter, pytest.raises(EmailTaken):
        new_account(database, "a@example.org")
    assert not [sql for sql in counter.statements if sql.startswith("INSERT")]


@pytest.mark.parametrize("mode", [RegistrationMode.OPEN, RegistrationMode.FIRST])
def test_of_twenty_first_registrations_at_once_exactly_one_is_operator(
    database: Database, mode: RegistrationMode
) -> None:
    barrier = threading.Barrier(20)

    def register(number: int) -> bool | None:
        barrier.wait(timeout=30)
        try:
            account = database.write_wait(
                accounts.create_subscription_with_owner,
                email=f"u{number}@example.org",
                password_hash="x",
                name="Example",
                mode=mode,
                timeout=30,
            )
        except RegistrationClosed:
            return None
        return account.user.is_operator

    with ThreadPoolExecutor(20) as threads:
        operators = list(threads.map(register, range(20)))
    assert operators.count(True) == 1
    others = False if mode is RegistrationMode.OPEN else None
    assert operators.count(others) == 19


def test_closed_registration_refuses_even_the_first(database: Database) -> None:
    with pytest.raises(RegistrationClosed):
        database.write_wait(
            accounts.create_subscription_with_owner,
            email="a@example.org",
            password_hash="x",
            name="Example",
            mode=RegistrationMode.CLOSED,
        )
    assert database.read_wait(accounts.registration_allowed, RegistrationMode.FIRST)


def test_new_password_voids_older_tokens_and_ends_all_sessions(
    database: Database, storage_clock: ManualClock
) -> None:
    user = new_account(database).user
    later = storage_clock.now() + timedelta(days=1)
    family = database.write_wait(tokens.start_family, user.id, token_id="r1", expires_at=later)
    session = partial(sessions.find_account, user.id, session_id=family, token_id="t")
    assert database.read_wait(session) is not None
    version = database.write_wait(accounts.update_password, user.id, "new-hash")
    assert version == user.token_version + 1
    found = database.read_wait(accounts.find_user, user.id)
    assert found is not None
    assert (found.user.password_hash, found.user.token_version) == ("new-hash", version)
    assert database.read_wait(session) is None
    with pytest.raises(NotFound):
        database.write_wait(accounts.update_password, "usr_none", "x")


def test_password_hash_is_not_in_the_representation(database: Database) -> None:
    account = new_account(database)
    assert account.user.password_hash not in repr(account)


def test_login_time_and_tier_are_remembered(database: Database, storage_clock: ManualClock) -> None:
    account = new_account(database)
    storage_clock.advance(1.000001)
    database.write_wait(accounts.touch_login, account.user.id)
    assert (
        database.write_wait(accounts.set_tier, account.subscription.id, Tier.MAX).tier is Tier.MAX
    )
    found = database.read_wait(accounts.find_user, account.user.id)
    assert found is not None
    assert found.user.last_login_at == storage_clock.now()
    assert found.subscription.tier is Tier.MAX
    with pytest.raises(NotFound):
        database.write_wait(accounts.set_tier, "sub_none", Tier.PRO)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC),
        datetime(2026, 7, 1, 12, 0, 0, 0, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 7, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    ],
)
def test_times_come_back_exactly_and_in_utc(database: Database, moment: datetime) -> None:
    user = new_account(database).user
    database.write_wait(tokens.start_family, user.id, token_id="r", expires_at=moment)

    def stored() -> datetime:
        from wavisor.storage.models import RefreshToken

        return RefreshToken.get_by_id("r").expires_at

    found = database.read_wait(stored)
    assert found == moment
    assert found.tzinfo is UTC


def test_time_without_zone_is_refused(database: Database) -> None:
    user = new_account(database).user
    with pytest.raises(ValueError, match="without a zone"):
        database.write_wait(
            tokens.start_family, user.id, token_id="r", expires_at=datetime(2026, 1, 1)
        )
