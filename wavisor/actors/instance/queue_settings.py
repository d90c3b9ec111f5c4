"""How fast an instance sends: what its settings may say, and what holds where they say nothing.

These are the parts ``pacing`` of an instance's settings. On the wire their names are camelCase.
"""

from __future__ import annotations

from datetime import UTC, time, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

__all__ = ["PacingSettings", "QuietHours", "WarmUp", "pacing_of"]

log = structlog.get_logger(__name__)

_KEY = "pacing"


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class QuietHours(_Settings):
    """When nothing is sent, each day; over midnight when it ends before it starts."""

    start: time
    end: time

    @field_validator("start", "end")
    @classmethod
    def _local(cls, value: time) -> time:
        if value.tzinfo is not None:
            raise ValueError("must be a time of day without a zone")
        return value


class WarmUp(_Settings):
    """How many messages a newly linked number sends a day, doubled each day it has been linked."""

    days: int = Field(default=7, ge=0, le=90)
    """For so long; 0 for none."""
    messages: int = Field(default=100, ge=1)
    """On the first day."""
    new_contacts: int = Field(default=20, ge=1)
    """On the first day: to how many people the first message ever."""


class PacingSettings(_Settings):
    """How an instance spaces what it sends."""

    enabled: bool = True
    """False sends as fast as WhatsApp takes it; its own refusals are respected all the same."""
    messages_per_minute: float = Field(default=20.0, ge=0.01, le=600)
    """On average, while there is always something to send; one in 100 minutes at least."""
    jitter: float = Field(default=0.5, ge=0, le=1.5)
    """How uneven the pauses are: the sigma of their log-normal distribution; 0 for even ones."""
    messages_per_day: int | None = Field(default=None, ge=1)
    new_contacts_per_day: int | None = Field(default=None, ge=0)
    warm_up: WarmUp = WarmUp()
    quiet_hours: QuietHours | None = None
    time_zone: str = "UTC"
    """IANA name: where days begin and quiet hours are meant."""

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        _zone(value)
        return value

    @property
    def zone(self) -> tzinfo:
        """The time zone."""
        return _zone(self.time_zone)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no time zone such as Europe/Berlin") from None


def pacing_of(settings: dict[str, Any], defaults: PacingSettings) -> PacingSettings:
    """Return the pacing of an instance.

    Args:
        settings: The instance's settings as stored; of ``pacing`` only what differs.
        defaults: What holds for the rest. It also holds when what is stored makes no sense.
    """
    stored = settings.get(_KEY)
    if stored is None:
        return defaults
    try:
        # Round trips by alias, so that either spelling of a name overrides the default.
        chosen = PacingSettings.model_validate(stored).model_dump(exclude_unset=True)
        return PacingSettings.model_validate(defaults.model_dump() | chosen)
    except ValidationError as error:
        log.warning("the pacing of an instance is not valid", problems=error.error_count())
        return defaults
