"""Writes down how attempts went, several in one transaction, so that sending need not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from wavisor.storage import Attempt, Database, Settled, StorageError, deliveries
from wavisor.storage.deliveries import DisableRule

__all__ = ["Ledger"]

log = structlog.get_logger(__name__)

_TOGETHER = 200
_PAUSE_SECONDS = 1.0

OnWritten = Callable[[list[Attempt], Settled], None]


class Ledger:
    """A queue to the table. What a crash keeps from being written is attempted once more.

    Args:
        database: where deliveries are.
        rule: when endpoints are switched off.
        on_written: called after each commit, on the loop.
    """

    def __init__(self, database: Database, rule: DisableRule, on_written: OnWritten) -> None:
        self._database = database
        self._rule = rule
        self._on_written = on_written
        self._waiting: list[tuple[Attempt, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, attempt: Attempt) -> asyncio.Future[None]:
        """Have an attempt written down; return what is done once it is."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((attempt, written))
        self._arrived.set()
        return written

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._arrived.wait()
            if not await self.flush():
                await asyncio.sleep(_PAUSE_SECONDS)

    async def flush(self) -> bool:
        """Write what waits; return False when the database does not take it now."""
        while self._waiting:
            together = self._waiting[:_TOGETHER]
            attempts = [attempt for attempt, _ in together]
            try:
                settled = await self._database.commit(deliveries.settle, attempts, self._rule)
            except StorageError as error:
                log.warning("outcomes of webhooks could not be written", error=str(error))
                return False
            del self._waiting[: len(together)]
            self._on_written(attempts, settled)
            for _, written in together:
                if not written.done():
                    written.set_result(None)
        self._arrived.clear()
        return True
