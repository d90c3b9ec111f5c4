"""Cursors of lists that storage numbers instead of ordering them by id."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from wavisor.http.pagination import no_cursor, pack, unpack

__all__ = ["decode_position", "encode_position"]

_FORM = re.compile(r"\An:([0-9]{1,18})\Z")
_EPOCH = datetime.fromtimestamp(0, UTC)
_PLACE = re.compile(r"\An:(-?[0-9]{1,17}\.[0-9]{1,18})\Z")


def _is_in_calendar(place: str) -> bool:
    try:
        _EPOCH + timedelta(microseconds=int(place.partition(".")[0]))
    except OverflowError:
        return False
    return True


def encode_position(number: str | None) -> str | None:
    """Return the cursor for what follows the item with this number; None for None, the end."""
    if number is None:
        return None
    return pack(f"n:{number}")


def decode_position(cursor: str | None, *, in_time: bool = False) -> str | None:
    """Return the number that a cursor stands for, in digits; None for the first page.

    Args:
        cursor: As the client gave it.
        in_time: The list is in the order of a time, and its cursors are a time and a number.

    Raises:
        ProblemError: it is no cursor of such a list (422).
    """
    if cursor is None:
        return None
    match = (_PLACE if in_time else _FORM).match(unpack(cursor))
    if match is None or (in_time and not _is_in_calendar(match.group(1))):
        raise no_cursor()
    return match.group(1)
