"""What can go wrong with people, and the problem document it becomes."""

from __future__ import annotations

from wavisor.http.failures import as_problem
from wavisor.http.problems import ProblemError, ProblemKind
from wavisor.storage import AboveOwnRole, AlreadyMember, InvitationInvalid, LastOwner

__all__ = ["ABOVE_OWN_ROLE", "ALREADY_MEMBER", "INVITATION_INVALID", "LAST_OWNER"]

ABOVE_OWN_ROLE = ProblemKind(
    "above-own-role",
    403,
    "Your own role is below that",
    "Nobody gives a role above their own, or changes or removes somebody above them.",
)
ALREADY_MEMBER = ProblemKind(
    "already-member",
    409,
    "This person is in your subscription already",
    "A role is changed with PATCH /api/users/{id}.",
)
LAST_OWNER = ProblemKind("last-owner", 409, "The subscription needs an owner")
INVITATION_INVALID = ProblemKind("invitation-invalid", 404, "There is no such invitation")


@as_problem.register
def _(_error: AboveOwnRole) -> ProblemError:
    return ProblemError(ABOVE_OWN_ROLE)


@as_problem.register
def _(_error: AlreadyMember) -> ProblemError:
    return ProblemError(ALREADY_MEMBER)


@as_problem.register
def _(_error: LastOwner) -> ProblemError:
    return ProblemError(LAST_OWNER, "Make somebody else an OWNER first.")


@as_problem.register
def _(_error: InvitationInvalid) -> ProblemError:
    # Used, revoked, expired or never there: a stranger learns nothing from the difference.
    return ProblemError(INVITATION_INVALID, "It was used or revoked, has expired, or never was.")
