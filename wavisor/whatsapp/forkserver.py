"""The process that session processes are forked from.

Started by the driver as ``python -m wavisor.whatsapp.forkserver``. It imports what neonize will
import, freezes the heap so that the pages stay shared, and then forks one child per request.

Our own rather than multiprocessing's, because sessions need what that one does not give: an
environment fixed at exec (the Go runtime reads it there), children that die with their parent by
``PR_SET_PDEATHSIG``, the exit status of each child, a kill that cannot hit a reused process id,
and neither pickle nor an import of the gateway's ``__main__``.

It never imports neonize: that loads the Go runtime, whose threads do not survive a fork. (Of its
modules, only the protobuf schemas are loaded here, without the package.) It has one thread, for
the same reason.

Requests and reports are single JSON packets on a ``SOCK_SEQPACKET`` socket:

========================================  =====================================================
request                                   report
========================================  =====================================================
``fork`` key, redirect + 3 descriptors    ``forked`` key, pid; or ``fork_failed`` key, detail
``kill`` key                              (the exit is the answer)
``ping`` number                           ``pong`` number
\\                                         ``exited`` key, status (negative for a signal)
========================================  =====================================================

The descriptors are the child's socket, stdout and stderr. End of file on the socket means that
the gateway is gone: every child is killed and the process ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import selectors
import signal
import socket
import sys
from types import FrameType, ModuleType
from typing import Any, NoReturn

__all__ = ["MAX_PACKET", "PRELOAD", "main"]

MAX_PACKET = 64 * 1024
DESCRIPTORS = 3

PRELOAD = (
    # what neonize imports besides itself
    "PIL.Image",
    "PIL.ImageSequence",
    "bs4",
    "google.protobuf.internal.containers",
    "google.protobuf.internal.enum_type_wrapper",
    "google.protobuf.internal.builder",
    "google.protobuf.descriptor_pb2",
    "httpx",
    "linkpreview",
    "magic",
    "phonenumbers",
    "requests",
    "segno",
    "tqdm",
    # what it imports of the standard library
    "asyncio",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "ctypes.util",
    "logging",
    "platform",
    "queue",
    "uuid",
    # what the child runs
    "wavisor.whatsapp.child",
    "wavisor.whatsapp.connection",
    "wavisor.whatsapp.failure_log",
    "wavisor.whatsapp.failures",
    "wavisor.whatsapp.history",
    "wavisor.whatsapp.keystore",
    "wavisor.whatsapp.notices",
    "wavisor.whatsapp.outgoing",
    "wavisor.whatsapp.reception",
    "wavisor.whatsapp.registrations",
    "wavisor.whatsapp.transfers",
    "wavisor.whatsapp.translation",
)
"""Imported before the first fork. None of them may start a thread or import neonize."""

SCHEMAS = (
    "Neonize_pb2",
    "waAICommon.WAWebProtobufsAICommon_pb2",
    "waAICommonDeprecated.WAAICommonDeprecated_pb2",
    "waCommon.WACommon_pb2",
    "waCompanionReg.WAWebProtobufsCompanionReg_pb2",
    "waConsumerApplication.WAConsumerApplication_pb2",
    "waE2E.WAWebProtobufsE2E_pb2",
    "waMsgApplication.WAMsgApplication_pb2",
)
"""The modules of ``neonize.proto`` that the client imports, with those that they import."""

_PR_SET_PDEATHSIG = 1
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends.

    Args:
        parent: the process id that the parent had when this process was made. When it is no
            longer ours, the parent died before the kernel was told, and this process ends.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)


class Forkserver:
    """Forks, reaps and kills session processes on behalf of the gateway."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, str] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe()

    def serve(self) -> None:
        """Serve requests until the gateway is gone."""
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        signal.signal(signal.SIGCHLD, _on_sigchld)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in self._selector.select()}
            if self._wake_reader in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_reader, 4096)
                self._reap()
            if self._control in ready and not self._receive():
                return

    def kill_all(self) -> None:
        """Kill every child."""
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _receive(self) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(self._control, MAX_PACKET, DESCRIPTORS)
        if not packet:
            return False
        request = json.loads(packet)
        try:
            if request["op"] == "fork":
                self._fork(request, descriptors)
            elif request["op"] == "kill":
                self._kill(request["key"])
            elif request["op"] == "ping":
                self._report(event="pong", number=request["number"])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, request: dict[str, Any], descriptors: list[int]) -> None:
        key = request["key"]
        if len(descriptors) != DESCRIPTORS:
            self._report(event="fork_failed", key=key, detail="descriptors were lost on the way")
            return
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._report(event="fork_failed", key=key, detail=f"fork: {error.strerror}")
            return
        if pid == 0:
            self._run_child(parent, request, descriptors)
        self._children[pid] = key
        self._report(event="forked", key=key, pid=pid)

    def _run_child(self, parent: int, request: dict[str, Any], descriptors: list[int]) -> NoReturn:
        code = 1
        try:
            die_with_parent(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            self._control.close()
            os.close(self._wake_reader)
            os.close(self._wake_writer)
            channel, stdout, stderr = descriptors
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            os.close(stdout)
            os.close(stderr)
            from wavisor.whatsapp.child import run_session

            code = run_session(socket.socket(fileno=channel), request.get("redirect"))
        except BaseException:  # noqa: BLE001 - nothing may return into the forkserver's loop
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            os._exit(code)

    def _kill(self, key: str) -> None:
        # Safe against reuse of process ids: until we have reaped a child, its id is its own.
        for pid, owner in self._children.items():
            if owner == key:
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        for pid in list(self._children):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                key = self._children.pop(pid)
                self._report(event="exited", key=key, status=os.waitstatus_to_exitcode(status))

    def _report(self, **report: Any) -> None:
        # A gateway that is gone is noticed by the end of file on the same socket.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(json.dumps(report).encode())


def _on_sigchld(_signum: int, _frame: FrameType | None) -> None:
    """Exist: only signals with a handler are written to the wake-up descriptor."""


def _preload() -> None:
    for name in PRELOAD:
        importlib.import_module(name)
    _preload_schemas()
    if "neonize" in sys.modules:
        raise RuntimeError("the forkserver must not import neonize")
    gc.collect()
    gc.freeze()


def _preload_schemas() -> None:
    """Import neonize's protobuf schemas without neonize, whose own module loads the Go runtime.

    They are plain protobuf, and 5 MB and a third of the work of importing neonize. An empty
    module stands in for their package meanwhile; the children import the real one and find the
    schemas loaded.
    """
    found = importlib.util.find_spec("neonize")
    if found is None or found.submodule_search_locations is None:
        return  # whoever needs it says so better
    stand_in = ModuleType("neonize")
    stand_in.__path__ = list(found.submodule_search_locations)
    sys.modules["neonize"] = stand_in
    try:
        for name in SCHEMAS:
            # Another version may not have it; the children import what is missing.
            with contextlib.suppress(ImportError):
                importlib.import_module(f"neonize.proto.{name}")
    finally:
        del sys.modules["neonize"]


def main() -> int:
    """Run the forkserver: arguments are the control socket's descriptor and the parent's id."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    die_with_parent(int(sys.argv[2]))
    # The gateway decides when sessions end. A Ctrl+C in its terminal, or a service manager that
    # signals the whole control group, must not take them away while it stops them in order.
    for signum in _IGNORED:
        signal.signal(signum, signal.SIG_IGN)
    # Key stores are made by the native library with the default mode.
    os.umask(0o077)
    server = Forkserver(control)
    _preload()
    try:
        server.serve()
    finally:
        server.kill_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
