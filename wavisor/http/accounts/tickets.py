"""One-time tickets for the websocket feed, for clients that cannot send a header."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from wavisor.clock import Clock
from wavisor.http.accounts.tokens import AccessClaims

__all__ = ["TICKET_SECONDS", "Tickets"]

TICKET_SECONDS = 30
_BYTES = 32


@dataclass(frozen=True)
class _Entry:
    claims: AccessClaims
    ends: float


class Tickets:
    """Short-lived, single-use, kept in bounded memory. Used on the event loop only.

    A ticket stands in a URL, and URLs end up in logs; so it is worth nothing after its first use
    or after 30 s.

    Args:
        clock: tells the time.
        capacity: how many may be open; beyond that the oldest is void.
        per_user: how many one user may have open; beyond that the user's oldest is void, so that
            nobody voids those of others.
    """

    def __init__(self, clock: Clock, *, capacity: int = 10_000, per_user: int = 20) -> None:
        self._clock = clock
        self._capacity = capacity
        self._per_user = per_user
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def issue(self, claims: AccessClaims) -> str:
        """Return a new ticket that stands for an access token."""
        self._drop_expired()
        own = [key for key, entry in self._entries.items() if entry.claims.sub == claims.sub]
        if len(own) >= self._per_user:
            del self._entries[own[0]]
        elif len(self._entries) >= self._capacity:
            self._entries.popitem(last=False)
        ticket = secrets.token_urlsafe(_BYTES)
        self._entries[_key(ticket)] = _Entry(claims, self._clock.monotonic() + TICKET_SECONDS)
        return ticket

    def redeem(self, ticket: str) -> AccessClaims | None:
        """Return what a ticket stands for, once; None when it is unknown, used or too old."""
        entry = self._entries.pop(_key(ticket), None)
        if entry is None or entry.ends <= self._clock.monotonic():
            return None
        return entry.claims

    def _drop_expired(self) -> None:
        now = self._clock.monotonic()
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest].ends > now:
                return
            del self._entries[oldest]


def _key(ticket: str) -> bytes:
    # Looked up by digest: comparing the tickets themselves would leak them by the time it takes.
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).digest()
