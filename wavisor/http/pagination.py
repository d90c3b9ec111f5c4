"""Opaque cursors: where a list goes on, in a form that clients do not take apart."""

from __future__ import annotations

import base64
import binascii

from wavisor.http.problems import VALIDATION_FAILED, FieldProblem, ProblemError
from wavisor.ids import Kind, normalise_id

__all__ = ["decode_cursor", "encode_cursor"]

_VERSION = "1:"


def encode_cursor(identifier: str | None) -> str | None:
    """Return the cursor for what follows the item with this id; None for None, the end."""
    if identifier is None:
        return None
    return base64.urlsafe_b64encode((_VERSION + identifier).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, kind: Kind) -> str | None:
    """Return the id that a cursor stands for; None for the first page.

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
    identifier = normalise_id(text.removeprefix(_VERSION), kind)
    if identifier is None or not text.startswith(_VERSION):
        raise ProblemError(
            VALIDATION_FAILED,
            errors=[FieldProblem(detail="is no cursor of this list", parameter="cursor")],
        )
    return identifier
