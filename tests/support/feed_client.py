"""A websocket client whose every call waits, for tests that are plain functions."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

WAIT = 60.0


class FeedRefusedError(Exception):
    """The handshake was answered with something else than a websocket."""

    def __init__(self, status: int, body: bytes, headers: Any) -> None:
        super().__init__(status)
        self.status = status
        self.problem = json.loads(body) if body else {}
        self.headers = headers


class FeedClient:
    """One websocket on the loop of the server under test."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: WebSocketClientConnection
    ) -> None:
        self._loop = loop
        self._ended = False
        self.connection = connection

    @classmethod
    def open(
        cls,
        loop: asyncio.AbstractEventLoop,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        subprotocols: list[str] | None = None,
    ) -> FeedClient:
        async def connect() -> WebSocketClientConnection:
            request = HTTPRequest(url, headers=headers or {}, request_timeout=WAIT)
            return await websocket_connect(request, subprotocols=subprotocols)

        try:
            return cls(loop, asyncio.run_coroutine_threadsafe(connect(), loop).result(WAIT))
        except HTTPClientError as error:
            response = error.response
            body = response.body if response is not None else b""
            found = response.headers if response is not None else {}
            raise FeedRefusedError(error.code, body, found) from None

    def say(self, frame: Any) -> None:
        """Send a frame: an object as JSON, text and bytes as they are."""

        async def write() -> None:
            message = frame if isinstance(frame, str | bytes) else json.dumps(frame)
            await self.connection.write_message(message, binary=isinstance(message, bytes))

        asyncio.run_coroutine_threadsafe(write(), self._loop).result(WAIT)

    def hear(self, timeout: float = WAIT) -> dict[str, Any] | None:
        """The next frame; None when the websocket was closed."""

        async def read() -> Any:
            return await asyncio.wait_for(self.connection.read_message(), timeout)

        message = asyncio.run_coroutine_threadsafe(read(), self._loop).result(timeout + 1)
        self._ended = message is None
        return None if message is None else json.loads(message)

    def expect(self, kind: str, timeout: float = WAIT) -> dict[str, Any]:
        """The next frame, which must be of this type."""
        frame = self.hear(timeout)
        assert frame is not None, f"closed: {self.close_code} {self.connection.close_reason}"
        assert frame["type"] == kind, frame
        return frame

    def hear_until(self, kind: str) -> list[dict[str, Any]]:
        """All frames up to the first one of this type."""
        frames = []
        while True:
            frame = self.hear()
            assert frame is not None, f"closed: {self.close_code}"
            frames.append(frame)
            if frame["type"] == kind:
                return frames

    def subscribe(self, **more: Any) -> dict[str, Any]:
        self.say({"type": "subscribe", **more})
        return self.expect("subscribed")

    def wait_closed(self) -> int | None:
        """Read on until the server has closed; return its code."""
        while self.hear() is not None:
            pass
        return self.close_code

    @property
    def close_code(self) -> int | None:
        return self.connection.close_code

    def close(self) -> None:
        """Close and wait until the socket is closed as well."""

        async def close() -> None:
            self.connection.close()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(WAIT)
        while not self._ended:
            self.hear()
