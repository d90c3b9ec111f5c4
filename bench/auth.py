"""Authenticated requests per second: with access tokens and with API keys.

    python -m bench.auth [--clients 100] [--seconds 8] [--rounds 3]

The same request, ``GET /api/instances`` with five instances, is made with an access token, with a
key to the whole subscription and with a key of an instance (which has one to list). The three take
turns, so that what else the machine does falls on all of them; the ratios are of the medians.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

from bench.api import measure
from bench.process import GatewayProcess

_PERMISSIONS = ["instances:read"]


def run(clients: int = 100, seconds: float = 8.0, rounds: int = 3) -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory() as directory,
        GatewayProcess(Path(directory), rate_limits_enabled=False) as gateway,
    ):
        gateway.register()
        made = [
            gateway.call("POST", "/api/instances", {"name": f"bench {number}"})["id"]
            for number in range(5)
        ]
        body = {"name": "bench", "permissions": _PERMISSIONS}
        tokens = {
            "access token": gateway.token,
            "key to all": gateway.call("POST", "/api/keys", body)["key"],
            "key of one": gateway.call("POST", f"/api/instances/{made[0]}/keys", body)["key"],
        }
        costs: dict[str, list[float]] = {name: [] for name in tokens}
        for _ in range(rounds):
            for name, token in tokens.items():
                line, cost = measure(gateway, token, clients, seconds, 0.0)
                costs[name].append(cost)
                print(f"  {name:13} {line}", flush=True)
        usual = median(costs["access token"])
        for name, found in costs.items():
            print(
                f"{name}: {median(found) * 1000:.2f} ms of processor each, "
                f"{median(found) / usual:.2f} times an access token's"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    run(arguments.clients, arguments.seconds, arguments.rounds)
