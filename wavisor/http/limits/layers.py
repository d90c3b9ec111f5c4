"""The layers of limits that a request passes: first by address, then by who it is.

The rates of tenants come from their subscription, all others from the settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from wavisor import metrics
from wavisor.clock import Clock
from wavisor.config import RateLimitSettings
from wavisor.http.limits.buckets import Buckets, Rate, Verdict
from wavisor.http.limits.fields import limit_field, place_of, policy_field
from wavisor.http.permissions import PUBLIC, Permission
from wavisor.http.problems import RATE_LIMITED, ProblemError
from wavisor.limits import limits_of
from wavisor.metrics import RateLimitLayer

if TYPE_CHECKING:
    from wavisor.http.accounts.principal import Principal
    from wavisor.http.routing import Route

__all__ = ["RateLimits"]

_MINUTE = 60.0
_HOUR = 3600.0
_WINDOW = 10.0
"""A rate by the minute lets a sixth of it through at once: bursts pass, floods do not."""

_REGISTER = "register"
_Taken = tuple[RateLimitLayer, Rate, Verdict]


class RateLimits:
    """All layers. Used on the event loop only; costs no query.

    Args:
        settings: the rates that are not a subscription's, and whether there are limits at all.
        clock: tells the time.
    """

    def __init__(self, settings: RateLimitSettings, clock: Clock) -> None:
        self._enabled = settings.rate_limits_enabled
        self._caller_percent = settings.rate_limit_caller_percent
        self._by_address = _per_minute(settings.rate_limit_address_per_minute)
        accounts = settings.rate_limit_accounts_per_minute
        self._accounts = Rate(accounts, _MINUTE) if accounts else None
        registrations = settings.rate_limit_registrations_per_hour
        self._registrations = Rate(registrations, _HOUR) if registrations else None
        self._buckets = {
            layer: Buckets(clock, capacity=settings.rate_limit_buckets) for layer in RateLimitLayer
        }

    def admit_address(self, address: str, route: Route | None) -> dict[str, str]:
        """Count a request by where it comes from, before anybody knows who it is.

        Args:
            address: the client's address.
            route: what is asked for; None when there is no such route.

        Returns:
            Header fields for the answer.

        Raises:
            ProblemError: there were too many (429).
        """
        if not self._enabled or (route is not None and not route.limited):
            return {}
        layers: list[tuple[RateLimitLayer, Rate | None]] = []
        if route is not None and route.access is PUBLIC and route.method == "POST":
            # Whoever guesses tokens or opens accounts by the dozen.
            if route.operation == _REGISTER:
                layers.append((RateLimitLayer.REGISTRATION, self._registrations))
            layers.append((RateLimitLayer.ACCOUNTS, self._accounts))
        layers.append((RateLimitLayer.ADDRESS, self._by_address))
        place = place_of(address)
        return self._pass((layer, place, rate) for layer, rate in layers)

    def admit_caller(self, caller: Principal, route: Route) -> dict[str, str]:
        """Count a request by who makes it.

        Args:
            caller: who asks.
            route: what is asked for.

        Returns:
            Header fields for the answer, in place of those by address.

        Raises:
            ProblemError: there were too many (429).
        """
        if not self._enabled or not route.limited:
            return {}
        limits = limits_of(caller.account.subscription)
        tenant = caller.subscription_id
        layers: list[tuple[RateLimitLayer, str, Rate | None]] = []
        if route.access is Permission.MESSAGES_SEND and route.method == "POST":
            rate = _per_minute(limits.sends_per_minute)
            layers.append((RateLimitLayer.SENDS, tenant, rate))
        if limits.requests_per_minute is not None and self._caller_percent < 100:
            share = math.ceil(limits.requests_per_minute * self._caller_percent / 100)
            identity = caller.user_id if caller.key is None else caller.key.id
            layers.append((RateLimitLayer.CALLER, identity, _per_minute(share)))
        rate = _per_minute(limits.requests_per_minute)
        layers.append((RateLimitLayer.TENANT, tenant, rate))
        return self._pass(layers)

    def _pass(self, layers: Iterable[tuple[RateLimitLayer, str, Rate | None]]) -> dict[str, str]:
        taken: list[_Taken] = []
        for layer, key, rate in layers:
            if rate is None:
                continue
            verdict = self._buckets[layer].take(key, rate)
            taken.append((layer, rate, verdict))
            if not verdict.allowed:
                raise _refusal(taken)
        if not taken:
            return {}
        first = min(taken, key=lambda one: one[2].remaining / one[1].quota)
        return _fields(taken, first)


@lru_cache(maxsize=256)
def _per_minute(number: int | None) -> Rate | None:
    """Return the rate of a limit by the minute; None for none, which 0 is in the settings."""
    if not number:
        return None
    quota = max(1, round(number * _WINDOW / _MINUTE))
    return Rate(quota, quota * _MINUTE / number)


def _fields(taken: list[_Taken], shown: _Taken) -> dict[str, str]:
    layer, _, verdict = shown
    return {
        "RateLimit": limit_field(layer.value, verdict.remaining, verdict.reset),
        "RateLimit-Policy": ", ".join(
            policy_field(one.value, rate.quota, rate.window) for one, rate, _ in taken
        ),
    }


def _refusal(taken: list[_Taken]) -> ProblemError:
    layer, rate, verdict = taken[-1]
    metrics.observe_rate_limited(layer)
    wait = max(1, math.ceil(verdict.wait))
    return ProblemError(
        RATE_LIMITED,
        f"At most {rate.quota} requests in {math.ceil(rate.window)} s are taken here; "
        f"try again in {wait} s.",
        headers={"Retry-After": str(wait), **_fields(taken, taken[-1])},
        extensions={"layer": layer.value, "limit": rate.quota},
    )
