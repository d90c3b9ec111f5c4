"""Which of several forms of an answer a client wants (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["preferred_type"]


def preferred_type(accept: str | None, offered: Sequence[str]) -> str | None:
    """Return the offered media type that the client likes best; None when it accepts none.

    Args:
        accept: the header ``Accept``; None or empty accepts everything.
        offered: media types without parameters; of those liked equally the first one wins.
    """
    if not accept or not accept.strip():
        return offered[0]
    ranges = [_parse(part) for part in accept.split(",") if part.strip()]
    rated = [(_quality(media_type, ranges), media_type) for media_type in offered]
    best = max(quality for quality, _ in rated)
    if best <= 0:
        return None
    return next(media_type for quality, media_type in rated if quality == best)


def _parse(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
            return media_range, quality if 0.0 <= quality <= 1.0 else 0.0
    return media_range, 1.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return what the most specific range that fits says."""
    main = media_type.partition("/")[0]
    for wanted in (media_type, f"{main}/*", "*/*"):
        for media_range, quality in ranges:
            if media_range == wanted:
                return quality
    return 0.0
