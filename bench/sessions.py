"""Real sessions against a local WhatsApp: linking, memory, drops, outages, and a crash.

    python -m bench.sessions [--sessions 50] [--outage 60]

Every session is a process of its own with the unmodified native client; they share the machine's
cores with the gateway, the local WhatsApp and this program. Times are taken from the events that
the gateway published, so that asking costs nothing while it matters.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

from bench.process import ApiError, GatewayProcess, children, cpu_seconds, memory
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.process import SandboxProcess

_MIB = 1024 * 1024
_WAIT_SECONDS = 180.0
_LINKING_AT_ONCE = 2
_PER_ACCOUNT = 40  # instances that the largest tier allows
_MEMORY_AT = (1, 5, 20, 50)


@dataclass(frozen=True)
class Instance:
    """An instance, and the token of the account that it belongs to."""

    id: str
    token: str


def spread(values: Iterable[float]) -> str:
    """Return the distribution of some times in seconds, for a table."""
    ordered = sorted(values)
    if len(ordered) < 2:
        return f"{ordered[0]:.2f} s" if ordered else "none"
    cuts = quantiles(ordered, n=100, method="inclusive")
    return (
        f"min {ordered[0]:6.2f}   p50 {median(ordered):6.2f}   p90 {cuts[89]:6.2f}   "
        f"max {ordered[-1]:6.2f} s"
    )


def row(label: str, text: str) -> None:
    print(f"  {label:<44} {text}", flush=True)


class Fleet:
    """A gateway, a local WhatsApp, and the instances that were linked so far."""

    def __init__(self, gateway: GatewayProcess, control: SandboxControl) -> None:
        self.gateway = gateway
        self.control = control
        self.instances: list[Instance] = []
        self._accounts: list[str] = []

    def open_accounts(self, instances: int) -> None:
        for number in range(-(-instances // _PER_ACCOUNT)):
            self._accounts.append(self.gateway.register(f"bench{number}@example.com"))
        self.gateway.upgrade()

    def link(self, number: int) -> tuple[float, float]:
        """Link one more; return the seconds from connect to QR code, and from scan to login."""
        token = self._accounts[number // _PER_ACCOUNT]
        made = self.gateway.call("POST", "/api/instances", {"name": f"bench {number}"}, token)
        instance = Instance(made["id"], token)
        phone = f"1555{2000000 + number}"
        self.control.add_phone(phone, f"Phone {number}")
        self.gateway.call("POST", f"/api/instances/{instance.id}/connect", {}, token)
        code = self._wait_for_qr(instance)
        scanned = time.time()
        self.control.scan(phone, code)
        wait_until(lambda: self.status(instance) == "connected", "the login")
        times = {event["type"]: event for event in self.events(instance)}
        changes = self.changes(instance)
        began = next(at for at, _, new in changes if new == "connecting")
        shown = moment(times["instance:qr:updated"]["timestamp"])
        connected = next(at for at, _, new in changes if new == "connected")
        self.instances.append(instance)
        return shown - began, connected - scanned

    def link_up_to(self, count: int) -> None:
        """Link more until there are so many; a few at a time, because each takes a processor."""
        wanted = range(len(self.instances), count)
        with ThreadPoolExecutor(_LINKING_AT_ONCE) as pool:
            for _ in pool.map(self.link, wanted):
                pass

    def status(self, instance: Instance) -> str:
        path = f"/api/instances/{instance.id}/status"
        return str(self.gateway.call("GET", path, token=instance.token)["status"])

    def events(self, instance: Instance) -> list[dict[str, Any]]:
        """Return an instance's latest events, oldest first."""
        path = f"/api/instances/{instance.id}/events?limit=100"
        page = self.gateway.call("GET", path, token=instance.token)
        return list(reversed(page["items"]))

    def changes(self, instance: Instance, since: float = 0.0) -> list[tuple[float, str, str]]:
        """Return an instance's changes of status since a moment: when, from what, to what."""
        found = [
            (moment(event["timestamp"]), event["data"]["old"], event["data"]["new"])
            for event in self.events(instance)
            if event["type"] == "instance:status:changed"
        ]
        # Events are dated in whole milliseconds.
        return [change for change in found if change[0] >= since - 0.001]

    def count(self, status: str) -> int:
        return sum(
            item["status"] == status
            for token in self._accounts
            for item in self.gateway.call("GET", "/api/instances?limit=200", token=token)["items"]
        )

    def wait_all_back(self, since: float) -> list[float]:
        """Wait until all were connected anew; return how many seconds after ``since`` each was."""
        logins: dict[str, float] = {}

        def all_back() -> bool:
            time.sleep(0.5)  # asking is not to take the processor from those who come back
            if self.count("connected") < len(self.instances):
                return False
            for one in self.instances:
                changes = self.changes(one, since)
                if changes and changes[-1][2] == "connected":
                    logins[one.id] = changes[-1][0] - since
            return len(logins) == len(self.instances)

        wait_until(all_back, "all to be connected")
        return list(logins.values())

    def processor_seconds(self) -> float:
        """Return the processor time of the gateway and of all its session processes ever."""
        total = cpu_seconds(self.gateway.pid)
        for forkserver in children(self.gateway.pid):
            total += cpu_seconds(forkserver, with_ended_children=True)
            total += sum(cpu_seconds(pid) for pid in children(forkserver))
        return total

    def _wait_for_qr(self, instance: Instance) -> str:
        found: list[str] = []

        def ask() -> bool:
            try:
                path = f"/api/instances/{instance.id}/qr"
                found.append(self.gateway.call("GET", path, token=instance.token)["code"])
            except ApiError as error:
                if error.status != 409:
                    raise
            return bool(found)

        wait_until(ask, "a QR code")
        return found[0]


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def wait_until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_WAIT_SECONDS:g} s for {what}")
        time.sleep(0.05)


