"""Messages end to end: over HTTP, through real clients, to a local WhatsApp and back.

    python -m bench.delivery [--instances 20] [--messages 500] [--seconds 5]
    python -m bench.delivery --accept postgresql://host/name   # only what HTTP accepts, there

Pacing is off. *Accepted* are sends over HTTP that were answered with 202, which is after their
commit. *Sent* is from then until WhatsApp's acknowledgement is on disk: of a whole queue for the
rate, and of single messages with pauses between them for the time that one takes. *Received* is
from the moment that people began to write until the last event is on disk, and until it has come
over the websocket feed. All processes share the machine's cores: the gateway, the sessions, the
local WhatsApp and this program.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from bench.process import GatewayProcess, cpu_seconds, memory
from bench.sessions import Fleet, Instance, row, wait_until
from wavisor.clock import SystemClock
from wavisor.domain import MessageStatus
from wavisor.sandbox.process import SandboxProcess
from wavisor.storage import Database, MessageFilter, Scope, instances, messages

_MIB = 1024 * 1024
_RECEIVER = "15553000001"
_WRITERS = tuple(f"1555400{number:04}" for number in range(8))
_CONNECTIONS = 16
_UNBOUNDED = {"queue_limit_per_instance": 1_000_000, "queue_limit_per_tenant": 10_000_000}
_ALONE = 40
_PAUSE = 0.15


class Sent(NamedTuple):
    """When a message was accepted, handed to its session, and taken by WhatsApp."""

    accepted: datetime
    handed_over: datetime
    sent: datetime


class Sender:
    """Sends texts over one kept connection for each thread that uses it."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self._numbers = itertools.count()

    def send(self, many: Sequence[Instance]) -> int:
        """Post one message for each of ``many``, in their order; return how many."""
        connection = http.client.HTTPConnection(*self._gateway.address, timeout=60)
        for instance in many:
            body = json.dumps({"to": f"+{_RECEIVER}", "text": f"message {next(self._numbers)}"})
            headers = {
                "Content-Type": "application/json",
                "Authorization": f"Bearer {instance.token}",
                "X-Instance-Id": instance.id,
            }
            connection.request("POST", "/api/messages/text", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 202:
                raise RuntimeError(f"{answer.status}: {text[:300]!r}")
        connection.close()
        return len(many)

    def send_at_once(self, many: Sequence[Instance]) -> float:
        """Post them over several connections; return the seconds that it took."""
        shares = [many[start::_CONNECTIONS] for start in range(_CONNECTIONS)]
        started = time.monotonic()
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            list(pool.map(self.send, shares))
        return time.monotonic() - started


class Ledger:
    """What the gateway wrote down about messages, read from its database."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._database = Database(gateway.database_url, clock=SystemClock())
        self._database.open()

    def close(self) -> None:
        self._database.close()

    def waiting(self) -> int:
        return sum(one.waiting for one in self._database.read_wait(messages.overview))

    def sent(self, some: Sequence[Instance], since: datetime) -> list[Sent]:
        """Return the messages since a moment that were sent."""
        found = []
        for record in self._records(some, since):
            steps = {step.status: step.at for step in record.history}
            if MessageStatus.SENT in steps:
                handed_over = steps[MessageStatus.SENDING]
                found.append(Sent(record.created_at, handed_over, steps[MessageStatus.SENT]))
        return found

    def received(self, some: Sequence[Instance], since: datetime) -> list[datetime]:
        """Return when each received message since a moment became known."""
        return [one.created_at for one in self._records(some, since) if not one.from_me]

    def _records(self, some: Sequence[Instance], since: datetime) -> list[Any]:
        found: list[Any] = []
        for instance in some:
            record = self._database.read_wait(instances.find, instance.id)
            assert record is not None
            scope, cursor = Scope(record.subscription_id), None
            where = MessageFilter(instance_id=instance.id, since=since)
            while True:
                page = self._database.read_wait(
                    messages.list_page, scope, limit=500, cursor=cursor, where=where
                )
                found += page.items
                cursor = page.next_cursor
                if cursor is None:
                    break
        return found


def times(moments: Iterable[tuple[datetime, datetime]]) -> str:
    taken = sorted((end - start).total_seconds() * 1000 for start, end in moments)
    cuts = quantiles(taken, n=100, method="inclusive")
    return f"p50 {median(taken):7.1f} ms   p99 {cuts[98]:7.1f} ms   of {len(taken)}"


def measure_accepting(gateway: GatewayProcess, token: str, seconds: float) -> None:
    """Print how many sends a second are accepted for an instance that is not connected."""
    made = gateway.call("POST", "/api/instances", {"name": "accepting"}, token)
    sender, instance = Sender(gateway), Instance(made["id"], token)
    count = 200
    used = cpu_seconds(gateway.pid)
    total, spent = 0, 0.0
    while spent < seconds:
        spent += sender.send_at_once([instance] * count)
        total += count
    used = cpu_seconds(gateway.pid) - used
    engine = "PostgreSQL" if gateway.database_url.startswith("postgres") else "SQLite"
    row(
        f"accepted over HTTP, {engine}",
        f"{total / spent:6.0f}/s   {1000 * used / total:.2f} ms of the gateway's processor each",
    )
    gateway.call("DELETE", f"/api/instances/{made['id']}", token=token)


def measure_sending(fleet: Fleet, ledger: Ledger, some: Sequence[Instance], count: int) -> None:
    """Print how fast queues go out, and how long one message takes when nothing waits."""
    sender, clock = Sender(fleet.gateway), SystemClock()
    label = f"{len(some)} instance{'s' if len(some) > 1 else ''}"
    turns = [some[number % len(some)] for number in range(count)]
    began, used = clock.now(), cpu_seconds(fleet.gateway.pid)
    sender.send_at_once(turns)
    wait_until(lambda: len(ledger.sent(some, began)) == count, "the queue to go out")
    used = cpu_seconds(fleet.gateway.pid) - used
    all_sent = ledger.sent(some, began)
    first, last = min(one.accepted for one in all_sent), max(one.sent for one in all_sent)
    rate = count / (last - first).total_seconds()
    row(
        f"{label}: a queue of {count} sent",
        f"{rate:6.1f}/s   {1000 * used / count:.2f} ms of the gateway's processor each",
    )
    row("  of which with the session and WhatsApp", times((one[1], one[2]) for one in all_sent))
    time.sleep(2)  # receipts of the last ones
    began = clock.now()
    for number in range(max(_ALONE, 2 * len(some))):
        sender.send([some[number % len(some)]])
        time.sleep(_PAUSE)
    wait_until(lambda: ledger.waiting() == 0, "the last one")
    time.sleep(1)
    row(
        f"{label}: one at a time, accepted to sent",
        times((one[0], one[2]) for one in ledger.sent(some, began)),
    )


class Listeners(threading.Thread):
    """One websocket for each account, told of every message that comes in."""

    def __init__(self, gateway: GatewayProcess, tokens: Iterable[str]) -> None:
        super().__init__(daemon=True)
        self._url = f"{gateway.url.replace('http', 'ws', 1)}/ws"
        self._tokens = tuple(dict.fromkeys(tokens))
        self._loop = asyncio.new_event_loop()
        self._open: list[WebSocketClientConnection] = []
        self._ready = threading.Event()
        self.arrivals: list[datetime] = []

    def run(self) -> None:
        """Listen until stopped."""
        asyncio.set_event_loop(self._loop)
        for token in self._tokens:
            self._loop.create_task(self._listen(token))
        self._loop.run_forever()

    def start(self) -> None:
        """Return when all of them listen."""
        super().start()
        if not self._ready.wait(30):
            raise TimeoutError("the feed did not open")

    def stop(self) -> None:
        """Close all connections."""

        def close() -> None:
            for connection in self._open:
                connection.close()
            self._loop.call_later(0.5, self._loop.stop)

        self._loop.call_soon_threadsafe(close)
        self.join(10)

    async def _listen(self, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        connection = await websocket_connect(HTTPRequest(self._url, headers=headers))
        subscription = {"type": "subscribe", "instances": ["*"], "events": ["message:received"]}
        await connection.write_message(json.dumps(subscription))
        while (frame := await connection.read_message()) is not None:
            said = json.loads(frame)
            if said["type"] == "message:received":
                self.arrivals.append(SystemClock().now())
            elif said["type"] == "subscribed":
                self._open.append(connection)
                if len(self._open) == len(self._tokens):
                    self._ready.set()


def measure_receiving(fleet: Fleet, ledger: Ledger, some: Sequence[Instance], count: int) -> None:
    """Print how many messages a second arrive, from several people at once."""
    phones = [f"1555{2000000 + number}" for number in range(len(some))]
    clock = SystemClock()
    listeners = Listeners(fleet.gateway, (one.token for one in some))
    listeners.start()
    began = clock.now()

    def write(person: str) -> None:
        for number in range(count // len(_WRITERS)):
            fleet.control.write_as_contact(person, phones[number % len(phones)], f"in {number}")

    with ThreadPoolExecutor(len(_WRITERS)) as pool:
        list(pool.map(write, _WRITERS))
    wanted = count // len(_WRITERS) * len(_WRITERS)
    wait_until(lambda: len(ledger.received(some, began)) == wanted, "the last message")
    last = max(ledger.received(some, began))
    rate = wanted / (last - began).total_seconds()
    row(f"{len(some)} instance(s): received, events on disk", f"{rate:6.1f}/s of {wanted}")
    wait_until(lambda: len(listeners.arrivals) >= wanted, "the last event on the feed")
    listeners.stop()
    rate = wanted / (listeners.arrivals[-1] - began).total_seconds()
    row(f"{len(some)} instance(s): received, events on the feed", f"{rate:6.1f}/s of {wanted}")


def run(count: int, size: int, seconds: float) -> None:
    """Measure everything on SQLite."""
    with (
        tempfile.TemporaryDirectory() as name,
        SandboxProcess(log_file=Path(name) / "whatsapp.log") as whatsapp,
        GatewayProcess(
            Path(name),
            sandbox_url=whatsapp.endpoints.control_url,
            access_token_ttl_seconds=3600,
            pacing_enabled="false",
            **_UNBOUNDED,
        ) as gateway,
    ):
        fleet = Fleet(gateway, whatsapp.control)
        for number in (_RECEIVER, *_WRITERS):
            fleet.control.add_contact(number, "Somebody", "receiver")
        fleet.open_accounts(max(count, 2))
        print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        fleet.link_up_to(1)
        token = fleet.instances[0].token
        measure_accepting(gateway, token, seconds)
        ledger = Ledger(gateway)
        try:
            before = memory(gateway.pid)
            for number in dict.fromkeys((1, count)):
                fleet.link_up_to(number)
                measure_sending(fleet, ledger, fleet.instances, size)
                measure_receiving(fleet, ledger, fleet.instances, size)
            after = memory(gateway.pid)
        finally:
            ledger.close()
        row(
            "gateway's memory before and after all that",
            f"RSS {before['rss'] / _MIB:.1f} and {after['rss'] / _MIB:.1f} MiB   "
            f"PSS {before['pss'] / _MIB:.1f} and {after['pss'] / _MIB:.1f} MiB",
        )


def run_accepting(url: str, seconds: float) -> None:
    """Measure only what HTTP accepts, on another database."""
    with (
        tempfile.TemporaryDirectory() as name,
        GatewayProcess(Path(name), database_url=url, **_UNBOUNDED) as gateway,
    ):
        token = gateway.register()
        gateway.upgrade()
        measure_accepting(gateway, token, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--instances", type=int, default=20, help="beside the run with one")
    parser.add_argument("--messages", type=int, default=500, help="in each queue")
    parser.add_argument("--seconds", type=float, default=5.0, help="of accepting")
    parser.add_argument("--accept", metavar="URL", help="a PostgreSQL database, empty")
    options = parser.parse_args()
    if options.accept:
        run_accepting(options.accept, options.seconds)
    else:
        run(options.instances, options.messages, options.seconds)


if __name__ == "__main__":
    main()
