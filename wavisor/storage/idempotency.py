"""Requests that must not be done twice: a key each, and the answer that was given.

Whoever begins a request claims its key. The end of the claim belongs into the very transaction
that does what was asked for: then either both are stored or neither, whenever the process dies,
and a claim that was left open, and not renewed for a while, can be taken over.
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta
from typing import Any

from wavisor.storage import current
from wavisor.storage.errors import ClaimLost
from wavisor.storage.message_records import Claim, ClaimOutcome
from wavisor.storage.models import IdempotencyKey
from wavisor.storage.prepared import Prepared
from wavisor.storage.scope import Scope

__all__ = ["KEPT_FOR", "LEASE", "abandon", "begin", "finish", "purge", "renew"]

KEPT_FOR = timedelta(hours=24)
"""How long the answer to a key is remembered."""

LEASE = timedelta(minutes=5)
"""After this a claim that was neither finished nor renewed counts as left by a dead process."""


_CLAIM = Prepared(
    lambda slot: (
        IdempotencyKey.insert(
            {
                IdempotencyKey.subscription: slot("scope"),
                IdempotencyKey.key: slot("key"),
                IdempotencyKey.request_hash: slot("request_hash"),
                IdempotencyKey.token: slot("token"),
                IdempotencyKey.created_at: slot("created_at"),
            }
        )
        .on_conflict_ignore()
        .returning(IdempotencyKey.token)
    )
)
_FINISH = Prepared(
    lambda slot: (
        Scope(slot("scope"))
        .update(IdempotencyKey, status=slot("status"), response=slot("response"))
        .where(
            IdempotencyKey.key == slot("key"),
            IdempotencyKey.token == slot("token"),
            IdempotencyKey.status.is_null(),
        )
    )
)


def begin(scope: Scope, key: str, request_hash: str, *, lease: timedelta = LEASE) -> Claim:
    """Claim a key for a request, or learn what became of it. A write.

    Args:
        scope: The tenant, whose keys are its own.
        key: As the client chose it.
        request_hash: Tells one request from another.
        lease: How long a claim lasts that is not renewed.
    """
    now, token = current.now(), secrets.token_hex(16)
    values = {"request_hash": request_hash, "token": token, "created_at": now}
    if _CLAIM.rows(scope=scope.subscription_id, key=key, **values):
        return Claim(ClaimOutcome.NEW, token)
    row = current.lock_rows(
        scope.select(IdempotencyKey).where(IdempotencyKey.key == key)
    ).get_or_none()
    if row is None:
        # Given up between the two, by another transaction; the client's next try will have it.
        return Claim(ClaimOutcome.RUNNING)
    over = row.created_at + KEPT_FOR <= now
    if not over and row.request_hash != request_hash:
        return Claim(ClaimOutcome.CONFLICT)
    if not over and row.status is not None:
        return Claim(ClaimOutcome.DONE, status=row.status, response=row.response)
    if not over and row.created_at + lease > now:
        return Claim(ClaimOutcome.RUNNING)
    scope.update(IdempotencyKey, **values, status=None, response=None).where(
        IdempotencyKey.key == key
    ).execute()
    return Claim(ClaimOutcome.NEW, token)


def finish(scope: Scope, key: str, token: str, *, status: int, response: Any) -> None:
    """Write down the answer, in the transaction that does what was asked for. A write.

    Args:
        scope: The tenant.
        key: The key.
        token: As the claim told it.
        status: HTTP status of the answer.
        response: Its body, as JSON.

    Raises:
        ClaimLost: The claim was taken over; nothing of the transaction must be stored.
    """
    changed = _FINISH.change(
        scope=scope.subscription_id,
        key=key,
        token=token,
        status=status,
        # Encoded here: a bare string or number would be stored as it is.
        response=None if response is None else json.dumps(response, separators=(",", ":")),
    )
    if not changed:
        raise ClaimLost("the request took so long that another one took its key over")


def renew(scope: Scope, key: str, token: str) -> bool:
    """Let a claim last from now on; tell whether there still is one. A write."""
    return bool(
        scope.update(IdempotencyKey, created_at=current.now())
        .where(
            IdempotencyKey.key == key,
            IdempotencyKey.token == token,
            IdempotencyKey.status.is_null(),
        )
        .execute()
    )


def abandon(scope: Scope, key: str, token: str) -> None:
    """Give a claim up, so that the request may be repeated with the same key. A write."""
    scope.delete(IdempotencyKey).where(
        IdempotencyKey.key == key,
        IdempotencyKey.token == token,
        IdempotencyKey.status.is_null(),
    ).execute()


def purge(before: datetime, *, limit: int = 1000) -> int:
    """Forget up to ``limit`` keys that were claimed before a time; return how many. A write."""
    oldest: Any = (
        IdempotencyKey.select(IdempotencyKey.subscription, IdempotencyKey.key)
        .where(IdempotencyKey.created_at < before)
        .order_by(IdempotencyKey.created_at)
        .limit(limit)
        .tuples()
    )
    return sum(
        IdempotencyKey.delete()
        .where(IdempotencyKey.subscription == subscription, IdempotencyKey.key == key)
        .execute()
        for subscription, key in list(oldest)
    )
