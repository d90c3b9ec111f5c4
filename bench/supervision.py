"""What actors cost: asks per second through the bridge, start and memory of many, restart time.

Run it by hand: ``python -m bench.supervision [--actors 2000] [--asks 20000]``.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import structlog

from wavisor.actors.ask import ask, ask_sync, tell
from wavisor.actors.supervisor import (
    Backoff,
    ChildSpec,
    ChildState,
    DynamicSupervisor,
    Environment,
    ExitReason,
    RootHandle,
    StartChild,
    SupervisedActor,
    run_root,
)
from wavisor.clock import SystemClock, ThreadedTimers

WAIT = 120.0


class Echo(SupervisedActor):
    """Answers with what it is asked; ``"crash"`` is a bug."""

    def handle(self, message: Any) -> Any:
        if message == "crash":
            raise ValueError("as asked")
        return message


class RestartWatch:
    """Notes when children come back."""

    def __init__(self) -> None:
        self.back = threading.Semaphore(0)

    def on_restart(self, kind: str, reason: ExitReason) -> None:
        pass

    def on_abandoned(self, kind: str) -> None:
        pass

    def on_child_state(self, path: str, kind: str, old: ChildState, new: ChildState) -> None:
        if new is ChildState.RUNNING:
            self.back.release()


def resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1])


def echo_spec(number: int) -> ChildSpec:
    return ChildSpec(f"echo_{number}", Echo, kind="echo", backoff=Backoff.none())


async def start_many(pool: Any, count: int) -> None:
    before, began = resident_kib(), time.perf_counter()
    starts = (ask(pool, StartChild(echo_spec(n)), timeout=WAIT) for n in range(count))
    await asyncio.gather(*starts)
    took = time.perf_counter() - began
    used = resident_kib() - before
    print(f"start of {count} supervised actors: {took:.2f} s, {used / count:.1f} KiB each (RSS)")


async def measure_asks(ref: Any, asks: int) -> None:
    times = []
    for number in range(min(asks, 5000)):
        began = time.perf_counter()
        await ask(ref, number, timeout=WAIT)
        times.append((time.perf_counter() - began) * 1e6)
    cuts = statistics.quantiles(times, n=100)
    print(
        f"one ask after the other: {1e6 / statistics.mean(times):.0f}/s, "
        f"p50 {cuts[49]:.0f} µs, p99 {cuts[98]:.0f} µs"
    )
    lanes = 100
    began = time.perf_counter()

    async def lane() -> None:
        for number in range(asks // lanes):
            await ask(ref, number, timeout=WAIT)

    await asyncio.gather(*(lane() for _ in range(lanes)))
    took = time.perf_counter() - began
    print(f"asks from {lanes} tasks to one actor: {asks / took:.0f}/s")


def measure_sync(ref: Any, asks: int) -> None:
    began = time.perf_counter()
    for number in range(asks):
        ask_sync(ref, number, WAIT)
    print(f"ask_sync, one after the other: {asks / (time.perf_counter() - began):.0f}/s")
    began = time.perf_counter()
    for number in range(asks):
        tell(ref, number)
    ref.ask("done", timeout=WAIT)  # not ask_sync, which refuses to add to an inbox this long
    print(f"tells to one actor: {asks / (time.perf_counter() - began):.0f}/s")


def measure_restarts(root: RootHandle, watch: RestartWatch, env: Environment, count: int) -> None:
    while watch.back.acquire(blocking=False):
        pass
    refs = [env.directory.find(f"pool/echo_{number}") for number in range(count)]
    began = time.perf_counter()
    for ref in refs:
        assert ref is not None
        tell(ref, "crash")
    for _ in refs:
        assert watch.back.acquire(timeout=WAIT)
    took = time.perf_counter() - began
    print(f"{count} actors crash at once, all back after {took:.2f} s")
    began = time.perf_counter()
    root.tree()
    print(f"snapshot of the whole tree: {(time.perf_counter() - began) * 1e3:.1f} ms")


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=2000)
    parser.add_argument("--asks", type=int, default=20000)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    timers, watch = ThreadedTimers(), RestartWatch()
    env = Environment(SystemClock(), timers, random.Random(1), observer=watch)
    pool_spec = ChildSpec("pool", DynamicSupervisor, shutdown=WAIT)
    root = run_root([pool_spec, ChildSpec("echo", Echo)], environment=env)
    root.started.result(WAIT)
    pool, echo = env.directory.find("pool"), env.directory.find("echo")
    asyncio.run(measure_asks(echo, options.asks))
    measure_sync(echo, options.asks)
    asyncio.run(start_many(pool, options.actors))
    measure_restarts(root, watch, env, options.actors)
    began = time.perf_counter()
    print(f"stop: {root.stop().result(WAIT)}, {time.perf_counter() - began:.2f} s")
    timers.close()


if __name__ == "__main__":
    main()
