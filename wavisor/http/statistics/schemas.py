"""What the routes of statistics take and answer."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from wavisor.http.schemas import ApiModel, Moment, Time
from wavisor.storage.statistics import Grouping

__all__ = [
    "FiguresModel",
    "GroupModel",
    "StatisticsFormat",
    "StatisticsModel",
    "StatisticsQuery",
]

_Moment = Annotated[
    Moment, Field(ge=datetime(1970, 1, 2, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))
]


class StatisticsFormat(StrEnum):
    """The form of the answer."""

    JSON = "json"
    CSV = "csv"


class StatisticsQuery(ApiModel):
    """Which statistics, and in which form."""

    since: _Moment | None = Field(
        default=None,
        alias="from",
        description="The first hour; default: a week before `to`. Rounded down to the hour.",
    )
    until: _Moment | None = Field(
        default=None,
        alias="to",
        description="The end, not included; default: the end of this hour. Rounded up to the hour.",
    )
    by: Grouping = Field(
        default=Grouping.DAY,
        description="What to group by. At most 31 days by `hour`, at most 366 otherwise.",
    )
    format: StatisticsFormat | None = Field(
        default=None, description="The form; default: what the header `Accept` prefers."
    )


class FiguresModel(ApiModel):
    """How often what happened."""

    accepted: int = Field(default=0, description="Messages accepted for sending.")
    sent: int = Field(
        default=0,
        description="Taken by WhatsApp, those included that the account wrote on another device.",
    )
    delivered: int = 0
    read: int = 0
    played: int = 0
    failed: int = 0
    failed_by_reason: dict[str, int] = Field(default_factory=dict)
    uncertain: int = 0
    cancelled: int = 0
    received: int = 0
    delivery_rate: float | None = Field(
        default=None, description="`delivered` by `sent`; null where nothing was sent."
    )
    read_rate: float | None = Field(
        default=None, description="`read` by `delivered`; null where nothing was delivered."
    )
    mean_delivery_seconds: float | None = Field(
        default=None,
        description="From sent to delivered, over the deliveries of which both are known.",
    )


class GroupModel(FiguresModel):
    """The figures of one group."""

    key: str = Field(
        description="When the hour or day begins, the kind, the direction, the status, or the id "
        "of the instance."
    )


class StatisticsModel(ApiModel):
    """What happened in a range of time, on the whole and by groups."""

    since: Time = Field(alias="from")
    until: Time = Field(alias="to")
    by: Grouping
    instance_id: str | None = Field(description="Null for all instances of the subscription.")
    totals: FiguresModel
    groups: list[GroupModel] = Field(description="In order; those in which nothing happened lack.")
