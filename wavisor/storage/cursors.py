"""Cursors of lists that are in the order of a time, and of a number where times are equal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["cursor_of", "following"]

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)


def cursor_of(at: datetime, number: int) -> str:
    """Return the cursor for what follows the row with this time and number."""
    return f"{(at - _EPOCH) // _MICROSECOND}.{number}"


def following(time_column: Any, number_column: Any, cursor: str) -> Any:
    """Return the condition on rows that follow in a list whose latest come first.

    Raises:
        ValueError: ``cursor`` is none of ours.
    """
    micros, _, digits = cursor.partition(".")
    try:
        at, number = _EPOCH + int(micros) * _MICROSECOND, int(digits)
    except OverflowError as error:
        raise ValueError("no cursor") from error
    # Not a plain OR: of this one an index on the two columns reads nothing but the page.
    return (time_column <= at) & ((time_column < at) | (number_column < number))