def measure_linking(fleet: Fleet, count: int) -> None:
    print(f"linking, one after the other ({count})")
    times = []
    for number in range(count):
        times.append(fleet.link(number))
        if number + 1 in _MEMORY_AT:
            measure_memory(fleet)
    row("connect to QR code", spread(shown for shown, _ in times))
    row("scan to connected", spread(connected for _, connected in times))


def measure_memory(fleet: Fleet) -> None:
    gateway = memory(fleet.gateway.pid)
    [forkserver] = children(fleet.gateway.pid)
    sessions = [memory(pid) for pid in children(forkserver)]
    shares = [one["pss"] / _MIB for one in sessions]
    row(
        f"memory, {len(sessions)} sessions",
        f"gateway RSS {gateway['rss'] / _MIB:.1f} PSS {gateway['pss'] / _MIB:.1f} MiB   "
        f"forkserver PSS {memory(forkserver)['pss'] / _MIB:.1f} MiB   "
        f"each session PSS {mean(shares):.1f} (max {max(shares):.1f}), "
        f"RSS {mean(one['rss'] for one in sessions) / _MIB:.1f} MiB",
    )


def measure_rest(fleet: Fleet, seconds: float = 10.0) -> None:
    before = fleet.processor_seconds(), cpu_seconds(fleet.gateway.pid)
    time.sleep(seconds)
    everything = (fleet.processor_seconds() - before[0]) / seconds
    gateway = (cpu_seconds(fleet.gateway.pid) - before[1]) / seconds
    row(
        "processor at rest",
        f"{everything:.1%} of a core, {gateway:.1%} of it the gateway",
    )


def measure_drop(fleet: Fleet) -> None:
    print(f"all {len(fleet.instances)} sockets dropped at once")
    fleet.control.clear_stats()
    used = fleet.processor_seconds()
    dropped = time.time()
    hit = fleet.control.cause("drop").hit
    row("connected again, after the drop", spread(fleet.wait_all_back(dropped)))
    row("processor time, gateway and sessions", f"{fleet.processor_seconds() - used:.1f} s")
    _report_attempts(fleet, hit)


def measure_outage(fleet: Fleet, seconds: float) -> None:
    print(f"all sockets dropped and every connection refused for {seconds:g} s")
    fleet.control.clear_stats()
    fault = fleet.control.inject("refuse")
    used = fleet.processor_seconds()
    hit = fleet.control.cause("drop").hit
    time.sleep(seconds)
    during = fleet.processor_seconds() - used
    stats = fleet.control.stats()
    row("processor time during the outage", f"{during:.1f} s, {during / seconds:.0%} of a core")
    row(
        "the server saw meanwhile",
        f"{stats.attempts_total} attempts, at most {stats.peak_per_second} in one second",
    )
    fleet.control.clear_stats()
    used = fleet.processor_seconds()
    over = time.time()
    fleet.control.clear_faults(fault.id)
    row("connected again, after the outage's end", spread(fleet.wait_all_back(over)))
    row("processor time for coming back", f"{fleet.processor_seconds() - used:.1f} s")
    _report_attempts(fleet, hit)


def measure_crash(fleet: Fleet) -> None:
    print(f"gateway killed with {len(fleet.instances)} sessions, started again on its data")
    fleet.control.clear_stats()
    [forkserver] = children(fleet.gateway.pid)
    sessions = children(forkserver)
    killed = time.monotonic()
    fleet.gateway.kill()
    wait_until(lambda: not any(_lives(pid) for pid in (forkserver, *sessions)), "children to end")
    row("all its processes are gone after", f"{time.monotonic() - killed:.2f} s")
    started = time.time()
    fleet.gateway.start()
    row("ready (first answer) after process start", f"{fleet.gateway.ready_seconds:.2f} s")
    row("connected again, after process start", spread(fleet.wait_all_back(started)))
    _report_attempts(fleet, len(fleet.instances))


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _report_attempts(fleet: Fleet, hit: int | None) -> None:
    stats = fleet.control.stats()
    row(
        "the server saw",
        f"{stats.attempts_total} attempts for {hit} clients, at most {stats.peak_per_second} "
        "in one second",
    )


def run(sessions: int = 50, outage: float = 60.0, linked_alone: int = 10) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        SandboxProcess(log_file=Path(name) / "whatsapp.log") as whatsapp,
        GatewayProcess(
            Path(name),
            sandbox_url=whatsapp.endpoints.control_url,
            access_token_ttl_seconds=3600,
        ) as gateway,
    ):
        fleet = Fleet(gateway, whatsapp.control)
        fleet.open_accounts(sessions)
        print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        linked_alone = min(linked_alone, sessions)
        measure_linking(fleet, linked_alone)
        for count in sorted({min(at, sessions) for at in _MEMORY_AT if at > linked_alone}):
            fleet.link_up_to(count)
            measure_memory(fleet)
        measure_rest(fleet)
        measure_drop(fleet)
        measure_outage(fleet, outage)
        measure_memory(fleet)
        measure_crash(fleet)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds")
    arguments = parser.parse_args()
    run(arguments.sessions, arguments.outage)
