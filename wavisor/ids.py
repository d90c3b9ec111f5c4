"""Prefixed ULIDs: ids that say what they name and sort by the time they were made."""

from __future__ import annotations

import re
from enum import StrEnum

from ulid import ULID, LaxMonotonicPolicy, ULIDGenerator

__all__ = ["Kind", "new_id", "normalise_id"]

# Crockford's base 32 as ULID uses it; the first character holds three bits only.
_FORM = re.compile(r"\A([a-z]{2,4})_([0-7][0-9A-HJKMNP-TV-Z]{25})\Z")

# Ids made within one millisecond still ascend, so that lists sorted by id keep their order.
_generator = ULIDGenerator(policy=LaxMonotonicPolicy())


class Kind(StrEnum):
    """What an id names, told by its prefix."""

    SUBSCRIPTION = "sub"
    USER = "usr"
    INSTANCE = "ins"
    API_KEY = "key"
    INVITATION = "inv"
    MESSAGE = "msg"
    MEDIA = "med"
    EVENT = "evt"
    WEBHOOK = "wh"
    DELIVERY = "dlv"
    AUDIT = "aud"
    TEMPLATE = "tpl"
    CAMPAIGN = "cmp"
    TOKEN = "tok"  # noqa: S105 - a prefix, no secret
    REQUEST = "req"


def new_id(kind: Kind) -> str:
    """Return a new id such as ``ins_01K9Z3…``: the kind's prefix and an upper-case ULID."""
    return f"{kind.value}_{_generator.generate()}"


def normalise_id(text: str, kind: Kind) -> str | None:
    """Return ``text`` in its canonical letter case, or None when it is no id of that kind.

    Ids are accepted in any letter case, because proxies, spreadsheets and people change it.
    """
    prefix, _, rest = text.partition("_")
    canonical = f"{prefix.lower()}_{rest.upper()}"
    match = _FORM.match(canonical)
    if match is None or match.group(1) != kind.value:
        return None
    return canonical


def timestamp_of(identifier: str) -> float:
    """Return the time at which an id was made, in seconds since the epoch."""
    return ULID.from_str(identifier.partition("_")[2]).timestamp
