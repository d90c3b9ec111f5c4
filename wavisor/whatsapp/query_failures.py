"""Why a query failed, read from the native client's line of text. Runs in session processes.

Sources: whatsmeow ``errors.go``, ``group.go``, ``user.go``, ``types/newsletter.go``. Errors that
it words itself come without WhatsApp's code, so the words are all there is to go by.
"""

from __future__ import annotations

import re
from typing import Literal

from wavisor.whatsapp.events import Failure
from wavisor.whatsapp.failures import query_failure

__all__ = ["QueryRefusedError", "failure_of_query", "outcome_of_code"]

_GRAPHQL = re.compile(r"graphql error: (\d+)")
_WORDED: dict[str, tuple[Literal["not_found", "forbidden", "invalid", "rejected"], str]] = {
    "the user has hidden their profile picture from you": (
        "forbidden",
        "the picture is not shown to this account",
    ),
    "that user or group does not have a profile picture": ("not_found", "there is no picture"),
    "you don't have the permission to get the group's invite link": (
        "forbidden",
        "only admins of the group may see its invite link",
    ),
    "that group invite link is not valid": ("not_found", "the invite link is not valid"),
    "that group invite link has been revoked": ("not_found", "the invite link was revoked"),
    "the given data is not a valid image": ("invalid", "WhatsApp does not accept the picture"),
    "invalid disappearing timer provided": ("invalid", "WhatsApp does not accept the time"),
    "no LID found": ("not_found", "the number has no WhatsApp account"),
    "can't send presence without PushName": (
        "rejected",
        "the account has no name yet, without which WhatsApp accepts no presence",
    ),
    "no app state keys found": (
        "rejected",
        "the phone has not shared the keys for this yet; try again when it was online",
    ),
}
_NOT_FOUND = frozenset({404, 410})
_FORBIDDEN = frozenset({401, 403, 405})
_INVALID = frozenset({400, 406})


class QueryRefusedError(Exception):
    """A query that has no result."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


def failure_of_query(text: str) -> Failure:
    """Return why a query failed.

    Args:
        text: the native client's error.
    """
    for words, (reason, detail) in _WORDED.items():
        if words in text:
            return Failure(reason=reason, detail=detail)
    failure = query_failure(text)
    graphql = _GRAPHQL.search(text)
    if graphql is not None:
        code = int(graphql.group(1))
        failure = failure.model_copy(update={"reason": "rejected", "code": code})
    if failure.reason != "rejected" or failure.code is None:
        return failure
    if failure.code == 429:  # worded as GraphQL, where query_failure does not see it
        return failure.model_copy(update={"reason": "rate_limited"})
    for codes, answered in (
        (_NOT_FOUND, "not_found"),
        (_FORBIDDEN, "forbidden"),
        (_INVALID, "invalid"),
    ):
        if failure.code in codes:
            return failure.model_copy(update={"reason": answered})
    return failure


Outcome = Literal[
    "invitation_needed", "left_recently", "not_found", "already", "forbidden", "refused"
]


def outcome_of_code(code: int) -> Outcome | None:
    """Return why WhatsApp did not change one participant of a group; None if it did.

    Args:
        code: of the participant in the answer; 0 when there is none.
    """
    known: dict[int, Outcome] = {
        401: "forbidden",
        403: "invitation_needed",
        404: "not_found",
        408: "left_recently",
        409: "already",
    }
    return None if code in (0, 200) else known.get(code, "refused")
