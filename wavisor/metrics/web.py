"""Series of HTTP, of the feed and of logging in."""

from __future__ import annotations

from enum import StrEnum

from wavisor.metrics.registry import OTHER, counter, create, gauge, histogram

__all__ = [
    "HTTP_DURATION",
    "HTTP_IN_FLIGHT",
    "HTTP_REQUESTS",
    "LOGINS",
    "RATE_LIMITED",
    "WEBSOCKET_CLIENTS",
    "WEBSOCKET_DROPS",
    "WEBSOCKET_FRAMES",
    "LoginOutcome",
    "RateLimitLayer",
    "WebsocketDrop",
    "observe_http",
    "observe_login",
    "observe_rate_limited",
    "observe_websocket_drop",
]


class LoginOutcome(StrEnum):
    """How an attempt to log in ended."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    THROTTLED = "throttled"


class RateLimitLayer(StrEnum):
    """Which limit a request ran into; clients are told the same names."""

    ADDRESS = "address"
    ACCOUNTS = "accounts"
    REGISTRATION = "registration"
    CALLER = "caller"
    TENANT = "tenant"
    SENDS = "sends"


class WebsocketDrop(StrEnum):
    """Why the gateway closed a websocket client, or refused one."""

    SLOW_READER = "slow_reader"
    PING_TIMEOUT = "ping_timeout"
    UNAUTHENTICATED = "unauthenticated"
    REVOKED = "revoked"
    PROTOCOL_ERROR = "protocol_error"
    TOO_MANY = "too_many"
    SHUTDOWN = "shutdown"


_HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")

HTTP_REQUESTS = counter(
    "wavisor_http_requests_total", "Requests answered, by class of status.", ("status",)
)
# A handler's series come with its first answers: made beforehand, those of all handlers would be
# nine tenths of every scrape, and 2 MB, most of them of what nobody asks for. What is to be seen
# from the first error on is in the counter.
HTTP_DURATION = histogram(
    "wavisor_http_request_duration_seconds",
    "Time to answer a request.",
    ("handler", "method", "status"),
)
HTTP_IN_FLIGHT = gauge("wavisor_http_requests_in_flight", "Requests being answered.")
WEBSOCKET_CLIENTS = gauge("wavisor_websocket_clients", "Websocket clients connected.")
WEBSOCKET_FRAMES = counter("wavisor_websocket_frames_total", "Frames sent to websocket clients.")
WEBSOCKET_DROPS = counter(
    "wavisor_websocket_drops_total", "Websocket clients closed or refused.", ("reason",)
)
LOGINS = counter("wavisor_logins_total", "Attempts to log in.", ("outcome",))
RATE_LIMITED = counter(
    "wavisor_http_rate_limited_total", "Requests refused by a rate limit.", ("layer",)
)

create(HTTP_REQUESTS, (*_STATUS_CLASSES, OTHER))
create(WEBSOCKET_DROPS, WebsocketDrop)
create(LOGINS, LoginOutcome)
create(RATE_LIMITED, RateLimitLayer)


def observe_login(outcome: LoginOutcome) -> None:
    """Note how an attempt to log in ended."""
    LOGINS.labels(outcome.value).inc()


def observe_rate_limited(layer: RateLimitLayer) -> None:
    """Count a request that was refused."""
    RATE_LIMITED.labels(layer.value).inc()


def observe_websocket_drop(reason: WebsocketDrop) -> None:
    """Note that a websocket client was closed or refused."""
    WEBSOCKET_DROPS.labels(reason.value).inc()


def observe_http(handler: str, method: str, status: int, seconds: float) -> None:
    """Note an answered request.

    Args:
        handler: the name of the handler's class; never the path.
        method: the request's method; one that HTTP does not know counts as ``other``.
        status: the status code; only its class becomes a label.
        seconds: from the request's arrival to its answer.
    """
    known = method if method in _HTTP_METHODS else OTHER
    group = f"{status // 100}xx"
    if group not in _STATUS_CLASSES:
        group = OTHER
    HTTP_REQUESTS.labels(group).inc()
    HTTP_DURATION.labels(handler, known, group).observe(seconds)
