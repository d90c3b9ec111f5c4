"""Parts of a file, as clients ask for them (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re

__all__ = ["RangeNotSatisfiableError", "is_named", "part_of"]

# Python reads no longer numbers (sys.int_info.default_max_str_digits).
_RANGE = re.compile(r"\A\s*bytes\s*=\s*([0-9]{0,4000})\s*-\s*([0-9]{0,4000})\s*\Z", re.IGNORECASE)


class RangeNotSatisfiableError(Exception):
    """Nothing of the file lies in the part that was asked for."""


def part_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte of the part that a ``Range`` header asks for, and how many bytes.

    Args:
        header: the header; None where there is none.
        size: of the file, in bytes.

    Returns:
        None for the whole file: also for several parts and for what is no range, as a server
        may always answer with everything.

    Raises:
        RangeNotSatisfiableError: it begins behind the end of the file.
    """
    match = None if header is None else _RANGE.match(header)
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        length = min(int(last), size)
        if length == 0:
            raise RangeNotSatisfiableError
        return size - length, length
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    if start >= size:
        raise RangeNotSatisfiableError
    return start, end - start + 1


def is_named(header: str | None, etag: str) -> bool:
    """Tell whether an ``If-None-Match`` header names this version, or any."""
    if header is None:
        return False
    named = [one.strip().removeprefix("W/") for one in header.split(",")]
    return etag in named or "*" in named
