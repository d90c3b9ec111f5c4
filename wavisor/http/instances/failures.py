"""What can go wrong with an instance, and the problem document it becomes."""

from __future__ import annotations

from wavisor.actors.instance.messages import CommandForbiddenError, PairingFailedError
from wavisor.http.failures import as_problem
from wavisor.http.problems import (
    NOT_FOUND,
    VALIDATION_FAILED,
    FieldProblem,
    ProblemError,
    ProblemKind,
)
from wavisor.storage import NotFound

__all__ = ["COMMAND_FORBIDDEN", "NO_QR_CODE", "PAIRING_FAILED"]

COMMAND_FORBIDDEN = ProblemKind(
    "command-forbidden", 409, "The instance's status does not allow this"
)
NO_QR_CODE = ProblemKind("no-qr-code", 409, "There is no QR code to scan at the moment")
PAIRING_FAILED = ProblemKind("pairing-failed", 502, "WhatsApp gave no pairing code")


@as_problem.register
def _(error: CommandForbiddenError) -> ProblemError:
    return ProblemError(
        COMMAND_FORBIDDEN,
        error.detail,
        extensions={
            "command": error.command.value,
            "instanceStatus": error.status.value,
            "allowed": sorted(error.allowed),
        },
    )


@as_problem.register
def _(error: PairingFailedError) -> ProblemError:
    if error.reason == "invalid":
        wrong = FieldProblem(detail="WhatsApp does not accept this number", pointer="#/phone")
        return ProblemError(VALIDATION_FAILED, errors=[wrong])
    return ProblemError(PAIRING_FAILED, error.detail, extensions={"reason": error.reason})


@as_problem.register
def _(_error: NotFound) -> ProblemError:
    # The row was there when the request was admitted, and was deleted meanwhile.
    return ProblemError(NOT_FOUND)
