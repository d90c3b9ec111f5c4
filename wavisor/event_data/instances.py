"""The data of events about instances and the subscription's own things."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from wavisor.domain import (
    CampaignStatus,
    DisabledReason,
    InstanceStatus,
    Reason,
    WantedState,
)
from wavisor.event_data.parts import Moment, words

__all__ = [
    "CampaignProgress",
    "Connection",
    "InstancePaired",
    "InstancePairingCode",
    "InstanceQrUpdated",
    "InstanceQueueChanged",
    "InstanceStatusChanged",
    "LastError",
    "WebhookDisabled",
]

_Status = Annotated[str, words(InstanceStatus)]


class LastError(TypedDict):
    """The last error of an instance."""

    reason: Annotated[str, words(Reason)]
    detail: str | None
    at: Moment
    until: Annotated[Moment | None, Field(description="Until when it holds, where that is told.")]


class Connection(TypedDict):
    """Who an instance is connected as."""

    jid: str
    lid: str | None
    phone: str | None
    pushName: str | None
    platform: str | None
    connectedAt: Moment


class InstanceStatusChanged(TypedDict):
    """The status of an instance has changed."""

    old: _Status
    new: _Status
    reason: Annotated[str, words(Reason)] | None
    desired: Annotated[str, words(WantedState)]
    oldSince: Moment | None
    newSince: Moment
    nextAttemptAt: Annotated[Moment | None, Field(description="When it connects again.")]
    bannedUntil: Moment | None
    lastError: LastError | None
    connection: Annotated[Connection | None, Field(description="Null unless it is `connected`.")]


class InstanceQrUpdated(TypedDict):
    """There is a QR code to be scanned now."""

    code: Annotated[str, Field(description="What the QR code says.")]
    attempt: int
    limit: Annotated[int, Field(description="How many are shown at most.")]
    expiresAt: Moment


class InstancePairingCode(TypedDict):
    """There is a code to be typed on the phone."""

    code: str
    phone: str
    expiresAt: Moment


class InstancePaired(TypedDict):
    """A phone has accepted the instance as its device."""

    jid: str
    lid: str | None
    businessName: str | None
    platform: str | None


class InstanceQueueChanged(TypedDict):
    """The queue of an instance waits, or goes on."""

    paused: bool
    pausedFor: Annotated[
        str | None, Field(description="`new_contacts`: only strangers have to wait.")
    ]
    until: Moment | None
    reason: str | None


class CampaignProgress(TypedDict):
    """A campaign went on, waits, or changed its status."""

    campaignId: str
    name: str
    status: Annotated[str, words(CampaignStatus)]
    waiting: Annotated[str | None, Field(description="Why nothing goes out at the moment.")]
    total: int
    released: int
    optedOut: int


class WebhookDisabled(TypedDict):
    """A webhook was switched off, because its server said that it is gone, or took nothing."""

    webhookId: str
    reason: Annotated[str, words(DisabledReason)]
    failures: int
    failingSince: Moment | None
