"""What a function that runs on the pool may use: its connection, its clock and its locks.

The pool's threads enter :func:`bound`; models and repositories find their database through it.
That keeps several databases in one process apart, which a database bound to the models cannot.

Order of locks
--------------
On PostgreSQL writes run side by side. A write that has locked rows takes further ones only in this
order, and those of one kind in the order that is named; else two of them could wait for each other,
of which the server ends one after a second, to be done again:

1. campaigns;
2. files, by the hash of their content;
3. webhook endpoints by id, each with its deliveries;
4. messages, by position; rows that the write itself has inserted count as none;
5. chats, by instance and address;
6. instances, by id;
7. the subscription, weakly: others may go on to insert what refers to it;
8. the advisory lock of the events, after which events and deliveries are inserted;
9. keys, invitations, users; idempotency keys;
10. counters of the statistics, right before the commit.

A deletion locks what it takes along after its own row. That is another order where an instance or
a file goes: those are rare, and are done again.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from enum import IntEnum
from typing import Any, ParamSpec, TypeVar

import peewee

from wavisor.clock import Clock
from wavisor.storage.errors import StorageError

__all__ = [
    "Deferred",
    "LockKey",
    "bound",
    "current_database",
    "deferred",
    "drop_deferred",
    "end_job",
    "is_bound",
    "is_one_statement",
    "lock_rows",
    "now",
    "one_statement",
    "savepoint",
    "transaction_lock",
    "write_deferred",
]


class LockKey(IntEnum):
    """Keys of PostgreSQL's advisory locks; the first four bytes spell ``wavi``."""

    MIGRATIONS = 0x77617669_00000001
    FIRST_ACCOUNT = 0x77617669_00000002
    EVENTS = 0x77617669_00000003


class Deferred(ABC):
    """What jobs gather, to be written once, right before the commit that they share."""

    @abstractmethod
    def add(self, other: Any) -> None:
        """Take in what another one of this class has gathered."""

    @abstractmethod
    def write(self) -> None:
        """Write it. A failure fails the transaction."""


class _Bound(threading.local):
    database: peewee.Database | None = None
    clock: Clock | None = None

    def __init__(self) -> None:
        self.of_job: dict[type[Deferred], Deferred] = {}
        self.of_transaction: dict[type[Deferred], Deferred] = {}


_bound = _Bound()
_single: set[Callable[..., Any]] = set()

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D", bound=Deferred)


@contextmanager
def bound(database: peewee.Database, clock: Clock) -> Iterator[None]:
    """Make ``database`` and ``clock`` those of this thread for the duration."""
    previous = (_bound.database, _bound.clock)
    _bound.database, _bound.clock = database, clock
    try:
        yield
    finally:
        _bound.database, _bound.clock = previous
        drop_deferred(whole_transaction=True)


def deferred(kind: type[D]) -> D:
    """Return what the job that runs has gathered of this kind; kept only if it succeeds.

    A job must not gather anything inside a savepoint of its own.
    """
    found = _bound.of_job.get(kind)
    if found is None:
        found = _bound.of_job[kind] = kind()
    return found  # type: ignore[return-value]  # kept by its class


def end_job() -> None:
    """Keep what a job has gathered, now that it has succeeded; for engines."""
    for kind, gathered in _bound.of_job.items():
        kept = _bound.of_transaction.setdefault(kind, gathered)
        if kept is not gathered:
            kept.add(gathered)
    _bound.of_job.clear()


def write_deferred() -> None:
    """Write what the jobs of the transaction have gathered; for engines, before the commit."""
    end_job()
    for gathered in _bound.of_transaction.values():
        gathered.write()
    _bound.of_transaction.clear()


def drop_deferred(*, whole_transaction: bool) -> None:
    """Forget what a job has gathered that failed, or all of a transaction that did."""
    _bound.of_job.clear()
    if whole_transaction:
        _bound.of_transaction.clear()


def one_statement(fn: Callable[P, T]) -> Callable[P, T]:
    """Declare that a function reads with a single SELECT, which needs no transaction around it.

    A statement sees one state of the database by itself. SQLite's BEGIN and COMMIT would more
    than double the hand-overs of the interpreter's lock between the pool and the event loop.
    """
    _single.add(fn)
    return fn


def is_one_statement(fn: Callable[..., Any]) -> bool:
    """Tell whether a function was declared so."""
    return fn in _single


def is_bound() -> bool:
    """Tell whether this thread runs a function of the pool at the moment."""
    return _bound.database is not None


def current_database() -> peewee.Database:
    """Return the database of this thread.

    Raises:
        StorageError: outside of ``Database.read`` and ``Database.write``.
    """
    if _bound.database is None:
        raise StorageError("a query ran outside of Database.read and Database.write")
    return _bound.database


def now() -> datetime:
    """Return the time by the clock that the database was given."""
    if _bound.clock is None:
        raise StorageError("a query ran outside of Database.read and Database.write")
    return _bound.clock.now()


def savepoint() -> AbstractContextManager[Any]:
    """Return a context whose failure undoes what was done inside it, and only that."""
    context: AbstractContextManager[Any] = current_database().savepoint()
    return context


def lock_rows(query: Any, *, referable: bool = False) -> Any:
    """Make a SELECT lock its rows until the transaction ends.

    SQLite has no such clause and needs none: there the write transaction is the only one.

    Args:
        query: The SELECT.
        referable: Whether others may meanwhile write rows that refer to these.
    """
    if not current_database().for_update:
        return query
    return query.for_update("FOR NO KEY UPDATE" if referable else True)


def transaction_lock(key: LockKey) -> None:
    """Wait for a lock that the transaction then holds until it ends.

    On SQLite the write transaction itself is that lock.
    """
    database = current_database()
    if database.for_update:
        database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (int(key),))
