"""How many durable writes and how many reads a second storage does.

    python -m bench.storage                          # SQLite in a temporary directory
    python -m bench.storage postgresql://host/name   # a database to be thrown away afterwards
    python -m bench.storage --directory /data        # SQLite on the disk that matters

A *transition* is what an instance's actor writes for each change of status: the instance's row,
one event and one audit entry in one transaction. A *message* is one accepted message. Both are
counted when their commit is durable.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any

from wavisor.clock import SystemClock
from wavisor.domain import InstanceStatus, Tier
from wavisor.limits import TIERS
from wavisor.storage import (
    Database,
    NewAudit,
    NewEvent,
    NewMessage,
    Scope,
    accounts,
    audit,
    events,
    instances,
    messages,
)

Start = Callable[[int], Future[Any]]

TEXT = NewMessage(
    chat="15550100@s.whatsapp.net",
    kind="text",
    text="hello " * 10,
    content={"type": "text", "text": "hello " * 10},
)


def prepare(database: Database) -> tuple[Scope, list[str]]:
    account = database.write_wait(
        accounts.create_subscription_with_owner,
        email=f"bench{time.time_ns()}@example.org",
        password_hash="x",
        name="Bench",
        tier=Tier.MAX,
    )
    scope = Scope(account.subscription.id)
    names = [f"instance {number}" for number in range(TIERS[Tier.MAX].instances or 0)]
    return scope, [database.write_wait(instances.create, scope, name=name).id for name in names]


def measure(label: str, start: Start, *, in_flight: int, seconds: float) -> float:
    """Keep ``in_flight`` operations going for ``seconds``; print and return the rate."""
    latencies: list[float] = []
    failures: list[BaseException] = []
    free = threading.Semaphore(in_flight)

    def begin(number: int) -> None:
        began = time.perf_counter()

        def ended(future: Future[Any]) -> None:
            latencies.append(time.perf_counter() - began)
            if (failure := future.exception()) is not None:
                failures.append(failure)
            free.release()

        start(number).add_done_callback(ended)

    began = time.perf_counter()
    for number in count():
        free.acquire()
        if time.perf_counter() - began >= seconds:
            break
        begin(number)
    for _ in range(in_flight - 1):
        free.acquire()
    if failures:
        raise failures[0]
    elapsed = time.perf_counter() - began
    cuts = quantiles(latencies, n=100)
    print(
        f"{label:<28} in flight {in_flight:>4}   {len(latencies) / elapsed:>8.0f}/s"
        f"   p50 {cuts[49] * 1000:7.2f} ms   p99 {cuts[98] * 1000:7.2f} ms"
    )
    return len(latencies) / elapsed


def _rename(scope: Scope, instance_id: str, audited: bool) -> None:
    """Change a row as a request does, with the entry that says who did or without it."""
    instances.update(scope, instance_id, name="Renamed")
    if audited:
        entry = NewAudit(action="instance.update", actor_kind="user", target=instance_id)
        audit.append(scope.subscription_id, entry)


def run(url: str, seconds: float) -> None:
    database = Database(url, clock=SystemClock())
    database.open()
    print(f"-- {database.engine_name}")
    try:
        scope, ids = prepare(database)

        def transition(number: int) -> Future[Any]:
            return database.write(
                instances.record_transition,
                ids[number % len(ids)],
                {"status": InstanceStatus.CONNECTED, "reason": "logged_in"},
                [NewEvent("instance:status:changed", {"old": "connecting", "new": "connected"})],
                NewAudit(action="instance.status", actor_kind="system", target=ids[0]),
            )

        def message(number: int) -> Future[Any]:
            return database.write(
                messages.enqueue,
                scope,
                ids[number % len(ids)],
                TEXT,
            )

        def change(number: int, *, audited: bool) -> Future[Any]:
            return database.write(_rename, scope, ids[number % len(ids)], audited)

        def look_up(number: int) -> Future[Any]:
            return database.read(instances.get, scope, ids[number % len(ids)])

        def page(_: int) -> Future[Any]:
            return database.read(instances.list_page, scope, limit=50)

        for in_flight in (1, 32, 256):
            measure("transitions", transition, in_flight=in_flight, seconds=seconds)
        for in_flight in (1, 256):
            measure("messages accepted", message, in_flight=in_flight, seconds=seconds)
        for in_flight in (1, 32):
            measure("instance by id", look_up, in_flight=in_flight, seconds=seconds)
        measure("page of 40 instances", page, in_flight=32, seconds=seconds)
        rates = dict.fromkeys((False, True), 0.0)
        for _ in range(3):  # in turns: what is compared is the ratio
            for audited in rates:
                label = "renamed, on the audit trail" if audited else "renamed, and not noted"
                change_one = partial(change, audited=audited)
                rates[audited] += measure(label, change_one, in_flight=32, seconds=seconds)
        print(f"{'cost of the audit entry':<28} {rates[False] / rates[True]:.2f} times the time")
        print(f"{'events stored':<28} {database.read_wait(events.latest_position)}")
    finally:
        database.close(timeout=60)


def measure_databases(description: str | None, run: Callable[[str, float], None]) -> None:
    """Measure what the command line names.

    Args:
        description: of the benchmark; its first line goes into the help.
        run: measures on the database of a URL, each thing for so many seconds.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("url", nargs="*", help="databases; SQLite when there is none")
    parser.add_argument("--directory", type=Path, help="where SQLite's file is put meanwhile")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    options = parser.parse_args()
    for url in options.url:
        run(url, options.seconds)
    if not options.url:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            run(f"sqlite:///{directory}/bench.db", options.seconds)


if __name__ == "__main__":
    measure_databases(__doc__, run)
