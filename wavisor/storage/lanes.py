"""Bounded queues of jobs and the threads that work on them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from wavisor.storage.errors import DatabaseBusy, DatabaseUnavailable

__all__ = ["Job", "Lane", "Worker"]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Job:
    """A function to be run on a connection, and the future of its result."""

    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    future: Future[Any] = field(default_factory=Future)

    def call(self) -> Any:
        """Run the function."""
        return self.function(*self.args, **self.kwargs)


class Worker(Protocol):
    """What one thread of a lane does with jobs, on a connection of its own."""

    def run(self, jobs: list[Job]) -> None:
        """Do the jobs and settle their futures; must not raise."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Lane:
    """A queue of jobs with a bound, and the threads that take jobs from it in order.

    Args:
        name: Names the threads.
        workers: One thread is started for each.
        queue_limit: How many jobs may wait; further ones fail at once with ``DatabaseBusy``.
        batch: How many waiting jobs a worker takes at a time.
    """

    def __init__(self, name: str, workers: list[Worker], *, queue_limit: int, batch: int) -> None:
        self._name = name
        self._limit = queue_limit
        self._batch = batch
        # None tells one thread to end. SimpleQueue, because it is far cheaper than a Condition.
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        # Held for no longer than it takes to look and to put.
        self._entrance = threading.Lock()
        self._closed = False
        self._threads = [
            threading.Thread(
                target=self._work, args=(worker,), name=f"storage-{name}-{number}", daemon=True
            )
            for number, worker in enumerate(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job, or fail its future at once when the queue is full or closed."""
        refusal: Exception | None = None
        with self._entrance:
            if self._closed:
                refusal = DatabaseUnavailable("the database is closed")
            elif self._jobs.qsize() >= self._limit:
                refusal = DatabaseBusy(f"{self._limit} {self._name}s are waiting already")
            else:
                self._jobs.put(job)
        # Outside of the lock, because callbacks of the future run here.
        if refusal is not None:
            job.future.set_exception(refusal)

    def close(self) -> None:
        """Take no more jobs; the threads end when the queue is empty."""
        with self._entrance:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._jobs.put(None)

    def join(self, deadline: float) -> bool:
        """Wait for the threads until ``deadline`` by ``time.monotonic``; tell whether all ended.

        Jobs that still wait when the time is up fail with ``DatabaseUnavailable``.
        """
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        while (job := self._next_now()) is not None:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(DatabaseUnavailable("the database was closed"))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, worker: Worker) -> None:
        try:
            while (jobs := self._take()) is not None:
                wanted = [job for job in jobs if job.future.set_running_or_notify_cancel()]
                if wanted:
                    worker.run(wanted)
        except BaseException:
            log.critical("storage thread died; this is a bug", lane=self._name, exc_info=True)
            raise
        finally:
            worker.close()

    def _take(self) -> list[Job] | None:
        """Wait for work; None when there will be no more."""
        job = self._jobs.get()
        if job is None:
            return None
        jobs = [job]
        while len(jobs) < self._batch and (job := self._next_now()) is not None:
            jobs.append(job)
        return jobs

    def _next_now(self) -> Job | None:
        """Return the next job if there is one."""
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return None
        if job is None:
            self._jobs.put(None)  # meant for a thread that waits for work
        return job
