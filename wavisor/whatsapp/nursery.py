"""The gateway's end of the forkserver: starts it, asks it for children, notices its death."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog

import wavisor
from wavisor.whatsapp.forkserver import MAX_PACKET
from wavisor.whatsapp.output import OutputPipe

__all__ = ["Nursery", "Ward", "session_environment", "without_proxies"]

log = structlog.get_logger(__name__)

PONG_SECONDS = 5.0
END_SECONDS = 5.0

# What the native client and its runtime read from the environment, and nothing else: a gateway's
# environment holds secrets.
_PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GODEBUG",
    "GOGC",
    "GOMEMLIMIT",
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def session_environment(
    inherited: Mapping[str, str], *, proxy_url: str | None = None, ca_file: str | None = None
) -> dict[str, str]:
    """Return the environment of session processes, fixed when the forkserver is exec'd.

    Args:
        inherited: the gateway's own environment.
        proxy_url: in sandbox mode, the only way out.
        ca_file: in sandbox mode, the only certificate authority trusted; Go reads it at exec.
    """
    environment = {name: inherited[name] for name in _PASSED_ON if name in inherited}
    home = str(Path(wavisor.__file__).parents[1])
    path = [home, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path))
    # Without it neonize marks every message to a person as a bot's.
    environment["NEONIZE_BOT_TAG"] = "off"
    for name in _PROXIES:
        for spelling in (name, name.lower()):
            if proxy_url is not None and name != "NO_PROXY":
                environment[spelling] = proxy_url
            elif proxy_url is None and spelling in inherited:
                environment[spelling] = inherited[spelling]
    if ca_file is not None:
        environment["SSL_CERT_FILE"] = str(Path(ca_file).absolute())
        environment.pop("SSL_CERT_DIR", None)
    return environment


def without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the proxies that it names."""
    return {name: value for name, value in environment.items() if name.upper() not in _PROXIES}


class Ward(Protocol):
    """Whoever asked for a child and is told what becomes of it."""

    def on_forked(self, pid: int) -> None:
        """The child runs."""
        ...

    def on_not_forked(self, detail: str) -> None:
        """There is no child and will be none."""
        ...

    def on_exited(self, status: int | None, detail: str | None = None) -> None:
        """The child is gone; a negative status is a signal's number, None is not known."""
        ...


class Nursery:
    """One forkserver process and the children it has made. Used on the event loop only.

    Args:
        loop: the loop to work on.
        environment: what the forkserver and all its children see.
        on_lost: called once when the forkserver is gone, after every ward was told.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        environment: dict[str, str],
        on_lost: Callable[[Nursery], None],
    ) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._wards: dict[str, Ward] = {}
        self._outbox: deque[tuple[bytes, list[int]]] = deque()
        self._pings = 0
        self._pong: asyncio.TimerHandle | None = None
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stdout, stderr = os.pipe(), os.pipe()
        try:
            # In the loop's own thread: the kernel counts the thread that forks as the parent,
            # and kills the forkserver when that thread ends.
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "wavisor.whatsapp.forkserver",
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=stdout[1],
                stderr=stderr[1],
                pass_fds=[theirs.fileno()],
                env=environment,
                # The library tries to open a PostgreSQL URL as a file first.
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            os.close(stdout[0])
            os.close(stderr[0])
            raise
        finally:
            theirs.close()
            os.close(stdout[1])
            os.close(stderr[1])
        self._output = [
            OutputPipe(loop, descriptor, process="forkserver")
            for descriptor in (stdout[0], stderr[0])
        ]
        self._control.setblocking(False)
        self._open = True
        loop.add_reader(self._control, self._on_readable)

    @property
    def pid(self) -> int:
        """The forkserver's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether children can still be asked for."""
        return self._open

    def fork(
        self, key: str, ward: Ward, descriptors: list[int], redirect: dict[str, str] | None
    ) -> None:
        """Ask for a child; the descriptors (socket, stdout, stderr) are closed here when sent."""
        self._wards[key] = ward
        self._send({"op": "fork", "key": key, "redirect": redirect}, descriptors)

    def kill(self, key: str) -> None:
        """Have a child killed; harmless when it is gone.

        When the forkserver itself hangs, it is killed instead, and all its children with it.
        """
        if key in self._wards and self._open:
            self._send({"op": "kill", "key": key})
            self._require_pong()

    def close(self) -> None:
        """End the forkserver and with it every child left; wards are told."""
        self._lose("the gateway ended the forkserver")

    async def ended(self) -> None:
        """Wait until the forkserver process is gone, killing it when it takes too long."""
        await self._loop.run_in_executor(None, self.reap)

    def _require_pong(self) -> None:
        if self._pong is None:
            self._pings += 1
            self._send({"op": "ping", "number": self._pings})
            self._pong = self._loop.call_later(PONG_SECONDS, self._on_no_pong)

    def _on_no_pong(self) -> None:
        log.critical("the forkserver does not answer and is killed with all sessions")
        self._process.kill()

    def _send(self, request: dict[str, Any], descriptors: list[int] | None = None) -> None:
        self._outbox.append((json.dumps(request).encode(), descriptors or []))
        self._flush()

    def _flush(self) -> None:
        while self._outbox:
            packet, descriptors = self._outbox[0]
            try:
                socket.send_fds(self._control, [packet], descriptors)
            except BlockingIOError:
                self._loop.add_writer(self._control, self._flush)
                return
            except OSError as error:
                self._lose(f"the forkserver is gone: {error.strerror}")
                return
            self._outbox.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        self._loop.remove_writer(self._control)

    def _on_readable(self) -> None:
        # A bounded number at a time, so that a crowd of exits does not hold up the loop.
        for _ in range(64):
            if not self._open:
                return
            try:
                packet = self._control.recv(MAX_PACKET)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._lose("the forkserver ended")
                return
            self._on_report(json.loads(packet))

    def _on_report(self, report: dict[str, Any]) -> None:
        event = report["event"]
        if event == "pong":
            if self._pong is not None:
                self._pong.cancel()
                self._pong = None
            return
        key = report["key"]
        if event == "forked":
            self._wards[key].on_forked(report["pid"])
        elif event == "fork_failed":
            self._wards.pop(key).on_not_forked(report["detail"])
        elif event == "exited":
            self._wards.pop(key).on_exited(report["status"])

    def _lose(self, why: str) -> None:
        if not self._open:
            return
        self._open = False
        if self._pong is not None:
            self._pong.cancel()
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        self._control.close()
        for _, descriptors in self._outbox:
            for descriptor in descriptors:
                os.close(descriptor)
        self._outbox.clear()
        wards, self._wards = self._wards, {}
        for ward in wards.values():
            ward.on_exited(None, why)
        self._on_lost(self)

    def reap(self) -> None:
        """Wait for the forkserver's end and collect it; blocks, some seconds at most."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
            return
        self._process.kill()
        self._process.wait(END_SECONDS)
