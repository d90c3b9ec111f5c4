"""Whether WhatsApp can be reached at all, asked once for all instances that want to know.

While the network is down every instance wants to try again every few seconds. Starting a session
process for each of these tries would cost more processor time than the gateway has; a dial that
all of them share costs nothing.
"""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, unquote, urlsplit

import structlog

__all__ = ["WHATSAPP", "NetworkCheck", "first_hop", "tunnel_request"]

log = structlog.get_logger(__name__)

WHATSAPP = ("web.whatsapp.com", 443)
"""Where the client's websocket goes (whatsmeow ``socket/constants.go``, ``URL``)."""

_PROXY_PORTS = {"http": 80, "https": 443, "socks5": 1080}


def first_hop(environment: Mapping[str, str], proxy_url: str | None = None) -> tuple[str, int]:
    """Return the host and port that a session's first connection goes to.

    Args:
        environment: where ``HTTPS_PROXY`` may stand, which the client obeys.
        proxy_url: a proxy to be used instead.
    """
    parts = _proxy(environment, proxy_url)
    if parts is None or parts.hostname is None:
        return WHATSAPP
    return parts.hostname, parts.port or _PROXY_PORTS.get(parts.scheme, 80)


def tunnel_request(environment: Mapping[str, str], proxy_url: str | None = None) -> bytes | None:
    """Return what to ask an HTTP proxy for, so that it tells whether WhatsApp is behind it.

    A proxy can be reached while WhatsApp cannot. None where there is no proxy, or one that speaks
    another language (SOCKS, TLS): then only the connection to the first hop is tried.

    Args:
        environment: as for :func:`first_hop`.
        proxy_url: likewise.
    """
    parts = _proxy(environment, proxy_url)
    if parts is None or parts.hostname is None or parts.scheme != "http":
        return None
    target = f"{WHATSAPP[0]}:{WHATSAPP[1]}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(
            f"Proxy-Authorization: Basic {base64.b64encode(credentials.encode()).decode()}"
        )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _proxy(environment: Mapping[str, str], proxy_url: str | None) -> SplitResult | None:
    chosen = proxy_url or environment.get("HTTPS_PROXY") or environment.get("https_proxy")
    if not chosen:
        return None
    return urlsplit(chosen if "://" in chosen else f"http://{chosen}")


class NetworkCheck:
    """Dials the first hop when somebody asks; those who ask meanwhile share the answer.

    Args:
        loop: the event loop to dial on.
        address: host and port.
        request: what to send then; the network is up when the answer is a 2xx of HTTP. None: the
            connection alone is enough.
        timeout: seconds after which the network counts as down.
        fresh_for: seconds for which an answer is given again without another dial.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: tuple[str, int],
        *,
        request: bytes | None = None,
        timeout: float = 5.0,
        fresh_for: float = 1.0,
    ) -> None:
        self._loop = loop
        self._address = address
        self._request = request
        self._timeout = timeout
        self._fresh_for = fresh_for
        self._lock = threading.Lock()
        # Bounded by the number of instances: each asks once at a time.
        self._waiting: list[Callable[[bool], None]] = []
        # On the loop only:
        self._task: asyncio.Task[None] | None = None
        self._answer = False
        self._answered_at = float("-inf")

    def ask(self, on_answer: Callable[[bool], None]) -> None:
        """Call ``on_answer`` with whether the network is up; from any thread, never blocking.

        The callback runs on the event loop and must be quick. While the loop is closing it may
        not be called at all.
        """
        with self._lock:
            self._waiting.append(on_answer)
        try:
            self._loop.call_soon_threadsafe(self._begin)
        except RuntimeError:
            log.debug("not asked: the event loop is closed")

    async def close(self) -> None:
        """End a dial that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> None:
        if self._loop.time() - self._answered_at < self._fresh_for:
            self._tell()
        elif self._task is None or self._task.done():
            self._task = self._loop.create_task(self._dial())

    async def _dial(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                self._answer = await self._reach()
        except (OSError, ValueError):  # no connection, too late, or an endless first line
            self._answer = False
        self._answered_at = self._loop.time()
        self._tell()

    async def _reach(self) -> bool:
        host, port = self._address
        reader, writer = await asyncio.open_connection(host, port)
        try:
            if self._request is None:
                return True
            writer.write(self._request)
            # RFC 9112, section 4: HTTP-version SP status-code SP
            _, _, rest = (await reader.readline()).partition(b" ")
            return rest.startswith(b"2")
        finally:
            writer.close()

    def _tell(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for on_answer in waiting:
            on_answer(self._answer)
