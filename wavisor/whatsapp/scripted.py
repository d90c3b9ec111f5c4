"""A session driver without WhatsApp: for tests, and for looking at actors in isolation.

:class:`ScriptedDriver` fulfils :mod:`wavisor.whatsapp.port` without any process. Its sessions
record every command and answer like a healthy client; a test drives the rest (``show_qr``,
``pair``, ``connect``, ``drop``, ``exit`` or any ``emit``). Sessions with exactly one defect each
are in :mod:`wavisor.whatsapp.scripted_defects`.

Events are delivered in the thread that causes them, one at a time and in order: what a callback
causes itself is delivered after it returns.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from wavisor.clock import Timers
from wavisor.whatsapp.commands import (
    PROTOCOL_VERSION,
    Command,
    DownloadMedia,
    Logout,
    Ping,
    Probe,
    Query,
    RequestPairingCode,
    SendMessage,
    Stop,
)
from wavisor.whatsapp.events import (
    Answer,
    Connected,
    Disconnected,
    Event,
    Exited,
    Failure,
    LoggedOut,
    Paired,
    QrCode,
    Ready,
)
from wavisor.whatsapp.port import Session, SessionError, SessionSpec
from wavisor.whatsapp.queries import result_type
from wavisor.whatsapp.query_results import Done

__all__ = ["ScriptedDriver", "ScriptedSession"]

SIGKILLED = -9
SCRIPTED_JID = "15550100:1@s.whatsapp.net"
PAIRING_CODE = "ABCD-1234"

C = TypeVar("C")

_NEEDS_CONNECTION = (Probe, Logout, SendMessage, DownloadMedia, Query)


class ScriptedSession:
    """A healthy session: ready at once, and answering every command as a real one would.

    ``sent`` holds the commands in the order they came; ``stopped`` the grace of the last
    :meth:`stop`, ``killed`` whether :meth:`kill` was called.
    """

    def __init__(
        self, driver: ScriptedDriver, spec: SessionSpec, on_event: Callable[[str, Event], None]
    ) -> None:
        self.driver = driver
        self.spec = spec
        self.sent: list[Command] = []
        self.events: list[Event] = []
        self.stopped: float | None = None
        self.killed = False
        self.connected = False
        self.alive = True
        self._number = next(driver.numbers)
        self._on_event = on_event
        self._outbox: deque[Event] = deque()
        self._delivering = False
        self._lock = threading.RLock()
        self._message_numbers = itertools.count(1)

    # The port

    @property
    def incarnation(self) -> str:
        """A new name for every session of a driver."""
        return f"scripted-{self._number}"

    @property
    def pid(self) -> int | None:
        """A made-up process id while the session lives."""
        return 100_000 + self._number if self.alive else None

    def send(self, command: Command) -> bool:
        """Record a command and react to it as a healthy client does."""
        with self._lock:
            if not self.alive:
                return False
            self.sent.append(command)
            self.on_command(command)
            return True

    def stop(self, grace: float) -> None:
        """End with exit code 0; the defects decide otherwise."""
        with self._lock:
            self.stopped = grace
            self.send(Stop(instance=self.spec.instance_id))

    def kill(self) -> None:
        """End as if by SIGKILL."""
        with self._lock:
            self.killed = True
            self.exit(SIGKILLED)

    # What a test drives

    def emit(self, event: Event) -> None:
        """Deliver any event; after ``Exited`` nothing is delivered any more.

        Raises:
            RuntimeError: the session has ended.
        """
        with self._lock:
            if not self.alive:
                raise RuntimeError("the session has ended")
            self._deliver(event)

    def show_qr(self, text: str = "https://wa.me/settings/linked_devices#scripted") -> None:
        """Show a QR code."""
        self.emit(QrCode(instance=self.spec.instance_id, text=text))

    def pair(self, jid: str = SCRIPTED_JID) -> None:
        """Let the phone accept this device; the key store exists from then on."""
        self.driver.keys.add(self.spec.instance_id)
        self.emit(Paired(instance=self.spec.instance_id, jid=jid, platform="android"))

    def connect(self, jid: str | None = None) -> None:
        """Log in, with the JID of the spec unless given."""
        jid = jid or self.spec.jid or SCRIPTED_JID
        user = jid.partition("@")[0].partition(":")[0]
        self.connected = True
        self.emit(
            Connected(
                instance=self.spec.instance_id,
                jid=jid,
                lid=f"9{user}@lid",
                phone=f"+{user}",
                push_name="Scripted",
                platform="android",
            )
        )

    def drop(self, detail: str | None = None) -> None:
        """Lose the connection."""
        self.connected = False
        self.emit(Disconnected(instance=self.spec.instance_id, detail=detail))

    def log_out(self) -> None:
        """Be unlinked on the phone."""
        self.connected = False
        self.driver.keys.discard(self.spec.instance_id)
        self.emit(LoggedOut(instance=self.spec.instance_id, on_connect=False))

    def exit(self, code: int | None = 0, detail: str | None = None) -> None:
        """End the process; harmless when it has ended already."""
        with self._lock:
            if not self.alive:
                return
            self.alive = False
            self.connected = False
            self._deliver(
                Exited(instance=self.spec.instance_id, exit_code=code, detail=detail),
            )

    def commands(self, kind: type[C]) -> list[C]:
        """Return the commands of one kind in the order they came."""
        return [command for command in self.sent if isinstance(command, kind)]

    # The behaviour, which the defects override

    def on_open(self) -> None:
        """Report ready, and connect at once when the driver was told to and a device is known."""
        self.emit(
            Ready(
                instance=self.spec.instance_id,
                version=PROTOCOL_VERSION,
                pid=self.pid or os.getpid(),
                client_version="scripted",
            )
        )
        if self.driver.connects_by_itself and self.spec.jid is not None:
            self.connect()

    def on_command(self, command: Command) -> None:
        """React to a command that was recorded."""
        if isinstance(command, Stop):
            self.exit(0)
        elif isinstance(command, RequestPairingCode):
            self.emit(self.answer(command.id, code=PAIRING_CODE))
        elif isinstance(command, Ping):
            self.emit(self.answer(command.id))
        elif isinstance(command, _NEEDS_CONNECTION) and not self.connected:
            failure = Failure(reason="not_connected", detail="the session is not connected")
            self.emit(self.answer(command.id, failure=failure))
        elif isinstance(command, SendMessage):
            message_id = f"3EB0{self._number:08X}{next(self._message_numbers):08X}"
            if command.secret is not None:
                self.driver.noted[self.spec.instance_id, command.secret] = message_id
            self.emit(self.answer(command.id, message_id=message_id))
        elif isinstance(command, DownloadMedia):
            self.emit(self.answer(command.id, failure=self._download(command)))
        elif isinstance(command, Query):
            self.emit(self._query(command))
        elif isinstance(command, Logout):
            self.driver.keys.discard(self.spec.instance_id)
            self.emit(self.answer(command.id))
        elif isinstance(command, Probe):
            self.emit(self.answer(command.id))

    def _query(self, command: Query) -> Answer:
        result = self.driver.results.get(command.query.kind)
        if result is None and result_type(command.query) is Done:
            result = Done()
        if isinstance(result, Failure):
            return self.answer(command.id, failure=result)
        if result is None:
            failure = Failure(reason="not_found", detail="no result is scripted for this query")
            return self.answer(command.id, failure=failure)
        answer = self.answer(command.id)
        return answer.model_copy(update={"result": result.model_dump(mode="json")})

    def _download(self, command: DownloadMedia) -> Failure | None:
        content = self.driver.files.get(command.source)
        if content is None:
            return Failure(reason="media_gone", detail="there is no such file", code=404)
        if len(content) > command.max_size:
            return Failure(reason="too_large", detail=f"the file has {len(content)} bytes")
        Path(command.path).write_bytes(content)
        return None

    def answer(
        self,
        command_id: str,
        *,
        failure: Failure | None = None,
        code: str | None = None,
        message_id: str | None = None,
    ) -> Answer:
        """Return the answer to a command, with the time of now for a sent message."""
        return Answer(
            instance=self.spec.instance_id,
            id=command_id,
            failure=failure,
            code=code,
            message_id=message_id,
            timestamp=datetime.now(UTC) if message_id else None,
        )

    def _deliver(self, event: Event) -> None:
        self.events.append(event)
        self._outbox.append(event)
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._outbox:
                self._on_event(self.incarnation, self._outbox.popleft())
        finally:
            self._delivering = False


class ScriptedDriver:
    """Implements ``SessionDriver`` with sessions that a test drives.

    Args:
        session_type: what :meth:`open` makes, unless :meth:`script` said otherwise.
        connects_by_itself: sessions with a known device log in as soon as they are opened.
        keys: ids of the instances that have a key store to begin with.
        timers: needed by sessions that do not stop, to be killed after their grace.

    ``keys`` holds the ids of the instances that have a key store; ``files`` what
    ``DownloadMedia`` finds, by source; ``noted`` the ids of messages that were sent with a secret,
    by instance and secret; ``results`` what queries are answered with, by their kind: changes
    that have no result succeed by themselves.
    """

    def __init__(
        self,
        session_type: type[ScriptedSession] = ScriptedSession,
        *,
        connects_by_itself: bool = False,
        keys: Iterable[str] = (),
        timers: Timers | None = None,
    ) -> None:
        self.session_type = session_type
        self.connects_by_itself = connects_by_itself
        self.keys = set(keys)
        self.timers = timers
        self.sessions: list[ScriptedSession] = []
        self.numbers = itertools.count(1)
        self.closed = False
        self.network_up = True
        self.dead_proxies: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.results: dict[str, BaseModel | Failure] = {}
        self.noted: dict[tuple[str, str], str] = {}
        self._next_types: deque[type[ScriptedSession] | SessionError] = deque()
        self._opened = threading.Condition()

    def script(self, *next_types: type[ScriptedSession] | SessionError) -> None:
        """Decide what the next calls of :meth:`open` make, or raise."""
        self._next_types.extend(next_types)

    def open(self, spec: SessionSpec, on_event: Callable[[str, Event], None]) -> ScriptedSession:
        """Make a session; see the port."""
        if self.closed:
            raise SessionError("the session driver is closed")
        kind = self._next_types.popleft() if self._next_types else self.session_type
        if isinstance(kind, SessionError):
            raise kind
        for earlier in self.sessions:
            if earlier.spec.instance_id == spec.instance_id:
                earlier.kill()
        session = kind(self, spec, on_event)
        with self._opened:
            self.sessions.append(session)
            self._opened.notify_all()
        session.on_open()
        return session

    def check_network(self, on_answer: Callable[[bool], None], proxy: str | None = None) -> None:
        """Say what ``network_up`` says, or of a proxy whether it is not in ``dead_proxies``."""
        on_answer(self.network_up if proxy is None else proxy not in self.dead_proxies)

    def lives(self, instance_id: str, *, besides: Session | None = None) -> bool:
        """Tell whether a session of an instance lives."""
        return any(
            s.alive and s.spec.instance_id == instance_id and s is not besides
            for s in self.sessions
        )

    def discard_keys(self, instance_id: str, jid: str | None = None) -> None:
        """Forget the key store of an instance; refused while a session of it lives."""
        del jid  # every instance has a store of its own here
        if self.lives(instance_id):
            raise SessionError("the instance still has a session")
        self.keys.discard(instance_id)

    def find_message(self, instance_id: str, secret: str) -> str | None:
        """Return the id of the message that was sent with that secret."""
        return self.noted.get((instance_id, secret))

    def close(self) -> None:
        """End every session and refuse new ones."""
        self.closed = True
        for session in self.sessions:
            session.exit(0)

    # What a test asks

    def latest(self, instance_id: str) -> ScriptedSession:
        """Return the newest session of an instance.

        Raises:
            LookupError: it never had one.
        """
        for session in reversed(self.sessions):
            if session.spec.instance_id == instance_id:
                return session
        raise LookupError(instance_id)

    def wait_for(self, count: int, instance_id: str | None = None, timeout: float = 30.0) -> None:
        """Wait until ``count`` sessions (of one instance, or of all) have been opened.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds.
        """

        def enough() -> bool:
            mine = [s for s in self.sessions if instance_id in (None, s.spec.instance_id)]
            return len(mine) >= count

        with self._opened:
            if not self._opened.wait_for(enough, timeout):
                raise TimeoutError(f"{count} sessions were not opened within {timeout} s")
