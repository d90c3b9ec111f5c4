"""PostgreSQL: threads with a connection each, reconnecting when the server went away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import peewee
import psycopg
from playhouse.postgres_ext import Psycopg3Database
from psycopg.conninfo import conninfo_to_dict

from wavisor.storage.current import LockKey, drop_deferred, write_deferred
from wavisor.storage.engine import Engine, original, settle
from wavisor.storage.errors import (
    Conflict,
    DatabaseBusy,
    DatabaseUnavailable,
    NotFound,
    StorageError,
)
from wavisor.storage.lanes import Job

__all__ = ["PostgresqlEngine"]

_ATTEMPTS = 4
_STATEMENT_TIMEOUT_MS = 30_000

_AGAIN = {"40001", "40P01"}  # serialization failure, deadlock
_BUSY = {*_AGAIN, "55P03", "57014"}  # lock not available, query cancelled by a timeout
_UNAVAILABLE_CLASSES = {"08", "53", "57", "58", "28", "3D"}


class PostgresqlEngine(Engine):
    """A PostgreSQL server.

    Args:
        url: ``postgresql://…``, with whatever libpq understands.
        busy_timeout: Seconds to wait for a lock and for a connection.
    """

    name = "postgresql"
    # Unlike SQLite's, writers run side by side, and the server groups their commits. Several
    # jobs in one transaction would hold each other's locks and end in deadlocks.
    write_batch = 1

    def __init__(self, url: str, *, busy_timeout: float) -> None:
        try:
            self._parameters = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise StorageError("the database URL is not a valid PostgreSQL URL") from None
        self._busy_timeout = busy_timeout
        self.reads = self._database(lock_timeout=busy_timeout)
        self.writes = self._database(lock_timeout=busy_timeout)

    def _database(self, *, lock_timeout: float) -> Psycopg3Database:
        parameters: dict[str, Any] = {
            "connect_timeout": max(1, round(self._busy_timeout)),
            "application_name": "wavisor",
            "keepalives_idle": 30,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            **self._parameters,
        }
        name = parameters.pop("dbname", None) or parameters.get("user") or "postgres"
        parameters["options"] = (
            f"{parameters.get('options') or ''}"
            f" -c lock_timeout={round(lock_timeout * 1000)}"
            f" -c statement_timeout={_STATEMENT_TIMEOUT_MS}"
            f" -c idle_in_transaction_session_timeout={_STATEMENT_TIMEOUT_MS}"
            # An acknowledged commit is durable, whatever the server's default says.
            " -c synchronous_commit=on"
        ).strip()
        return Psycopg3Database(name, autoconnect=False, **parameters)

    @contextmanager
    def migration_lock(self, timeout: float) -> Iterator[peewee.Database]:
        """Hold an advisory lock; each migration inside is a transaction of its own."""
        database = self._database(lock_timeout=timeout)
        try:
            database.connect()
            database.execute_sql("SET statement_timeout = 0")
            database.execute_sql("SELECT pg_advisory_lock(%s)", (int(LockKey.MIGRATIONS),))
            # The server frees the lock when the connection closes.
            yield database
        finally:
            with suppress(peewee.PeeweeException):
                database.close()

    def translate(self, error: BaseException) -> BaseException:
        """Return what an error of PostgreSQL or of the driver means, by its SQLSTATE."""
        cause = original(error)
        if not isinstance(cause, psycopg.Error):
            own = isinstance(error, peewee.PeeweeException)
            return StorageError(f"a query failed: {error}") if own else error
        state = cause.sqlstate
        if state is None:
            if isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError)):
                return DatabaseUnavailable("the database server cannot be reached")
            return StorageError(f"a query failed: {type(cause).__name__}")
        if state == "23505":
            return Conflict("a unique value is already taken")
        if state == "23503":
            return NotFound("what the row belongs to does not exist")
        if state in _BUSY:
            return DatabaseBusy("the database is busy")
        if state == "53100":
            return DatabaseUnavailable("the database server's disk is full")
        if state[:2] in _UNAVAILABLE_CLASSES:
            return DatabaseUnavailable(f"the database server refuses to work ({state})")
        return StorageError(f"a query failed ({state})")

    def run_reads(self, jobs: list[Job]) -> None:
        """Do each job on a snapshot of its own."""
        for job in jobs:
            begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
            settle(job, *self._transaction(self.reads, job, begin))

    def run_writes(self, jobs: list[Job]) -> None:
        """Do each job in a transaction of its own; again after a deadlock or a lost connection."""
        for job in jobs:
            settle(job, *self._transaction(self.writes, job, "BEGIN"))

    def _transaction(
        self, database: peewee.Database, job: Job, begin: str
    ) -> tuple[Any, BaseException | None]:
        for attempt in range(1, _ATTEMPTS + 1):
            committing = False
            connected_before = not database.is_closed()
            try:
                database.connect(reuse_if_open=True)
                database.connection().execute(begin)
                result = job.call()
                write_deferred()
                committing = True
                database.commit()
            except BaseException as error:  # noqa: BLE001 - it goes to whoever waits for the job
                lost = self._clean_up(database)
                if lost and committing:
                    return None, self._unknown(error)
                again = (lost and connected_before) or self._is_race(error)
                if not again or attempt == _ATTEMPTS:
                    return None, self.translated(error)
            else:
                return result, None
        raise AssertionError("unreachable: the last attempt returns")

    @staticmethod
    def _is_race(error: BaseException) -> bool:
        return getattr(original(error), "sqlstate", None) in _AGAIN

    @staticmethod
    def _unknown(error: BaseException) -> BaseException:
        failure = DatabaseUnavailable(
            "the connection was lost while committing", outcome_unknown=True
        )
        failure.__cause__ = error
        return failure

    @staticmethod
    def _clean_up(database: peewee.Database) -> bool:
        """Leave no transaction behind; tell whether the connection was lost."""
        drop_deferred(whole_transaction=True)
        if database.is_closed():
            return True
        connection = database.connection()
        if not connection.closed:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
        if connection.closed:
            with suppress(peewee.PeeweeException, psycopg.Error):
                database.close()
            return True
        return False
