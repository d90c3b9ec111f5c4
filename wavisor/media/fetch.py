"""Fetching a file or a page that a user names by its URL.

Built on tornado's connection, not on its HTTP client: that one does not let a download be ended
early, nor slowed down to what the disk takes. Nothing that the server says about the file is
believed; how long and how large it may become is decided here.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.message import Message
from urllib.parse import unquote, urljoin

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream

from wavisor import __version__
from wavisor.connector import Connector, begin_reading
from wavisor.media.errors import MediaError, MediaReason
from wavisor.netguard import ForbiddenTargetError, GuardedResolver, Target, TargetRule

__all__ = ["Fetched", "Fetcher", "Patience", "plain_name"]

REDIRECT_LIMIT = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 64 * 1024
_HEADER_BYTES = 32 * 1024
_ENDING_SECONDS = 5.0
_USER_AGENT = f"Wavisor/{__version__}"
_NAME_LIMIT = 200
_BAD_IN_NAME = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')

Sink = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True)
class Patience:
    """How long a server may take."""

    total: float = 60.0
    """Seconds for all of it, redirects included."""
    idle: float = 10.0
    """Seconds without a byte, and for connecting."""


@dataclass(frozen=True)
class Fetched:
    """What the server said about what was fetched."""

    url: str
    """Where it was in the end."""
    content_type: str
    """As claimed; never to be relied on."""
    file_name: str | None
    """From ``Content-Disposition`` or the URL, without a path."""


class Fetcher:
    """Fetches by GET. Safe for URLs that users give.

    Args:
        rule: which addresses may be asked.
        resolver: what resolves names, for tests; by default the guarded one.
    """

    def __init__(self, rule: TargetRule, *, resolver: GuardedResolver | None = None) -> None:
        self._rule = rule
        self._connector = Connector(rule, resolver=resolver)

    async def fetch(
        self, url: str, sink: Sink, *, limit: int, patience: Patience | None = None
    ) -> Fetched:
        """Fetch what is at ``url`` and give it to ``sink`` part by part.

        Args:
            url: as the user gave it.
            sink: is awaited for each part; what it raises ends the download.
            limit: in bytes; a larger body ends the download.
            patience: how long it may take.

        Raises:
            MediaError: it cannot be had.
        """
        patience = patience or Patience()
        try:
            async with asyncio.timeout(patience.total):
                for _ in range(REDIRECT_LIMIT + 1):
                    target = self._checked(url)
                    exchange = await self._ask(target, sink, limit, patience)
                    if exchange.location is None:
                        return _fetched(target, exchange.headers)
                    url = urljoin(target.url, exchange.location)
        except TimeoutError:
            raise MediaError(
                MediaReason.TIMEOUT, f"could not be fetched within {patience.total:g} seconds"
            ) from None
        raise MediaError(MediaReason.UNREACHABLE, f"is redirected more than {REDIRECT_LIMIT} times")

    def close(self) -> None:
        """Give back the threads."""
        self._connector.close()

    def _checked(self, url: str) -> Target:
        try:
            return self._rule.check_url(url)
        except ForbiddenTargetError as error:
            raise MediaError(MediaReason.FORBIDDEN_URL, str(error)) from None

    async def _ask(self, target: Target, sink: Sink, limit: int, patience: Patience) -> _Exchange:
        stream = await self._connect(target, patience)
        try:
            # The limit is ours to enforce: tornado would only log that it was reached.
            parameters = HTTP1ConnectionParameters(
                no_keep_alive=True,
                chunk_size=_CHUNK_BYTES,
                max_header_size=_HEADER_BYTES,
                max_body_size=2**62,
            )
            connection = HTTP1Connection(stream, True, parameters)
            exchange = _Exchange(stream, sink, limit)
            connection.write_headers(
                RequestStartLine("GET", target.path, "HTTP/1.1"),
                HTTPHeaders(
                    {
                        "Host": target.authority,
                        "User-Agent": _USER_AGENT,
                        "Accept": "*/*",
                        "Accept-Encoding": "identity",
                        "Connection": "close",
                    }
                ),
            )
            connection.finish()
            await _watched(connection, exchange, patience.idle)
        finally:
            stream.close()
        exchange.check()
        return exchange

    async def _connect(self, target: Target, patience: Patience) -> IOStream:
        try:
            return await self._connector.connect(
                target, seconds=patience.idle, buffer=4 * _CHUNK_BYTES
            )
        except ForbiddenTargetError as error:
            raise MediaError(MediaReason.FORBIDDEN_URL, str(error)) from None
        except TimeoutError:
            raise MediaError(
                MediaReason.TIMEOUT, "leads to a server that does not answer"
            ) from None
        except ssl.SSLError:
            raise MediaError(
                MediaReason.UNREACHABLE, "leads to a server without a valid certificate"
            ) from None
        except OSError:
            raise MediaError(
                MediaReason.UNREACHABLE, "leads to a server that cannot be reached"
            ) from None


class _Exchange(HTTPMessageDelegate):
    """One answer, as it comes in.

    An exception in here would be logged by tornado as a mistake of ours; so failures are kept and
    the connection is closed.
    """

    def __init__(self, stream: IOStream, sink: Sink, limit: int) -> None:
        self._stream = stream
        self._sink = sink
        self._limit = limit
        self._size = 0
        self._finished = False
        self._failure: BaseException | None = None
        self.headers = HTTPHeaders()
        self.location: str | None = None
        self.progress = 0
        """Changes with every sign of life."""

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        """Decide by status and length whether the body is wanted."""
        assert isinstance(start_line, ResponseStartLine)  # noqa: S101 - we are the client
        self.progress += 1
        if start_line.code < 200:
            return
        self.headers = headers
        if start_line.code in _REDIRECTS and "Location" in headers:
            self.location = headers["Location"]
            self._stop(None)
        elif start_line.code != 200:
            self._stop(
                MediaError(
                    MediaReason.UNREACHABLE,
                    f"leads to a server that answers with status {start_line.code}",
                )
            )
        elif _claimed_length(headers) > self._limit:
            self._stop(_too_large(self._limit))

    async def data_received(self, chunk: bytes) -> None:
        """Pass on a part of the body; no more is read meanwhile."""
        if self._stream.closed():
            return
        self._size += len(chunk)
        if self._size > self._limit:
            self._stop(_too_large(self._limit))
            return
        try:
            await self._sink(chunk)
        except Exception as error:  # noqa: BLE001 - raised again by check()
            self._stop(error)
        self.progress += 1

    def finish(self) -> None:
        """Note that the body is whole."""
        self._finished = True

    def on_connection_close(self) -> None:
        """Nothing more will come; :meth:`check` tells."""

    def check(self) -> None:
        """Raise what went wrong, if anything did."""
        if self._failure is not None:
            raise self._failure
        if not self._finished and self.location is None:
            raise MediaError(MediaReason.UNREACHABLE, "leads to a server that broke off its answer")

    def abandon(self) -> None:
        """Take in nothing more."""
        self._stop(None)

    def _stop(self, failure: BaseException | None) -> None:
        self._failure = self._failure or failure
        self._stream.close()


async def _watched(connection: HTTP1Connection, exchange: _Exchange, idle: float) -> None:
    """Read the answer, unless the server falls silent."""
    reading = begin_reading(connection, exchange)
    try:
        while True:
            before = exchange.progress
            done, _ = await asyncio.wait([reading], timeout=idle)
            if done:
                return  # a connection that was closed, by either side, is judged by check()
            if exchange.progress == before:
                raise MediaError(
                    MediaReason.TIMEOUT, f"leads to a server that was silent for {idle:g} seconds"
                )
    finally:
        # Not cancelled: tornado would log that as a mistake of ours. It ends by itself, now that
        # its connection is closed.
        exchange.abandon()
        await asyncio.wait([reading], timeout=_ENDING_SECONDS)


def _too_large(limit: int) -> MediaError:
    return MediaError(MediaReason.TOO_LARGE, f"is larger than {limit} bytes")


def _claimed_length(headers: HTTPHeaders) -> int:
    text = headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _fetched(target: Target, headers: HTTPHeaders) -> Fetched:
    parsed = Message()
    parsed["Content-Type"] = headers.get("Content-Type", "")
    parsed["Content-Disposition"] = headers.get("Content-Disposition", "")
    given = parsed.get_filename()
    from_url = unquote(target.path.partition("?")[0].rpartition("/")[2])
    return Fetched(
        url=target.url,
        content_type=parsed.get_content_type(),
        file_name=plain_name(given) or plain_name(from_url),
    )


def plain_name(text: str | None) -> str | None:
    """Return a file's name without path and characters that file systems refuse; None if empty."""
    if not text:
        return None
    last = text.replace("\\", "/").rpartition("/")[2]
    cleaned = _BAD_IN_NAME.sub("_", last).strip(" .")
    cleaned = cleaned.encode("utf-8", "ignore").decode()[:_NAME_LIMIT]
    return cleaned or None
