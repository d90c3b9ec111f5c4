"""The local WhatsApp as a server: an HTTP proxy that *is* the internet behind it.

A client is told to use the proxy. Whatever host it asks to be connected with, the proxy answers
and speaks TLS itself on the same connection: the chat websocket and the media host are both here.
Source of the addresses: whatsmeow ``socket/constants.go``, ``mediaconn.go``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import socket
import struct
import tempfile
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import structlog
from tornado import iostream, netutil, tcpserver, web, websocket
from tornado.httpserver import HTTPServer

from wavisor.sandbox.authority import CHAT_HOST, NoiseAuthority, TlsAuthority
from wavisor.sandbox.codec import Codec
from wavisor.sandbox.connection import ClientConnection
from wavisor.sandbox.directory import World
from wavisor.sandbox.faults import FaultKind
from wavisor.sandbox.media_host import media_routes
from wavisor.sandbox.noise import MAX_FRAME
from wavisor.sandbox.redirect import Endpoints
from wavisor.sandbox.stanzas import Stanzas
from wavisor.sandbox.statistics import Attempt, Outcome
from wavisor.sandbox.tokens import Tokens

__all__ = ["SandboxServer"]

log = structlog.get_logger(__name__)

LOOPBACK = "127.0.0.1"
REQUEST_TIMEOUT = 10.0
"""Seconds for a client to say whom it wants to be connected with, and for the TLS handshake."""
MAX_REQUEST = 16 * 1024
MAX_MEDIA = 128 * 1024 * 1024
MAX_UNSENT = 64 * 1024 * 1024
"""Bytes that may wait for a client which does not read."""


class _Socket:
    """A tornado websocket as ``connection.Socket``."""

    def __init__(self, handler: ChatHandler, stream: iostream.IOStream) -> None:
        self._handler = handler
        self._stream = stream

    def write(self, data: bytes) -> bool:
        try:
            written = self._handler.write_message(data, binary=True)
        except websocket.WebSocketClosedError:
            return True  # its end is reported by on_close
        except iostream.StreamBufferFullError:
            return False
        # Whether it arrived is told by the client's acknowledgements, not here.
        written.add_done_callback(lambda done: done.exception())
        return True

    def close(self) -> None:
        self._handler.close(1000)

    def abort(self) -> None:
        _reset(self._stream)


def _reset(stream: iostream.IOStream) -> None:
    """Close a TCP connection by a reset, as a dying network or server would."""
    if not stream.closed():
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        stream.close()


class ChatHandler(websocket.WebSocketHandler):
    """``wss://web.whatsapp.com/ws/chat``."""

    def initialize(self, server: SandboxServer) -> None:
        """Take the server that the connection belongs to."""
        self._server = server
        self._connection: ClientConnection | None = None
        self._gone = asyncio.Event()

    async def prepare(self) -> None:
        """Leave the upgrade unanswered while that fault is in force."""
        self._stream: iostream.IOStream = self.request.connection.stream  # type: ignore[union-attr] # HTTP/1 connections have one
        self._attempt = self._server.attempt_of(self._stream)
        if self._server.world.faults.strike(FaultKind.SILENT_UPGRADE, label=self._attempt.label):
            await self._gone.wait()
            raise web.Finish

    def on_connection_close(self) -> None:
        """Stop waiting when the client gives up."""
        self._gone.set()
        super().on_connection_close()

    def open(self, *args: str, **kwargs: str) -> None:
        """Begin a client's session."""
        self.set_nodelay(True)
        self._connection = self._server.new_connection(_Socket(self, self._stream), self._attempt)

    async def on_message(self, message: str | bytes) -> None:
        """Pass bytes on; the next ones are read when these are done."""
        if self._connection is not None and isinstance(message, bytes):
            await self._connection.feed(message)

    def on_close(self) -> None:
        """End the client's session."""
        self._gone.set()
        if self._connection is not None:
            self._server.spawn(self._connection.on_close())


