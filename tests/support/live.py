"""A gateway as its operator starts it: a process of its own with real sessions, driven by HTTP.

The fixtures here are the whole product against the local WhatsApp: `local_whatsapp` is one server
for all tests, `live` one gateway for the tests of a module, with the settings in the module's
``LIVE_SETTINGS``; `new_live` makes one for a test that needs its own; `owner` is a tenant of the
module's gateway. Who drives it over HTTP is in ``live_client``.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pytest

from support.live_client import Owner
from support.ports import hold_port, port_of
from support.processes import children_of, is_running, wait_gone
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.process import SandboxProcess

__all__ = [
    "LiveGateway",
    "LogLines",
    "live",
    "local_whatsapp",
    "mounted",
    "new_live",
    "new_number",
    "owner",
    "whatsapp",
]

ROOT = Path(__file__).parents[2]
SERVE = (sys.executable, str(ROOT / "main.py"), "serve")
PATIENCE = 60.0
START_SECONDS = 60.0
"""What a start may take on a busy machine with cold caches, be it only to fail."""
STOP_SECONDS = 12.0
"""The gateway promises ten seconds; the rest is for a busy machine to notice."""

_numbers = itertools.count(12_025_552_000)
_names = itertools.count(1)


def new_number() -> str:
    """A phone number that no test has used yet, as digits."""
    return str(next(_numbers))


class LogLines:
    """The log of a process, read by a thread; lines that are no JSON are kept as ``raw``."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._open = 0

    def follow(self, stream: IO[str]) -> threading.Thread:
        """Begin to read a stream to its end."""
        with self._news:
            self._open += 1
        reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        reader.start()
        return reader

    def _read(self, stream: IO[str]) -> None:
        for text in stream:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"event": "raw", "raw": text.rstrip("\n")}
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._open -= 1
            self._news.notify_all()

    @property
    def mark(self) -> int:
        """A position for ``after``: now."""
        with self._news:
            return len(self.lines)

    def all(self, event: str | None = None, *, after: int = 0, **fields: Any) -> list[Any]:
        """The lines with this event and these fields."""
        with self._news:
            return [
                line
                for line in self.lines[after:]
                if (event is None or line.get("event") == event)
                and all(line.get(name) == value for name, value in fields.items())
            ]

    def wait(
        self, event: str, *, after: int = 0, patience: float = PATIENCE, **fields: Any
    ) -> dict[str, Any]:
        """Return the first such line; fails when it does not come, or the process ends."""
        with self._news:
            self._news.wait_for(
                lambda: self.all(event, after=after, **fields) or not self._open, patience
            )
            found = self.all(event, after=after, **fields)
        assert found, f"no log line {event!r} with {fields}; the log:\n{self.tail()}"
        return dict(found[0])

    def tail(self, count: int = 40) -> str:
        """The last lines, for messages of failed tests."""
        with self._news:
            return "\n".join(str(line) for line in self.lines[-count:])


