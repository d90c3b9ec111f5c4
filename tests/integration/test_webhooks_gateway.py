"""Webhooks of a whole gateway: from what happens on WhatsApp to somebody's server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from standardwebhooks.webhooks import Webhook

from support.gateway import GatewayLab, NewGateway
from support.receivers import Received, Receiver
from wavisor.storage import NewEndpoint, Scope, webhooks
from wavisor.webhooks import new_secret

WAIT = 60.0


@dataclass
class Hook:
    """A receiver on the loop of the gateway, for tests that are plain functions."""

    receiver: Receiver
    loop: asyncio.AbstractEventLoop

    def wait(self, count: int) -> list[Received]:
        return asyncio.run_coroutine_threadsafe(self.receiver.wait(count), self.loop).result(WAIT)


@pytest.fixture
def hook(http_loop: asyncio.AbstractEventLoop) -> Iterator[Hook]:
    receiver = Receiver()

    def run(work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, http_loop).result(WAIT)

    run(receiver.__aenter__())
    yield Hook(receiver, http_loop)
    run(receiver.__aexit__())


def test_what_happens_is_told_with_signatures_that_the_standard_accepts(
    new_gateway: NewGateway, hook: Hook
) -> None:
    lab = new_gateway(webhooks_allow_private=True)
    owner = lab.register()
    instance = lab.create_instance(owner)
    secret = new_secret()
    lab.database.write_wait(
        webhooks.create,
        Scope(owner.subscription_id),
        NewEndpoint(url=hook.receiver.url("/wa"), secret=secret, events=("message:*",)),
    )
    lab.link(owner, instance)
    lab.receive(instance, "hello")
    received = hook.wait(1)[0]
    told = Webhook(secret).verify(received.body, received.headers)
    listed = lab.get(f"/api/instances/{instance}/events", token=owner.token).json["items"]
    [stored] = [one for one in listed if one["id"] == received.headers["webhook-id"]]
    # The same envelope as everywhere.
    assert json.loads(received.body) == told == stored
    assert told["type"] == "message:received"


def test_private_addresses_are_never_asked_without_the_setting(
    gateway: GatewayLab, hook: Hook
) -> None:
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    gateway.database.write_wait(
        webhooks.create,
        Scope(owner.subscription_id),
        NewEndpoint(url=hook.receiver.url(), secret=new_secret()),
    )
    gateway.publish(gateway.store_events(instance, 1))

    def tried() -> bool:
        from wavisor.storage.models import WebhookDelivery

        row = gateway.database.read_wait(lambda: WebhookDelivery.select().first())
        return row is not None and row.error == "forbidden"

    gateway.run(_until(tried))
    assert hook.receiver.connections == 0


async def _until(reached: object) -> None:
    async with asyncio.timeout(WAIT):
        while not await asyncio.to_thread(reached):  # noqa: ASYNC110 - across threads
            await asyncio.sleep(0.02)
