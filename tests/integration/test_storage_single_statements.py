"""Reads that are declared to be one statement are just that, and get no transaction."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from wavisor.clock import SystemClock
from wavisor.domain import Tier
from wavisor.storage import Database, Scope, StorageError, accounts, instances, sessions
from wavisor.storage.current import current_database, is_one_statement, one_statement


@pytest.fixture
def database(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path}/test.db", clock=SystemClock(), read_threads=1)
    database.open()
    yield database
    assert database.close()


def test_what_every_request_asks_is_one_statement_each(database: Database) -> None:
    account = database.write_wait(
        accounts.create_subscription_with_owner,
        email="a@example.org",
        password_hash="x",
        name="A",
        tier=Tier.MAX,
    )
    scope = Scope(account.subscription.id)
    made = database.write_wait(instances.create, scope, name="one")
    calls = [
        (sessions.find_account, (account.user.id,), {"session_id": "a", "token_id": "b"}),
        (instances.get, (scope, made.id), {}),
        (instances.find, (made.id,), {}),
        (instances.list_page, (scope,), {"limit": 10}),
        (instances.list_page, (scope,), {"limit": 10, "status": [made.status]}),
    ]
    for function, arguments, more in calls:
        assert is_one_statement(function)
        with database.count_queries() as counted:
            database.read_wait(function, *arguments, **more)
        assert counted.count == 1, function


@one_statement
def in_transaction() -> bool:
    connection: sqlite3.Connection = current_database().connection()
    return connection.in_transaction


def in_snapshot() -> bool:
    connection: sqlite3.Connection = current_database().connection()
    return connection.in_transaction


def test_other_reads_still_see_one_state(database: Database) -> None:
    assert database.read_wait(in_snapshot)
    assert not database.read_wait(in_transaction)


@one_statement
def broken() -> None:
    current_database().execute_sql("SELECT nothing FROM nowhere")


def test_a_failure_is_translated_and_the_connection_goes_on(database: Database) -> None:
    with pytest.raises(StorageError):
        database.read_wait(broken)
    assert database.read_wait(in_snapshot)
