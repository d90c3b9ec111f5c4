"""Health, metrics and the front page."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from typing import Literal

from wavisor import __version__, metrics
from wavisor.http.operations.health import Health, HealthState
from wavisor.http.permissions import PUBLIC
from wavisor.http.problems import BEARER_CHALLENGE, FORBIDDEN, ProblemError, ProblemKind
from wavisor.http.routing import Call, Content, Reply, Router
from wavisor.http.schemas import ApiModel

__all__ = ["router"]

# Not limited: whoever watches the gateway must see it most clearly when it is flooded.
router = Router("operations", "Health and metrics, for those who run the gateway.", limited=False)

NOT_READY = ProblemKind("not-ready", 503, "The gateway cannot serve at the moment")
METRICS_TOKEN_NEEDED = ProblemKind(
    "metrics-token-needed",
    401,
    "The metrics are shown with their own token only",
    "Send the one in WAVISOR_METRICS_TOKEN as `Authorization: Bearer …`.",
)

_RETRY = {"Retry-After": "5"}


class Alive(ApiModel):
    """The process answers."""

    status: Literal[HealthState.UP] = HealthState.UP


class Welcome(ApiModel):
    """Where to go from here."""

    name: str = "Wavisor"
    version: str = __version__
    documentation: str = "/docs"
    openapi: str = "/openapi.json"
    health: str = "/health"


@router.route(
    "GET",
    "/health",
    operation="getHealth",
    summary="How the gateway is",
    access=PUBLIC,
    responses={200: Health},
)
async def get_health(call: Call[None, None]) -> Reply:
    """Tells how database, supervision tree and sessions are, and which versions run.

    It is 200 also when something is down; `status` says so. To be looked at by people; load
    balancers ask `/health/ready`.
    """
    return Reply(await call.application.health.report())


@router.route(
    "GET",
    "/health/live",
    operation="getLiveness",
    summary="Whether the process answers",
    access=PUBLIC,
    responses={200: Alive},
)
async def get_liveness(_: Call[None, None]) -> Reply:
    """Answers as long as the event loop turns. To be asked by what restarts the process."""
    return Reply(Alive())


@router.route(
    "GET",
    "/health/ready",
    operation="getReadiness",
    summary="Whether the gateway can serve",
    access=PUBLIC,
    responses={200: Health},
    problems=[NOT_READY],
)
async def get_readiness(call: Call[None, None]) -> Reply:
    """Is 200 while the database answers and every part of the supervision tree runs, else 503.

    Instances that are down do not count: they are the concern of their tenants.
    """
    health = await call.application.health.report()
    if health.status is HealthState.UP and not call.application.stopping:
        return Reply(health)
    raise ProblemError(
        NOT_READY,
        "The gateway is stopping." if call.application.stopping else None,
        headers=_RETRY,
        extensions=health.model_dump(
            mode="json", by_alias=True, include={"database", "supervision"}
        ),
    )


@router.route(
    "GET",
    "/metrics",
    operation="getMetrics",
    summary="Metrics for Prometheus",
    access=PUBLIC,
    responses={200: Content((metrics.CONTENT_TYPE,))},
    problems=[METRICS_TOKEN_NEEDED, FORBIDDEN],
    headers={"Authorization": "`Bearer` and the metrics token, where the address is not allowed."},
)
async def get_metrics(call: Call[None, None]) -> Reply:
    """Shows all series in Prometheus's text format.

    Only to the addresses in `WAVISOR_METRICS_ALLOW`, and to whoever has the token in
    `WAVISOR_METRICS_TOKEN`.
    """
    _check_metrics_access(call)
    return Reply(await asyncio.to_thread(metrics.render), media_type=metrics.CONTENT_TYPE)


@router.route(
    "GET",
    "/",
    operation="getWelcome",
    summary="Where to go from here",
    access=PUBLIC,
    responses={200: Welcome},
)
async def get_welcome(_: Call[None, None]) -> Reply:
    """Names the documentation and the health page."""
    return Reply(Welcome())


def _check_metrics_access(call: Call[None, None]) -> None:
    settings = call.services.settings
    token = settings.metrics_token
    if token is not None:
        given = call.headers.get("Authorization", "")
        expected = f"Bearer {token.get_secret_value()}"
        if hmac.compare_digest(given.encode(), expected.encode()):
            return
    if _is_allowed_address(call):
        return
    if token is None:
        raise ProblemError(FORBIDDEN, "The metrics are not shown to your address.")
    raise ProblemError(METRICS_TOKEN_NEEDED, headers={"WWW-Authenticate": BEARER_CHALLENGE})


def _is_allowed_address(call: Call[None, None]) -> bool:
    settings = call.services.settings
    if "X-Forwarded-For" in call.headers and not settings.trusted_proxies:
        return False  # the address is that of a proxy nobody told us of: all the world's
    try:
        address = ipaddress.ip_address(call.address)
    except ValueError:
        return False
    return any(address in network for network in settings.metrics_allow)
