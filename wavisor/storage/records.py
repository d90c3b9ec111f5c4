"""What repositories take and return: frozen values that carry no connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypedDict, TypeVar

from wavisor.domain import InstanceStatus, Role, Tier, WantedState
from wavisor.limits import Resource

__all__ = [
    "AccountRecord",
    "AuditFilter",
    "AuditRecord",
    "EventRecord",
    "InstanceChanges",
    "InstanceRecord",
    "InvitationRecord",
    "NewAudit",
    "NewEvent",
    "Page",
    "Replay",
    "Rotation",
    "RotationOutcome",
    "SubscriptionRecord",
    "UseRecord",
    "UserRecord",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list. ``next_cursor`` asks for the following part; None at the end."""

    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class SubscriptionRecord:
    """A tenant."""

    id: str
    name: str
    tier: Tier
    created_at: datetime
    suspended_at: datetime | None
    overrides: dict[str, Any] | None = None
    """Limits other than its tier's, by name; :func:`wavisor.limits.limits_of` reads them."""
    deleted_at: datetime | None = None
    """Since when it is being removed."""


@dataclass(frozen=True, slots=True)
class UseRecord:
    """How much a subscription has of what is limited."""

    subscription: SubscriptionRecord
    used: dict[Resource, int]


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A person who logs in. ``token_version`` grows when all earlier tokens become void."""

    id: str
    subscription_id: str
    email: str
    password_hash: str = field(repr=False)
    role: Role
    is_operator: bool
    token_version: int
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """A user together with the subscription it belongs to."""

    user: UserRecord
    subscription: SubscriptionRecord


@dataclass(frozen=True, slots=True)
class InvitationRecord:
    """Somebody who may join a subscription, or did."""

    id: str
    subscription_id: str
    email: str
    role: Role
    creator_id: str | None
    """Who invited; None once that user is gone."""
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    revoked_at: datetime | None


class RotationOutcome(StrEnum):
    """What became of a refresh token that was presented."""

    ROTATED = "rotated"
    REPLAYED = "replayed"
    """It had been used before; its whole family is revoked now."""
    REVOKED = "revoked"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Rotation:
    """The answer to a presented refresh token; ids are None when the token is unknown."""

    outcome: RotationOutcome
    family_id: str | None
    user_id: str | None


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """An instance as last written."""

    id: str
    subscription_id: str
    name: str
    desired: WantedState
    status: InstanceStatus
    reason: str | None
    last_error: dict[str, Any] | None
    status_changed_at: datetime
    jid: str | None
    lid: str | None
    phone: str | None = field(repr=False)
    push_name: str | None = field(repr=False)
    platform: str | None
    connected_at: datetime | None
    settings: dict[str, Any]
    event_seq: int
    queued: int
    """How many messages wait to be sent."""
    paired_at: datetime | None
    """When its device was linked; None for those linked before this was written down."""
    queue_paused_until: datetime | None
    """Until when nobody new is written to; None while nothing holds the queue back."""
    queue_pause_reason: str | None
    created_at: datetime
    updated_at: datetime


class InstanceChanges(TypedDict, total=False):
    """What a transition may change on an instance; what is absent stays as it is."""

    desired: WantedState
    status: InstanceStatus
    reason: str | None
    last_error: Mapping[str, Any] | None
    status_changed_at: datetime
    jid: str | None
    lid: str | None
    phone: str | None
    push_name: str | None
    platform: str | None
    connected_at: datetime | None
    paired_at: datetime | None
    queue_paused_until: datetime | None
    queue_pause_reason: str | None


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be appended. Its id and, unless given, its time are made on appending."""

    type: str
    data: Mapping[str, Any] = field(repr=False)
    timestamp: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event as stored. ``position`` orders all events of the installation; never shown."""

    position: int
    id: str
    subscription_id: str
    instance_id: str
    seq: int
    type: str
    timestamp: datetime
    data: dict[str, Any] = field(repr=False)
    awaited: bool = field(default=False, compare=False)
    """Whether a webhook is to be told of it; known where it was written, not where it is read."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Events missed since some event, oldest first.

    ``known`` is false when that event is no longer stored; then the replay starts a little
    before the time in its id, and events may repeat or be missing. ``more`` is true when there
    are further ones after the last.
    """

    events: tuple[EventRecord, ...]
    known: bool
    more: bool


@dataclass(frozen=True, slots=True)
class NewAudit:
    """An entry for the audit trail."""

    action: str
    actor_kind: str
    """``user``, ``api_key`` or ``system``."""
    actor_id: str | None = None
    target: str | None = None
    before: dict[str, Any] | None = field(default=None, repr=False)
    after: dict[str, Any] | None = field(default=None, repr=False)
    address: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries of the audit trail; None for any."""

    subscription_id: str | None = None
    action: str | None = None
    """Exactly this one, or with a ``*`` at its end all that begin so."""
    actor_id: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Not from then on."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry of the audit trail. ``subscription_id`` is None for the platform's own acts."""

    id: str
    subscription_id: str | None
    actor_kind: str
    actor_id: str | None
    action: str
    target: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    address: str | None
    request_id: str | None
    at: datetime
