"""A whole gateway, killed time and again while 10,000 deliveries of webhooks wait.

All of them arrive, none is altered, and what comes twice comes under the same id.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from support.live import LiveGateway
from support.receivers import Received, Receiver, answers
from support.tenants import new_instance, new_scope
from wavisor.clock import SystemClock
from wavisor.domain import EventType
from wavisor.storage import (
    Database,
    EventRecord,
    NewEndpoint,
    NewEvent,
    Scope,
    deliveries,
    events,
    webhooks,
)
from wavisor.webhooks import new_secret

pytestmark = pytest.mark.timeout(900)

INSTANCES = 5
KILLS = (0.1, 0.4, 0.7)
"""After which shares of the deliveries the gateway is killed."""
PATIENCE = 400.0


class Listener:
    """Takes deliveries as an outside receiver does: checks each signature, remembers bodies.

    ``hold_at`` bounds how many it answers: what comes after that is taken in and left without an
    answer, so that the gateway is killed in the middle however fast it is.
    """

    def __init__(self, secret: str) -> None:
        self._verifier = Webhook(secret)
        self._answer = answers()
        self.bodies: dict[str, set[bytes]] = {}
        self.unsigned: list[Received] = []
        self.repeated = 0
        self.hold_at = 0
        self._news = asyncio.Event()
        self._go_on = asyncio.Event()

    async def __call__(self, received: Received, writer: asyncio.StreamWriter) -> bool:
        try:
            self._verifier.verify(received.body, received.headers)
        except WebhookVerificationError:
            self.unsigned.append(received)
        known = self.bodies.setdefault(received.headers["webhook-id"], set())
        self.repeated += bool(known)
        known.add(received.body)
        self._news.set()
        if len(self.bodies) > self.hold_at:
            await self._go_on.wait()
        return await self._answer(received, writer)

    def let_go(self) -> None:
        """Leave those who got no answer; they were killed."""
        self._go_on.set()
        self._go_on = asyncio.Event()

    async def wait(self, count: int) -> None:
        """Wait until so many different deliveries have come."""
        async with asyncio.timeout(PATIENCE):
            while len(self.bodies) < count:
                self._news.clear()
                await self._news.wait()


def fill(
    database: Database, scope: Scope, endpoint: NewEndpoint, count: int
) -> dict[str, list[EventRecord]]:
    """Store a webhook and the events that it waits for; return them by instance."""
    database.write_wait(webhooks.create, scope, endpoint)
    stored: dict[str, list[EventRecord]] = {}
    for _ in range(INSTANCES):
        fresh = [
            NewEvent(EventType.PRESENCE_UPDATED.value, {"number": number, "text": "Grüße 😀"})
            for number in range(count // INSTANCES)
        ]
        instance = new_instance(database, scope)
        stored[instance.id] = database.write_wait(events.append, instance.id, fresh)
    return stored


async def kill_time_and_again(
    gateway: LiveGateway, database: Database, scope: Scope, count: int
) -> tuple[dict[str, list[EventRecord]], Listener]:
    """Run a gateway until everything has arrived, and kill it on the way there."""
    secret = new_secret()
    listener = Listener(secret)
    async with Receiver(listener) as receiver:
        endpoint = NewEndpoint(url=receiver.url(), secret=secret)
        stored = await asyncio.to_thread(fill, database, scope, endpoint, count)
        assert await database.fetch(deliveries.count_pending) == count
        for share in KILLS:
            listener.hold_at = int(share * count)
            await asyncio.to_thread(gateway.start)
            # At least one is without an answer then, and no more than one of each instance.
            await listener.wait(listener.hold_at + 1)
            await asyncio.to_thread(gateway.kill)
            listener.let_go()
            waiting = await database.fetch(deliveries.count_pending)
            assert waiting >= count - listener.hold_at
        listener.hold_at = count
        await asyncio.to_thread(gateway.start)
        await listener.wait(count)
        # Stopped in order it writes down what it knows: then nothing is left to be repeated.
        assert await asyncio.to_thread(gateway.stop) == 0
        assert await database.fetch(deliveries.count_pending) == 0
    return stored, listener


@pytest.mark.parametrize(
    ("database_url", "count"),
    # PostgreSQL has no part in what could go wrong but the one that the fewer show as well.
    [("sqlite", 10_000), pytest.param("postgresql", 2_000, marks=pytest.mark.postgres)],
    indirect=["database_url"],
)
def test_what_waits_for_webhooks_survives_kills_of_the_gateway(
    new_live: Callable[..., LiveGateway], database_url: str, count: int
) -> None:
    gateway = new_live(
        sandboxed=False,
        database_url=database_url,
        webhooks_allow_private="true",
        log_level="info",
    )
    database = Database(database_url, clock=SystemClock())
    database.open()
    try:
        scope = new_scope(database)
        stored, listener = asyncio.run(kill_time_and_again(gateway, database, scope, count))
    finally:
        assert database.close()

    expected: dict[str, Any] = {one.id: one for same in stored.values() for one in same}
    assert listener.bodies.keys() == expected.keys()
    assert listener.unsigned == []
    for identifier, bodies in listener.bodies.items():
        (body,) = bodies  # a repetition has the very same bytes
        told, event = json.loads(body), expected[identifier]
        assert (told["id"], told["seq"], told["type"]) == (identifier, event.seq, event.type)
        assert told["data"] == event.data
    # Those without an answer came again, and no more than had not been written down yet.
    assert len(KILLS) <= listener.repeated < count / 2
    arrived = list(listener.bodies)  # in the order of their first arrival
    by_instance: dict[str, list[str]] = {instance: [] for instance in stored}
    for identifier in arrived:
        by_instance[expected[identifier].instance_id].append(identifier)
    assert by_instance == {instance: [one.id for one in same] for instance, same in stored.items()}