class LiveGateway:
    """One gateway process after another on one data directory and one port.

    Args:
        directory: its working directory; holds the data directory and the complete log.
        sandbox_url: the local WhatsApp to use; None for a normal gateway.
        settings: further settings by their names in lower case, as text.
        command: how it is started.
    """

    def __init__(
        self,
        directory: Path,
        sandbox_url: str | None,
        settings: dict[str, str] | None = None,
        *,
        command: Sequence[str] = SERVE,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.data_dir = directory / "data"
        self.log = LogLines()
        self.url = ""
        self._port = hold_port()
        self.settings = {
            "data_dir": str(self.data_dir),
            "port": str(port_of(self._port)),
            "log_level": "debug",
            "log_format": "json",
            "bcrypt_rounds": "4",
            "access_token_ttl_seconds": "86400",
            **({"sandbox_url": sandbox_url} if sandbox_url else {}),
            **(settings or {}),
        }
        self._command = [*command]
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started_at = 0

    # Life

    def spawn(self, **environment: str) -> None:
        """Start the process without waiting for it."""
        assert self._process is None, "the last process has not been waited for"
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("WAVISOR_")
        }
        own = {f"WAVISOR_{name.upper()}": value for name, value in self.settings.items()}
        # Pauses like a person's would make every test of messages wait for real seconds.
        own.setdefault("WAVISOR_PACING_ENABLED", "false")
        # All of them come from one address, and faster than anybody may.
        own.setdefault("WAVISOR_RATE_LIMITS_ENABLED", "false")
        self._started_at = self.log.mark
        self._process = subprocess.Popen(
            self._command,
            cwd=self.directory,
            env={**inherited, **own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert self._process.stderr is not None
        self._reader = self.log.follow(self._process.stderr)

    def start(self, **environment: str) -> LiveGateway:
        """Start it and wait until it answers."""
        self.spawn(**environment)
        try:
            self.url = self.log.wait("ready", after=self._started_at, patience=START_SECONDS)["url"]
        except BaseException:
            self.end()
            raise
        return self

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the end of the process; return its exit code."""
        process, reader = self._process, self._reader
        assert process is not None
        assert reader is not None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end in time:\n{self.log.tail()}") from None
        # Session processes do not hold the gateway's standard error, so its end is the log's.
        reader.join(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()
        self._process = None
        return code

    def fail(self, **environment: str) -> int:
        """Start it in vain; return the exit code."""
        self.spawn(**environment)
        return self.wait(START_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it in order; return the exit code."""
        self.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """End it by SIGKILL, and wait for it alone; its children are the test's affair."""
        self.send_signal(signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def restart(self) -> None:
        """Stop it in order, and start it again."""
        assert self.stop() == 0, self.log.tail()
        self.start()

    def end(self) -> None:
        """Leave no process, whatever state it is in; it cannot be started again."""
        self._port.close()
        if self._process is None:
            return
        family = self.family
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(signal.SIGTERM)
        try:
            self.wait()
        except AssertionError:
            self._process.kill()
            self.wait()
            raise
        finally:
            assert wait_gone(family, 10) == []

    # What is inside

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The gateway's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def forkserver_pid(self) -> int:
        """The process id of the one child that the gateway has."""
        (child,) = children_of(self.pid)
        return child

    @property
    def session_pids(self) -> list[int]:
        """The session processes that are there now."""
        return [session for child in children_of(self.pid) for session in children_of(child)]

    @property
    def family(self) -> list[int]:
        """All processes of the gateway but itself."""
        return [*children_of(self.pid), *self.session_pids]

    def session_pid(self, instance_id: str) -> int | None:
        """The process id of an instance's session, None when it has none."""
        lines = self.log.all(
            "session process started", after=self._started_at, instance=instance_id
        )
        pid = int(lines[-1]["pid"]) if lines else None
        return pid if pid is not None and is_running(pid) else None

    def wait_new_session(self, instance_id: str, after: int) -> int:
        """Wait until an instance has got a session process; return its id."""
        line = self.log.wait("session process started", after=after, instance=instance_id)
        return int(line["pid"])

    def key_files(self, instance_id: str) -> list[Path]:
        """The files in the data directory that bear an instance's id."""
        return sorted(self.data_dir.rglob(f"*{instance_id}*"))

    def new_owner(self) -> Owner:
        """Register a tenant; its helpers follow the gateway through restarts."""
        return Owner.register(self, f"owner{next(_names)}@example.com")


def _needs_unscanned(request: pytest.FixtureRequest) -> bool:
    """Tell whether its long wait should begin now; workers run it beside each other anyway."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return False
    return any("unscanned" in getattr(item, "fixturenames", ()) for item in request.session.items)


@pytest.fixture(scope="session")
def local_whatsapp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """The local WhatsApp of all live tests."""
    directory = tmp_path_factory.mktemp("local-whatsapp")
    with SandboxProcess(log_file=directory / "log") as process:
        yield process


@pytest.fixture
def whatsapp(local_whatsapp: SandboxProcess) -> Iterator[SandboxControl]:
    """Its control API; no fault outlives the test that injected it."""
    control = local_whatsapp.control
    yield control
    control.clear_faults()


@pytest.fixture(scope="session")
def unscanned(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[LiveGateway, Owner, Any]]:
    """An instance whose QR codes nobody scans, in a world of its own that no fault disturbs.

    Its 100 seconds are those of the real client. They run from the first live test on, beside all
    the others.
    """
    directory = tmp_path_factory.mktemp("unscanned")
    with SandboxProcess(log_file=directory / "log") as process:
        gateway = LiveGateway(directory, process.endpoints.control_url).start()
        try:
            with gateway.new_owner() as tenant:
                instance = tenant.create("Nobody scans this")
                instance.connect()
                yield gateway, tenant, instance
        finally:
            gateway.end()


@pytest.fixture(scope="module")
def live(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    local_whatsapp: SandboxProcess,
) -> Iterator[LiveGateway]:
    """A gateway for the tests of a module."""
    if _needs_unscanned(request):
        request.getfixturevalue("unscanned")
    settings = getattr(request.module, "LIVE_SETTINGS", {})
    directory = tmp_path_factory.mktemp("gateway")
    gateway = LiveGateway(directory, local_whatsapp.endpoints.control_url, settings).start()
    yield gateway
    gateway.end()


@pytest.fixture
def new_live(
    tmp_path: Path, local_whatsapp: SandboxProcess
) -> Iterator[Callable[..., LiveGateway]]:
    """Makes gateways for one test; ``start()`` is up to it."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def make(
            *, sandboxed: bool = True, command: Sequence[str] = SERVE, **settings: str
        ) -> LiveGateway:
            url = local_whatsapp.endpoints.control_url if sandboxed else None
            directory = tmp_path / f"gateway{next(numbers)}"
            gateway = LiveGateway(directory, url, settings, command=command)
            stack.callback(gateway.end)
            return gateway

        yield make


@pytest.fixture
def mounted() -> Iterator[Callable[[Path, str], None]]:
    """Mounts small file systems of their own on directories; only root may."""
    with ExitStack() as stack:

        def mount(directory: Path, options: str) -> None:
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            if done.returncode != 0:
                pytest.skip(f"this user may not mount file systems: {done.stderr.strip()}")
            # Lazily: whatever a failed test left open must not keep it.
            unmount = ["umount", "--lazy", str(directory)]
            stack.callback(subprocess.run, unmount, check=True, timeout=60)

        yield mount


@pytest.fixture
def owner(live: LiveGateway) -> Iterator[Owner]:
    """A tenant of the module's gateway, gone with its instances after the test."""
    if not live.running:
        live.start()
    with live.new_owner() as tenant:
        yield tenant
        if live.running:
            tenant.delete_instances()
