"""One attempt at a delivery: the request that is made, and what its outcome means."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from wavisor.clock import Clock
from wavisor.domain import DeliveryStatus
from wavisor.storage import Attempt, EndpointRecord, Parcel
from wavisor.webhooks.courier import Outcome, Verdict
from wavisor.webhooks.payload import body_of
from wavisor.webhooks.schedule import DispatchPolicy, SteadyClock
from wavisor.webhooks.signing import signed_headers

__all__ = ["Attempts", "Carrier"]


class Carrier(Protocol):
    """Makes requests; a :class:`~wavisor.webhooks.courier.Courier`."""

    async def post(
        self, endpoint_id: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Outcome:
        """Make one; raise nothing that a server could cause."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Attempts:
    """Makes them, one call each.

    Args:
        carrier: makes the requests.
        policy: says when there is another attempt.
        clock: for the time that is signed, and to measure with.
        steady: for the time that waits are reckoned by.
        rng: for the jitter.
    """

    def __init__(
        self,
        carrier: Carrier,
        policy: DispatchPolicy,
        *,
        clock: Clock,
        steady: SteadyClock,
        rng: random.Random,
    ) -> None:
        self._carrier = carrier
        self._policy = policy
        self._clock = clock
        self._steady = steady
        self._rng = rng

    async def make(self, endpoint: EndpointRecord, parcel: Parcel) -> Attempt:
        """Bring a delivery to its endpoint once; return how it went and what follows."""
        body = body_of(parcel.event, parcel.body)
        began = self._clock.monotonic()
        if body is None:
            outcome = Outcome(Verdict.EVENT_GONE)
        else:
            signed = signed_headers(endpoint, parcel.event_id, body, self._clock.now())
            headers = {**endpoint.headers, **signed}
            outcome = await self._carrier.post(endpoint.id, endpoint.url, headers, body)
        return self._judge(parcel, outcome, self._clock.monotonic() - began)

    def _judge(self, parcel: Parcel, outcome: Outcome, seconds: float) -> Attempt:
        now, attempts = self._steady.now(), parcel.attempts + 1
        status, next_at = self._what_follows(outcome, attempts, now)
        return Attempt(
            position=parcel.position,
            endpoint_id=parcel.endpoint_id,
            instance_id=parcel.instance_id,
            attempts=attempts,
            at=now,
            status=status,
            next_attempt_at=next_at,
            response_status=outcome.status,
            response_excerpt=outcome.excerpt,
            error=None if status is DeliveryStatus.SUCCEEDED else outcome.verdict.value,
            latency_ms=round(seconds * 1000),
            age=max(0.0, (now - parcel.created_at).total_seconds()),
            gone=outcome.verdict is Verdict.GONE,
        )

    def _what_follows(
        self, outcome: Outcome, attempts: int, now: datetime
    ) -> tuple[DeliveryStatus, datetime | None]:
        if outcome.verdict is Verdict.SUCCEEDED:
            return DeliveryStatus.SUCCEEDED, None
        if outcome.verdict in (Verdict.GONE, Verdict.EVENT_GONE):
            return DeliveryStatus.FAILED, None
        delay = self._policy.delay(attempts, outcome.retry_after, self._rng)
        if delay is None:
            return DeliveryStatus.FAILED, None
        return DeliveryStatus.PENDING, now + delay
