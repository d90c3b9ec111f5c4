"""The local WhatsApp as a child process: started, awaited, stopped; it never outlives its parent.

The server needs a process of its own, because it loads the native client's library for its token
dictionary, and because tests and demos must be able to lose it.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.redirect import Endpoints

__all__ = ["SandboxProcess", "SandboxStartError"]

READY_TIMEOUT = 30.0
"""Seconds until the child must have said where it listens."""

STOP_TIMEOUT = 10.0
"""Seconds between the polite request to stop and SIGKILL."""

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_READY_LIMIT = 64 * 1024


class SandboxStartError(RuntimeError):
    """The local WhatsApp did not start: it ended, or said nothing in time."""


class SandboxProcess:
    """A running local WhatsApp. A context manager: starts on entry, stops on exit.

    All methods block, for at most the stated timeouts; beside a running loop, use a thread.

    The child watches its standard input, whose other end only this process holds, and stops when
    it closes: also after SIGKILL. (PR_SET_PDEATHSIG would fire when the starting *thread* ends.)

    Args:
        port: of the proxy on loopback; 0 chooses a free one.
        control_port: of the control API on loopback; 0 chooses a free one.
        state_dir: where the CA file and ``endpoints.json`` are written; a temporary directory of
            the child's if not given.
        default_contacts: whether the documented contacts exist from the start.
        log_file: where the child's log goes; this process's standard error if not given.
        ready_timeout: seconds that the start may take.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        control_port: int = 0,
        state_dir: Path | None = None,
        default_contacts: bool = True,
        log_file: Path | None = None,
        ready_timeout: float = READY_TIMEOUT,
    ) -> None:
        self._arguments = [
            *(sys.executable, "-m", "wavisor.sandbox", "--stop-with-stdin"),
            *("--port", str(port), "--control-port", str(control_port)),
            *(("--state-dir", str(state_dir)) if state_dir else ()),
            *(() if default_contacts else ("--no-default-contacts",)),
        ]
        self._log_file = log_file
        self._ready_timeout = ready_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoints: Endpoints | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Where it listens; raises RuntimeError before :meth:`start`."""
        if self._endpoints is None:
            raise RuntimeError("the local WhatsApp has not been started")
        return self._endpoints

    @property
    def control(self) -> SandboxControl:
        """A client of its control API."""
        return SandboxControl(self.endpoints.control_url)

    @property
    def pid(self) -> int | None:
        """The child's process id, None when it is not running."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process is not None else None

    def start(self) -> Endpoints:
        """Start it and return where it listens.

        Raises SandboxStartError when it ends or stays silent instead.
        """
        if self._process is not None:
            raise RuntimeError("the local WhatsApp has been started already")
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(self._log_file.open("ab")) if self._log_file else None
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
                # Ctrl+C in a terminal must not end it before the gateway that uses it.
                start_new_session=True,
            )
        try:
            self._endpoints = Endpoints.from_json(self._read_ready_line())
        except ValueError as error:
            self.stop()
            raise SandboxStartError("the ready line is not what was expected") from error
        except BaseException:
            self.stop()
            raise
        return self._endpoints

    def stop(self, *, within: float = STOP_TIMEOUT) -> int | None:
        """Stop it, by force after ``within`` seconds; return its exit code, None if not started."""
        process, self._process, self._endpoints = self._process, None, None
        if process is None:
            return None
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        process.terminate()
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return process.returncode

    def __enter__(self) -> SandboxProcess:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _read_ready_line(self) -> str:
        if self._process is None or self._process.stdout is None:
            raise RuntimeError("the local WhatsApp is not running")
        deadline = time.monotonic() + self._ready_timeout
        received = b""
        while not received.endswith(b"\n"):
            if not _readable(self._process.stdout, deadline - time.monotonic()):
                raise SandboxStartError("the local WhatsApp was not ready in time")
            part = os.read(self._process.stdout.fileno(), _READY_LIMIT)
            if not part or len(received) > _READY_LIMIT:
                code = self._process.poll()
                raise SandboxStartError(f"the local WhatsApp ended at once (exit code {code})")
            received += part
        return received.decode()


def _readable(stream: IO[bytes], seconds: float) -> bool:
    if seconds <= 0:
        return False
    # poll, not select: a gateway's process may have more descriptors than select can name.
    poller = select.poll()
    poller.register(stream, select.POLLIN | select.POLLHUP)
    return bool(poller.poll(seconds * 1000))


def _environment() -> dict[str, str]:
    """Return this process's environment, in which the child finds the same wavisor."""
    path = [str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
