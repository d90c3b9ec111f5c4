"""kill -9 of a dispatcher in the middle of a backlog: all of it arrives, nothing is altered.

What 10,000 deliveries make of kills of the whole gateway is in ``test_gateway_webhooks``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from support.receivers import Receiver
from support.tenants import new_instance, new_scope
from wavisor.clock import SystemClock
from wavisor.storage import Database, NewEndpoint, NewEvent, deliveries, events, webhooks
from wavisor.webhooks import new_secret

TESTS = Path(__file__).parents[1]
EVENTS = 900
WAIT = 60.0


def start(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "support.webhook_child", url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])},
        stdout=subprocess.DEVNULL,
    )


def kill(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait(WAIT)


def test_backlog_survives_kills_whole_and_in_order(database_url: str) -> None:
    database = Database(database_url, clock=SystemClock())
    database.open()
    scope = new_scope(database)
    numbers = [new_instance(database, scope) for _ in range(3)]

    async def run() -> Receiver:
        async with Receiver() as receiver:
            endpoint = NewEndpoint(url=receiver.url(), secret=new_secret())
            await database.commit(webhooks.create, scope, endpoint)
            for instance in numbers:
                fresh = [NewEvent("message:sent", {"n": n}) for n in range(EVENTS // 3)]
                stored[instance.id] = [
                    one.id for one in await database.commit(events.append, instance.id, fresh)
                ]
            child = start(database_url)
            try:
                for share in (0.2, 0.5):
                    async with asyncio.timeout(WAIT), receiver._changed:
                        await receiver._changed.wait_for(
                            lambda share=share: len(set(receiver.ids)) >= share * EVENTS
                        )
                    await asyncio.to_thread(kill, child)
                    child = start(database_url)
                async with asyncio.timeout(WAIT):
                    # Until all is written down: what is known only there is not asked for again.
                    while await database.fetch(deliveries.count_pending):  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
            finally:
                await asyncio.to_thread(kill, child)
            return receiver

    stored: dict[str, list[str]] = {}
    try:
        receiver = asyncio.run(run())
    finally:
        assert database.close()
    bodies: dict[str, set[bytes]] = {}
    for one in receiver.received:
        bodies.setdefault(one.headers["webhook-id"], set()).add(one.body)
    assert set(bodies) == {identifier for ids in stored.values() for identifier in ids}
    assert all(len(same) == 1 for same in bodies.values()), "a repetition was altered"
    first = list(bodies)  # in the order of their first arrival
    for ids in stored.values():
        assert [one for one in first if one in set(ids)] == ids
