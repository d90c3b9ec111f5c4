from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from support import storage_child
from support.tenants import new_scope
from wavisor.clock import SystemClock
from wavisor.storage import (
    Database,
    DatabaseBusy,
    DatabaseUnavailable,
    Scope,
    StorageError,
    instances,
)
from wavisor.storage.current import current_database
from wavisor.storage.models import RevokedToken

WAIT = 60.0
ROOT = Path(__file__).parents[2]


def insert(jti: str) -> str:
    RevokedToken.create(jti=jti, expires_at=SystemClock().now())
    return jti


def stored() -> set[str]:
    return {row.jti for row in RevokedToken.select()}


def command(task: str, url: str) -> list[str]:
    return [sys.executable, storage_child.__file__, task, url]


@contextmanager
def child(task: str, url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(task, url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def opened(url: str, **options: float) -> Iterator[Database]:
    database = Database(url, clock=SystemClock(), **options)  # type: ignore[arg-type]
    database.open()
    try:
        yield database
    finally:
        assert database.close(timeout=WAIT)


def test_acknowledged_writes_survive_kill_9(database_url: str) -> None:
    acknowledged: list[str] = []
    with child("write", database_url) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("row-"):
                acknowledged.append(line.strip())
            if len(acknowledged) == 60:
                process.send_signal(signal.SIGKILL)
                break
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        assert process.wait(WAIT) == -signal.SIGKILL
    with opened(database_url) as database:
        rows = database.read_wait(stored)
        assert set(acknowledged) <= rows
        assert database.write_wait(insert, "after") == "after"


def test_lock_of_another_process_makes_writes_busy_and_reads_go_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/locked.db"
    with opened(url, busy_timeout=0.1) as database, child("lock", url) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "locked\n"
        group = [database.write(insert, f"t{number}") for number in range(20)]
        for future in group:
            with pytest.raises(DatabaseBusy):
                future.result(WAIT)
        assert database.read_wait(stored) == set()
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.wait(WAIT) == 0
        assert database.write_wait(insert, "after") == "after"


@pytest.mark.postgres
def test_lock_of_another_client_makes_writes_busy(migrated_postgres_url: str) -> None:
    with opened(migrated_postgres_url, busy_timeout=0.1) as database:
        scope = new_scope(database)
        with psycopg.connect(migrated_postgres_url) as other:
            other.execute("LOCK TABLE instances IN EXCLUSIVE MODE")
            with pytest.raises(DatabaseBusy):
                database.write_wait(instances.create, scope, name="x")
            other.rollback()
        assert database.write_wait(instances.create, scope, name="x").name == "x"


def test_write_too_large_for_the_disk_fails_alone(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path}/full.db") as database:

        def limit(pages: int) -> None:
            current_database().execute_sql(f"PRAGMA max_page_count = {pages}")

        def used() -> int:
            return int(current_database().execute_sql("PRAGMA page_count").fetchone()[0])

        database.write_wait(limit, database.write_wait(used) + 20)
        entered, proceed = threading.Event(), threading.Event()

        def hold() -> None:
            entered.set()
            assert proceed.wait(WAIT)

        gate = database.write(hold)
        assert entered.wait(WAIT)
        small = [database.write(insert, f"before{number}") for number in range(3)]
        large = database.write(insert, "x" * 1_000_000)
        small += [database.write(insert, f"after{number}") for number in range(3)]
        proceed.set()
        gate.result(WAIT)
        with pytest.raises(DatabaseUnavailable, match="disk is full"):
            large.result(WAIT)
        keys = {future.result(WAIT) for future in small}
        assert database.read_wait(stored) == keys
        database.write_wait(limit, 1_000_000)
        assert database.write_wait(insert, "y" * 1_000_000)


def test_full_file_system_is_told_and_harms_no_stored_row(tmp_path: Path) -> None:
    """On a file system of 2 MB of its own, in a mount namespace that ends with the process."""
    mount = f"mount -t tmpfs -o size=2m tmpfs '{tmp_path}' && exec \"$@\""
    namespace = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    if subprocess.run([*namespace, "sh", "-c", mount, "sh", "true"], check=False).returncode:
        pytest.skip("this machine does not let us mount a file system in a namespace of our own")
    script = command("fill", f"sqlite:///{tmp_path}/full.db")
    result = subprocess.run(
        [*namespace, "sh", "-c", mount, "sh", *script],
        check=True,
        timeout=60,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["stored"] > 10
    assert report["refusal"] == "DatabaseUnavailable: the disk is full"
    assert report["intact"]
    assert report["closed"]


def _terminate_all(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as administrator:
        ended = administrator.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return len(ended)


@pytest.mark.postgres
def test_lost_connections_are_opened_again_unnoticed(migrated_postgres_url: str) -> None:
    with opened(migrated_postgres_url, read_threads=2, write_threads=2) as database:
        for number in range(3):
            database.write_wait(insert, f"lost-{os.getpid()}-{number}")
            database.read_wait(stored)
            assert _terminate_all(migrated_postgres_url) >= 1
        assert f"lost-{os.getpid()}-2" in database.read_wait(stored)


@pytest.mark.postgres
def test_write_whose_connection_is_lost_before_the_commit_is_done_again(
    migrated_postgres_url: str,
) -> None:
    with opened(migrated_postgres_url, write_threads=1) as database:
        scope = new_scope(database)
        attempts: list[int] = []

        def create() -> str:
            attempts.append(1)
            if len(attempts) == 1:
                assert _terminate_all(migrated_postgres_url) >= 1
            return instances.create(scope, name="once").id

        created = database.write_wait(create)
        page = database.read_wait(instances.list_page, scope, limit=9)
        assert [record.id for record in page.items] == [created]
        assert len(attempts) == 2


@pytest.mark.postgres
def test_connection_lost_in_the_commit_has_an_unknown_outcome(
    migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(migrated_postgres_url, write_threads=1) as database:
        scope = new_scope(database)
        writes = database._engine.writes
        commit = writes.commit

        def cut() -> None:
            _terminate_all(migrated_postgres_url)
            commit()

        monkeypatch.setattr(writes, "commit", cut)
        with pytest.raises(DatabaseUnavailable) as caught:
            database.write_wait(instances.create, scope, name="maybe")
        assert caught.value.outcome_unknown
        monkeypatch.undo()
        assert database.write_wait(instances.create, scope, name="sure").name == "sure"


@pytest.mark.postgres
def test_deadlock_is_resolved_by_doing_one_write_again(migrated_postgres_url: str) -> None:
    with opened(migrated_postgres_url) as database:
        scope = new_scope(database)
        one, two = (database.write_wait(instances.create, scope, name=name).id for name in "ab")
        # Broken by the first attempts only: both have their first lock and want the other's.
        both_locked = threading.Barrier(2)
        runs: list[str] = []

        def swap(first: str, second: str) -> None:
            runs.append(first)
            instances.update(scope, first, settings={"by": first})
            if len(runs) <= 2:
                both_locked.wait(WAIT)
            instances.update(scope, second, settings={"by": first})

        futures = [database.write(swap, one, two), database.write(swap, two, one)]
        for future in futures:
            future.result(WAIT)
        assert len(runs) == 3
        settings = {
            record.settings["by"]
            for record in database.read_wait(instances.list_page, scope, limit=9).items
        }
        assert len(settings) == 1


@pytest.mark.postgres
def test_server_that_is_not_there_is_told_in_one_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://user:hidden-password@127.0.0.1:{unused.getsockname()[1]}/x"
        database = Database(url, clock=SystemClock())
        with pytest.raises(DatabaseUnavailable) as caught:
            database.open()
    assert "\n" not in str(caught.value)
    assert "hidden-password" not in str(caught.value)


def test_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are somebody's notes, not a database\n" * 100)
    with pytest.raises(DatabaseUnavailable, match="no SQLite database"):
        Database(f"sqlite:///{path}", clock=SystemClock()).open()
    assert path.read_text().startswith("these are somebody's notes")


def test_directory_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        Database(f"sqlite:///{tmp_path}/none/x.db", clock=SystemClock()).open()


def test_database_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path}/private.db") as database:
        database.write_wait(insert, "x")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes["private.db"] == 0o600
    assert set(modes.values()) == {0o600}


def test_sqlite_is_opened_for_durability(tmp_path: Path) -> None:
    def pragmas() -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        database = current_database()
        return [database.execute_sql(f"PRAGMA {name}").fetchone()[0] for name in names]

    with opened(f"sqlite:///{tmp_path}/x.db") as database:
        assert database.write_wait(pragmas) == ["wal", 2, 1]


@pytest.mark.postgres
def test_postgresql_is_opened_for_durability(migrated_postgres_url: str) -> None:
    def setting() -> object:
        return current_database().execute_sql("SHOW synchronous_commit").fetchone()[0]

    separator = "&" if "?" in migrated_postgres_url else "?"
    url = f"{migrated_postgres_url}{separator}options=-c%20synchronous_commit%3Doff"
    with opened(url) as database:
        assert database.write_wait(setting) == "on"


def test_row_of_a_tenant_that_does_not_exist_is_refused(database: Database) -> None:
    with pytest.raises(StorageError):
        database.write_wait(instances.create, Scope("sub_none"), name="x")
