"""What rate limits cost each request.

    python -m bench.limits [--requests 2000] [--rounds 5]

Two gateways side by side, one with limits and one without, get the same requests in turns, one
after the other on one connection each; what is compared is the processor time that a request took.
*Let through* is ``GET /api/auth/me``; *refused* is the same from an address that has used up its
rate, which is what a flood costs.
"""

from __future__ import annotations

import argparse
import http.client
import tempfile
from pathlib import Path
from statistics import median

from bench.process import GatewayProcess, cpu_seconds
from wavisor.clock import SystemClock
from wavisor.http.limits import Buckets, Rate

_PLENTY = 100_000_000


def ask(gateway: GatewayProcess, requests: int, expected: int) -> float:
    """Send requests one after the other; return milliseconds of processor time for each."""
    connection = http.client.HTTPConnection(*gateway.address, timeout=30)
    headers = {"Authorization": f"Bearer {gateway.token}"}
    before = cpu_seconds(gateway.pid)
    for _ in range(requests):
        connection.request("GET", "/api/auth/me", headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != expected:
            raise RuntimeError(f"answered {answer.status} instead of {expected}")
    connection.close()
    return (cpu_seconds(gateway.pid) - before) / requests * 1000


def give_plenty(gateway: GatewayProcess) -> None:
    """Let the only subscription ask as often as it likes, and count it all the same."""
    gateway.override(requests_per_minute=_PLENTY, sends_per_minute=_PLENTY)


def buckets(count: int) -> None:
    """Print what one look into a bucket takes, with few keys and with more than are kept."""
    import time

    for keys in (1, 200_000):
        layer = Buckets(SystemClock(), capacity=50_000)
        rate = Rate(_PLENTY, 10.0)
        names = [str(number) for number in range(keys)]
        started = time.perf_counter()
        for number in range(count):
            layer.take(names[number % keys], rate)
        each = (time.perf_counter() - started) / count
        print(f"one bucket of {keys:>7} keys: {each * 1e6:.2f} µs, {len(layer)} remembered")


def run(requests: int, rounds: int) -> None:
    buckets(200_000)
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as two,
        tempfile.TemporaryDirectory() as three,
        GatewayProcess(
            Path(one), rate_limits_enabled=True, rate_limit_address_per_minute=_PLENTY
        ) as limited,
        GatewayProcess(Path(two), rate_limits_enabled=False) as free,
        GatewayProcess(
            Path(three), rate_limits_enabled=True, rate_limit_address_per_minute=30
        ) as flooded,
    ):
        for gateway in (limited, free):
            gateway.register()
        give_plenty(limited)
        ask(limited, requests // 4, 200), ask(free, requests // 4, 200)
        with_limits, without = [], []
        for _ in range(rounds):
            with_limits.append(ask(limited, requests, 200))
            without.append(ask(free, requests, 200))
        flooded.token = limited.token
        while True:
            try:
                ask(flooded, 1, 429)
                break
            except RuntimeError:
                continue
        refused = ask(flooded, requests, 429)
    ratio = median(with_limits) / median(without)
    print(f"let through, with limits     {median(with_limits):.3f} ms of processor each")
    print(f"let through, without         {median(without):.3f} ms of processor each")
    print(f"limits cost                  {ratio:.3f} times the time")
    print(f"refused                      {refused:.3f} ms of processor each")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    run(arguments.requests, arguments.rounds)
