"""One client of the feed, from its token to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from wavisor import metrics
from wavisor.clock import format_time
from wavisor.event_filter import EVERYTHING
from wavisor.http.accounts.principal import Principal
from wavisor.http.feed.frames import (
    Authenticate,
    Authenticated,
    CloseCode,
    ErrorFrame,
    InvalidFrameError,
    PingFrame,
    PongFrame,
    Subscribe,
    Subscribed,
    read_frame,
)
from wavisor.http.feed.interest import Interest
from wavisor.http.feed.outflow import Outflow
from wavisor.http.feed.replay import Subscription
from wavisor.http.feed.stream import StreamedEvent
from wavisor.http.permissions import Permission
from wavisor.http.problems import ProblemError
from wavisor.http.schemas import ApiModel
from wavisor.metrics import WebsocketDrop
from wavisor.storage import Scope, StorageError, instances

if TYPE_CHECKING:
    from wavisor.http.application import HttpApplication

__all__ = ["AUTH_SECONDS", "FeedConnection"]

log = structlog.get_logger(__name__)

AUTH_SECONDS = 5.0
"""How long a client has for its first frame when it brought no token otherwise."""

_INVALID_FRAME_LIMIT = 5

_DROPS = {
    CloseCode.GOING_AWAY: WebsocketDrop.SHUTDOWN,
    CloseCode.PROTOCOL_ERROR: WebsocketDrop.PROTOCOL_ERROR,
    CloseCode.UNAUTHENTICATED: WebsocketDrop.UNAUTHENTICATED,
    CloseCode.FORBIDDEN: WebsocketDrop.REVOKED,
    CloseCode.PING_TIMEOUT: WebsocketDrop.PING_TIMEOUT,
    CloseCode.SLOW_READER: WebsocketDrop.SLOW_READER,
    CloseCode.TOO_MANY_CLIENTS: WebsocketDrop.TOO_MANY,
}


class FeedConnection:
    """Speaks with one client. Used on the event loop only.

    Args:
        application: the events, who may read them, and who else does.
        address: the client's.
        send: writes a frame; done when the operating system has taken it.
        ping: sends a websocket ping.
        close: begins the closing handshake, with a code and a reason.
    """

    def __init__(
        self,
        application: HttpApplication,
        address: str,
        send: Callable[[bytes], Awaitable[None]],
        ping: Callable[[], None],
        close: Callable[[int, str], None],
    ) -> None:
        settings = application.services.settings
        self._application = application
        self._address = address
        self._settings = settings
        self._ping = ping
        self._close = close
        self._outflow = Outflow(
            send,
            settings.feed_buffer_frames,
            settings.feed_buffer_bytes,
            lambda: self.close(CloseCode.SLOW_READER, "events were not read fast enough"),
        )
        self._principal: Principal | None = None
        self._subscription: Subscription | None = None
        self._replay: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._confirming: asyncio.Task[None] | None = None
        self._doubted = False
        self._unwatch: Callable[[], None] = _nothing
        self._deadline: asyncio.TimerHandle | None = None
        self._leave_statistics: Callable[[], None] | None = None
        self._pong = asyncio.Event()
        self._invalid = 0
        self._remove = application.events.add(self._on_event)
        self._closed = False

    # The handler's side

    def begin(self, principal: Principal | None) -> None:
        """Start with the caller that the handshake told, or wait for the first frame."""
        self._application.feed_clients.enter_pending()
        metrics.WEBSOCKET_CLIENTS.inc()
        self._watch = asyncio.create_task(self._keep_watch())
        if principal is None:
            self._set_deadline(AUTH_SECONDS, "no token came in time")
        else:
            self._accept(principal)

    async def on_message(self, message: str | bytes) -> None:
        """Do what a frame asks for."""
        try:
            frame = read_frame(message)
            if isinstance(frame, Authenticate):
                await self._authenticate(frame.token)
            elif self._principal is None:
                self.close(CloseCode.UNAUTHENTICATED, "the first frame must bring a token")
            elif isinstance(frame, PingFrame):
                self._say(PongFrame(id=frame.id))
            else:
                await self._subscribe(frame, self._principal)
        except InvalidFrameError as error:
            self._on_invalid(str(error))
        except StorageError:
            self._say(ErrorFrame(code="busy", detail="the database is busy; try again"))

    def on_pong(self) -> None:
        """Note that the client answered a ping."""
        self._pong.set()

    def close(self, code: CloseCode, reason: str, drop: WebsocketDrop | None = None) -> None:
        """Close the websocket from our side and account for it."""
        if self._closed:
            return
        cause = drop or _DROPS.get(code)
        if cause is not None:
            metrics.observe_websocket_drop(cause)
        log.info("websocket closed", close_code=int(code), reason=reason)
        self.end()
        self._close(int(code), reason)

    def end(self) -> None:
        """Leave nothing behind; called however the websocket ended."""
        if self._closed:
            return
        self._closed = True
        self._remove()
        if self._leave_statistics is not None:
            self._leave_statistics()
        self._unwatch()
        self._outflow.close()
        for task in (self._replay, self._watch, self._confirming):
            if task is not None:
                task.cancel()
        if self._deadline is not None:
            self._deadline.cancel()
        metrics.WEBSOCKET_CLIENTS.dec()
        tenant = self._principal.subscription_id if self._principal else None
        self._application.feed_clients.leave(tenant)

    # Who it is

    async def _authenticate(self, token: str) -> None:
        try:
            principal = await self._application.authenticator.authenticate(token, self._address)
        except ProblemError as error:
            self._refuse(error, None)
            return
        if self._closed:
            return
        known = self._principal
        if known is not None and _identity(known) != _identity(principal):
            self.close(CloseCode.UNAUTHENTICATED, "the token is of another account")
            return
        self._accept(principal)

    def _accept(self, principal: Principal) -> None:
        if Permission.EVENTS_READ not in principal.permissions:
            self.close(CloseCode.FORBIDDEN, "the token does not permit reading events")
            return
        if self._principal is None:
            limit = self._settings.feed_clients_per_tenant
            if not self._application.feed_clients.admit(principal.subscription_id, limit):
                self.close(CloseCode.TOO_MANY_CLIENTS, f"at most {limit} websockets may be open")
                return
        if principal.key is not None:
            self._application.key_uses.note(principal.key.id, self._address)
        self._hold(principal)
        self._unwatch()
        changes = self._application.access_changes
        self._unwatch = changes.watch(principal.rests_on, self._doubt)
        self._say(Authenticated(expires_at=format_time(principal.ends_at)))
        # What changed between the look-up and the line above was announced to nobody.
        self._doubt()

    def _hold(self, principal: Principal) -> None:
        self._principal = principal
        if principal.ends_at is None:
            self._drop_deadline()
        else:
            remaining = principal.ends_at - self._application.services.clock.now()
            self._set_deadline(max(0.0, remaining.total_seconds()), "the token has expired")

    def _refuse(self, error: ProblemError, drop: WebsocketDrop | None) -> None:
        unknown = error.kind.status == 401
        code = CloseCode.UNAUTHENTICATED if unknown else CloseCode.FORBIDDEN
        self.close(code, error.detail or error.kind.title, drop)

    def _set_deadline(self, seconds: float, reason: str) -> None:
        self._drop_deadline()
        drop = None if self._principal is None else WebsocketDrop.REVOKED
        self._deadline = asyncio.get_running_loop().call_later(
            seconds, lambda: self.close(CloseCode.UNAUTHENTICATED, reason, drop)
        )

    def _drop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # What it wants

    async def _subscribe(self, frame: Subscribe, principal: Principal) -> None:
        wanted = frame.instances
        if principal.instance_id is not None and EVERYTHING in wanted:
            wanted = [principal.instance_id]
        interest = Interest.of(principal.subscription_id, wanted, frame.events)
        if interest.statistics and Permission.STATS_READ not in principal.permissions:
            raise InvalidFrameError("events: the token does not permit reading statistics")
        if interest.instances is not None:
            unknown = await self._application.services.database.fetch(
                _unknown_instances, principal, interest.instances
            )
            if unknown:
                detail = f"there is no instance {', '.join(unknown)}"
                self._say(ErrorFrame(code="unknown-instance", detail=detail))
                return
        await self._application.events.ready()
        if self._closed:
            return
        if self._replay is not None:
            self._replay.cancel()
        answer = Subscribed(
            instances=sorted(interest.instances or (EVERYTHING,)),
            events=interest.names,
            since=frame.since,
        )
        self._say(answer)
        # Nothing is awaited from here on, so that no event falls between two subscriptions.
        self._subscription = Subscription(
            interest, self._outflow, self._settings.feed_buffer_frames, frame.since
        )
        self._replay = asyncio.create_task(self._catch_up(self._subscription))
        self._follow_statistics(interest)

    def _follow_statistics(self, interest: Interest) -> None:
        if self._leave_statistics is not None:
            self._leave_statistics()
            self._leave_statistics = None
        if interest.statistics:
            add = self._application.live_statistics.add
            self._leave_statistics = add(interest, self._outflow.put)

    async def _catch_up(self, subscription: Subscription) -> None:
        try:
            await subscription.replay(self._application.services.database)
        except StorageError as error:
            log.warning("missed events cannot be read", error=str(error))
            self.close(CloseCode.INTERNAL_ERROR, "events cannot be read; connect again")
        except Exception:
            log.exception("replaying events failed")
            self.close(CloseCode.INTERNAL_ERROR, "something went wrong on our side")

    def _on_event(self, event: StreamedEvent) -> None:
        if self._subscription is not None:
            self._subscription.on_event(event)

    def _on_invalid(self, detail: str) -> None:
        self._invalid += 1
        self._say(ErrorFrame(code="invalid-frame", detail=detail))
        if self._invalid >= _INVALID_FRAME_LIMIT:
            self.close(CloseCode.PROTOCOL_ERROR, "too many invalid frames")

    def _say(self, frame: ApiModel) -> None:
        self._outflow.put(frame.model_dump_json(by_alias=True))

    # Whether it is still there, and still allowed to be

    async def _keep_watch(self) -> None:
        """Ping the client, and look whether its token is still good."""
        while True:
            await asyncio.sleep(self._settings.feed_ping_interval_seconds)
            self._pong.clear()
            self._ping()
            try:
                async with asyncio.timeout(self._settings.feed_ping_timeout_seconds):
                    await self._pong.wait()
            except TimeoutError:
                self.close(CloseCode.PING_TIMEOUT, "a ping was not answered in time")
                return
            self._doubt()

    def _doubt(self) -> None:
        """Ask at once whether the client may still be here; what it may do may have changed."""
        self._doubted = True
        if self._confirming is None and self._principal is not None and not self._closed:
            self._confirming = asyncio.create_task(self._settle_doubts())

    async def _settle_doubts(self) -> None:
        try:
            while self._doubted and self._principal is not None and not self._closed:
                # Taken back first: what changes during the look-up is doubted again.
                self._doubted = False
                await self._confirm(self._principal)
        finally:
            self._confirming = None

    async def _confirm(self, principal: Principal) -> None:
        try:
            confirmed = await self._application.authenticator.confirm(principal, self._address)
        except ProblemError as error:
            if self._principal is principal:
                self._refuse(error, WebsocketDrop.REVOKED)
            return
        except StorageError:
            return  # nobody can tell now; the next round will
        if self._closed or self._principal is not principal:
            return  # another token came meanwhile, and is looked at itself
        needed = {Permission.EVENTS_READ}
        if self._subscription is not None and self._subscription.interest.statistics:
            needed.add(Permission.STATS_READ)
        if not needed <= confirmed.permissions:
            self.close(CloseCode.FORBIDDEN, "the token no longer permits reading this")
            return
        self._hold(confirmed)


def _unknown_instances(principal: Principal, wanted: frozenset[str]) -> list[str]:
    scope = Scope(principal.subscription_id)
    return sorted(
        one for one in wanted if not principal.sees(one) or instances.get(scope, one) is None
    )


def _identity(principal: Principal) -> tuple[str, str | None]:
    return principal.user_id, None if principal.key is None else principal.key.id


def _nothing() -> None:
    pass
