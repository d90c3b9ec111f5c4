"""Problem documents (RFC 9457): the one form in which this API says no.

A kind of problem is declared once as a :class:`ProblemKind`; routes name the kinds they may
answer with, handlers raise :class:`ProblemError`, and the framework writes the document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, Field

from wavisor.http.schemas import ApiModel

__all__ = [
    "ADDRESS_NOT_ALLOWED",
    "BODY_TOO_LARGE",
    "BUSY",
    "CONTENT_TYPE_UNSUPPORTED",
    "DAILY_LIMIT_REACHED",
    "FORBIDDEN",
    "INTERNAL_ERROR",
    "INVALID_TOKEN",
    "LIMIT_REACHED",
    "MALFORMED_REQUEST",
    "METHOD_NOT_ALLOWED",
    "NOT_ACCEPTABLE",
    "NOT_FOUND",
    "RATE_LIMITED",
    "SUBSCRIPTION_SUSPENDED",
    "TIER_LIMIT_REACHED",
    "TOO_MANY_ATTEMPTS",
    "VALIDATION_FAILED",
    "FieldProblem",
    "Problem",
    "ProblemError",
    "ProblemKind",
    "pointer_to",
]

BEARER_CHALLENGE = 'Bearer realm="wavisor"'
MEDIA_TYPE = "application/problem+json"

_SUMMARISED = 3


@dataclass(frozen=True)
class ProblemKind:
    """What can go wrong: its lasting name, its HTTP status, its title, and what can be done."""

    slug: str
    """Lower-case words joined by hyphens; a part of the document's ``type`` and never changed."""
    status: int
    title: str
    advice: str | None = None
    """The ``detail`` of documents where nothing more is known; whoever raises it may say more."""

    @property
    def type(self) -> str:
        """The URI that clients may compare; a URN, because an installation has no fixed host."""
        return f"urn:wavisor:problem:{self.slug}"


MALFORMED_REQUEST = ProblemKind("malformed-request", 400, "The request cannot be read")
INVALID_TOKEN = ProblemKind("invalid-token", 401, "A valid access token or API key is needed")
FORBIDDEN = ProblemKind("forbidden", 403, "Your role does not permit this")
SUBSCRIPTION_SUSPENDED = ProblemKind(
    "subscription-suspended",
    403,
    "The subscription is suspended",
    "Whoever runs the gateway can let it go on.",
)
ADDRESS_NOT_ALLOWED = ProblemKind(
    "address-not-allowed",
    403,
    "The API key may not be used from this address",
    "The key's `addresses` do not have it.",
)
NOT_FOUND = ProblemKind(
    "not-found",
    404,
    "There is no such thing",
    "The path is unknown, or names what does not exist or is not yours.",
)
METHOD_NOT_ALLOWED = ProblemKind(
    "method-not-allowed",
    405,
    "The method is not allowed here",
    "The header `Allow` names those that are.",
)
NOT_ACCEPTABLE = ProblemKind("not-acceptable", 406, "None of the accepted media types is offered")
BODY_TOO_LARGE = ProblemKind("body-too-large", 413, "The request body is too large")
CONTENT_TYPE_UNSUPPORTED = ProblemKind(
    "content-type-unsupported", 415, "The content type is not supported"
)
RATE_LIMITED = ProblemKind("rate-limited", 429, "Too many requests")
TIER_LIMIT_REACHED = ProblemKind(
    "tier-limit-reached", 409, "The subscription has as many of these as it may have"
)
LIMIT_REACHED = ProblemKind("limit-reached", 409, "There are as many as there may be")
VALIDATION_FAILED = ProblemKind("validation-failed", 422, "The request is well-formed but wrong")
DAILY_LIMIT_REACHED = ProblemKind(
    "daily-limit-reached", 429, "The subscription's messages of the day are used up"
)
TOO_MANY_ATTEMPTS = ProblemKind("too-many-attempts", 429, "Too many attempts")
INTERNAL_ERROR = ProblemKind(
    "internal-error",
    500,
    "Something went wrong on our side",
    "The log of the gateway says more under this `requestId`.",
)
BUSY = ProblemKind("busy", 503, "The service is busy; try again shortly")


def pointer_to(path: Sequence[str | int]) -> str:
    """Return the JSON pointer, as a URI fragment, of a place in a body.

    Args:
        path: the names and numbers that lead there; long ones are shortened.
    """
    parts = (str(part).encode("utf-8", "replace").decode("utf-8")[:100] for part in path)
    return "#" + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


class FieldProblem(ApiModel):
    """One thing that is wrong with a request."""

    detail: str
    pointer: str | None = Field(
        default=None,
        description="JSON pointer into the request body, as a URI fragment: `#/email`.",
    )
    parameter: str | None = Field(default=None, description="The query or header parameter.")


class Problem(ApiModel):
    """A problem document as in RFC 9457; some kinds have further members, such as `allowed`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="What kind of problem it is; compare this, not the texts.")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What is wrong this time, or what can be done about it.")
    instance: str = Field(description="The path that was asked for.")
    request_id: str = Field(description="The same as in `X-Request-Id` and in the log.")
    errors: list[FieldProblem] | None = None


class ProblemError(Exception):
    """Raised to answer a request with a problem document.

    Args:
        kind: what went wrong in general.
        detail: what went wrong this time; shown to the client, so it holds no secret.
        errors: the fields that are wrong, for validation.
        headers: more headers for the answer, such as ``Retry-After``.
        extensions: more members for the document, with camelCase names.
    """

    def __init__(
        self,
        kind: ProblemKind,
        detail: str | None = None,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or kind.title)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})

    def document(self, *, path: str, request_id: str) -> dict[str, Any]:
        """Return the problem document, without ``errors`` where there are none."""
        problem = Problem(
            type=self.kind.type,
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail or _summary(self.errors) or self.kind.advice or self.kind.title,
            instance=path,
            request_id=request_id,
            errors=list(self.errors) or None,
        )
        return self.extensions | problem.model_dump(mode="json", by_alias=True, exclude_none=True)


def _summary(errors: Sequence[FieldProblem]) -> str | None:
    """Return what is wrong with the fields in one sentence, for whoever looks no further."""
    told = [
        f"{one.pointer or one.parameter}: {one.detail}"
        if one.pointer or one.parameter
        else one.detail
        for one in errors[:_SUMMARISED]
    ]
    if len(errors) > _SUMMARISED:
        told.append(f"and {len(errors) - _SUMMARISED} more")
    return "; ".join(told) or None
