"""What every wire model shares: camelCase names, no unknown fields, bounded text, pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from wavisor.clock import format_time

__all__ = [
    "ApiModel",
    "Empty",
    "Moment",
    "Name",
    "Page",
    "PageQuery",
    "Time",
    "plain_message",
]

ItemT = TypeVar("ItemT", bound=BaseModel)


# What pydantic says of a secret text, which it takes for a collection.
_LENGTH = re.compile(
    r"\AValue should have at (least|most) (\d+) items? after validation, not \d+\Z"
)


def plain_message(message: str) -> str:
    """Return what pydantic says of a value in words for people who do not know pydantic.

    Args:
        message: the ``msg`` of an error.
    """
    words = _LENGTH.sub(r"Should have at \1 \2 characters", message)
    return words.removeprefix("Value error, ")


class ApiModel(BaseModel):
    """Base of everything that is read from or written to the wire.

    What validates and writes a model is built when it is first used, in 1 to 7 ms and by whichever
    thread that is. There are more than 200: to build all of them took 3 MB and a tenth of the
    start's time, though a gateway uses some in its first minutes and others never.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        serialize_by_alias=True,
        defer_build=True,
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


_DATE_FIRST = re.compile(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
_ANY_MOMENT = TypeAdapter(AwareDatetime)


def _from_text(value: Any) -> Any:
    """Read a moment that is text; pydantic alone would take digits for seconds since 1970."""
    if not isinstance(value, str):
        return value
    if not _DATE_FIRST.match(value):
        raise ValueError("is no time in ISO 8601, such as 2026-01-31T12:00:00Z")
    try:
        return _ANY_MOMENT.validate_strings(value)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"]) from None


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is beyond the years 1 to 9999 in UTC") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_from_text), AfterValidator(_in_utc)]
"""A moment that clients give in ISO 8601, with its time zone; in UTC from then on."""


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
