"""Wire models of instances."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator, model_validator

from wavisor.actors.instance.queue_settings import PacingSettings
from wavisor.actors.instance.settings import (
    CallSettings,
    HistorySettings,
    MediaSettings,
    OptOutSettings,
    PresenceSettings,
    ReceivingSettings,
)
from wavisor.domain import EventType, InstanceCommand, InstanceStatus, WantedState
from wavisor.http.phones import is_region
from wavisor.http.schemas import ApiModel, Name, PageQuery, Time
from wavisor.whatsapp.proxy import ProxyUrl

__all__ = [
    "AccountInfo",
    "CreateInstance",
    "EventModel",
    "EventsQuery",
    "InstanceDetail",
    "InstanceQuery",
    "InstanceSettings",
    "InstanceState",
    "InstanceSummary",
    "LastErrorInfo",
    "PairingCodeInfo",
    "QrFormat",
    "QrModel",
    "QrProgress",
    "QrQuery",
    "RequestPairing",
    "UpdateInstance",
]


class CreateInstance(ApiModel):
    """A new instance."""

    name: Name


class InstanceSettings(ApiModel):
    """How an instance works. What is not set is as the gateway's own settings have it."""

    pacing: PacingSettings | None = Field(
        default=None, description="How fast it sends; of its parts only those that differ."
    )
    default_region: str | None = Field(
        default=None,
        pattern=r"^[A-Z]{2}$",
        description="Country of numbers that are given without a country code, such as `DE`.",
    )
    message_retention_days: int | None = Field(
        default=None, ge=0, le=36_500, description="Days that messages are kept; 0 for ever."
    )
    event_retention_days: int | None = Field(
        default=None, ge=0, le=36_500, description="Days that events are kept; 0 for ever."
    )
    receiving: ReceivingSettings | None = Field(
        default=None, description="What of others' messages is taken in."
    )
    media: MediaSettings | None = Field(
        default=None, description="Which files of received messages are fetched, and kept."
    )
    history: HistorySettings | None = Field(
        default=None, description="How much of the past is taken in after linking."
    )
    presence: PresenceSettings | None = Field(default=None, description="How the account is seen.")
    calls: CallSettings | None = Field(default=None, description="What happens to calls.")
    opt_out: OptOutSettings | None = Field(
        default=None, description="By which words people say that they want no campaign."
    )
    proxy: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="`socks5://`, `http://` or `https://` URL of the proxy that the connection to "
        "WhatsApp goes through; answers hide its user name and password.",
    )

    @field_validator("proxy")
    @classmethod
    def _usable_proxy(cls, value: str | None) -> str | None:
        return None if value is None else ProxyUrl.parse(value).url

    @field_validator("default_region")
    @classmethod
    def _known_region(cls, value: str | None) -> str | None:
        if value is not None and not is_region(value):
            raise ValueError("is no country with telephone numbers")
        return value


class UpdateInstance(ApiModel):
    """What can be changed about an instance. What is absent stays as it is."""

    name: Name | None = None
    settings: InstanceSettings | None = Field(
        default=None, description="A setting that is null goes back to the gateway's own."
    )

    @model_validator(mode="after")
    def _something(self) -> UpdateInstance:
        if self.name is None and self.settings is None:
            raise ValueError("must change the name or the settings")
        return self


class RequestPairing(ApiModel):
    """Linking by a code that is typed on the phone."""

    phone: str = Field(
        min_length=5,
        max_length=32,
        description="The phone's number with its country code.",
        examples=["+4915112345678"],
    )


class LastErrorInfo(ApiModel):
    """What went wrong last; a successful connection clears it."""

    reason: str
    detail: str
    at: Time
    until: Time | None = Field(default=None, description="When a ban ends, where that is known.")


class AccountInfo(ApiModel):
    """The WhatsApp account that an instance is linked with."""

    jid: str
    lid: str | None
    phone: str | None
    push_name: str | None
    platform: str | None
    connected_at: Time | None = Field(description="When it last logged in.")


class QrProgress(ApiModel):
    """Which QR code is to be scanned now."""

    attempt: int = Field(description="1 for the first code of this attempt to connect.")
    limit: int = Field(description="How many codes are shown before the attempt is given up.")
    expires_at: Time


class PairingCodeInfo(ApiModel):
    """A code to be typed on the phone under *Linked devices*."""

    code: str
    phone: str
    expires_at: Time


class _Status(ApiModel):
    id: str
    status: InstanceStatus
    desired: WantedState = Field(description="What was last asked for, as against `status`.")
    reason: str | None = Field(description="Why the instance has this status.")
    status_changed_at: Time
    last_error: LastErrorInfo | None
    account: AccountInfo | None = Field(description="Null while no account is linked.")


class _Live(ApiModel):
    qr: QrProgress | None = Field(description="Only while a QR code waits to be scanned.")
    pairing_code: PairingCodeInfo | None
    next_attempt_at: Time | None = Field(description="When the next attempt to connect is due.")
    attempt: int = Field(description="Attempts to reconnect since the connection was lost.")
    banned_until: Time | None
    queue_paused_until: Time | None = Field(
        description="Until when messages to people who were never written to are held back."
    )
    queue_pause_reason: str | None = Field(description="Why; `reach_out_timelock`.")
    allowed: list[InstanceCommand] = Field(description="The commands that this status allows.")


class InstanceState(_Live, _Status):
    """The state of an instance at one moment."""


class InstanceSummary(_Status):
    """An instance, as lists show it."""

    name: str
    created_at: Time
    updated_at: Time


class InstanceDetail(_Live, InstanceSummary):
    """An instance and its state at this moment."""

    settings: dict[str, Any] = Field(description="The instance's own settings, as they were set.")


class InstanceQuery(PageQuery):
    """Which instances to list."""

    status: InstanceStatus | None = Field(default=None, description="Only those in this status.")


class EventsQuery(PageQuery):
    """Which events to list."""

    types: str | None = Field(
        default=None,
        max_length=500,
        description="Only these types, joined by commas: "
        "`instance:status:changed,message:received`.",
    )

    @field_validator("types")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        known = {kind.value for kind in EventType}
        unknown = [one for one in (value or "").split(",") if one not in known]
        if value is not None and unknown:
            raise ValueError(f"must be event types joined by commas: {', '.join(sorted(known))}")
        return value

    @property
    def wanted(self) -> list[str] | None:
        """The types as a list; None for all."""
        return None if self.types is None else self.types.split(",")


class EventModel(ApiModel):
    """An event: the same here, on the feed and in webhooks."""

    id: str
    type: str
    timestamp: Time
    instance_id: str
    seq: int = Field(description="Grows by one with each event of the instance.")
    data: dict[str, Any] = Field(description="Depends on the type.")


class QrFormat(StrEnum):
    """The forms in which a QR code is given."""

    JSON = "json"
    PNG = "png"
    SVG = "svg"
    TEXT = "text"


class QrQuery(ApiModel):
    """The form of the QR code."""

    format: QrFormat | None = Field(
        default=None, description="Wins over the header `Accept`; JSON unless either says more."
    )


class QrModel(QrProgress):
    """The QR code to be scanned now."""

    code: str = Field(description="What the QR code says.")
