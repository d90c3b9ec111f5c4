"""How long a large campaign takes to be made, and what others notice of it.

    python -m bench.campaigns [--recipients 100000]

A gateway on SQLite gets a CSV of so many recipients with two variables each. Meanwhile somebody
else reads a list of instances every 50 ms; their answers are compared with those before.
"""

from __future__ import annotations

import argparse
import http.client
import tempfile
import threading
import time
from pathlib import Path

from bench.process import GatewayProcess, memory

_BOUNDARY = "bench"


def percentile(values: list[float], share: float) -> float:
    """Return the value that so many of the others do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Reader(threading.Thread):
    """Somebody who asks for something else all the time."""

    def __init__(self, gateway: GatewayProcess) -> None:
        super().__init__()
        self._gateway = gateway
        self._over = threading.Event()
        self.seconds: list[float] = []

    def run(self) -> None:
        """Ask until told to stop."""
        connection = http.client.HTTPConnection(*self._gateway.address, timeout=60)
        headers = {"Authorization": f"Bearer {self._gateway.token}"}
        while not self._over.wait(0.05):
            started = time.perf_counter()
            connection.request("GET", "/api/instances", headers=headers)
            connection.getresponse().read()
            self.seconds.append(time.perf_counter() - started)
        connection.close()

    def stop(self) -> str:
        """Stop asking; return how long answers took."""
        self._over.set()
        self.join()
        p50, p99 = (percentile(self.seconds, share) * 1000 for share in (0.5, 0.99))
        return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, {len(self.seconds)} answers"


def upload(gateway: GatewayProcess, campaign: str, table: bytes) -> float:
    """Send the list; return seconds until it was answered."""
    head = (
        f"--{_BOUNDARY}\r\nContent-Disposition: form-data; "
        'name="file"; filename="people.csv"\r\n\r\n'
    )
    body = head.encode() + table + f"\r\n--{_BOUNDARY}--\r\n".encode()
    connection = http.client.HTTPConnection(*gateway.address, timeout=600)
    started = time.perf_counter()
    connection.request(
        "POST",
        f"/api/campaigns/{campaign}/recipients",
        body,
        {
            "Authorization": f"Bearer {gateway.token}",
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
        },
    )
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"answered {answer.status}: {text[:500]!r}")
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=100_000)
    count = parser.parse_args().recipients
    with (
        tempfile.TemporaryDirectory() as directory,
        GatewayProcess(Path(directory)) as gateway,
    ):
        gateway.register()
        instance = gateway.call("POST", "/api/instances", {"name": "Shop"})["id"]
        template = {
            "name": "Offer",
            "content": {"text": "Hi {{name}}, {{amount}} off"},
            "variables": [{"name": "name"}, {"name": "amount", "type": "number"}],
        }
        gateway.call("POST", "/api/templates", template)
        new = {"name": "Spring", "template": "Offer", "instances": [instance]}
        campaign = gateway.call("POST", "/api/campaigns", new)["id"]
        lines = ["to,name,amount", *(f"+4915{n:09},Person {n},{n % 50}" for n in range(count))]
        table = "\n".join(lines).encode()
        before = Reader(gateway)
        before.start()
        time.sleep(5)
        print(f"before: {before.stop()}; {memory(gateway.pid)['rss'] / 2**20:.1f} MiB")
        during = Reader(gateway)
        during.start()
        seconds = upload(gateway, campaign, table)
        print(f"{count} recipients: {seconds:.1f} s, {count / seconds:.0f} a second")
        print(f"meanwhile: {during.stop()}; {memory(gateway.pid)['rss'] / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
