"""Ready time, memory at rest, and the API under many clients.

    python -m bench.api [--clients 200] [--seconds 10]

Two loads on ``GET /api/instances`` with 5 instances: *paced* clients ask once a second, as people
and their pages do; *greedy* clients ask again as soon as they are answered, which shows where it
ends.
The load comes from a process of its own, which shares the machine's cores with the gateway. Each
load is put on a tornado server that does nothing as well, for comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import tempfile
import time
from pathlib import Path
from statistics import quantiles

from bench.bare import BareProcess
from bench.process import GatewayProcess, cpu_seconds, memory

MIB = 1024 * 1024


async def _client(
    address: tuple[str, int], token: str, until: float, pause: float, latencies: list[float]
) -> None:
    reader, writer = await asyncio.open_connection(*address)
    lines = ("GET /api/instances HTTP/1.1", f"Host: {address[0]}", f"Authorization: Bearer {token}")
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    if pause:
        await asyncio.sleep(random.uniform(0, pause))
    while time.monotonic() < until:
        started = time.monotonic()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(length)
        taken = time.monotonic() - started
        latencies.append(taken)
        if pause:
            await asyncio.sleep(max(0.0, pause - taken))
    writer.close()


def _load(
    address: tuple[str, int],
    token: str,
    clients: int,
    seconds: float,
    pause: float,
    answer: multiprocessing.SimpleQueue[list[float]],
) -> None:
    async def run() -> list[float]:
        latencies: list[float] = []
        until = time.monotonic() + seconds
        await asyncio.gather(
            *(_client(address, token, until, pause, latencies) for _ in range(clients))
        )
        return latencies

    try:
        import uvloop
    except ImportError:
        answer.put(asyncio.run(run()))
    else:
        answer.put(uvloop.run(run()))


def measure(
    server: GatewayProcess | BareProcess, token: str, clients: int, seconds: float, pause: float
) -> tuple[str, float]:
    """Return a line of figures, and the seconds of processor time that each request took."""
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(
        target=_load, args=(server.address, token, clients, seconds, pause, answer)
    )
    before = cpu_seconds(server.pid)
    process.start()
    latencies = answer.get()
    process.join(10)
    used = (cpu_seconds(server.pid) - before) / len(latencies)
    cuts = quantiles(latencies, n=1000)
    return (
        f"{len(latencies) / seconds:6.0f}/s   p50 {cuts[499] * 1000:6.1f} ms   "
        f"p99 {cuts[989] * 1000:6.1f} ms   max {max(latencies) * 1000:6.1f} ms   "
        f"processor {used * 1000:.2f} ms each"
    ), used


def run(clients: int = 200, seconds: float = 10.0) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        BareProcess() as bare,
        GatewayProcess(Path(directory)) as gateway,
    ):
        used = memory(gateway.pid)
        print(f"ready (first answer) after process start: {gateway.ready_seconds:.2f} s")
        print(f"gateway at rest: RSS {used['rss'] / MIB:.1f} MiB, PSS {used['pss'] / MIB:.1f} MiB")
        gateway.register()
        for number in range(5):
            gateway.call("POST", "/api/instances", {"name": f"bench {number}"})
        for count, pause in ((clients, 1.0), (1000, 2.0), (clients, 0.0)):
            kind = f"one request every {pause:g} s each" if pause else "greedy"
            print(f"{count} clients, {kind}")
            line, least = measure(bare, gateway.token, count, seconds, pause)
            print(f"  bare tornado  {line}", flush=True)
            line, taken = measure(gateway, gateway.token, count, seconds, pause)
            print(f"  gateway       {line}, {taken / least:.1f} times the bare one's", flush=True)
        used = memory(gateway.pid)
        print(f"gateway after the load: RSS {used['rss'] / MIB:.1f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    run(arguments.clients, arguments.seconds)
