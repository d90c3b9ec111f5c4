"""What the repository of API keys takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

__all__ = ["KeyChanges", "KeyRecord", "KeyUse", "NewKey"]


class KeyChanges(TypedDict, total=False):
    """What may change about a key; what is not named stays."""

    name: str
    permissions: list[str]
    addresses: list[str]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is to be stored."""

    name: str
    prefix: str
    digest: str = field(repr=False)
    permissions: Sequence[str]
    addresses: Sequence[str]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as last written."""

    id: str
    subscription_id: str
    instance_id: str | None
    """The instance that it is bound to; None for a key to the whole tenant."""
    creator_id: str | None
    """Whose rights bound the key's; None once that user is gone."""
    name: str
    prefix: str
    digest: str = field(repr=False)
    """SHA-256 of the secret, in hexadecimal."""
    permissions: tuple[str, ...]
    addresses: tuple[str, ...]
    """Networks that it may be used from; none stands for everywhere."""
    expires_at: datetime | None
    created_at: datetime
    last_used_at: datetime | None
    last_used_address: str | None
    revoked_at: datetime | None
    previous_digest: str | None = field(repr=False)
    """Of the secret before the last rotation."""
    previous_until: datetime | None
    """Until when the secret before is good."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """When and from where a key was used last."""

    key_id: str
    at: datetime
    address: str
