"""What SQLite and PostgreSQL do differently, as one interface; and the way of opening either."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import peewee

from wavisor.clock import Clock
from wavisor.storage.current import bound
from wavisor.storage.errors import StorageError
from wavisor.storage.lanes import Job

__all__ = ["Engine", "Observer", "original", "settle"]

Observer = Callable[[str, float], None]
"""Told ``"read"`` or ``"write"`` and the seconds that one took, waiting in the queue excluded."""


def original(error: BaseException) -> BaseException:
    """Return the driver's error inside peewee's, or the error itself."""
    inner = getattr(error, "orig", None) if isinstance(error, peewee.PeeweeException) else None
    return inner if isinstance(inner, BaseException) else error


def settle(job: Job, result: Any, error: BaseException | None) -> None:
    """Give a job's future its outcome."""
    if error is None:
        job.future.set_result(result)
    else:
        job.future.set_exception(error)


class Engine(ABC):
    """One kind of database. Connections belong to the thread that first uses them."""

    name: str
    write_batch: int
    """How many writes may share a commit."""

    reads: peewee.Database
    writes: peewee.Database

    @abstractmethod
    def migration_lock(self, timeout: float) -> AbstractContextManager[peewee.Database]:
        """Return a context with a database that no other process migrates at the same time."""

    @abstractmethod
    def translate(self, error: BaseException) -> BaseException:
        """Return the ``StorageError`` that a driver's error means; other errors as they are."""

    @abstractmethod
    def run_reads(self, jobs: list[Job]) -> None:
        """Do jobs that only read, each on one consistent state of the database."""

    @abstractmethod
    def run_writes(self, jobs: list[Job]) -> None:
        """Do jobs that write; settle each future only after its commit is durable."""

    def translated(self, error: BaseException) -> BaseException:
        """Translate an error and keep its cause for the log."""
        meaning = self.translate(error)
        if meaning is not error:
            meaning.__cause__ = error
        return meaning


class EngineWorker:
    """A thread's part of an engine: binds the models, times the jobs, closes the connection."""

    def __init__(
        self,
        database: peewee.Database,
        run: Callable[[list[Job]], None],
        *,
        clock: Clock,
        observe: Callable[[float], None],
    ) -> None:
        self._database = database
        self._run = run
        self._clock = clock
        self._observe = observe

    def run(self, jobs: list[Job]) -> None:
        """Do the jobs; whatever goes wrong ends in their futures, never in the thread."""
        started = self._clock.monotonic()
        try:
            with bound(self._database, self._clock):
                self._run(jobs)
        except BaseException as error:  # noqa: BLE001 - the thread must outlive any job
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(error)
        self._observe(self._clock.monotonic() - started)

    def close(self) -> None:
        """Close this thread's connection."""
        with suppress(peewee.PeeweeException, StorageError):
            self._database.close()
