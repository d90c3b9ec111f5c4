"""What every wire model shares: camelCase names, no unknown fields, bounded text, pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from wavisor.clock import format_time

__all__ = ["ApiModel", "Empty", "Moment", "Name", "Page", "PageQuery", "Time"]

ItemT = TypeVar("ItemT", bound=BaseModel)


class ApiModel(BaseModel):
    """Base of everything that is read from or written to the wire."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        serialize_by_alias=True,
    )


class Empty(ApiModel):
    """A body without fields; sending none at all is the same."""


Name = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$"
    ),
]
"""A name that people give to something: one line of text."""

Time = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str, when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""A moment, written in UTC with milliseconds and ``Z``."""


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is beyond the years 1 to 9999 in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A moment that clients give, with its time zone; in UTC from then on."""


class PageQuery(ApiModel):
    """The query parameters of every list."""

    limit: int = Field(default=50, ge=1, le=200, description="How many items at most.")
    cursor: str | None = Field(
        default=None, min_length=1, max_length=512, description="`nextCursor` of the page before."
    )


class Page(ApiModel, Generic[ItemT]):
    """A part of a list."""

    items: list[ItemT]
    next_cursor: str | None = Field(
        default=None, description="Pass it as `cursor` for the next page; null on the last one."
    )
