"""Cursors of lists that storage numbers instead of ordering them by id."""

from __future__ import annotations

import base64
import binascii
import re

from wavisor.http.problems import VALIDATION_FAILED, FieldProblem, ProblemError

__all__ = ["decode_position", "encode_position"]

_FORM = re.compile(r"\An:([0-9]{1,18})\Z")
_PLACE = re.compile(r"\An:(-?[0-9]{1,17}\.[0-9]{1,18})\Z")


def encode_position(number: str | None) -> str | None:
    """Return the cursor for what follows the item with this number; None for None, the end."""
    if number is None:
        return None
    return base64.urlsafe_b64encode(f"n:{number}".encode()).decode().rstrip("=")


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
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    match = (_PLACE if in_time else _FORM).match(text)
    if match is None:
        raise ProblemError(
            VALIDATION_FAILED,
            errors=[FieldProblem(detail="is no cursor of this list", parameter="cursor")],
        )
    return match.group(1)
