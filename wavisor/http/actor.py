"""The actor that holds the HTTP server: the last to start and the first to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from wavisor.actors.supervisor import ChildContext, ExitReason, SupervisedActor
from wavisor.http.server import HttpServer

__all__ = ["HttpActor"]

_START_TIMEOUT = 5.0
_STOP_SLACK = 1.5


class HttpActor(SupervisedActor):
    """Serves while it lives. The serving itself is done on the event loop, not in its thread.

    Args:
        context: from the root.
        loop: the event loop to serve on.
        make_server: returns a new server, at every start of the actor; called on the loop.
        grace: seconds that requests in flight may take when it stops.
    """

    def __init__(
        self,
        context: ChildContext,
        loop: asyncio.AbstractEventLoop,
        make_server: Callable[[], HttpServer],
        grace: float,
    ) -> None:
        super().__init__(context)
        self._loop = loop
        self._make_server = make_server
        self._grace = grace
        self._server: HttpServer | None = None

    def on_start(self) -> None:
        """Begin to serve; a taken port fails the start."""
        self._on_loop(self._serve(), _START_TIMEOUT)

    def on_exit(self, reason: ExitReason) -> None:
        """Stop to serve: nothing new is accepted, what is in flight gets its grace."""
        server, self._server = self._server, None
        if server is not None:
            self._on_loop(server.stop(self._grace), self._grace + _STOP_SLACK)

    async def _serve(self) -> None:
        server = self._make_server()
        server.start()
        self._server = server

    def _on_loop(self, work: Coroutine[Any, Any, None], seconds: float) -> None:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            future.result(seconds)
        except FutureTimeoutError:
            future.cancel()
            raise
