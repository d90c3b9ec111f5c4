"""One session process as the gateway sees it: a socket, its output, and how it ends."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import uuid
from collections import deque
from collections.abc import Callable

import structlog
from pydantic import ValidationError

from wavisor.whatsapp.commands import Command, Open, Stop
from wavisor.whatsapp.events import EVENTS, ConnectFailed, Event, Exited
from wavisor.whatsapp.frames import FrameDecoder, FrameError, encode_frame
from wavisor.whatsapp.nursery import Nursery
from wavisor.whatsapp.output import OutputPipe
from wavisor.whatsapp.port import SessionSpec

__all__ = ["ProcessSession"]

log = structlog.get_logger(__name__)

MAX_QUEUED = 4 << 20
"""Bytes of commands that may wait for a session that does not read."""

_READ_SIZE = 262_144
_LAST_WORDS_SECONDS = 2.0
_UNASKED_END_SECONDS = 5.0


class ProcessSession:
    """A session of the driver's. :meth:`send`, :meth:`stop`, :meth:`kill` may be called anywhere.

    Everything else happens on the event loop.

    Args:
        loop: the driver's loop.
        spec: what it was opened with.
        on_event: where its events go.
        on_end: called on the loop after ``Exited`` was delivered.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        spec: SessionSpec,
        on_event: Callable[[str, Event], None],
        on_end: Callable[[ProcessSession], None],
    ) -> None:
        self.spec = spec
        self._incarnation = uuid.uuid4().hex
        self._loop = loop
        self._on_event = on_event
        self._on_end = on_end
        self._lock = threading.Lock()
        self._outbox: deque[bytes] = deque()
        self._queued = 0
        self._ended = threading.Event()
        self._pid: int | None = None
        self._nursery: Nursery | None = None
        self._socket: socket.socket | None = None
        self._decoder = FrameDecoder()
        self._output: list[OutputPipe] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._exit: tuple[int | None, str | None] | None = None
        self._crash: str | None = None
        self._log = log.bind(instance=spec.instance_id, incarnation=self._incarnation[:8])

    # The port

    @property
    def incarnation(self) -> str:
        """Unique name of this session."""
        return self._incarnation

    @property
    def pid(self) -> int | None:
        """The process id, None until it is known and after its end."""
        return self._pid

    @property
    def ended(self) -> bool:
        """Whether ``Exited`` was delivered."""
        return self._ended.is_set()

    def send(self, command: Command) -> bool:
        """Queue a command; False when the session has ended or too much is waiting."""
        frame = encode_frame(command.model_dump_json().encode())
        with self._lock:
            if self._ended.is_set() or self._queued + len(frame) > MAX_QUEUED:
                return False
            self._outbox.append(frame)
            self._queued += len(frame)
        return self._soon(self._flush)

    def stop(self, grace: float) -> None:
        """Ask the process to end; SIGKILL after ``grace`` seconds."""
        self.send(Stop(instance=self.spec.instance_id))
        self._soon(lambda: self._kill_after(grace))

    def kill(self) -> None:
        """End the process at once by SIGKILL."""
        self._soon(self._kill)

    # On the loop

    def start(self, nursery: Nursery, opening: Open, redirect: dict[str, str] | None) -> None:
        """Ask for the process and hand it its first command."""
        if self._exit is not None:
            return
        self._nursery = nursery
        try:
            ours, theirs = socket.socketpair()
            pipes = [os.pipe(), os.pipe()]
        except OSError as error:
            self.on_exited(None, f"no descriptors for a session: {error.strerror}")
            return
        ours.setblocking(False)
        self._socket = ours
        self._output = [
            OutputPipe(
                self._loop, reader, self._on_crash, instance=self.spec.instance_id, stream=stream
            )
            for (reader, _), stream in zip(pipes, ("stdout", "stderr"), strict=True)
        ]
        with self._lock:
            frame = encode_frame(opening.model_dump_json().encode())
            self._outbox.appendleft(frame)
            self._queued += len(frame)
        self._loop.add_reader(ours, self._on_readable)
        nursery.fork(
            self._incarnation, self, [theirs.detach(), *(writer for _, writer in pipes)], redirect
        )
        self._flush()

    def refuse(self, failure: ConnectFailed | None, detail: str) -> None:
        """End a session that never got a process, telling why."""
        if failure is not None:
            self._tell(failure)
        self.on_exited(None, detail)

    def on_forked(self, pid: int) -> None:
        """Remember the process id."""
        self._pid = pid
        self._log.debug("session process started", pid=pid)

    def on_not_forked(self, detail: str) -> None:
        """End: there is no process."""
        self.on_exited(None, detail)

    def on_exited(self, status: int | None, detail: str | None = None) -> None:
        """Take in the exit status; the session ends when its last words have been read."""
        if self._exit is not None:
            return
        self._exit = status, detail
        self._pid = None
        if self._socket is None:
            self._finish()
        else:
            # The kernel closed the other end, so what was written before is all there is.
            self._restart_deadline(_LAST_WORDS_SECONDS, self._finish)

    def _soon(self, callback: Callable[[], None]) -> bool:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop is closed, and the processes are gone with the gateway
            return False
        return True

    def _flush(self) -> None:
        if self._socket is None:
            return
        while True:
            with self._lock:
                if not self._outbox:
                    break
                frame = self._outbox.popleft()
            try:
                sent = self._socket.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # the reader notices the end and tells
            with self._lock:
                self._queued -= sent
                if sent < len(frame):
                    self._outbox.appendleft(frame[sent:])
                    self._loop.add_writer(self._socket, self._flush)
                    return
        self._loop.remove_writer(self._socket)

    def _on_readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._on_end_of_file()
            return
        try:
            for body in self._decoder.feed(data):
                self._tell(self._checked(EVENTS.validate_json(body)))
        except FrameError as error:
            self._on_nonsense(str(error))
        except ValidationError as error:
            self._on_nonsense(f"an event is malformed ({error.error_count()} errors)")

    def _checked(self, event: Event) -> Event:
        if isinstance(event, Exited) or event.instance != self.spec.instance_id:
            raise FrameError("the session speaks out of turn")
        return event

    def _on_nonsense(self, detail: str) -> None:
        self._log.error("session process does not speak the protocol", detail=detail)
        self._crash = self._crash or detail
        self._close_socket()
        self._kill()

    def _on_end_of_file(self) -> None:
        self._close_socket()
        if self._exit is not None:
            self._finish()
        else:
            self._kill_after(_UNASKED_END_SECONDS)

    def _on_crash(self, line: str) -> None:
        # The first line names the cause, the others are its traces.
        self._crash = self._crash or line

    def _kill_after(self, seconds: float) -> None:
        if self._exit is None and not self._ended.is_set():
            self._restart_deadline(seconds, self._kill)

    def _kill(self) -> None:
        if self._nursery is not None:
            self._nursery.kill(self._incarnation)
        else:
            self.on_exited(None, "stopped before it was started")

    def _restart_deadline(self, seconds: float, callback: Callable[[], None]) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(max(0.0, seconds), callback)

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None

    def _finish(self) -> None:
        if self._ended.is_set() or self._exit is None:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._close_socket()
        for pipe in self._output:
            pipe.drain()
        status, detail = self._exit
        self._log.debug("session process ended", exit_code=status, detail=detail)
        with self._lock:
            self._outbox.clear()
            self._queued = 0
            self._ended.set()
        self._tell(
            Exited(instance=self.spec.instance_id, exit_code=status, detail=detail or self._crash)
        )
        self._on_end(self)

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(self._incarnation, event)
        except Exception:  # noqa: BLE001 - whatever a listener does must not harm the driver
            self._log.exception("the listener of a session failed", event_type=event.type)
