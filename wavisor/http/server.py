"""The server's life: listening, and stopping without cutting anybody off."""

from __future__ import annotations

import asyncio
import errno
import socket

import structlog
from tornado.httpserver import HTTPServer

from wavisor.http.application import HttpApplication

__all__ = ["AddressInUseError", "HttpServer", "ListenError"]

log = structlog.get_logger(__name__)

_HEADER_LIMIT_BYTES = 16 * 1024
_IDLE_SECONDS = 75.0
_BODY_SECONDS = 60.0
# Non-routed handlers (files, websockets) take no body worth mentioning.
_UNROUTED_BODY_LIMIT = 64 * 1024
_CLOSING_SECONDS = 1.0
_FLUSH_SECONDS = 0.5
_BACKLOG = 1024


class ListenError(Exception):
    """The address cannot be listened on; says why in one sentence."""


class AddressInUseError(ListenError):
    """Something else listens on this address and port already."""


class HttpServer:
    """Serves an application from :meth:`start` to :meth:`stop`. Used on the event loop only.

    Args:
        application: what is served; closed with the server.
        host: the address to listen on.
        port: the TCP port; 0 takes any free one.
    """

    def __init__(self, application: HttpApplication, host: str, port: int) -> None:
        self._application = application
        self._host = host
        self._port = port
        self._server: HTTPServer | None = None
        self._sockets: list[socket.socket] = []

    def listen(self) -> int:
        """Bind the sockets without serving yet, so that a taken port is known early.

        Returns:
            The port.

        Raises:
            AddressInUseError: the port is taken.
            ListenError: the address cannot be listened on for another reason.
        """
        try:
            self._sockets = _bind(self._host, self._port)
        except OSError as error:
            where = f"{self._host} port {self._port}"
            if error.errno == errno.EADDRINUSE:
                raise AddressInUseError(f"Something else already listens on {where}.") from None
            raise ListenError(f"Cannot listen on {where}: {error.strerror or error}.") from None
        return int(self._sockets[0].getsockname()[1])

    def start(self) -> int:
        """Serve, listening first where :meth:`listen` was not called; return the port.

        Raises:
            ListenError: as :meth:`listen`.
        """
        port = int(self._sockets[0].getsockname()[1]) if self._sockets else self.listen()
        self._server = HTTPServer(
            self._application,
            max_header_size=_HEADER_LIMIT_BYTES,
            idle_connection_timeout=_IDLE_SECONDS,
            body_timeout=_BODY_SECONDS,
            max_body_size=_UNROUTED_BODY_LIMIT,
        )
        self._server.add_sockets(self._sockets)
        log.info("listening", host=self._host, port=port)
        return port

    async def stop(self, grace: float) -> None:
        """Accept nothing more, finish what is in flight, close websockets and connections.

        Args:
            grace: how long requests in flight may take, in seconds; then they are cut off.
        """
        server, self._server = self._server, None
        if server is None:
            for unused in self._sockets:
                unused.close()
        else:
            server.stop()
            await self._drain(grace)
            await self._close(server)
            await self._flush()
        self._sockets = []
        self._application.close()

    async def _drain(self, grace: float) -> None:
        self._application.stopping = True
        for connection in tuple(self._application.connections):
            connection.close_for_shutdown()
        activity = self._application.activity
        if not await activity.wait_idle(grace):
            log.warning("requests cut off", count=activity.count, waited_seconds=grace)

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._application.key_uses.flush()
        except TimeoutError:
            log.warning("the last uses of API keys were not written in time")

    async def _close(self, server: HTTPServer) -> None:
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await server.close_all_connections()
        except TimeoutError:
            log.warning("connections did not close in time")


def _bind(host: str, port: int) -> list[socket.socket]:
    """Return a listening socket for each address of ``host``, all on one port; or none at all.

    Not tornado's ``bind_sockets``, which leaves sockets open when one of them fails and never
    listens on IPv4 for ``::``.
    """
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )
    everywhere = host == "::" and socket.has_dualstack_ipv6()
    bound: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((one[0], str(one[4][0])) for one in found):
            chosen = bound[0].getsockname()[1] if bound else port
            bound.append(
                socket.create_server(
                    (address, chosen),
                    family=family,
                    backlog=_BACKLOG,
                    dualstack_ipv6=everywhere,
                )
            )
            bound[-1].setblocking(False)
    except OSError:
        for one in bound:
            one.close()
        raise
    return bound
