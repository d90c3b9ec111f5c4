"""What an instance's own settings may say, and what holds where they say nothing.

Stored as JSON with camelCase names: of every group only what was set. ``pacing`` is in
``queue_settings``; the rest is here.
"""

from __future__ import annotations

import re
from typing import Any, Self

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from wavisor.whatsapp.content import MediaKind

__all__ = [
    "CallSettings",
    "HistorySettings",
    "MediaSettings",
    "OptOutSettings",
    "PresenceSettings",
    "ReceivingSettings",
    "proxy_of",
]

log = structlog.get_logger(__name__)

_AROUND = re.compile(r"\A[\W_]+|[\W_]+\Z")


class _Group(BaseModel):
    """A group of settings; its key in the stored JSON is ``KEY``."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    @classmethod
    def of(cls, settings: dict[str, Any], defaults: Self | None = None) -> Self:
        """Return the group as an instance's stored settings have it.

        What makes no sense, written by another version perhaps, counts as not set: an instance
        has to run all the same.

        Args:
            settings: the instance's.
            defaults: what holds for what is not set; None for the group's own.
        """
        defaults = defaults or cls()
        stored = settings.get(cls.key())
        if stored is None:
            return defaults
        try:
            # By name, so that either spelling of a field overrides the default.
            chosen = cls.model_validate(stored).model_dump(exclude_unset=True)
            return cls.model_validate(defaults.model_dump() | chosen)
        except ValidationError as error:
            log.warning(
                "settings of an instance are not valid",
                group=cls.key(),
                problems=error.error_count(),
            )
            return defaults

    @classmethod
    def key(cls) -> str:
        """The group's name among an instance's settings."""
        return cls.__name__.removesuffix("Settings").lower()


class ReceivingSettings(_Group):
    """What of others' messages is taken in. What is ignored is neither stored nor told."""

    auto_read: bool = False
    """Tell senders that their messages were read, as soon as they are on disk."""
    ignore_groups: bool = False
    ignore_status: bool = False
    """Others' status posts (stories)."""
    ignore_channels: bool = False
    ignore_broadcast: bool = False
    """Messages of broadcast lists."""


class MediaSettings(_Group):
    """Which files of received messages are fetched, and for how long files are kept."""

    fetch: bool = True
    types: frozenset[MediaKind] | None = None
    """Only these; None for all."""
    max_bytes: int | None = Field(default=None, ge=1)
    """No file larger than this; None for the gateway's own limit, which holds in any case."""
    retention_days: int | None = Field(default=None, ge=0, le=36_500)
    """Days after its last use that a file is kept; 0 for ever, None for the gateway's own rule."""


class HistorySettings(_Group):
    """How much of the past the phone's history sync brings in after linking."""

    per_chat: int = Field(default=0, ge=0, le=1000)
    """Messages of one chat, the newest; 0 for none."""
    total: int = Field(default=0, ge=0, le=50_000)
    """The same over all chats."""


class PresenceSettings(_Group):
    """How the account is seen."""

    always_online: bool = False
    """Seen online for as long as it is connected. The phone then shows no notifications."""


class CallSettings(_Group):
    """What happens to calls."""

    auto_reject: bool = False
    reply_text: str | None = Field(default=None, min_length=1, max_length=4096)
    """Sent to whoever called, through the queue; None for nothing."""

    @classmethod
    def key(cls) -> str:
        """The group's name among an instance's settings."""
        return "calls"


def proxy_of(settings: dict[str, Any]) -> str | None:
    """Return the URL of the proxy that an instance goes through; None for none.

    One that makes no sense is returned as it is: no session can use it, and none goes around it.
    """
    proxy = settings.get("proxy")
    return None if proxy is None else str(proxy)


def _bare(text: str) -> str:
    """Return a text without letter case, and without what stands around its words, if any."""
    folded = text.strip().casefold()
    return _AROUND.sub("", folded) or folded


class OptOutSettings(_Group):
    """By which words people say that they want no campaign."""

    keywords: tuple[str, ...] = Field(default=("STOP",), max_length=20)
    """A message that is one of these puts its sender on the opt-out list; neither letter case nor
    blanks and punctuation around it matter."""

    @field_validator("keywords")
    @classmethod
    def _words(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not one.strip() or len(one) > 50 for one in value):
            raise ValueError("must be words of up to 50 characters")
        return value

    @classmethod
    def key(cls) -> str:
        """The group's name among an instance's settings."""
        return "optOut"

    def means(self, text: str | None) -> bool:
        """Tell whether a message says so."""
        said = _bare(text or "")
        return bool(said) and any(said == _bare(one) for one in self.keywords)