class _Proxy(tcpserver.TCPServer):
    """Answers ``CONNECT`` and goes on as the server that was asked for."""

    def __init__(self, server: SandboxServer, application: web.Application) -> None:
        super().__init__()
        self._server = server
        self._tls = server.tls.server_context()
        self._http = HTTPServer(application, max_body_size=MAX_MEDIA, xheaders=False)
        self._streams: WeakKeyDictionary[iostream.IOStream, Attempt] = WeakKeyDictionary()
        self._open: WeakSet[iostream.IOStream] = WeakSet()

    def attempt_of(self, stream: iostream.IOStream) -> Attempt:
        return self._streams[stream]

    async def handle_stream(self, stream: iostream.IOStream, address: tuple[Any, ...]) -> None:
        self._open.add(stream)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                request = await stream.read_until(b"\r\n\r\n", max_bytes=MAX_REQUEST)
        except (TimeoutError, iostream.StreamClosedError, iostream.UnsatisfiableReadError):
            stream.close()
            return
        host, label = _parse_connect(request)
        if host is None:
            await self._answer(stream, b"HTTP/1.1 405 Only CONNECT\r\nContent-Length: 0\r\n\r\n")
            stream.close()
            return
        await self._connect(stream, address, host, label)

    async def _connect(
        self, stream: iostream.IOStream, address: tuple[Any, ...], host: str, label: str | None
    ) -> None:
        world = self._server.world
        attempt = world.attempts.begin(label) if host == CHAT_HOST else Attempt(0, 0, label)
        if world.faults.strike(FaultKind.REFUSE, label=label):
            attempt.outcome = Outcome.REFUSED
            _reset(stream)
            return
        if world.faults.strike(FaultKind.SILENT_DIAL, label=label):
            with contextlib.suppress(iostream.StreamClosedError):
                await stream.read_until_close()
            return
        if not await self._answer(stream, b"HTTP/1.1 200 Connection established\r\n\r\n"):
            return
        self._open.discard(stream)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                secure = await stream.start_tls(True, self._tls)
        except (TimeoutError, OSError, iostream.StreamClosedError):
            # Gateways look in this way whether WhatsApp can be reached.
            world.attempts.withdraw(attempt)
            if stream.socket is not None:  # it is TLS's since then, which has closed it
                stream.close()
            return
        secure.max_write_buffer_size = MAX_UNSENT
        self._streams[secure] = attempt
        self._open.add(secure)
        self._http.handle_stream(secure, address)

    async def _answer(self, stream: iostream.IOStream, data: bytes) -> bool:
        try:
            await stream.write(data)
        except iostream.StreamClosedError:
            return False
        return True

    async def close_all(self) -> None:
        self.stop()
        await self._http.close_all_connections()
        for stream in list(self._open):
            stream.close()


def _parse_connect(request: bytes) -> tuple[str | None, str | None]:
    """Return the host of a CONNECT request (None if it is another) and the proxy user's name."""
    head, *lines = request.decode("latin-1").split("\r\n")
    method, _, rest = head.partition(" ")
    if method != "CONNECT":
        return None, None
    label = None
    for line in lines:
        name, _, value = line.partition(":")
        scheme, _, credentials = value.strip().partition(" ")
        if name.lower() == "proxy-authorization" and scheme.lower() == "basic":
            with contextlib.suppress(binascii.Error, UnicodeDecodeError):
                label = base64.b64decode(credentials).decode().partition(":")[0] or None
    return rest.partition(" ")[0].rpartition(":")[0], label


class SandboxServer:
    """The whole server; needs a running event loop.

    Args:
        tokens: the dictionary of the clients to serve (``tokens.load_tokens``).
        world: the people in it; a new one if not given.
    """

    def __init__(self, tokens: Tokens, world: World | None = None) -> None:
        self.world = world or World()
        self.tls = TlsAuthority()
        self.noise = NoiseAuthority()
        self._codec = Codec(tokens)
        self._stanzas = Stanzas()
        self._proxy: _Proxy | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, *, port: int = 0) -> Endpoints:
        """Listen on loopback, on a free port unless told otherwise, and return where.

        The control API is served by ``control.ControlServer``; its address is left empty.

        Raises:
            OSError: the port is taken.
        """
        application = web.Application(
            [
                (r"/ws/chat/?", ChatHandler, {"server": self}),
                *media_routes(self.world, self.attempt_of),
            ],
            websocket_max_message_size=MAX_FRAME + 64,
            log_function=_log_request,
        )
        self._proxy = _Proxy(self, application)
        proxy_sockets = netutil.bind_sockets(port, LOOPBACK)
        self._proxy.add_sockets(proxy_sockets)
        proxy_port = proxy_sockets[0].getsockname()[1]
        self._directory = tempfile.TemporaryDirectory(prefix="wavisor-sandbox-")
        ca_file = Path(self._directory.name) / "ca.pem"
        self.tls.write_ca(ca_file)
        return Endpoints(
            proxy_url=f"http://{LOOPBACK}:{proxy_port}",
            ca_file=str(ca_file),
            root_public_key=self.noise.root.public,
            control_url="",
        )

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        for connection in list(self.world.connections):
            await connection.close(abruptly=True)
        if self._proxy is not None:
            await self._proxy.close_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._directory is not None:
            self._directory.cleanup()

    def attempt_of(self, stream: iostream.IOStream) -> Attempt:
        """Return the connection attempt that a stream came from."""
        if self._proxy is None:
            raise RuntimeError("the server is not running")
        return self._proxy.attempt_of(stream)

    def new_connection(self, socket_: _Socket, attempt: Attempt) -> ClientConnection:
        """Begin a client's session on an open websocket."""
        return ClientConnection(
            self.world, socket_, self._stanzas, self._codec, self.noise, attempt
        )

    def spawn(self, work: Any) -> None:
        """Run a coroutine until it ends or the server stops."""
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _log_request(handler: web.RequestHandler) -> None:
    log.debug("request", method=handler.request.method, status=handler.get_status())
