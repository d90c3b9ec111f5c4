"""How many webhook deliveries a second, and how long from an event to its receipt.

    python -m bench.webhooks                 # 1, 10 and 100 endpoints, one event at a time to each
    python -m bench.webhooks --kill          # 10,000 pending, and the dispatcher killed in between

The receiver is a plain server on loopback in the same process. *Throughput* is a backlog of one
instance for each endpoint; *latency* is from the commit of single events to the last byte received.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

from wavisor.clock import SystemClock, ThreadedTimers
from wavisor.connector import Connector
from wavisor.domain import Tier
from wavisor.netguard import TargetRule
from wavisor.observers import WebhookObserver
from wavisor.storage import (
    Database,
    NewEndpoint,
    NewEvent,
    Scope,
    accounts,
    events,
    instances,
    webhooks,
)
from wavisor.storage import deliveries as delivery_rows
from wavisor.webhooks import Courier, Dispatcher, DispatchPolicy, new_secret

ROOT = Path(__file__).parents[1]
LATENCY_EVENTS = 100


class Sink:
    """Takes requests in; knows when each event arrived for how many endpoints."""

    def __init__(self) -> None:
        self.arrived: dict[str, list[float]] = {}
        self.bodies: dict[str, set[bytes]] = {}
        self.count = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                name = head.split(b"Webhook-Id: ")[1].split(b"\r\n")[0].decode()
                self.arrived.setdefault(name, []).append(time.monotonic())
                self.bodies.setdefault(name, set()).add(body)
                self.count += 1
                writer.write(b"HTTP/1.1 204 X\r\n\r\n")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.close()


def dispatcher(database: Database) -> Dispatcher:
    clock = SystemClock()
    return Dispatcher(
        database,
        Courier(Connector(TargetRule(allow_private=True))),
        DispatchPolicy(),
        clock=clock,
        timers=ThreadedTimers(clock),
        rng=random.Random(),
        publish=lambda _: None,
        observer=WebhookObserver(),
    )


async def tenants(database: Database, endpoints: int, port: int) -> list[str]:
    """Instances of as many tenants as it takes, each with an endpoint of its own."""
    made: list[str] = []
    scope: Scope | None = None
    for number in range(endpoints):
        if number % 40 == 0:
            account = await database.commit(
                accounts.create_subscription_with_owner,
                email=f"bench{time.time_ns()}@example.org",
                password_hash="x",
                name="Bench",
                tier=Tier.MAX,
            )
            scope = Scope(account.subscription.id)
        instance = await database.commit(instances.create, scope, name=str(number))
        url = f"http://127.0.0.1:{port}/{number}"
        new = NewEndpoint(url=url, secret=new_secret(), instance_id=instance.id)
        await database.commit(webhooks.create, scope, new)
        made.append(instance.id)
    return made


def some(count: int) -> list[NewEvent]:
    return [NewEvent("message:received", {"text": "hello " * 20, "n": n}) for n in range(count)]


async def until(reached: Any) -> None:
    while not reached():  # noqa: ASYNC110 - simple, and its cost is the same everywhere
        await asyncio.sleep(0.005)


async def measure(url: str, endpoints: int, total: int) -> None:
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, backlog=512)
    database = Database(url, clock=SystemClock())
    await asyncio.to_thread(database.open)
    ids = await tenants(database, endpoints, server.sockets[0].getsockname()[1])
    for instance in ids:
        await database.commit(events.append, instance, some(total // endpoints))
    run = dispatcher(database)
    began = time.monotonic()
    task = asyncio.create_task(run.run())
    await until(lambda: sink.count >= total)
    rate = total / (time.monotonic() - began)
    latencies = []
    for number in range(LATENCY_EVENTS):
        [record] = await database.commit(events.append, ids[number % endpoints], some(1))
        committed = time.monotonic()
        run.ring()
        await until(lambda record=record: record.id in sink.arrived)
        latencies.append(sink.arrived[record.id][0] - committed)
    p50, p99 = (1000 * quantiles(latencies, n=100)[at] for at in (49, 98))
    print(
        f"{endpoints:>4} endpoints: {rate:6.0f} deliveries/s; "
        f"event to receipt p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        flush=True,
    )
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    server.close()
    await asyncio.to_thread(database.close)


async def kill_often(url: str, total: int) -> None:
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, backlog=512)
    database = Database(url, clock=SystemClock())
    await asyncio.to_thread(database.open)
    expected = set()
    for instance in await tenants(database, 10, server.sockets[0].getsockname()[1]):
        records = await database.commit(events.append, instance, some(total // 10))
        expected |= {one.id for one in records}
    program = [sys.executable, "-m", "support.webhook_child", url]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    began, kills = time.monotonic(), 0
    while await database.fetch(delivery_rows.count_pending):
        child = await asyncio.to_thread(
            subprocess.Popen,
            program,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
        )
        before = sink.count
        for _ in range(600):
            await asyncio.sleep(0.05)
            if kills < 4 and sink.count >= before + total / 5:
                break
            if not await database.fetch(delivery_rows.count_pending):
                break
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
    whole = set(sink.bodies) == expected
    altered = sum(len(bodies) > 1 for bodies in sink.bodies.values())
    print(
        f"{total} pending, {kills} kills: {'all arrived' if whole else 'SOME ARE MISSING'}, "
        f"{altered} altered, {sink.count - total} repeated, {time.monotonic() - began:.1f} s"
    )
    server.close()
    await asyncio.to_thread(database.close)
    if not whole or altered:
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the delivery of webhooks.")
    parser.add_argument("url", nargs="?", help="a database to be thrown away; SQLite by default")
    parser.add_argument("--kill", action="store_true", help="kill the dispatcher in between")
    parser.add_argument("--events", type=int, default=None, help="how many deliveries")
    arguments = parser.parse_args()
    for endpoints in (10,) if arguments.kill else (1, 10, 100):
        with tempfile.TemporaryDirectory(prefix="wavisor-bench-") as directory:
            url = arguments.url or f"sqlite:///{directory}/bench.db"
            if arguments.kill:
                asyncio.run(kill_often(url, arguments.events or 10_000))
            else:
                asyncio.run(measure(url, endpoints, arguments.events or 3000))


if __name__ == "__main__":
    main()
