"""How much a subscription may have and do, by its tier: the one table, and what overrides it.

Storage enforces what is counted in rows, HTTP what is counted by the minute. A limit of None is
no limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Protocol

from wavisor.domain import Tier

__all__ = [
    "TIERS",
    "Limited",
    "Limits",
    "Resource",
    "check_overrides",
    "limits_of",
]

_LARGEST = 1_000_000_000
# Nothing at all would be a lock-out, or the end of every message there is.
_LEAST = {"retention_days": 1, "requests_per_minute": 1, "sends_per_minute": 1}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a subscription may have; None for as much as it likes."""

    instances: int | None
    messages_per_day: int | None
    """Messages accepted for sending in a day of UTC, edits and reactions included."""
    webhooks: int | None
    keys: int | None
    """API keys that are neither revoked nor expired."""
    retention_days: int | None
    """After how many days messages are deleted, whatever the settings say; sooner by those."""
    requests_per_minute: int | None
    """Requests to the API, by all users and keys together."""
    sends_per_minute: int | None
    """Those of them that send something."""


class Resource(StrEnum):
    """What limits count; the names are those of the fields of :class:`Limits`."""

    INSTANCES = "instances"
    MESSAGES_PER_DAY = "messages_per_day"
    WEBHOOKS = "webhooks"
    KEYS = "keys"

    @property
    def noun(self) -> str:
        """What one says of it after a number."""
        return {
            Resource.INSTANCES: "instances",
            Resource.MESSAGES_PER_DAY: "messages a day",
            Resource.WEBHOOKS: "webhooks",
            Resource.KEYS: "API keys",
        }[self]


TIERS: Mapping[Tier, Limits] = {
    Tier.BASIC: Limits(
        instances=5,
        messages_per_day=10_000,
        webhooks=10,
        keys=20,
        retention_days=90,
        requests_per_minute=6_000,
        sends_per_minute=1_200,
    ),
    Tier.PRO: Limits(
        instances=20,
        messages_per_day=100_000,
        webhooks=50,
        keys=100,
        retention_days=365,
        requests_per_minute=24_000,
        sends_per_minute=6_000,
    ),
    Tier.MAX: Limits(
        instances=40,
        messages_per_day=1_000_000,
        webhooks=200,
        keys=500,
        retention_days=None,
        requests_per_minute=60_000,
        sends_per_minute=15_000,
    ),
}
"""The limits of each tier. docs/limits.md shows this table; a test compares them."""

_NAMES = frozenset(field.name for field in fields(Limits))


class Limited(Protocol):
    """Something that has a tier, and perhaps limits of its own: a subscription."""

    @property
    def tier(self) -> Tier:
        """What it has paid for."""
        ...

    @property
    def overrides(self) -> Mapping[str, Any] | None:
        """Limits that are other than the tier's, by name."""
        ...


def limits_of(subscription: Limited) -> Limits:
    """Return the limits of a subscription: its tier's, where it has none of its own."""
    limits = TIERS[subscription.tier]
    if not subscription.overrides:
        return limits
    # A name that this version does not know was written by a newer one.
    own = {name: value for name, value in subscription.overrides.items() if name in _NAMES}
    return replace(limits, **own)


def check_overrides(overrides: Mapping[str, Any]) -> dict[str, int | None]:
    """Return limits to be stored with a subscription.

    Args:
        overrides: by the names of :class:`Limits`; a whole number, or None for no limit.

    Raises:
        ValueError: a name or a value is none; says which.
    """
    for name, value in overrides.items():
        if name not in _NAMES:
            raise ValueError(f"there is no limit called {name!r}")
        if value is None:
            continue
        least = _LEAST.get(name, 0)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least <= value <= _LARGEST:
            raise ValueError(f"{name} must be a whole number from {least} to {_LARGEST}, or none")
    return dict(overrides)
