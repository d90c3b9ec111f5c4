from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from support.manual_clock import ManualClock
from support.tenants import new_account, new_instance, new_scope
from wavisor.clock import SystemClock
from wavisor.storage import (
    Conflict,
    Database,
    DatabaseBusy,
    DatabaseUnavailable,
    Scope,
    StorageError,
    accounts,
    instances,
)
from wavisor.storage.current import current_database, savepoint
from wavisor.storage.models import RevokedToken

WAIT = 60.0


class Gate:
    """A write that holds the writer until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.opened.wait(WAIT)


def insert(jti: str) -> str:
    RevokedToken.create(jti=jti, expires_at=SystemClock().now())
    return jti


def stored() -> set[str]:
    return {row.jti for row in RevokedToken.select()}


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Callable[..., Database]]:
    opened: list[Database] = []

    def build(**options: float) -> Database:
        url = f"sqlite:///{tmp_path}/pool.db"
        database = Database(url, clock=SystemClock(), **options)  # type: ignore[arg-type]
        database.open()
        opened.append(database)
        return database

    yield build
    for database in opened:
        assert database.close(timeout=WAIT)


def test_writes_that_wait_share_one_commit_and_fail_alone(
    sqlite: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = sqlite()
    writes = database._engine.writes
    commits: list[bool] = []
    commit = writes.commit
    futures: list[Future[object]] = []

    def counting() -> None:
        commits.append(any(future.done() for future in futures))
        commit()

    def fails() -> None:
        insert("half")
        raise LookupError("on purpose")

    gate = Gate()
    first = database.write(gate)
    assert gate.entered.wait(WAIT)
    monkeypatch.setattr(writes, "commit", counting)
    jobs = [lambda n=n: insert(f"t{n}") for n in range(5)]
    futures += [database.write(job) for job in jobs]
    futures += [database.write(fails), database.write(insert, "t0"), database.write(insert, "t9")]
    gate.opened.set()
    first.result(WAIT)
    errors = [future.exception(WAIT) for future in futures]
    assert [type(error) for error in errors[5:]] == [LookupError, Conflict, type(None)]
    assert errors[:5] == [None] * 5
    assert database.read_wait(stored) == {"t0", "t1", "t2", "t3", "t4", "t9"}
    # One for the gate, one for all others; none of them was told before it.
    assert commits == [False, False]


def test_a_failing_commit_fails_every_write_of_its_group(
    sqlite: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    import peewee

    database = sqlite()
    gate = Gate()
    first = database.write(gate)
    assert gate.entered.wait(WAIT)
    futures = [database.write(insert, f"t{n}") for n in range(3)]

    def failing() -> None:
        raise peewee.OperationalError("made up by the test")

    monkeypatch.setattr(database._engine.writes, "commit", failing)
    gate.opened.set()
    for future in (first, *futures):
        with pytest.raises(StorageError):
            future.result(WAIT)
    monkeypatch.undo()
    assert database.read_wait(stored) == set()
    assert database.write_wait(insert, "after") == "after"


def test_transaction_that_sqlite_itself_gave_up_costs_only_the_culprit(
    sqlite: Callable[..., Database],
) -> None:
    database = sqlite()
    gate = Gate()
    first = database.write(gate)
    assert gate.entered.wait(WAIT)

    def gives_up() -> None:
        # What SQLite may do of its own accord on SQLITE_FULL and SQLITE_IOERR.
        insert("lost")
        current_database().connection().execute("ROLLBACK")
        raise LookupError("after the transaction was gone")

    before = database.write(insert, "before")
    culprit = database.write(gives_up)
    after = database.write(insert, "after")
    gate.opened.set()
    first.result(WAIT)
    assert (before.result(WAIT), after.result(WAIT)) == ("before", "after")
    assert isinstance(culprit.exception(WAIT), LookupError)
    assert database.read_wait(stored) == {"before", "after"}


def test_failed_write_leaves_nothing_and_the_next_one_works(database: Database) -> None:
    def fails() -> None:
        insert("half")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        database.write_wait(fails)
    assert database.write_wait(insert, "whole") == "whole"
    assert database.read_wait(stored) == {"whole"}


def test_unique_value_that_is_taken_is_a_conflict_without_the_value(database: Database) -> None:
    database.write_wait(insert, "very-secret-value")
    with pytest.raises(Conflict) as caught:
        database.write_wait(insert, "very-secret-value")
    assert "secret" not in str(caught.value)


def test_savepoint_undoes_only_what_is_inside_it(database: Database) -> None:
    def both() -> None:
        insert("outer")
        try:
            with savepoint():
                insert("inner")
                raise LookupError
        except LookupError:
            insert("instead")

    database.write_wait(both)
    assert database.read_wait(stored) == {"outer", "instead"}


def test_read_cannot_write(database: Database) -> None:
    with pytest.raises(StorageError):
        database.read_wait(insert, "x")
    assert database.read_wait(stored) == set()


def test_read_sees_one_state_throughout(database: Database) -> None:
    looked, changed = threading.Event(), threading.Event()

    def twice() -> tuple[set[str], set[str]]:
        before = stored()
        looked.set()
        assert changed.wait(WAIT)
        return before, stored()

    reading = database.read(twice)
    assert looked.wait(WAIT)
    database.write_wait(insert, "meanwhile")
    changed.set()
    assert reading.result(WAIT) == (set(), set())
    assert database.read_wait(stored) == {"meanwhile"}


def test_readers_do_not_wait_for_the_writer(database: Database) -> None:
    gate = Gate()
    writing = database.write(gate)
    assert gate.entered.wait(WAIT)
    assert database.read_wait(stored) == set()
    gate.opened.set()
    writing.result(WAIT)


def test_full_queue_refuses_at_once_and_recovers(sqlite: Callable[..., Database]) -> None:
    database = sqlite(queue_limit=2)
    gate = Gate()
    first = database.write(gate)
    assert gate.entered.wait(WAIT)
    waiting = [database.write(insert, f"t{n}") for n in range(2)]
    refused = database.write(insert, "too-many")
    assert isinstance(refused.exception(0), DatabaseBusy)
    gate.opened.set()
    first.result(WAIT)
    assert [future.result(WAIT) for future in waiting] == ["t0", "t1"]
    assert database.write_wait(insert, "again") == "again"


def test_write_that_did_not_get_its_turn_in_time_never_happens(
    sqlite: Callable[..., Database],
) -> None:
    database = sqlite()
    gate = Gate()
    first = database.write(gate)
    assert gate.entered.wait(WAIT)
    with pytest.raises(DatabaseBusy):
        database.write_wait(insert, "late", timeout=0.01)
    gate.opened.set()
    first.result(WAIT)
    database.write_wait(insert, "next")
    assert database.read_wait(stored) == {"next"}


def test_write_that_is_under_way_when_time_is_up_has_an_unknown_outcome(
    sqlite: Callable[..., Database],
) -> None:
    database = sqlite()
    gate = Gate()
    try:
        with pytest.raises(DatabaseUnavailable) as caught:
            database.write_wait(gate, timeout=0.2)
        assert gate.entered.is_set()
        assert caught.value.outcome_unknown
    finally:
        gate.opened.set()


def test_timeout_error_of_the_function_itself_is_passed_on(database: Database) -> None:
    def raises() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        database.read_wait(raises)
    with pytest.raises(TimeoutError, match="its own"):
        asyncio.run(database.fetch(raises))


def test_handlers_await_without_blocking_the_loop(database: Database) -> None:
    async def handler() -> list[str]:
        gate = Gate()
        writing = asyncio.create_task(database.commit(gate))
        # While the write is held up, the loop goes on and reads.
        assert await database.fetch(stored) == set()
        gate.opened.set()
        await writing
        seconds = await database.ping()
        assert seconds >= 0
        return [await database.commit(insert, f"t{n}") for n in range(3)]

    assert asyncio.run(handler()) == ["t0", "t1", "t2"]


def test_awaited_write_that_is_late_is_taken_back(sqlite: Callable[..., Database]) -> None:
    database = sqlite()
    gate = Gate()
    first = database.write(gate)
    assert gate.entered.wait(WAIT)

    async def handler() -> None:
        with pytest.raises(DatabaseBusy):
            await database.commit(insert, "late", timeout=0.01)

    asyncio.run(handler())
    gate.opened.set()
    first.result(WAIT)
    database.write_wait(insert, "next")
    assert database.read_wait(stored) == {"next"}


def test_using_the_pool_from_inside_the_pool_is_refused(database: Database) -> None:
    def nested() -> None:
        database.write_wait(insert, "x")

    with pytest.raises(StorageError, match="must not use the pool"):
        database.write_wait(nested)


def test_query_outside_of_the_pool_is_refused(database: Database) -> None:
    with pytest.raises(StorageError, match=r"outside of Database\.read"):
        current_database()
    with pytest.raises(StorageError, match=r"outside of Database\.read"):
        accounts.find_user("usr_x")


def test_two_open_databases_are_kept_apart(
    database: Database, tmp_path: Path, storage_clock: ManualClock
) -> None:
    other = Database(f"sqlite:///{tmp_path}/other.db", clock=storage_clock)
    other.open()
    try:
        mine, theirs = new_account(database), new_account(other)
        assert database.read_wait(accounts.find_user, theirs.user.id) is None
        assert other.read_wait(accounts.find_user, mine.user.id) is None
        assert other.read_wait(accounts.find_user, theirs.user.id) == theirs
    finally:
        assert other.close()


def test_observer_hears_of_reads_and_writes_and_may_fail(database: Database) -> None:
    heard: list[tuple[str, float]] = []

    def observe(kind: str, seconds: float) -> None:
        heard.append((kind, seconds))
        raise RuntimeError("an observer's own trouble")

    database.on_query = observe
    scope = new_scope(database)
    new_instance(database, scope)
    database.read_wait(instances.count_by_status, scope)
    # The observer runs after the future is settled: the next job is the barrier.
    database.write_wait(stored)
    assert [kind for kind, _ in heard if kind == "write"][:2] == ["write", "write"]
    assert all(seconds >= 0 for _, seconds in heard)


def test_closing_finishes_what_is_queued_and_takes_nothing_more(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/close.db", clock=SystemClock())
    assert isinstance(database.write(insert, "early").exception(0), DatabaseUnavailable)
    database.open()
    with pytest.raises(StorageError, match="open already"):
        database.open()
    gate = Gate()
    first = database.write(gate)
    assert gate.entered.wait(WAIT)
    queued = database.write(insert, "queued")
    closing = threading.Thread(target=database.close, kwargs={"timeout": WAIT})
    closing.start()
    gate.opened.set()
    closing.join(WAIT)
    assert first.result(0) is None
    assert queued.result(0) == "queued"
    assert isinstance(database.read(stored).exception(0), DatabaseUnavailable)


def test_closing_gives_up_on_what_does_not_end_in_time(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/close.db", clock=SystemClock())
    database.open()
    gate = Gate()
    held = database.write(gate)
    assert gate.entered.wait(WAIT)
    queued = database.write(insert, "queued")
    try:
        assert not database.close(timeout=0.05)
        assert isinstance(queued.exception(0), DatabaseUnavailable)
    finally:
        gate.opened.set()
        held.result(WAIT)
    assert database.close(timeout=WAIT)


@pytest.mark.parametrize(
    "url",
    ["mysql://x/y", "sqlite://", "sqlite:///", "sqlite:///:memory:", "", "postgresql://["],
)
def test_url_of_no_known_kind_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="URL"):
        Database(url, clock=SystemClock())


def test_scope_narrows_every_kind_of_statement() -> None:
    from wavisor.storage.models import Instance

    scope = Scope("sub_1")
    for query in (scope.select(Instance), scope.update(Instance, name="x"), scope.delete(Instance)):
        sql, parameters = query.sql()
        assert '"subscription_id" =' in sql
        assert "sub_1" in parameters
