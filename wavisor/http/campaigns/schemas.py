"""Wire models of campaigns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator

from wavisor.actors.campaigns import SendingWindow
from wavisor.domain import CampaignStatus
from wavisor.http.messages.requests import TYPING_LIMIT_MS
from wavisor.http.schemas import ApiModel, Moment, Name, PageQuery, Time
from wavisor.http.templates.schemas import Values
from wavisor.ids import Kind, normalise_id
from wavisor.storage import CampaignRecord

__all__ = [
    "AddRecipients",
    "AddedRecipients",
    "CampaignModel",
    "CampaignQuery",
    "CampaignRecipientModel",
    "CampaignResults",
    "CreateCampaign",
    "OptOutModel",
    "OptOutRequest",
    "RecipientBody",
    "RecipientsQuery",
    "campaign_model",
]

INLINE_LIMIT = 10_000
"""Recipients in one JSON body; more come as CSV."""
CSV_LIMIT = 100_000

InstanceId = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class CreateCampaign(ApiModel):
    """A new campaign, without recipients yet."""

    name: Name
    template: str = Field(min_length=1, max_length=100, description="Its id (`tpl_…`) or its name.")
    version: int | None = Field(
        default=None, ge=1, description="Of the template; the newest one by default."
    )
    instances: tuple[InstanceId, ...] = Field(
        min_length=1,
        max_length=40,
        description="Who sends: one instance, or several that share the work.",
        examples=[["ins_01ARZ3NDEKTSV4RRFFQ69G5FAV"]],
    )
    messages_per_minute: float | None = Field(
        default=None,
        gt=0,
        le=6000,
        description="Over all instances; without it, as fast as their own pacing allows, which "
        "holds in any case.",
    )
    window: SendingWindow | None = Field(
        default=None, description="The hours in which people are written to; any by default."
    )
    start_at: Moment | None = Field(
        default=None, description="Not before this time, once it was started."
    )
    typing: int = Field(
        default=0,
        ge=0,
        le=TYPING_LIMIT_MS,
        description="Milliseconds that each recipient first sees somebody typing.",
    )

    @field_validator("instances")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        ids = [normalise_id(one, Kind.INSTANCE) for one in value]
        if None in ids:
            raise ValueError("must be ids of instances")
        return tuple(dict.fromkeys(one for one in ids if one is not None))


class CampaignQuery(PageQuery):
    """Which campaigns to list."""

    status: CampaignStatus | None = None


class _Campaign(ApiModel):
    id: str
    name: str
    status: CampaignStatus
    waiting: str | None = Field(
        description="Why nothing goes out while it is running: `start`, `window`, `instances` "
        "(none is connected) or `daily_limit`."
    )
    template: str = Field(description="The template's id.")
    template_name: str
    template_version: int
    kind: str
    instances: list[str]
    messages_per_minute: float | None
    window: SendingWindow | None
    start_at: Time | None
    total: int = Field(description="Recipients, each counted once.")
    released: int = Field(description="Of those: how many messages were put in a queue.")
    opted_out: int = Field(description="Of those: how many are on the opt-out list.")
    duplicates: int = Field(description="Recipients that were left out as they came again.")
    created_at: Time
    started_at: Time | None
    finished_at: Time | None


class CampaignModel(_Campaign):
    """A campaign and how far it is."""


class CampaignResults(_Campaign):
    """A campaign and what became of its messages."""

    results: dict[str, int] = Field(
        description="Recipients by the status of their message (`queued`, `sent`, `read`, "
        "`failed`, …); `pending` and `opted_out` for those without one, `released` where the "
        "message was deleted since."
    )


class RecipientBody(ApiModel):
    """Somebody to be written to."""

    to: str = Field(min_length=1, max_length=64, description="As of every send.")
    variables: Values = Field(default_factory=dict)


class AddRecipients(ApiModel):
    """Recipients for a campaign: as JSON, or as the file of a form."""

    recipients: tuple[RecipientBody, ...] = Field(default=(), max_length=INLINE_LIMIT)
    skip_invalid: bool = Field(
        default=False,
        description="Leave out those that do not fit, and say which; otherwise one of them "
        "refuses all.",
    )


class RecipientProblem(ApiModel):
    """A recipient that does not fit."""

    number: int = Field(description="Its place in the request from 0, or its line in the file.")
    detail: str


class AddedRecipients(ApiModel):
    """What became of recipients that were to be added."""

    added: int
    duplicates: int = Field(description="Left out: they are in the campaign already.")
    refused: int
    problems: list[RecipientProblem] = Field(description="Of the refused ones; 100 at most.")
    campaign: CampaignModel


class RecipientsQuery(PageQuery):
    """Which results to list."""

    limit: int = Field(
        default=50,
        ge=1,
        le=CSV_LIMIT,
        description="At most 200 as JSON; as CSV 100,000, which is the default there.",
    )
    format: Literal["json", "csv"] = "json"

    @property
    def most(self) -> int:
        """How many at most: of a table everybody, unless it is said otherwise."""
        whole = self.format == "csv" and "limit" not in self.model_fields_set
        return CSV_LIMIT if whole else self.limit


class CampaignRecipientModel(ApiModel):
    """A recipient and what became of their message."""

    number: int
    recipient: str = Field(description="As it was given.")
    chat: str
    status: str = Field(description="Of the message; `pending` or `opted_out` without one.")
    message_id: str | None
    reason: str | None = Field(description="Why the message failed.")
    sent_at: Time | None
    delivered_at: Time | None
    read_at: Time | None


class OptOutRequest(ApiModel):
    """Somebody who wants no campaign."""

    person: str = Field(min_length=1, max_length=64, description="A phone number or a JID.")


class OptOutModel(ApiModel):
    """Somebody on the opt-out list."""

    person: str = Field(description="Their JID.")
    source: Literal["api", "keyword"] = Field(description="`keyword`: they wrote it themselves.")
    at: Time


def campaign_model(record: CampaignRecord) -> CampaignModel:
    """Return the wire form of a campaign."""
    return CampaignModel(**campaign_fields(record))


def campaign_fields(record: CampaignRecord) -> dict[str, Any]:
    """Return the members that every form of a campaign has."""
    return {
        "id": record.id,
        "name": record.name,
        "status": record.status,
        "waiting": record.waiting,
        "template": record.template_id,
        "template_name": record.template_name,
        "template_version": record.template_version,
        "kind": record.kind,
        "instances": list(record.instances),
        "messages_per_minute": record.per_minute,
        "window": None if record.window is None else SendingWindow.model_validate(record.window),
        "start_at": record.start_at,
        "total": record.total,
        "released": record.released,
        "opted_out": record.skipped,
        "duplicates": record.duplicates,
        "created_at": record.created_at,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
    }
