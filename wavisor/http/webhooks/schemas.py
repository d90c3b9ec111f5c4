"""Wire models of webhooks and their deliveries."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator, model_validator

from wavisor.domain import DeliveryStatus, DisabledReason
from wavisor.event_filter import EVERYTHING, fitting_types
from wavisor.http.schemas import ApiModel, Moment, PageQuery, Time
from wavisor.storage import DeliveryRecord, EndpointRecord
from wavisor.webhooks import body_of

__all__ = [
    "CreateWebhook",
    "DeliveriesQuery",
    "Delivery",
    "NewWebhook",
    "ReplayRange",
    "Replayed",
    "RotateSecret",
    "UpdateWebhook",
    "Webhook",
    "delivery_model",
    "webhook_fields",
]

_EXCERPT = 1024
_HEADERS = 10
_PATTERNS = 50
_TOKEN = re.compile(r"\A[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")
_VALUE = re.compile(r"\A[\x21-\x7e]([\x20-\x7e]{0,1022}[\x21-\x7e])?\Z")
# What frames the request, and what the signature rests on, is not for users to set.
_RESERVED = frozenset(
    {
        *("host", "content-length", "content-type", "content-encoding", "transfer-encoding"),
        *("connection", "keep-alive", "te", "trailer", "upgrade", "expect", "accept-encoding"),
        "user-agent",
    }
)
_RESERVED_BEGINNINGS = ("webhook-", "proxy-", "sec-")

_Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048),
    Field(
        description="`http://` or `https://`; it must not lead to a private address.",
        examples=["https://example.org/wavisor"],
    ),
]
_Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
_Patterns = Annotated[
    tuple[str, ...],
    Field(
        min_length=1,
        max_length=_PATTERNS,
        description="Types of events, `*` for all, or a beginning such as `message:*`.",
        examples=[["message:*", "instance:status:changed"]],
    ),
]
_Headers = Annotated[
    dict[str, str],
    Field(
        max_length=_HEADERS,
        description="Headers that every request has besides its own. Their values are never shown.",
        examples=[{"Authorization": "Bearer of-yours"}],
    ),
]
_Strict = Annotated[
    bool,
    Field(
        description="Whether an event of an instance waits until the one before it was taken or "
        "given up. Otherwise only first attempts keep the order."
    ),
]


class _Checked(ApiModel):
    @field_validator("events", check_fields=False)
    @classmethod
    def _fitting(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for pattern in values or ():
            if not fitting_types(pattern):
                raise ValueError(f"no type of event is {pattern[:60]!r}")
        return values

    @field_validator("headers", check_fields=False)
    @classmethod
    def _allowed(cls, values: dict[str, str] | None) -> dict[str, str] | None:
        names = [name.lower() for name in values or {}]
        if len(set(names)) < len(names):
            raise ValueError("names a header twice")
        for name, value in (values or {}).items():
            if not _TOKEN.match(name):
                raise ValueError(f"{name[:64]!r} is no name of a header")
            if name.lower() in _RESERVED or name.lower().startswith(_RESERVED_BEGINNINGS):
                raise ValueError(f"{name} is set by the gateway itself")
            if not _VALUE.match(value):
                raise ValueError(f"{name} has a value that no header can have")
        return values


class CreateWebhook(_Checked):
    """A new webhook."""

    url: _Url
    events: _Patterns = (EVERYTHING,)
    headers: _Headers = Field(default_factory=dict)
    description: _Description | None = None
    enabled: bool = True
    strict_order: _Strict = False


class UpdateWebhook(_Checked):
    """What can be changed about a webhook. What is absent stays as it is."""

    url: _Url | None = None
    events: _Patterns | None = None
    headers: _Headers | None = Field(default=None, description="All of them anew.")
    description: _Description | None = None
    enabled: bool | None = None
    strict_order: _Strict | None = None

    @model_validator(mode="after")
    def _something(self) -> UpdateWebhook:
        given = self.model_fields_set
        if not given:
            raise ValueError("must change something")
        nulls = [name for name in given - {"description"} if getattr(self, name) is None]
        if nulls:
            raise ValueError("only the description may be null")
        return self


class RotateSecret(ApiModel):
    """A new secret."""

    grace_seconds: int = Field(
        default=86_400,
        ge=0,
        le=7 * 86_400,
        description="How long the old secret signs as well, in seconds.",
    )


class Webhook(ApiModel):
    """Where the subscription is told of events."""

    id: str
    instance_id: str | None = Field(description="Whose events; null for those of all instances.")
    url: str
    events: tuple[str, ...]
    header_names: tuple[str, ...] = Field(description="The headers of its own; values are secret.")
    description: str | None
    enabled: bool
    strict_order: bool
    disabled_reason: DisabledReason | None
    disabled_at: Time | None
    failing_since: Time | None = Field(description="Since when no delivery has succeeded.")
    failures: int = Field(description="Attempts that failed since the last success.")
    previous_secret_until: Time | None = Field(
        description="Until when the secret before the present one signs as well."
    )
    created_at: Time
    updated_at: Time


class NewWebhook(Webhook):
    """A webhook with its secret, which is shown this once."""

    secret: str = Field(description="Verifies signatures; `whsec_` and base64.")


class DeliveriesQuery(PageQuery):
    """Which deliveries to list."""

    status: DeliveryStatus | None = Field(
        default=None, description="Only those; `failed` are the ones that were given up."
    )


class DeliveryRequest(ApiModel):
    """What is sent."""

    webhook_id: str = Field(description="The header `webhook-id`: the same on every attempt.")
    body: str | None = Field(
        description=f"The first {_EXCERPT} characters; null when the event is no longer kept."
    )
    truncated: bool


class DeliveryResponse(ApiModel):
    """What was answered last."""

    status: int
    body: str | None = Field(description="Its beginning.")


class Delivery(ApiModel):
    """An event on its way to a webhook, and how that went."""

    id: str
    webhook_id: str
    instance_id: str | None
    event_id: str
    event_type: str
    seq: int | None
    status: DeliveryStatus
    attempts: int
    error: str | None = Field(
        description="Why the last attempt failed: `refused`, `redirected`, `gone`, `timeout`, "
        "`unreachable`, `broken_off`, `certificate`, `forbidden`, `event_gone`."
    )
    latency_ms: int | None = Field(description="How long the last attempt took.")
    request: DeliveryRequest
    response: DeliveryResponse | None
    next_attempt_at: Time | None = Field(description="Null before the first attempt: at once.")
    last_attempt_at: Time | None
    created_at: Time
    ended_at: Time | None


class ReplayRange(ApiModel):
    """Which events to deliver once more."""

    since: Moment = Field(
        alias="from",
        description="The time of the first event.",
        examples=["2030-01-31T09:00:00Z"],
    )
    to: Moment = Field(
        description="The time after the last one.", examples=["2030-01-31T10:00:00Z"]
    )
    undelivered: bool = Field(
        default=False, description="Only what did not arrive, or was never to be delivered."
    )

    @model_validator(mode="after")
    def _forward(self) -> ReplayRange:
        if self.since >= self.to:
            raise ValueError("`from` must be before `to`")
        return self


class Replayed(ApiModel):
    """How much is delivered once more."""

    count: int
    next_from: Time | None = Field(
        description="Where to go on, by another request: the range held more than is done at once."
    )


def webhook_fields(record: EndpointRecord, now: datetime) -> dict[str, Any]:
    """Return an endpoint as the wire shows it."""
    until = record.previous_until
    return {
        "id": record.id,
        "instance_id": record.instance_id,
        "url": record.url,
        "events": record.events,
        "header_names": tuple(sorted(record.headers)),
        "description": record.description,
        "enabled": record.enabled,
        "strict_order": record.strict_order,
        "disabled_reason": record.disabled_reason,
        "disabled_at": record.disabled_at,
        "failing_since": record.failing_since,
        "failures": record.failures,
        "previous_secret_until": until if until is not None and now < until else None,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }


def delivery_model(record: DeliveryRecord) -> Delivery:
    """Return a delivery as the wire shows it."""
    body = body_of(record.event, record.body)
    text = None if body is None else body.decode()
    response = None
    if record.response_status is not None:
        response = DeliveryResponse(status=record.response_status, body=record.response_excerpt)
    return Delivery(
        id=record.id,
        webhook_id=record.endpoint_id,
        instance_id=record.instance_id,
        event_id=record.event_id,
        event_type=record.event_type,
        seq=record.seq,
        status=record.status,
        attempts=record.attempts,
        error=record.error,
        latency_ms=record.latency_ms,
        request=DeliveryRequest(
            webhook_id=record.event_id,
            body=None if text is None else text[:_EXCERPT],
            truncated=text is not None and len(text) > _EXCERPT,
        ),
        response=response,
        next_attempt_at=record.next_attempt_at,
        last_attempt_at=record.last_attempt_at,
        created_at=record.created_at,
        ended_at=record.ended_at,
    )
