"""Which types of events a filter means: the same words on the feed and for webhooks."""

from __future__ import annotations

from collections.abc import Iterable

from wavisor.domain import EventType

__all__ = ["EVERYTHING", "covers", "fitting_types"]

EVERYTHING = "*"


def fitting_types(pattern: str) -> frozenset[str]:
    """Return the types that a pattern means, of those that there are.

    Args:
        pattern: a type, ``*``, or a beginning such as ``message:*``.
    """
    return frozenset(kind.value for kind in EventType if covers((pattern,), kind.value))


def covers(patterns: Iterable[str], event_type: str) -> bool:
    """Tell whether one of the patterns means a type, be it one that came with a later version."""
    return any(
        pattern in (EVERYTHING, event_type)
        or (pattern.endswith(":*") and event_type.startswith(pattern[:-1]))
        for pattern in patterns
    )
