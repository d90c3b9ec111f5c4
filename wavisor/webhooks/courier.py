"""Makes the requests of webhooks: one POST, an answer or none, within a set time.

Nothing that a server does can take longer, hold more memory, or lead elsewhere than is decided
here: redirects are not followed, and the address is checked at each connection.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError

from wavisor import __version__
from wavisor.connector import Connector, begin_reading
from wavisor.netguard import ForbiddenTargetError, Target

__all__ = ["EXCERPT_BYTES", "Courier", "Outcome", "Verdict"]

EXCERPT_BYTES = 1024
"""How much of an answer is kept."""

_BODY_BYTES = 64 * 1024
_HEADER_BYTES = 16 * 1024
_ENDING_SECONDS = 5.0
_IDLE_SECONDS = 20.0
_IDLE_LIMIT = 512
_USER_AGENT = f"Wavisor/{__version__}"


class Verdict(StrEnum):
    """How an attempt went."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    """It was answered, but with no 2xx."""
    REDIRECTED = "redirected"
    GONE = "gone"
    """It was answered with 410."""
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    BROKEN_OFF = "broken_off"
    """The connection ended before the answer did."""
    CERTIFICATE = "certificate"
    FORBIDDEN = "forbidden"
    """The URL leads to an address that is not allowed."""
    EVENT_GONE = "event_gone"
    """Nothing was sent, because the event is no longer kept."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt."""

    verdict: Verdict
    status: int | None = None
    excerpt: str | None = None
    retry_after: float | None = None
    """Seconds that the server wants to be left alone."""


