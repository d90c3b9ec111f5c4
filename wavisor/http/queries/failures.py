"""Why WhatsApp did not answer as wished, and the problem document it becomes."""

from __future__ import annotations

from typing import Any

from wavisor.actors.instance.messages import QueryFailedError, QueryForbiddenError
from wavisor.domain import ALLOWED_COMMANDS
from wavisor.http.failures import as_problem
from wavisor.http.instances.failures import COMMAND_FORBIDDEN
from wavisor.http.problems import (
    BUSY,
    NOT_FOUND,
    VALIDATION_FAILED,
    ProblemError,
    ProblemKind,
)

__all__ = [
    "QUERY_PROBLEMS",
    "WHATSAPP_FORBIDS",
    "WHATSAPP_LIMITS",
    "WHATSAPP_REFUSES",
    "WHATSAPP_SILENT",
]

WHATSAPP_FORBIDS = ProblemKind("whatsapp-forbids", 403, "WhatsApp does not permit the account this")
WHATSAPP_LIMITS = ProblemKind("whatsapp-limits", 429, "WhatsApp limits how often one may ask")
WHATSAPP_REFUSES = ProblemKind(
    "whatsapp-refuses", 502, "WhatsApp refused, or gave no usable answer"
)
WHATSAPP_SILENT = ProblemKind("whatsapp-silent", 504, "WhatsApp did not answer in time")

QUERY_PROBLEMS = (
    COMMAND_FORBIDDEN,
    NOT_FOUND,
    WHATSAPP_FORBIDS,
    WHATSAPP_LIMITS,
    WHATSAPP_REFUSES,
    WHATSAPP_SILENT,
)
"""What every question to WhatsApp may be answered with."""

# WhatsApp does not say until when.
_RETRY_LIMITED = {"Retry-After": "60"}
_RETRY_BUSY = {"Retry-After": "2"}
_KINDS = {
    "not_found": NOT_FOUND,
    "forbidden": WHATSAPP_FORBIDS,
    "invalid": VALIDATION_FAILED,
    "timeout": WHATSAPP_SILENT,
}


@as_problem.register
def _(error: QueryForbiddenError) -> ProblemError:
    return ProblemError(
        COMMAND_FORBIDDEN,
        f"WhatsApp can only be asked while the instance is connected; it is {error.status.value}.",
        extensions={
            "command": "query",
            "instanceStatus": error.status.value,
            "allowed": sorted(ALLOWED_COMMANDS[error.status]),
        },
    )


@as_problem.register
def _(error: QueryFailedError) -> ProblemError:
    detail = f"{error.detail[:1].upper()}{error.detail[1:]}."
    extensions: dict[str, Any] = {"reason": error.reason}
    if error.code is not None:
        extensions["code"] = error.code
    if error.reason == "busy":
        return ProblemError(BUSY, detail, headers=_RETRY_BUSY)
    if error.reason in ("rate_limited", "reach_out_timelock"):
        return ProblemError(WHATSAPP_LIMITS, detail, headers=_RETRY_LIMITED, extensions=extensions)
    if error.reason == "not_connected":
        return ProblemError(COMMAND_FORBIDDEN, detail, extensions={"command": "query"})
    return ProblemError(_KINDS.get(error.reason, WHATSAPP_REFUSES), detail, extensions=extensions)
