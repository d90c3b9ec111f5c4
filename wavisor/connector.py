"""Connections to where users want the gateway to go, by the rule of :mod:`wavisor.netguard`.

Shared by what fetches media and what delivers webhooks.
"""

from __future__ import annotations

import asyncio
import ssl

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPMessageDelegate
from tornado.iostream import IOStream
from tornado.tcpclient import TCPClient

from wavisor.netguard import GuardedResolver, Target, TargetRule

__all__ = ["Connector", "begin_reading"]


class Connector:
    """Connects to targets: the addresses that were checked are the ones that are connected to.

    Args:
        rule: which addresses may be connected to.
        resolver: what resolves names, for tests; by default the guarded one.
        tls: whom to trust; by default the machine's authorities.
    """

    def __init__(
        self,
        rule: TargetRule,
        *,
        resolver: GuardedResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.rule = rule
        self._resolver = resolver or GuardedResolver(rule)
        self._client = TCPClient(self._resolver)
        self._tls = tls

    async def connect(self, target: Target, *, seconds: float, buffer: int) -> IOStream:
        """Return a connection, over TLS with a valid certificate where the scheme says so.

        Args:
            target: a URL that the rule has checked.
            seconds: for looking up the name, connecting and shaking hands.
            buffer: how many bytes that came in are held at most.

        Raises:
            ForbiddenTargetError: the name leads to a forbidden address.
            TimeoutError: it took too long.
            ssl.SSLError: there is no valid certificate.
            OSError: it cannot be reached.
        """
        try:
            return await self._client.connect(
                target.host,
                target.port,
                ssl_options=self._context() if target.scheme == "https" else None,
                max_buffer_size=buffer,
                timeout=seconds,
            )
        except UnicodeError as error:
            raise OSError("the name cannot be looked up") from error

    def close(self) -> None:
        """Give back the threads."""
        self._client.close()
        self._resolver.close()

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


def begin_reading(
    connection: HTTP1Connection, delegate: HTTPMessageDelegate
) -> asyncio.Future[bool]:
    """Begin to read an answer; how that ends is looked at, whenever it does.

    Whoever gives up waiting closes the connection, and what nobody looks at is logged as a mistake.

    Args:
        connection: where a request was sent.
        delegate: is told of the answer as it comes.
    """
    reading = asyncio.ensure_future(connection.read_response(delegate))
    reading.add_done_callback(_look_at)
    return reading


def _look_at(reading: asyncio.Future[bool]) -> None:
    if not reading.cancelled():
        reading.exception()
