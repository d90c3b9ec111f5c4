"""Frames on their way to one client: bounded, in order, and never in the way of anybody else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from tornado.websocket import WebSocketClosedError

from wavisor import metrics

__all__ = ["Outflow"]

_BATCH_BYTES = 64 * 1024


class Outflow:
    """Sends frames one after the other, as fast as the client reads them.

    Args:
        send: writes a frame; done when the operating system has taken it.
        frame_limit: how many frames may wait.
        byte_limit: how many bytes may wait.
        on_overflow: called once, when more would have to wait; nothing is sent after that.
    """

    def __init__(
        self,
        send: Callable[[bytes], Awaitable[None]],
        frame_limit: int,
        byte_limit: int,
        on_overflow: Callable[[], None],
    ) -> None:
        self._send = send
        self._frame_limit = frame_limit
        self._byte_limit = byte_limit
        self._on_overflow = on_overflow
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._closed = False
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def put(self, frame: str) -> None:
        """Queue a frame; overflows when the client has not read enough of the earlier ones."""
        data = frame.encode()
        if self._closed:
            return
        if self._fits(data):
            self._queue(data)
        else:
            self.close()
            self._on_overflow()

    async def put_patiently(self, frame: str) -> None:
        """Queue a frame as soon as there is room for it."""
        data = frame.encode()
        while not self._closed and not self._fits(data):
            self._taken.clear()
            await self._taken.wait()
        if not self._closed:
            self._queue(data)

    def close(self) -> None:
        """Drop what waits and send nothing more."""
        self._closed = True
        self._frames.clear()
        self._bytes = 0
        self._taken.set()
        self._task.cancel()

    def _fits(self, data: bytes) -> bool:
        # A frame that is longer than the limit goes alone: it would never fit otherwise.
        short = not self._frames or self._bytes + len(data) <= self._byte_limit
        return short and len(self._frames) < self._frame_limit

    def _queue(self, data: bytes) -> None:
        self._frames.append(data)
        self._bytes += len(data)
        self._filled.set()

    def _next_batch(self) -> list[bytes]:
        """Return the first frames, as many as are worth one turn of the loop."""
        batch: list[bytes] = []
        size = 0
        for data in self._frames:
            if batch and size + len(data) > _BATCH_BYTES:
                break
            batch.append(data)
            size += len(data)
        return batch

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            while self._frames:
                batch = self._next_batch()
                try:
                    await asyncio.gather(*(self._send(data) for data in batch))
                except WebSocketClosedError:
                    return  # the handler hears of the end by itself
                metrics.WEBSOCKET_FRAMES.inc(len(batch))
                for data in batch:
                    self._frames.popleft()
                    self._bytes -= len(data)
                self._taken.set()
            self._filled.clear()
