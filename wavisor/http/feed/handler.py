"""The websocket at ``/ws``: tornado's side of the feed."""

from __future__ import annotations

from urllib.parse import urlsplit

import structlog
from pydantic import Field
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from wavisor.http.accounts.principal import Principal
from wavisor.http.base import BaseHandler
from wavisor.http.bodies import read_query
from wavisor.http.feed.connection import FeedConnection
from wavisor.http.feed.frames import CloseCode
from wavisor.http.problems import BUSY, FORBIDDEN, ProblemError, ProblemKind
from wavisor.http.schemas import ApiModel

__all__ = ["UPGRADE_REQUIRED", "FeedHandler", "FeedQuery"]

log = structlog.get_logger(__name__)

UPGRADE_REQUIRED = ProblemKind(
    "upgrade-required", 426, "This is a websocket", "Connect to it with a websocket client."
)

_SUBPROTOCOL = "wavisor.v1"
_BEARER_PREFIX = "bearer."
_FRAME_LIMIT_BYTES = 64 * 1024
_REASON_LIMIT_BYTES = 123  # RFC 6455, section 5.5: a control frame holds 125, two are the code


class FeedQuery(ApiModel):
    """The query parameters of the websocket."""

    ticket: str | None = Field(
        default=None, max_length=100, description="A one-time ticket from `POST /api/ws-ticket`."
    )


class FeedHandler(BaseHandler, WebSocketHandler):
    """Authenticates the handshake and hands frames on to a :class:`FeedConnection`."""

    _principal: Principal | None = None
    _connection: FeedConnection | None = None

    @property
    def label(self) -> str:
        """The operation's id."""
        return "openFeed"

    @property
    def max_message_size(self) -> int:
        """Longest frame that a client may send, in bytes; tornado closes with 1009 beyond it."""
        return _FRAME_LIMIT_BYTES

    @property
    def ping_interval(self) -> float:
        """None of tornado's own: the connection pings, and tells why it closed."""
        return 0.0

    async def prepare(self) -> None:
        """Find out who asks, or refuse with a problem document."""
        self.begin()
        if self.request.method != "GET":
            return
        try:
            self.application.rate_limits.admit_address(self.address, None)
            self._check_handshake()
            self._principal = await self._authenticate()
            self.identify(self._principal, None)
        except Exception as error:  # noqa: BLE001 - every failure becomes a problem document
            self.finish(self.put_problem(error))

    def check_origin(self, origin: str) -> bool:
        """Let pages of our own origin in, and those that the settings name."""
        allowed = self.application.services.settings.cors_origins
        if "*" in allowed or origin in allowed:
            return True
        return urlsplit(origin).netloc.lower() == self.request.headers.get("Host", "").lower()

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Confirm a subprotocol, as browsers demand: ours, or else the one with the token."""
        if _SUBPROTOCOL in subprotocols:
            return _SUBPROTOCOL
        return next((one for one in subprotocols if one.startswith(_BEARER_PREFIX)), None)

    def open(self, *_: str, **__: str) -> None:
        """Begin to speak with the client."""
        self._connection = FeedConnection(
            self.application, self.address, self._write, self._ping, self._begin_close
        )
        self.application.connections.add(self)
        self._connection.begin(self._principal)

    async def on_message(self, message: str | bytes) -> None:
        """Hand a frame on."""
        if self._connection is None:
            return
        try:
            await self._connection.on_message(message)
        except Exception:
            log.exception("a frame of the feed failed")
            self._connection.close(CloseCode.INTERNAL_ERROR, "something went wrong on our side")

    def on_pong(self, data: bytes) -> None:
        """Hand the answer to a ping on."""
        if self._connection is not None:
            self._connection.on_pong()

    def on_close(self) -> None:
        """Clean up after the end, whoever caused it."""
        self.application.connections.discard(self)
        if self._connection is not None:
            self._connection.end()

    def close_for_shutdown(self) -> None:
        """Tell the client to connect again later."""
        if self._connection is not None:
            self._connection.close(CloseCode.GOING_AWAY, "the gateway is stopping")

    def _check_handshake(self) -> None:
        headers = self.request.headers
        if headers.get("Upgrade", "").lower() != "websocket":
            raise ProblemError(
                UPGRADE_REQUIRED,
                "Connect with a websocket client.",
                headers={"Upgrade": "websocket", "Connection": "Upgrade"},
            )
        origin = headers.get("Origin")
        if origin is not None and not self.check_origin(origin):
            raise ProblemError(FORBIDDEN, "Pages of this origin may not connect.")

    async def _authenticate(self) -> Principal | None:
        """Return the caller that the handshake names; None when the first frame will."""
        authenticator = self.application.authenticator
        query = read_query(self.request.query, FeedQuery)
        authorization = self.request.headers.get_list("Authorization")
        if authorization:
            return await authenticator.authenticate_header(authorization, self.address)
        for offered in self.request.headers.get("Sec-WebSocket-Protocol", "").split(","):
            token = offered.strip()
            if token.startswith(_BEARER_PREFIX):
                return await authenticator.authenticate(
                    token.removeprefix(_BEARER_PREFIX), self.address
                )
        if query.ticket is not None:
            return await authenticator.redeem(query.ticket)
        if self.application.feed_clients.crowded:
            raise ProblemError(
                BUSY, "Too many websockets wait for a token.", headers={"Retry-After": "5"}
            )
        return None

    async def _write(self, data: bytes) -> None:
        await self.write_message(data.decode())

    def _ping(self) -> None:
        try:
            self.ping(b"")
        except WebSocketClosedError:
            return  # on_close follows

    def _begin_close(self, code: int, reason: str) -> None:
        self.close(code, reason.encode()[:_REASON_LIMIT_BYTES].decode(errors="ignore"))
