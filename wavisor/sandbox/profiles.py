"""What accounts and groups show of themselves: pictures, and the profiles of businesses."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

__all__ = ["BusinessProfile", "Picture"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A profile picture: its number, the JPEG, and where the media host has it."""

    content: bytes = field(repr=False)
    direct_path: str
    id: str = field(default_factory=lambda: str(1_600_000_000 + secrets.randbelow(100_000_000)))


@dataclass(frozen=True, slots=True)
class BusinessProfile:
    """What a shop tells about itself. ``hours`` are day (``mon`` …), opening and closing minute."""

    address: str = ""
    email: str = ""
    category: str = ""
    timezone: str = "America/New_York"
    hours: tuple[tuple[str, int, int], ...] = ()
