"""A real proxy on loopback: SOCKS5 or HTTP CONNECT, with or without a password.

Its way out is the local WhatsApp's own proxy, which stands for the whole internet.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit

__all__ = ["LoopbackProxy"]

_PATIENCE = 30.0


class LoopbackProxy:
    """Listens from its making on; a context manager.

    Args:
        upstream: URL of the HTTP proxy that connections go out by.
        scheme: ``socks5`` or ``http``.
        credentials: the user name and password that it asks for.

    ``carried`` counts the bytes that it passed on in both directions, ``refused`` the clients
    without the right password.
    """

    def __init__(
        self, upstream: str, scheme: str = "socks5", credentials: tuple[str, str] | None = None
    ) -> None:
        parts = urlsplit(upstream)
        self._upstream = parts.hostname or "", parts.port or 80
        self._scheme = scheme
        self._credentials = credentials
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.carried = 0
        self.refused = 0
        self.targets: list[str] = []
        self.start()

    @property
    def url(self) -> str:
        """Its URL, with credentials."""
        user = ":".join(self._credentials) + "@" if self._credentials else ""
        return f"{self._scheme}://{user}127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, again on the same port after :meth:`kill`."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def kill(self) -> None:
        """Close everything at once, as when the proxy's process dies."""
        with self._lock:
            listener, self._listener = self._listener, None
            connections, self._open = self._open, set()
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def __enter__(self) -> LoopbackProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    # One thread for each connection, and one for each direction of it

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            client.settimeout(_PATIENCE)
            with self._lock:
                self._open.add(client)
            target = self._greet(client)
            if target is None:
                client.close()
                return
            self.targets.append(target)
            server = self._dial(target)
            with self._lock:
                self._open.add(server)
            client.sendall(
                b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
                if self._scheme == "socks5"
                else b"HTTP/1.1 200 OK\r\n\r\n"
            )
            for each in (client, server):
                each.settimeout(None)
            threading.Thread(target=self._pipe, args=(server, client), daemon=True).start()
            self._pipe(client, server)

    def _greet(self, client: socket.socket) -> str | None:
        return self._greet_socks(client) if self._scheme == "socks5" else self._greet_http(client)

    def _greet_socks(self, client: socket.socket) -> str | None:
        """RFC 1928 and RFC 1929."""
        methods = _exactly(client, _exactly(client, 2)[1])
        wanted = 2 if self._credentials else 0
        if wanted not in methods:
            self.refused += 1
            client.sendall(b"\x05\xff")
            return None
        client.sendall(bytes((5, wanted)))
        if self._credentials:
            user = _exactly(client, _exactly(client, 2)[1]).decode()
            password = _exactly(client, _exactly(client, 1)[0]).decode()
            right = (user, password) == self._credentials
            client.sendall(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                self.refused += 1
                return None
        kind = _exactly(client, 4)[3]
        if kind == 3:
            host = _exactly(client, _exactly(client, 1)[0]).decode()
        else:
            host = socket.inet_ntop(socket.AF_INET, _exactly(client, 4))
        return f"{host}:{int.from_bytes(_exactly(client, 2), 'big')}"

    def _greet_http(self, client: socket.socket) -> str | None:
        head = _head(client).decode()
        target = head.split(" ")[1]
        if self._credentials:
            right = base64.b64encode(":".join(self._credentials).encode()).decode()
            if f"Basic {right}\r\n" not in head:
                self.refused += 1
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return None
        return target

    def _dial(self, target: str) -> socket.socket:
        server = socket.create_connection(self._upstream, _PATIENCE)
        server.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert b" 200 " in _head(server).splitlines()[0] + b" "
        return server

    def _pipe(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
                with self._lock:
                    self.carried += len(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            with self._lock:
                self._open.discard(each)
            each.close()


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _head(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += _exactly(connection, 1)
    return data
