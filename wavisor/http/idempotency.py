"""Requests with an ``Idempotency-Key``: done once, and answered alike when they are repeated.

The key is claimed for as long as the request runs: the claim is renewed meanwhile. Should that
fail for long, as while the database is away, a repetition of the request takes the key over; then
the first one does nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from wavisor.http.failures import as_problem
from wavisor.http.problems import VALIDATION_FAILED, FieldProblem, ProblemError, ProblemKind
from wavisor.http.routing import Call, Reply
from wavisor.storage import Claim, ClaimLost, ClaimOutcome, Scope, StorageError, idempotency

__all__ = [
    "IDEMPOTENCY_HEADER",
    "IDEMPOTENCY_PROBLEMS",
    "ClaimedKey",
    "Once",
    "once",
]

KEY_REUSED = ProblemKind("idempotency-key-reused", 422, "The key belongs to another request")
KEY_RUNNING = ProblemKind(
    "request-running",
    409,
    "The same request is being done at this moment",
    "Ask again after `Retry-After` seconds to get its answer.",
)

IDEMPOTENCY_PROBLEMS = (KEY_REUSED, KEY_RUNNING)
IDEMPOTENCY_HEADER = {
    "Idempotency-Key": "Up to 255 visible characters. Repeating a request with the same key gives "
    "the answer to the first one and does nothing again, for 24 hours.",
}
_REPLAYED = {"Idempotency-Replayed": "true"}

_KEY = re.compile(r"\A[\x21-\x7e]{1,255}\Z")
_RETRY_RUNNING = {"Retry-After": "1"}
RENEWAL_SECONDS = idempotency.LEASE.total_seconds() / 5
"""Between two renewals of a claim, so that some of them may fail."""

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True)
class ClaimedKey:
    """A key that a request has claimed."""

    text: str
    token: str

    def finish(self, scope: Scope, status: int, answer: BaseModel) -> None:
        """Keep the answer, in the transaction that does what was asked for. A write."""
        idempotency.finish(
            scope,
            self.text,
            self.token,
            status=status,
            response=answer.model_dump(mode="json", by_alias=True),
        )


@dataclass(frozen=True)
class Once(Generic[ModelT]):
    """A request that is to be done once."""

    key: ClaimedKey | None
    """To be finished by whoever does it; None where no key was given."""
    earlier: ModelT | None = None
    """The answer to the same request, which was done already: then it is not done again."""
    status: int = HTTPStatus.OK
    """Of the earlier answer."""

    def replay(self, location: Callable[[ModelT], str] | None = None) -> Reply | None:
        """Return the earlier answer as it is given again; None when there is none.

        Args:
            location: tells where the resource of an answer is; None for those that have none.
        """
        if self.earlier is None:
            return None
        headers = {} if location is None else {"Location": location(self.earlier)}
        return Reply(self.earlier, self.status, {**headers, **_REPLAYED})


@asynccontextmanager
async def once(
    call: Call[Any, Any], about: str, model: type[ModelT]
) -> AsyncIterator[Once[ModelT]]:
    """Claim the key of a request, if it has one, for what is done in the context.

    Args:
        call: the request.
        about: what it is about beyond its operation, path and body.
        model: of its answer.

    Raises:
        ProblemError: the key cannot be used; or what the context raises, which frees the key.
    """
    claim, key = await _claim(call, about)
    if claim is not None and claim.outcome is not ClaimOutcome.NEW:
        earlier = model.model_validate(claim.response)
        yield Once(None, earlier, claim.status or HTTPStatus.OK)
        return
    if key is None:
        yield Once(None)
        return
    renewal = asyncio.create_task(_keep(call, key))
    try:
        yield Once(key)
    except BaseException:
        # In a task of its own: it has to happen even when this one is cancelled.
        await asyncio.shield(asyncio.ensure_future(_abandon(call, key)))
        raise
    finally:
        renewal.cancel()


async def _keep(call: Call[Any, Any], key: ClaimedKey) -> None:
    """Renew a claim until it is finished, or cancelled."""
    kept = True
    while kept:
        await asyncio.sleep(RENEWAL_SECONDS)
        with suppress(StorageError):  # the next renewal may succeed
            kept = await call.services.database.commit(
                idempotency.renew, Scope(call.principal.subscription_id), key.text, key.token
            )


@as_problem.register
def _(_error: ClaimLost) -> ProblemError:
    return ProblemError(
        KEY_RUNNING,
        "This one took so long that a repetition took its key over; nothing of it was done.",
        headers=_RETRY_RUNNING,
    )


async def _claim(call: Call[Any, Any], about: str) -> tuple[Claim | None, ClaimedKey | None]:
    given = call.headers.get_list("Idempotency-Key")
    if not given:
        return None, None
    if len(given) > 1 or not _KEY.match(given[0]):
        problem = FieldProblem(
            detail="must be given once, with 1 to 255 visible ASCII characters",
            parameter="Idempotency-Key",
        )
        raise ProblemError(VALIDATION_FAILED, errors=[problem])
    digest = hashlib.sha256(f"{call.fingerprint()} {about}".encode()).hexdigest()
    claim = await call.services.database.commit(
        idempotency.begin, Scope(call.principal.subscription_id), given[0], digest
    )
    if claim.outcome is ClaimOutcome.CONFLICT:
        raise ProblemError(KEY_REUSED, "This Idempotency-Key was used for another request.")
    if claim.outcome is ClaimOutcome.RUNNING:
        raise ProblemError(KEY_RUNNING, headers=_RETRY_RUNNING)
    return claim, None if claim.token is None else ClaimedKey(given[0], claim.token)


async def _abandon(call: Call[Any, Any], key: ClaimedKey) -> None:
    await call.services.database.commit(
        idempotency.abandon, Scope(call.principal.subscription_id), key.text, key.token
    )
