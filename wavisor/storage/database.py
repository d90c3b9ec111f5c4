"""The one way to the data: functions handed to a bounded pool of threads with connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import structlog

from wavisor.clock import Clock
from wavisor.storage.current import current_database, is_bound
from wavisor.storage.engine import Engine, EngineWorker, Observer
from wavisor.storage.errors import DatabaseBusy, DatabaseUnavailable, StorageError
from wavisor.storage.lanes import Job, Lane, Worker
from wavisor.storage.migration import migrate
from wavisor.storage.sqlite import SqliteEngine

__all__ = ["Database", "QueryCounter"]

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_WAIT = 10.0


class QueryCounter:
    """The statements that were executed while it was watching, whichever thread ran them."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    @property
    def count(self) -> int:
        """How many there were."""
        return len(self.statements)

    def on_statement(self, event: Any) -> None:
        """Take note of a statement; those about savepoints do not count."""
        if not event.sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            self.statements.append(event.sql)


class Database:
    """A database and the pool that works on it.

    Functions that are handed to :meth:`read` and :meth:`write` run on a thread of the pool,
    inside a transaction; they call repositories and nothing that waits for something else. They
    may be run more than once before one run is committed, so they must change nothing else.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``postgresql://…``.
        clock: Dates the rows.
        read_threads: How many reads run at the same time.
        write_threads: How many writes run at the same time; SQLite always has one.
        queue_limit: How many reads, and how many writes, may wait.
        busy_timeout: Seconds to wait for a lock.
        on_query: Told of every read, and of every group of writes that shared a commit, how long
            it took.

    Raises:
        StorageError: The URL is of no known kind.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        read_threads: int = 4,
        write_threads: int = 4,
        queue_limit: int = 10_000,
        busy_timeout: float = 5.0,
        on_query: Observer | None = None,
    ) -> None:
        self._engine = _engine_for(url, busy_timeout)
        self._clock = clock
        self._read_threads = read_threads
        self._write_threads = 1 if self._engine.name == "sqlite" else write_threads
        self._queue_limit = queue_limit
        self.on_query = on_query
        self._lanes: tuple[Lane, Lane] | None = None

    @property
    def engine_name(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.name

    def open(self) -> None:
        """Migrate the database and start the pool. Blocks; for the time before the loop runs.

        Raises:
            SchemaTooNew: A newer version has migrated it.
            StorageError: It cannot be reached or migrated.
        """
        if self._lanes is not None:
            raise StorageError("the database is open already")
        migrate(self._engine)
        self._lanes = (
            self._lane("read", self._read_threads, batch=1),
            self._lane("write", self._write_threads, batch=self._engine.write_batch),
        )

    def _lane(self, kind: str, threads: int, *, batch: int) -> Lane:
        engine = self._engine
        database, run = (
            (engine.reads, engine.run_reads)
            if kind == "read"
            else (engine.writes, engine.run_writes)
        )
        workers: list[Worker] = [
            EngineWorker(database, run, clock=self._clock, observe=partial(self._observe, kind))
            for _ in range(threads)
        ]
        return Lane(kind, workers, queue_limit=self._queue_limit, batch=batch)

    def close(self, timeout: float = 5.0) -> bool:
        """Take nothing more, finish what is queued, end the threads. Blocks.

        Args:
            timeout: Seconds after which what still waits fails with ``DatabaseUnavailable``.

        Returns:
            Whether all threads ended in time.
        """
        if self._lanes is None:
            return True
        for lane in self._lanes:
            lane.close()
        # Not the injected clock: threads end in real time.
        deadline = time.monotonic() + timeout
        ended = [lane.join(deadline) for lane in self._lanes]
        if not all(ended):
            log.critical("storage threads did not end in time; this is probably a bug")
        return all(ended)

    def read(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn`` on one consistent state of the database; return the future of its result."""
        return self._submit(0, Job(fn, args, kwargs))

    def write(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn`` in a transaction; its future is done only after the durable commit.

        When ``fn`` raises, nothing of it is stored and the future raises the same.
        """
        return self._submit(1, Job(fn, args, kwargs))

    def _submit(self, lane: int, job: Job) -> Future[Any]:
        if is_bound():
            # It would wait for itself once the pool's threads are all waiting so.
            raise StorageError("a function that runs on the pool must not use the pool")
        if self._lanes is None:
            job.future.set_exception(DatabaseUnavailable("the database is not open"))
        else:
            self._lanes[lane].submit(job)
        return job.future

    async def fetch(
        self,
        fn: Callable[..., T],
        /,
        *args: Any,
        timeout: float = _WAIT,  # noqa: ASYNC109 - it also takes the job back
        **kwargs: Any,
    ) -> T:
        """Await a read without blocking the loop.

        Args:
            fn: What to run; gets the other arguments.
            timeout: Seconds to wait at most.

        Raises:
            DatabaseBusy: It did not get its turn in time.
            StorageError: As the read raises it.
        """
        return await _await(self.read(fn, *args, **kwargs), timeout)

    async def commit(
        self,
        fn: Callable[..., T],
        /,
        *args: Any,
        timeout: float = _WAIT,  # noqa: ASYNC109 - it also takes the job back
        **kwargs: Any,
    ) -> T:
        """Await a write without blocking the loop.

        Args:
            fn: What to run; gets the other arguments.
            timeout: Seconds to wait at most.

        Raises:
            DatabaseBusy: It did not get its turn in time; nothing was changed.
            DatabaseUnavailable: It began but did not end in time; its outcome is unknown.
            StorageError: As the write raises it.
        """
        return await _await(self.write(fn, *args, **kwargs), timeout)

    def read_wait(
        self, fn: Callable[..., T], /, *args: Any, timeout: float = _WAIT, **kwargs: Any
    ) -> T:
        """Do a read and block until it is done; for threads of actors. Raises as ``fetch``."""
        return _wait(self.read(fn, *args, **kwargs), timeout)

    def write_wait(
        self, fn: Callable[..., T], /, *args: Any, timeout: float = _WAIT, **kwargs: Any
    ) -> T:
        """Do a write and block until it is durable; for actors' threads. Raises as ``commit``."""
        return _wait(self.write(fn, *args, **kwargs), timeout)

    async def ping(self, timeout: float = 2.0) -> float:  # noqa: ASYNC109 - as in fetch
        """Ask the database the simplest question; return how many seconds the answer took.

        Raises:
            StorageError: There was no answer within ``timeout`` seconds.
        """
        started = self._clock.monotonic()
        await self.fetch(_select_one, timeout=timeout)
        return self._clock.monotonic() - started

    @contextmanager
    def count_queries(self) -> Iterator[QueryCounter]:
        """Count the statements of all threads of the pool, for tests and for debugging."""
        counter = QueryCounter()
        # Replaced and not changed, because the threads of the pool may be going through them.
        for database in (self._engine.reads, self._engine.writes):
            database.query_hooks = [*database.query_hooks, counter.on_statement]
        try:
            yield counter
        finally:
            for database in (self._engine.reads, self._engine.writes):
                database.query_hooks = [
                    hook for hook in database.query_hooks if hook != counter.on_statement
                ]

    def _observe(self, kind: str, seconds: float) -> None:
        if self.on_query is None:
            return
        try:
            self.on_query(kind, seconds)
        except Exception:
            log.exception("an observer of the database failed")


def _engine_for(url: str, busy_timeout: float) -> Engine:
    scheme = url.partition("://")[0].lower()
    if scheme == "sqlite":
        prefix, separator, path = url.partition("sqlite:///")
        if prefix or not separator or not path or path == ":memory:":
            raise StorageError("a SQLite URL is sqlite:///relative/path or sqlite:////absolute")
        return SqliteEngine(Path(path), busy_timeout=busy_timeout)
    if scheme in ("postgresql", "postgres"):
        # Not needed by those who use SQLite, and slow to import.
        from wavisor.storage.postgresql import PostgresqlEngine

        return PostgresqlEngine(url, busy_timeout=busy_timeout)
    raise StorageError("the database URL must begin with sqlite:/// or postgresql://")


def _select_one() -> None:
    current_database().execute_sql("SELECT 1").fetchone()


async def _await(future: Future[T], timeout: float) -> T:  # noqa: ASYNC109 - as in fetch
    # By hand, because wrap_future and wait_for together cost more than many a query.
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    timer = loop.call_later(timeout, _wake, waiter)

    def on_done(_: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_wake, waiter)

    future.add_done_callback(on_done)
    try:
        await waiter
    except asyncio.CancelledError:
        future.cancel()
        raise
    finally:
        timer.cancel()
    if future.done() and not future.cancelled():
        return future.result()
    raise _too_late(future, timeout)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _wait(future: Future[T], timeout: float) -> T:
    try:
        return future.result(timeout)
    except TimeoutError:
        if future.done() and not future.cancelled():
            return future.result()
        raise _too_late(future, timeout) from None


def _too_late(future: Future[Any], timeout: float) -> StorageError:
    if future.cancelled() or future.cancel():
        return DatabaseBusy(f"the database did not get round to it within {timeout:g} s")
    return DatabaseUnavailable(
        f"the database did not answer within {timeout:g} s", outcome_unknown=True
    )
