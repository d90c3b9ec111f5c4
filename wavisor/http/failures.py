"""Which problem an exception of a lower layer is answered with."""

from __future__ import annotations

import math
from functools import singledispatch

from pydantic.alias_generators import to_camel

from wavisor.actors.instances import InstanceUnavailableError
from wavisor.http.problems import (
    BUSY,
    DAILY_LIMIT_REACHED,
    LIMIT_REACHED,
    TIER_LIMIT_REACHED,
    ProblemError,
)
from wavisor.storage import DatabaseBusy, DatabaseUnavailable, LimitReached, TooMany

__all__ = ["as_problem"]

_RETRY_SOON = {"Retry-After": "1"}
_RETRY_LATER = {"Retry-After": "5"}


@singledispatch
def as_problem(_: Exception) -> ProblemError | None:
    """Return the problem that an exception stands for; None when it is a mistake of ours.

    More types are added with ``@as_problem.register``.
    """
    return None


@as_problem.register
def _(error: ProblemError) -> ProblemError:
    return error


@as_problem.register
def _(_error: DatabaseBusy) -> ProblemError:
    return ProblemError(BUSY, "The database is busy.", headers=_RETRY_SOON)


@as_problem.register
def _(_error: DatabaseUnavailable) -> ProblemError:
    return ProblemError(BUSY, "The database cannot be reached.", headers=_RETRY_LATER)


@as_problem.register
def _(_error: InstanceUnavailableError) -> ProblemError:
    return ProblemError(BUSY, "The instance did not answer in time.", headers=_RETRY_SOON)


@as_problem.register
def _(error: LimitReached) -> ProblemError:
    resource = to_camel(error.resource.value)
    facts = {"tier": error.tier.value, "resource": resource, "limit": error.limit}
    detail = f"The subscription may have {error.limit} {error.resource.noun}."
    if error.seconds is None:
        return ProblemError(TIER_LIMIT_REACHED, detail, extensions=facts)
    wait = str(max(1, math.ceil(error.seconds)))
    return ProblemError(
        DAILY_LIMIT_REACHED, detail, headers={"Retry-After": wait}, extensions=facts
    )


@as_problem.register
def _(error: TooMany) -> ProblemError:
    return ProblemError(
        LIMIT_REACHED,
        f"There may be {error.limit} {error.things} at most.",
        extensions={"limit": error.limit},
    )
