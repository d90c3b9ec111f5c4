"""What the repository of templates takes and returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["NewTemplateVersion", "TemplateRecord"]


@dataclass(frozen=True, slots=True)
class NewTemplateVersion:
    """What a template is to say."""

    kind: str
    content: dict[str, Any] = field(repr=False)
    variables: list[dict[str, Any]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TemplateRecord:
    """A template in one of its versions."""

    id: str
    subscription_id: str
    name: str
    description: str | None
    latest_version: int
    created_at: datetime
    updated_at: datetime
    version: int
    """The one that the rest is about."""
    kind: str
    content: dict[str, Any] = field(repr=False)
    variables: list[dict[str, Any]] = field(repr=False)
    version_created_at: datetime
