"""Opaque cursors: where a list goes on, in a form that clients do not take apart."""

from __future__ import annotations

import base64
import binascii

from wavisor.http.problems import VALIDATION_FAILED, FieldProblem, ProblemError
from wavisor.ids import Kind, normalise_id

__all__ = ["decode_cursor", "encode_cursor", "no_cursor", "pack", "unpack"]

_VERSION = "1:"


def encode_cursor(identifier: str | None) -> str | None:
    """Return the cursor for what follows the item with this id; None for None, the end."""
    if identifier is None:
        return None
    return pack(_VERSION + identifier)


def decode_cursor(cursor: str | None, kind: Kind) -> str | None:
    """Return the id that a cursor stands for; None for the first page.

    Raises:
        ProblemError: it is no cursor of such a list (422).
    """
    if cursor is None:
        return None
    text = unpack(cursor)
    identifier = normalise_id(text.removeprefix(_VERSION), kind)
    if identifier is None or not text.startswith(_VERSION):
        raise no_cursor()
    return identifier


def pack(text: str) -> str:
    """Return the cursor that stands for a text in ASCII."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unpack(cursor: str) -> str:
    """Return the text that a cursor stands for; an empty one for what is no cursor at all."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return ""


def no_cursor() -> ProblemError:
    """Return the problem of a cursor that is none of the list that was asked for (422)."""
    wrong = FieldProblem(detail="is no cursor of this list", parameter="cursor")
    return ProblemError(VALIDATION_FAILED, errors=[wrong])
