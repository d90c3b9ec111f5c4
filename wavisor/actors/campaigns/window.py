"""The hours in which a campaign may write to people."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

__all__ = ["SendingWindow"]


class SendingWindow(BaseModel):
    """From ``start`` to ``end`` on the days named, over midnight when it ends before it starts."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    start: time
    end: time
    time_zone: str = Field(default="UTC", description="IANA name such as `Europe/Berlin`.")
    days: frozenset[int] = Field(
        default=frozenset(range(1, 8)),
        min_length=1,
        description="Days of the week on which it begins: 1 for Monday to 7 for Sunday.",
    )

    @field_validator("start", "end")
    @classmethod
    def _local(cls, value: time) -> time:
        if value.tzinfo is not None:
            raise ValueError("must be a time of day without a zone")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            if value != "UTC":
                ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is no time zone such as Europe/Berlin") from None
        return value

    @field_validator("days")
    @classmethod
    def _week(cls, value: frozenset[int]) -> frozenset[int]:
        if not value <= frozenset(range(1, 8)):
            raise ValueError("must be numbers from 1 (Monday) to 7 (Sunday)")
        return value

    @model_validator(mode="after")
    def _not_empty(self) -> SendingWindow:
        if self.start == self.end:
            raise ValueError("must not end when it starts")
        return self

    def holds(self, now: datetime) -> bool:
        """Tell whether a moment is within.

        Args:
            now: the moment, with its zone.
        """
        local = now.astimezone(UTC if self.time_zone == "UTC" else ZoneInfo(self.time_zone))
        at, day = local.timetz().replace(tzinfo=None), local.isoweekday()
        if self.start < self.end:
            return self.start <= at < self.end and day in self.days
        before = (local - timedelta(days=1)).isoweekday()
        return (at >= self.start and day in self.days) or (at < self.end and before in self.days)