class Courier:
    """Posts to endpoints and reuses its connections. Lives on one event loop.

    A connection is reused for the same endpoint only, so that tenants share none, and only
    shortly after its last use, so that a name that moves is followed.

    Args:
        connector: connects, by the rule.
        seconds: for everything, from the name's look-up to the last byte of the answer.
    """

    def __init__(self, connector: Connector, *, seconds: float = 15.0) -> None:
        self._connector = connector
        self._seconds = seconds
        self._idle: dict[tuple[str, str], list[tuple[IOStream, float]]] = {}

    async def post(
        self, endpoint_id: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Outcome:
        """Make one attempt; never raises for what a server or a network does.

        Args:
            endpoint_id: for whom a connection may be reused.
            url: as it was registered.
            headers: in addition to those that every request has.
            body: JSON.
        """
        deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            target = self._connector.rule.check_url(url)
            while (stream := self._take_idle(endpoint_id, target)) is not None:
                exchange = await self._ask(stream, target, headers, body, deadline)
                # Closed by the server while nobody used it: it has taken nothing in.
                if exchange.started or exchange.timed_out:
                    return self._conclude(exchange, stream, endpoint_id, target)
            stream = await self._connect(target, deadline)
        except ForbiddenTargetError:
            return Outcome(Verdict.FORBIDDEN)
        except TimeoutError:
            return Outcome(Verdict.TIMEOUT)
        except ssl.SSLError:
            return Outcome(Verdict.CERTIFICATE)
        except (OSError, StreamClosedError):
            return Outcome(Verdict.UNREACHABLE)
        exchange = await self._ask(stream, target, headers, body, deadline)
        return self._conclude(exchange, stream, endpoint_id, target)

    def close(self) -> None:
        """Close what is open."""
        for streams in self._idle.values():
            for stream, _ in streams:
                stream.close()
        self._idle.clear()
        self._connector.close()

    async def _connect(self, target: Target, deadline: float) -> IOStream:
        seconds = deadline - asyncio.get_running_loop().time()
        if seconds <= 0:
            raise TimeoutError
        return await self._connector.connect(
            target, seconds=seconds, buffer=_BODY_BYTES + _HEADER_BYTES
        )

    async def _ask(
        self,
        stream: IOStream,
        target: Target,
        headers: Mapping[str, str],
        body: bytes,
        deadline: float,
    ) -> _Exchange:
        connection = HTTP1Connection(
            stream,
            True,
            HTTP1ConnectionParameters(max_header_size=_HEADER_BYTES, max_body_size=2**62),
        )
        exchange = _Exchange(stream)
        sent = HTTPHeaders(
            {
                **headers,
                "Host": target.authority,
                "User-Agent": _USER_AGENT,
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Accept-Encoding": "identity",
            }
        )
        reading: asyncio.Future[Any] | None = None
        try:
            connection.write_headers(RequestStartLine("POST", target.path, "HTTP/1.1"), sent, body)
            connection.finish()
            reading = begin_reading(connection, exchange)
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            done, _ = await asyncio.wait([reading], timeout=left)
            exchange.timed_out = not done
        except (StreamClosedError, HTTPInputError):
            pass
        finally:
            if not exchange.whole:
                stream.close()
            if reading is not None:
                # Not cancelled: tornado would log that as a mistake of ours. It ends by itself
                # when its connection is closed.
                await asyncio.wait([reading], timeout=_ENDING_SECONDS)
        return exchange

    def _conclude(
        self, exchange: _Exchange, stream: IOStream, endpoint_id: str, target: Target
    ) -> Outcome:
        if exchange.whole and exchange.reusable and not stream.closed():
            self._keep(endpoint_id, target, stream)
        else:
            stream.close()
        return exchange.outcome()

    def _take_idle(self, endpoint_id: str, target: Target) -> IOStream | None:
        streams = self._idle.get((endpoint_id, _origin(target)), [])
        now = asyncio.get_running_loop().time()
        while streams:
            stream, since = streams.pop()
            if not stream.closed() and now - since < _IDLE_SECONDS:
                return stream
            stream.close()
        self._idle.pop((endpoint_id, _origin(target)), None)
        return None

    def _keep(self, endpoint_id: str, target: Target, stream: IOStream) -> None:
        now = asyncio.get_running_loop().time()
        if sum(map(len, self._idle.values())) >= _IDLE_LIMIT:
            self._drop_old(now)
        if sum(map(len, self._idle.values())) >= _IDLE_LIMIT:
            stream.close()
            return
        self._idle.setdefault((endpoint_id, _origin(target)), []).append((stream, now))

    def _drop_old(self, now: float) -> None:
        for key, streams in list(self._idle.items()):
            old = [one for one in streams if now - one[1] >= _IDLE_SECONDS or one[0].closed()]
            for one in old:
                one[0].close()
                streams.remove(one)
            if not streams:
                del self._idle[key]


class _Exchange(HTTPMessageDelegate):
    """One answer, as it comes in. Nothing in here raises: tornado would log that as ours."""

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        self._status: int | None = None
        self._headers = HTTPHeaders()
        self._excerpt = bytearray()
        self._size = 0
        self._version = ""
        self._cut = False
        self.whole = False
        """Whether all of the answer is here."""
        self.started = False
        """Whether any of it is."""
        self.timed_out = False

    @property
    def reusable(self) -> bool:
        """Whether the server leaves the connection open."""
        said = self._headers.get("Connection", "").lower()
        return self._version == "HTTP/1.1" and "close" not in said

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        """Take note of the status."""
        self.started = True
        if isinstance(start_line, ResponseStartLine) and start_line.code >= 200:
            self._status, self._version = start_line.code, start_line.version
            self._headers = headers

    def data_received(self, chunk: bytes) -> None:
        """Keep the beginning of the body; of a large one the rest does not matter."""
        self._excerpt += chunk[: EXCERPT_BYTES - len(self._excerpt)]
        self._size += len(chunk)
        if self._size > _BODY_BYTES:
            self._cut = True
            self._stream.close()

    def finish(self) -> None:
        """Note that the body is whole."""
        self.whole = True

    def on_connection_close(self) -> None:
        """Nothing more will come."""

    def outcome(self) -> Outcome:
        """Return what came of it."""
        excerpt = bytes(self._excerpt).decode("utf-8", "replace") or None
        if not self.whole and not self._cut:
            verdict = Verdict.TIMEOUT if self.timed_out else Verdict.BROKEN_OFF
            return Outcome(verdict, self._status, excerpt)
        return Outcome(
            _verdict(self._status or 0),
            self._status,
            excerpt,
            _seconds(self._headers.get("Retry-After")),
        )


def _verdict(status: int) -> Verdict:
    if 200 <= status < 300:
        return Verdict.SUCCEEDED
    if 300 <= status < 400:
        return Verdict.REDIRECTED
    return Verdict.GONE if status == 410 else Verdict.REFUSED


def _origin(target: Target) -> str:
    return f"{target.scheme}://{target.authority}"


def _seconds(retry_after: str | None) -> float | None:
    """Return what ``Retry-After`` says, a number or a date (RFC 9110, section 10.2.3)."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):  # numbers beyond every calendar
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
