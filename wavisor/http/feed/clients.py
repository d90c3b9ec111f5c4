"""How many clients the feed has, by tenant, and how many have not said yet who they are."""

from __future__ import annotations

from collections import Counter

__all__ = ["FeedClients"]

PENDING_LIMIT = 500
"""Websockets that may be open without a token yet, of all the world."""


class FeedClients:
    """Counts websockets; used on the event loop only."""

    def __init__(self) -> None:
        self._tenants: Counter[str] = Counter()
        self._pending = 0

    @property
    def crowded(self) -> bool:
        """Whether so many have not said who they are that no more are let in."""
        return self._pending >= PENDING_LIMIT

    def enter_pending(self) -> None:
        """Count a websocket that was opened."""
        self._pending += 1

    def admit(self, subscription_id: str, limit: int) -> bool:
        """Count a websocket as one of a tenant, unless the tenant has ``limit`` of them."""
        if self._tenants[subscription_id] >= limit:
            return False
        self._pending -= 1
        self._tenants[subscription_id] += 1
        return True

    def leave(self, subscription_id: str | None) -> None:
        """Count a websocket out: of a tenant, or None when nobody had been told whose it was."""
        if subscription_id is None:
            self._pending -= 1
            return
        self._tenants[subscription_id] -= 1
        if self._tenants[subscription_id] <= 0:
            del self._tenants[subscription_id]

    def count(self, subscription_id: str) -> int:
        """Return how many websockets of a tenant are open."""
        return self._tenants[subscription_id]
