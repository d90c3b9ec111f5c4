"""SQLite: one writer thread that commits in groups, and readers beside it (WAL)."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import peewee

from wavisor.storage.current import drop_deferred, end_job, is_one_statement, write_deferred
from wavisor.storage.engine import Engine, original, settle
from wavisor.storage.errors import (
    Conflict,
    DatabaseBusy,
    DatabaseUnavailable,
    NotFound,
    StorageError,
)
from wavisor.storage.fields import FIELD_TYPES_SQLITE
from wavisor.storage.lanes import Job

__all__ = ["SqliteEngine"]

_MINIMUM = (3, 35, 0)  # RETURNING

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNAVAILABLE = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "reading or writing the database file failed",
    sqlite3.SQLITE_CANTOPEN: "the database file cannot be opened",
    sqlite3.SQLITE_READONLY: "the database file is not writable",
    sqlite3.SQLITE_PERM: "access to the database file is denied",
    sqlite3.SQLITE_AUTH: "access to the database file is denied",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database",
    sqlite3.SQLITE_NOMEM: "SQLite is out of memory",
    sqlite3.SQLITE_PROTOCOL: "SQLite's locking protocol failed",
}


class _TransactionLostError(Exception):
    """SQLite rolled the whole transaction back on its own, as it may when the disk is full."""


class SqliteEngine(Engine):
    """A database file.

    Args:
        path: The file; created, readable by its owner only, when it does not exist.
        busy_timeout: Seconds to wait for another process's lock.
    """

    name = "sqlite"
    write_batch = 256

    def __init__(self, path: Path, *, busy_timeout: float) -> None:
        if sqlite3.sqlite_version_info < _MINIMUM:
            raise StorageError(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 is the oldest")
        self._path = path
        self._busy_timeout = busy_timeout
        self.reads: peewee.SqliteDatabase = self._database(query_only=1)
        self.writes: peewee.SqliteDatabase = self._database()

    def _database(self, **more_pragmas: int) -> peewee.SqliteDatabase:
        pragmas = {
            # FULL, so that a commit that was acknowledged survives a power cut as well.
            "synchronous": "FULL",
            "foreign_keys": 1,
            # Keeps the WAL file from staying as large as the largest burst made it.
            "journal_size_limit": 64 * 1024 * 1024,
            **more_pragmas,
        }
        return peewee.SqliteDatabase(
            str(self._path),
            pragmas=pragmas,
            timeout=self._busy_timeout,
            returning_clause=True,
            field_types=FIELD_TYPES_SQLITE,
            autoconnect=False,
        )

    @contextmanager
    def migration_lock(self, timeout: float) -> Iterator[peewee.Database]:
        """Hold SQLite's write lock; everything inside becomes one transaction.

        Foreign keys are off meanwhile, because rebuilding a table would cascade; they are
        checked before the commit.
        """
        self._create_file()
        database = self._database(foreign_keys=0)
        database.timeout = timeout
        try:
            database.connect()
            self._enter_wal(database, timeout)
            with database.atomic("IMMEDIATE"):
                yield database
                if database.execute_sql("PRAGMA foreign_key_check").fetchone() is not None:
                    raise StorageError("a migration left rows that refer to nothing")
        finally:
            with suppress(peewee.PeeweeException):
                database.close()

    def _create_file(self) -> None:
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise DatabaseUnavailable(
                f"the database file {self._path} cannot be opened: {error.strerror}"
            ) from error

    @staticmethod
    def _enter_wal(database: peewee.SqliteDatabase, timeout: float) -> None:
        # The one statement that SQLite's own busy timeout does not cover reliably.
        deadline = time.monotonic() + timeout
        while True:
            try:
                mode = database.execute_sql("PRAGMA journal_mode = WAL").fetchone()[0]
            except peewee.OperationalError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.02)
                continue
            if str(mode).lower() != "wal":
                raise StorageError("the database's file system does not support SQLite's WAL")
            return

    def translate(self, error: BaseException) -> BaseException:
        """Return what a SQLite error means, by its extended result code."""
        cause = original(error)
        if not isinstance(cause, sqlite3.Error):
            own = isinstance(error, peewee.PeeweeException)
            return StorageError(f"a query failed: {error}") if own else error
        extended = getattr(cause, "sqlite_errorcode", None)
        if extended is None:
            return StorageError(f"a query failed: {type(cause).__name__}")
        if extended in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY):
            return Conflict("a unique value is already taken")
        if extended == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            return NotFound("what the row belongs to does not exist")
        primary = extended & 0xFF
        if primary in _BUSY:
            return DatabaseBusy("the database is locked")
        if primary in _UNAVAILABLE:
            return DatabaseUnavailable(_UNAVAILABLE[primary])
        return StorageError(f"a query failed: {getattr(cause, 'sqlite_errorname', 'unknown')}")

    def run_reads(self, jobs: list[Job]) -> None:
        """Do each job on a snapshot of its own."""
        for job in jobs:
            if is_one_statement(job.function):
                settle(job, *self._at_once(job))
            else:
                settle(job, *self._alone(self.reads, job, "DEFERRED"))

    def _at_once(self, job: Job) -> tuple[Any, BaseException | None]:
        try:
            self.reads.connect(reuse_if_open=True)
            return job.call(), None
        except BaseException as error:  # noqa: BLE001 - it goes to whoever waits for the job
            self._rollback(self.reads)
            return None, self.translated(error)

    def run_writes(self, jobs: list[Job]) -> None:
        """Do the jobs in one transaction, each in a savepoint, so that a failure is its own.

        When the transaction as a whole is lost, as with a full disk, each job is done again in a
        transaction of its own, so that one too large for the disk does not fail the others.
        """
        if len(jobs) > 1:
            try:
                outcomes = self._together(jobs)
            except (peewee.PeeweeException, sqlite3.Error, _TransactionLostError) as error:
                self._rollback(self.writes)
                failure = self.translated(error)
                if isinstance(failure, DatabaseBusy):
                    # Nobody got the lock within the timeout; one after the other would not either.
                    for job in jobs:
                        settle(job, None, failure)
                    return
            else:
                for job, (result, problem) in zip(jobs, outcomes, strict=True):
                    settle(job, result, problem)
                return
        for job in jobs:
            settle(job, *self._alone(self.writes, job, "IMMEDIATE"))

    def _together(self, jobs: list[Job]) -> list[tuple[Any, BaseException | None]]:
        database = self.writes
        database.connect(reuse_if_open=True)
        connection = database.connection()
        database.begin("IMMEDIATE")
        outcomes: list[tuple[Any, BaseException | None]] = []
        for job in jobs:
            connection.execute("SAVEPOINT job")
            try:
                outcomes.append((job.call(), None))
                end_job()
            except BaseException as error:
                if not connection.in_transaction:
                    raise _TransactionLostError from error
                connection.execute("ROLLBACK TO job")
                drop_deferred(whole_transaction=False)
                outcomes.append((None, self.translated(error)))
            connection.execute("RELEASE job")
        write_deferred()
        database.commit()
        return outcomes

    def _alone(
        self, database: peewee.SqliteDatabase, job: Job, lock: str
    ) -> tuple[Any, BaseException | None]:
        try:
            database.connect(reuse_if_open=True)
            database.begin(lock)
            result = job.call()
            write_deferred()
            database.commit()
        except BaseException as error:  # noqa: BLE001 - it goes to whoever waits for the job
            self._rollback(database)
            return None, self.translated(error)
        return result, None

    @staticmethod
    def _rollback(database: peewee.SqliteDatabase) -> None:
        drop_deferred(whole_transaction=True)
        if not database.is_closed() and database.connection().in_transaction:
            try:
                database.rollback()
            except peewee.PeeweeException:
                # A connection that cannot even roll back is of no more use.
                database.close()
