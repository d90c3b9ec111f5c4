"""The tornado application: all routes, and what their handlers share."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib.resources import files
from typing import Any, Protocol

from tornado.routing import URLSpec
from tornado.web import Application

from wavisor.http import problems
from wavisor.http.accounts.authentication import Authenticator
from wavisor.http.accounts.changes import AccessChanges
from wavisor.http.accounts.passwords import PasswordHasher
from wavisor.http.accounts.principal import Principal
from wavisor.http.accounts.routes import router as accounts_router
from wavisor.http.accounts.service import Accounts
from wavisor.http.accounts.throttle import LoginThrottle
from wavisor.http.accounts.tickets import Tickets
from wavisor.http.accounts.tokens import TokenIssuer
from wavisor.http.activity import Activity
from wavisor.http.admin import admin_instances_router, audit_router, subscriptions_router
from wavisor.http.base import AssetHandler
from wavisor.http.bulk import router as bulk_router
from wavisor.http.campaigns import opt_outs_router, recipients_router
from wavisor.http.campaigns import router as campaigns_router
from wavisor.http.chats import router as chats_router
from wavisor.http.documentation import router as documentation_router
from wavisor.http.event_models import event_models
from wavisor.http.feed.clients import FeedClients
from wavisor.http.feed.handler import FeedHandler
from wavisor.http.feed.routes import router as feed_router
from wavisor.http.feed.stream import EventStream
from wavisor.http.handler import RoutedHandler
from wavisor.http.instances import connection_router, instances_router
from wavisor.http.keys.routes import router as keys_router
from wavisor.http.keys.uses import KeyUses
from wavisor.http.limits import RateLimits
from wavisor.http.media import MediaLinks
from wavisor.http.media import router as media_router
from wavisor.http.messages import (
    MediaIntake,
    MessageWaits,
    actions_router,
    forwarding_router,
    keeping_router,
    posts_router,
    sends_router,
)
from wavisor.http.messages import router as messages_router
from wavisor.http.openapi import describe
from wavisor.http.operations import HealthReporter
from wavisor.http.operations import router as operations_router
from wavisor.http.people import invitations_router, users_router
from wavisor.http.problems import ProblemError
from wavisor.http.queries import (
    calls_router,
    channels_router,
    contacts_router,
    groups_router,
    presence_router,
    profile_router,
)
from wavisor.http.routing import Route, Router, check_routes
from wavisor.http.services import Services
from wavisor.http.statistics import LiveStatistics
from wavisor.http.statistics import router as statistics_router
from wavisor.http.subscription import router as subscription_router
from wavisor.http.templates import router as templates_router
from wavisor.http.templates import template_sends_router
from wavisor.http.webhooks import TargetCheck, deliveries_router
from wavisor.http.webhooks import router as webhooks_router
from wavisor.netguard import TargetRule
from wavisor.storage import InstanceRecord, Scope, instances

__all__ = ["ROUTERS", "HttpApplication", "make_application"]

ROUTERS: tuple[Router, ...] = (
    accounts_router,
    users_router,
    invitations_router,
    keys_router,
    instances_router,
    connection_router,
    sends_router,
    posts_router,
    messages_router,
    actions_router,
    keeping_router,
    bulk_router,
    forwarding_router,
    templates_router,
    template_sends_router,
    campaigns_router,
    recipients_router,
    opt_outs_router,
    chats_router,
    media_router,
    contacts_router,
    groups_router,
    channels_router,
    presence_router,
    profile_router,
    calls_router,
    webhooks_router,
    deliveries_router,
    feed_router,
    statistics_router,
    subscription_router,
    audit_router,
    subscriptions_router,
    admin_instances_router,
    operations_router,
    documentation_router,
)
"""Every part of the API; a new part adds its router here."""


class Closing(Protocol):
    """Something long-lived that a stop ends, such as a websocket."""

    def close_for_shutdown(self) -> None:
        """Begin the closing handshake; must return at once and not raise."""
        ...


class HttpApplication(Application):
    """All routes of the gateway and what their handlers share.

    Args:
        services: the rest of the gateway.
        routers: the parts of the API.
        extra: handlers that are no routes: websockets, pages, files.

    Raises:
        RouteError: two routes collide.
    """

    def __init__(
        self, services: Services, routers: Sequence[Router], extra: Iterable[URLSpec] = ()
    ) -> None:
        self.services = services
        self.routes = check_routes(routers)
        self._routers = routers
        self.activity = Activity()
        self.stopping = False
        """Set when the server stops, so that clients are told not to reuse their connections."""
        self.connections: set[Closing] = set()
        self.events = EventStream(services.subscribe, services.database)
        self.live_statistics = LiveStatistics(
            self.events,
            services.database,
            services.clock,
            services.settings.feed_statistics_interval_seconds,
        )
        self.health = HealthReporter(services)
        self.feed_clients = FeedClients()
        self.message_waits = MessageWaits(self.events)
        self.connections.add(self.message_waits)
        self.intake = MediaIntake(services.media, services.settings)
        rule = TargetRule(allow_private=services.settings.webhooks_allow_private)
        self.webhook_targets = TargetCheck(rule)
        self.tickets = Tickets(services.clock)
        self.tokens = TokenIssuer(services.settings, services.jwt_secret, services.clock)
        self.media_links = MediaLinks(
            services.jwt_secret,
            services.database,
            services.clock,
            services.settings.public_url,
        )
        self.rate_limits = RateLimits(services.settings, services.clock)
        self.hasher = PasswordHasher(services.settings.bcrypt_rounds)
        self.authenticator = Authenticator(
            services.database, self.tokens, self.tickets, services.clock
        )
        self.key_uses = KeyUses(services.database, services.clock)
        self.access_changes = AccessChanges()
        self.accounts = Accounts(
            settings=services.settings,
            database=services.database,
            hasher=self.hasher,
            tokens=self.tokens,
            throttle=LoginThrottle(services.settings, services.clock),
            changes=self.access_changes,
        )
        assets = str(files("wavisor.http").joinpath("static"))
        super().__init__(
            [
                # Before the routes, which describe some of them in the OpenAPI document.
                *extra,
                *_specs(self.routes),
                URLSpec(r"/docs/assets/(.*)", AssetHandler, {"path": assets}),
            ],
            default_handler_class=RoutedHandler,
            default_handler_args={"routes": {}},
            log_function=_no_line,
        )

    async def load_instance(self, caller: Principal, instance_id: str) -> InstanceRecord:
        """Return the caller's instance with one look-up by its id.

        Raises:
            ProblemError: there is none, or it is not the caller's (404).
        """
        record = None
        if caller.sees(instance_id):
            record = await self.services.database.fetch(
                instances.get, Scope(caller.subscription_id), instance_id
            )
        if record is None:
            raise ProblemError(problems.NOT_FOUND)
        return record

    @cached_property
    def document(self) -> bytes:
        """The OpenAPI document, as it is sent.

        Put together when it is first wanted, which takes a moment, and 10 MB that many a gateway
        can do without.
        """
        return json.dumps(describe(self._routers, event_models()), ensure_ascii=False).encode()

    def close(self) -> None:
        """Give back the threads; after the server has stopped."""
        self.key_uses.close()
        self.intake.close()
        self.webhook_targets.close()
        self.live_statistics.close()
        self.events.close()
        self.hasher.close()


def make_application(services: Services) -> HttpApplication:
    """Return the application with every route of the gateway.

    Raises:
        RouteError: two routes collide.
    """
    return HttpApplication(services, ROUTERS, [URLSpec(r"/ws", FeedHandler)])


def _specs(routes: Iterable[Route]) -> list[URLSpec]:
    by_path: dict[str, dict[str, Route]] = defaultdict(dict)
    for route in routes:
        by_path[route.path][route.method] = route
    # Of two templates that fit a path, the one whose fixed part is longer is meant.
    ordered = sorted(by_path, key=lambda path: [part.startswith("{") for part in path.split("/")])
    return [
        URLSpec(
            by_path[path][next(iter(by_path[path]))].pattern,
            RoutedHandler,
            {"routes": by_path[path]},
        )
        for path in ordered
    ]


def _no_line(_: Any) -> None:
    """Replace tornado's access log: handlers write their own line."""
