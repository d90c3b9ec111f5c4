"""Counts requests in flight, so that a stop can wait for them."""

from __future__ import annotations

import asyncio

from wavisor import metrics

__all__ = ["Activity"]


class Activity:
    """How many requests are being served; used on the event loop only."""

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def count(self) -> int:
        """Requests in flight."""
        return self._count

    def enter(self) -> None:
        """Count one more."""
        self._count += 1
        self._idle.clear()
        metrics.HTTP_IN_FLIGHT.inc()

    def leave(self) -> None:
        """Count one less."""
        self._count -= 1
        metrics.HTTP_IN_FLIGHT.dec()
        if self._count == 0:
            self._idle.set()

    async def wait_idle(self, seconds: float) -> bool:
        """Wait until none is left; False when ``seconds`` were not enough."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
