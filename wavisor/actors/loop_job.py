"""Actors whose work is done on the event loop, for as long as they live.

Should it end by a mistake, it is begun anew after a pause, by its actor: the root would restart all
instances along with it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from dataclasses import dataclass
from typing import Any

import structlog

from wavisor.actors.ask import tell
from wavisor.actors.supervisor import ChildContext, ExitReason, SupervisedActor

__all__ = ["LoopJob"]

log = structlog.get_logger(__name__)

_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
_STOP_SECONDS = 4.0
_CALM_SECONDS = 300.0


@dataclass(frozen=True)
class _Ended:
    """The run of this number is over."""

    number: int
    error: BaseException | None


@dataclass(frozen=True)
class _Begin:
    """It is time to begin anew."""


class LoopJob(SupervisedActor):
    """Runs :meth:`work` on the loop while it lives.

    Args:
        context: from the root.
        loop: where it runs.
        what: names the work in the log.
    """

    def __init__(self, context: ChildContext, loop: asyncio.AbstractEventLoop, what: str) -> None:
        super().__init__(context)
        self._env = context.environment
        self._loop = loop
        self._what = what
        self._runs = 0
        self._failures = 0
        self._began_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def work(self) -> None:
        """Work until cancelled."""
        raise NotImplementedError

    def on_start(self) -> None:
        """Begin."""
        self._start_run()

    def handle(self, message: Any) -> Any:
        """Begin anew after a failure."""
        match message:
            case _Ended(number=number, error=error) if number == self._runs:
                self._begin_later(error)
            case _Ended():
                pass
            case _Begin():
                self._start_run()
            case _:
                return super().handle(message)
        return None

    def on_exit(self, reason: ExitReason) -> None:
        """End the run; what is under way gets a short grace."""
        stopped = asyncio.run_coroutine_threadsafe(self._stop_run(), self._loop)
        concurrent.futures.wait([stopped], _STOP_SECONDS)

    def _start_run(self) -> None:
        self._runs += 1
        self._began_at = self._env.clock.monotonic()
        number, ref = self._runs, self.actor_ref
        running = asyncio.run_coroutine_threadsafe(self._run(), self._loop)

        def report(done: concurrent.futures.Future[None]) -> None:
            error = None if done.cancelled() else done.exception()
            tell(ref, _Ended(number, error))

        running.add_done_callback(report)

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        await self.work()

    def _begin_later(self, error: BaseException | None) -> None:
        if self._env.clock.monotonic() - self._began_at > _CALM_SECONDS:
            self._failures = 0
        pause = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1
        log.error(f"{self._what} ended; it begins anew", seconds=pause, exc_info=error)
        ref = self.actor_ref

        def begin() -> None:
            tell(ref, _Begin())

        self._env.timers.call_later(pause, begin)

    async def _stop_run(self) -> None:
        self._runs += 1  # nothing that ends from now on is begun anew
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
