"""When keys were used last: remembered at once, written down a little later and in one go."""

from __future__ import annotations

import asyncio

import structlog

from wavisor.clock import Clock
from wavisor.storage import Database, KeyUse, StorageError, keys

__all__ = ["KeyUses"]

log = structlog.get_logger(__name__)

_DELAY = 15.0
_CAPACITY = 10_000
_PORTION = 500


class KeyUses:
    """Collects the uses of keys. Used on the event loop only.

    No request waits for this: each key is written at most once in 15 s, all of them together, and
    what cannot be written is dropped, because the next use tells the same.

    Args:
        database: where it is written.
        clock: tells when a key is used.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._uses: dict[str, KeyUse] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._closed = False

    def note(self, key_id: str, address: str) -> None:
        """Remember that a key was used just now."""
        if self._closed or (len(self._uses) >= _CAPACITY and key_id not in self._uses):
            return
        self._uses[key_id] = KeyUse(key_id, self._clock.now(), address)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY, self._begin)

    async def flush(self) -> None:
        """Write down what is remembered."""
        uses, self._uses = list(self._uses.values()), {}
        try:
            for start in range(0, len(uses), _PORTION):
                await self._database.commit(keys.note_uses, uses[start : start + _PORTION])
        except StorageError as error:
            log.warning("the last uses of API keys could not be written", error=str(error))

    def close(self) -> None:
        """Remember nothing more; what was not flushed is lost."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            self._writing.cancel()

    def _begin(self) -> None:
        self._timer = None
        # Kept, because the loop itself holds tasks only weakly.
        self._writing = asyncio.get_running_loop().create_task(self.flush())
