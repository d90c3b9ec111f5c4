"""What the repositories of campaigns take and return."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wavisor.domain import CampaignStatus, RecipientStatus
from wavisor.storage.records import EventRecord

__all__ = [
    "CampaignRecord",
    "NewCampaign",
    "NewRecipient",
    "OptOutRecord",
    "RecipientRecord",
    "Release",
]


@dataclass(frozen=True, slots=True)
class NewCampaign:
    """A campaign to be made."""

    name: str
    template_id: str
    template_name: str
    template_version: int
    kind: str
    instances: tuple[str, ...]
    per_minute: float | None = None
    """Recipients released in a minute at most; None for as fast as the instances send."""
    window: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    """Of every message, as JSON."""
    file: dict[str, Any] | None = None
    """What all messages share of a file, as JSON of their content."""
    media_id: str | None = None
    start_at: datetime | None = None
    created_by: str | None = None


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """Somebody who is to get a message of a campaign."""

    chat: str = field(repr=False)
    recipient: str = field(repr=False)
    """As it was given."""
    content: dict[str, Any] = field(repr=False)
    text: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class CampaignRecord:
    """A campaign as stored."""

    id: str
    subscription_id: str
    name: str
    status: CampaignStatus
    waiting: str | None
    """Why nothing is released at the moment; None while something is."""
    template_id: str
    template_name: str
    template_version: int
    kind: str
    instances: tuple[str, ...]
    per_minute: float | None
    window: dict[str, Any] | None
    options: dict[str, Any] | None
    file: dict[str, Any] | None
    media_id: str | None
    start_at: datetime | None
    total: int
    released: int
    skipped: int
    duplicates: int
    created_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class RecipientRecord:
    """A recipient and what became of their message."""

    position: int
    chat: str = field(repr=False)
    recipient: str = field(repr=False)
    status: RecipientStatus
    message_id: str | None
    message_status: str | None
    failure: dict[str, Any] | None
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class OptOutRecord:
    """Somebody who wants no campaign."""

    id: int
    chat: str = field(repr=False)
    source: str
    """``api`` or ``keyword``."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Release:
    """What one step of a campaign did."""

    campaign: CampaignRecord
    instances: frozenset[str] = frozenset()
    """Those that have something new to send."""
    count: int = 0
    """Recipients that were released or skipped."""
    events: tuple[EventRecord, ...] = ()
