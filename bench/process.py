"""A gateway as a process of its own, for benchmarks: started, asked, measured, stopped."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

__all__ = ["ApiError", "GatewayProcess", "children", "cpu_seconds", "memory"]

_ROOT = Path(__file__).parents[1]
_READY_SECONDS = 60.0


def memory(pid: int) -> dict[str, int]:
    """Return RSS and PSS of a process in bytes, from ``/proc/<pid>/smaps_rollup``."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = dict(re.findall(r"^(Rss|Pss):\s+(\d+) kB$", text, re.MULTILINE))
    return {name.lower(): int(value) * 1024 for name, value in found.items()}


def cpu_seconds(pid: int, *, with_ended_children: bool = False) -> float:
    """Return the processor time that a process has used, in seconds, from ``/proc/<pid>/stat``."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    wanted = fields[11:15] if with_ended_children else fields[11:13]
    return sum(map(int, wanted)) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still live."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


class ApiError(RuntimeError):
    """The API answered with a failure."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class GatewayProcess:
    """A context manager: starts a gateway on a free port with a data directory of its own."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self._directory = directory
        self._settings = settings
        self._ready = threading.Event()
        self.url = ""
        self.ready_seconds = 0.0
        """From the start of the process to its first answer."""
        self.token = ""

    def start(self) -> None:
        """Start the gateway, for the first time or again on the same data."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WAVISOR_")}
        # The load comes from one address and one account, which limits are there to slow down;
        # bench.limits measures what they cost.
        environment["WAVISOR_RATE_LIMITS_ENABLED"] = "false"
        environment |= {f"WAVISOR_{k.upper()}": str(v) for k, v in self._settings.items()}
        environment |= {
            "WAVISOR_PORT": "0",
            "WAVISOR_DATA_DIR": str(self._directory / "data"),
            "WAVISOR_LOG_FORMAT": "json",
        }
        self._ready.clear()
        started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, str(_ROOT / "main.py"), "serve"],
            cwd=self._directory,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        deadline = started + _READY_SECONDS
        while not self._ready.wait(0.05):
            if self._process.poll() is not None:
                raise RuntimeError(f"the gateway ended with code {self._process.returncode}")
            if time.monotonic() > deadline:
                self._process.kill()
                raise TimeoutError("the gateway was not ready in time")
        # The log line is not the proof; an answer is.
        self.call("GET", "/health/live")
        self.ready_seconds = time.monotonic() - started

    def stop(self) -> None:
        """Stop it in order."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(5)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> GatewayProcess:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def database_url(self) -> str:
        """The database that it uses."""
        embedded = f"sqlite:///{self._directory / 'data' / 'wavisor.db'}"
        return str(self._settings.get("database_url", embedded))

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def register(self, email: str = "bench@example.com") -> str:
        """Open an account and use its token from then on, unless another one is given."""
        body = {"email": email, "password": "only for benchmarks", "name": "Bench"}
        self.token = ""
        self.token = self.call("POST", "/api/auth/register", body)["accessToken"]
        return self.token

    def upgrade(self) -> None:
        """Give all subscriptions the largest tier, which no route does yet."""
        from wavisor.domain import Tier
        from wavisor.storage.models import Subscription

        self._change(lambda: Subscription.update(tier=Tier.MAX.value).execute())

    def override(self, **limits: int) -> None:
        """Give all subscriptions limits of their own."""
        from wavisor.storage.models import Subscription

        self._change(lambda: Subscription.update(overrides=limits).execute())

    def _change(self, change: Callable[[], object]) -> None:
        from wavisor.clock import SystemClock
        from wavisor.storage import Database

        database = Database(self.database_url, clock=SystemClock())
        database.open()
        database.write_wait(change)
        database.close()

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """Ask the API, as the account that ``token`` belongs to; return the parsed answer.

        Raises:
            ApiError: the answer is a failure.
        """
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        headers = {"Content-Type": "application/json"}
        if token or self.token:
            headers["Authorization"] = f"Bearer {token or self.token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise ApiError(answer.status, f"{method} {path}: {answer.status} {data[:300]!r}")
        return json.loads(data) if data else None

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                sys.stderr.write(line)
                continue
            if entry.get("event") == "ready":
                self.url = entry["url"]
                self._ready.set()
            elif entry.get("level") in ("error", "critical"):
                sys.stderr.write(line)
