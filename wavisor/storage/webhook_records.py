"""What the repositories of webhooks take and return: frozen values that carry no connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from wavisor.domain import DeliveryStatus, DisabledReason
from wavisor.storage.records import EventRecord

__all__ = [
    "Attempt",
    "DeliveryRecord",
    "EndpointChanges",
    "EndpointRecord",
    "NewEndpoint",
    "Parcel",
    "ReplayOutcome",
    "Settled",
    "StreamKey",
]

StreamKey = tuple[str, str | None]
"""An endpoint and an instance: what has an order. No instance for tests of an endpoint."""


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint to be registered."""

    url: str
    secret: str = field(repr=False)
    events: tuple[str, ...] = ("*",)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    description: str | None = None
    enabled: bool = True
    strict_order: bool = False
    instance_id: str | None = None
    """None for the events of all of the tenant's instances."""


class EndpointChanges(TypedDict, total=False):
    """What a tenant may change on an endpoint; what is absent stays as it is."""

    url: str
    events: list[str]
    headers: dict[str, str]
    description: str | None
    enabled: bool
    strict_order: bool


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """An endpoint as last written."""

    id: str
    subscription_id: str
    instance_id: str | None
    url: str
    events: tuple[str, ...]
    headers: dict[str, str] = field(repr=False)
    description: str | None
    enabled: bool
    strict_order: bool
    secret: str = field(repr=False)
    previous_secret: str | None = field(repr=False)
    previous_until: datetime | None
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None
    failing_since: datetime | None
    failures: int
    """Attempts that failed since the last success."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery as its tenant sees it."""

    position: int
    id: str
    subscription_id: str
    endpoint_id: str
    instance_id: str | None
    event_id: str
    event_type: str
    seq: int | None
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    response_status: int | None
    response_excerpt: str | None = field(repr=False)
    error: str | None
    latency_ms: int | None
    created_at: datetime
    ended_at: datetime | None
    event: EventRecord | None = field(repr=False)
    """What it tells of; None when that is no longer kept, or was never a stored event."""
    body: str | None = field(repr=False)
    """What is sent instead of an event."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A pending delivery with all that an attempt needs, but the endpoint."""

    position: int
    id: str
    endpoint_id: str
    instance_id: str | None
    event_id: str
    attempts: int
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    created_at: datetime
    event: EventRecord | None = field(repr=False)
    body: str | None = field(repr=False)

    @property
    def stream(self) -> StreamKey:
        """In whose order it is."""
        return self.endpoint_id, self.instance_id


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt went, and what follows from it for its delivery."""

    position: int
    endpoint_id: str
    instance_id: str | None
    attempts: int
    """How many there have been with this one."""
    at: datetime
    status: DeliveryStatus
    """``pending`` when there is to be another attempt."""
    next_attempt_at: datetime | None
    response_status: int | None
    response_excerpt: str | None = field(repr=False)
    error: str | None
    latency_ms: int
    age: float = 0.0
    """Seconds since the delivery was made, with its event."""
    gone: bool = False
    """The endpoint wants to be told no more."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What attempts have changed beyond their deliveries."""

    endpoints: tuple[EndpointRecord, ...]
    """Those whose state is another now."""
    events: tuple[EventRecord, ...]
    """Written about it, to be told."""


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """How much of a range is delivered again, and whether there was more than is done at once."""

    count: int
    next_from: datetime | None
    """The time to go on from; None when all of it was done."""
