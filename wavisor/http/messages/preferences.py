"""The request header ``Prefer`` (RFC 7240), as far as sends heed it."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["WAIT_LIMIT_SECONDS", "preferred_wait"]

WAIT_LIMIT_SECONDS = 60
"""The longest that an answer is held."""

_WAIT = re.compile(r'\Await\s*=\s*"?([0-9]{1,9})"?\Z', re.IGNORECASE)


def preferred_wait(values: Sequence[str]) -> int:
    """Return for how many seconds the client wants to wait; 0 when it does not say.

    What is not understood is ignored, as the RFC demands. Of several the first counts.

    Args:
        values: the headers ``Prefer`` of the request.
    """
    for value in values:
        for preference in value.split(","):
            match = _WAIT.match(preference.partition(";")[0].strip())
            if match is not None:
                return min(int(match.group(1)), WAIT_LIMIT_SECONDS)
    return 0
