"""What all groups of settings share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["DAY", "MIB", "SettingsGroup"]

MIB = 1024 * 1024
"""In bytes."""
DAY = 86_400.0
"""In seconds."""


class SettingsGroup(BaseModel):
    """Settings of one part of the gateway: frozen, checked, and nothing but what is known."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )
