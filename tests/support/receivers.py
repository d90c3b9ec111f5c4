"""Servers of others that webhooks are delivered to: good ones, and ones with a single defect."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

WAIT = 60.0


@dataclass
class Received:
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


Behaviour = Callable[["Received", asyncio.StreamWriter], Awaitable[bool]]
"""Answers a request; returns whether the connection stays open."""


def answers(status: int = 200, body: bytes = b"ok", headers: str = "") -> Behaviour:
    async def answer(_: Received, writer: asyncio.StreamWriter) -> bool:
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
        )
        await writer.drain()
        return True

    return answer


async def hangs(_: Received, __: asyncio.StreamWriter) -> bool:
    await asyncio.sleep(3600)
    return False


async def trickles(_: Received, writer: asyncio.StreamWriter) -> bool:
    """Answer so slowly that each byte comes in time, and the whole of it never."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.02)


async def resets(_: Received, writer: asyncio.StreamWriter) -> bool:
    writer.transport.abort()
    return False


async def floods(_: Received, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()


@dataclass
class Receiver:
    """A server on loopback. ``behaviour`` may be changed at any time, for all or by path."""

    behaviour: Behaviour = field(default_factory=answers)
    by_path: dict[str, Behaviour] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    port: int = 0
    connections: int = 0

    async def __aenter__(self) -> Receiver:
        self._changed = asyncio.Condition()
        self._open: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self.tls, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for one in self._open:
            one.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    @property
    def ids(self) -> list[str]:
        return [one.headers["webhook-id"] for one in self.received]

    async def wait(self, count: int) -> list[Received]:
        """The requests, once there are so many."""
        async with self._changed, asyncio.timeout(WAIT):
            await self._changed.wait_for(lambda: len(self.received) >= count)
        return self.received

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        number = self.connections
        try:
            while await self._exchange(reader, writer, number):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client had enough, or the test
        finally:
            self._open.discard(task)
            writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        received = Received(first.split(" ")[1], headers, body, number)
        async with self._changed:
            self.received.append(received)
            self._changed.notify_all()
        behaviour = self.by_path.get(received.path, self.behaviour)
        return await behaviour(received, writer)
