"""A session process: serves commands, tells events, and always ends by ``os._exit``.

Called by the forkserver in the fresh child, whose stdout and stderr already are the pipes to the
gateway's log. Threads: the caller's reads commands; one writes events; one is inside the native
client's ``connect``; a few carry out commands, so that a ``Ping`` is answered while a send hangs.

neonize is imported here and not at the top, because the forkserver imports this module.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pydantic import ValidationError

from wavisor.whatsapp.commands import (
    COMMANDS,
    PROTOCOL_VERSION,
    Command,
    DownloadMedia,
    Logout,
    Open,
    Ping,
    Probe,
    Query,
    RequestPairingCode,
    SendMessage,
    Stop,
)
from wavisor.whatsapp.events import Answer, Event, Failure, Ready
from wavisor.whatsapp.frames import FrameDecoder, FrameError, encode_frame

if TYPE_CHECKING:
    from wavisor.whatsapp.client import NativeClient

__all__ = [
    "EXIT_CONNECT_FAILED",
    "EXIT_ERROR",
    "EXIT_GATEWAY_GONE",
    "EXIT_OK",
    "EXIT_PROTOCOL",
    "run_session",
]

log = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_CONNECT_FAILED = 2
EXIT_GATEWAY_GONE = 3
EXIT_PROTOCOL = 4

EVENTS_IN_FLIGHT = 4096
"""Beyond it the native client waits, and with it WhatsApp's server: nothing is dropped."""
SENDS_AT_ONCE = 4
DOWNLOADS_AT_ONCE = 2
"""Few: the client holds every file in memory as a whole, several times."""
QUESTIONS_AT_ONCE = 2
QUERIES_AT_ONCE = 4
COMMANDS_IN_FLIGHT = 64
QUERIES_IN_FLIGHT = 32
"""Apart from the others, which queries that hang must not keep out."""
DRAIN_SECONDS = 2.0
DISCONNECT_SECONDS = 0.5
FLUSH_SECONDS = 1.0


class _Writer:
    """Writes events to the gateway from a thread of its own."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._queue: queue.Queue[Event | None] = queue.Queue(EVENTS_IN_FLIGHT)
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def emit(self, event: Event) -> None:
        self._queue.put(event)

    def flush(self) -> None:
        """Write what was emitted so far and end, within :data:`FLUSH_SECONDS`."""
        try:
            self._queue.put(None, timeout=FLUSH_SECONDS)
        except queue.Full:
            return
        self._thread.join(FLUSH_SECONDS)

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                self._channel.sendall(encode_frame(event.model_dump_json().encode()))
            except FrameError:
                log.exception("an event of type %s was dropped", event.type)
            except OSError:
                os._exit(EXIT_GATEWAY_GONE)


class _Workers:
    """Carries out commands off the reading thread, a bounded number of them."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        # Separate, so that sends that hang do not keep a probe from finding out why.
        self._sends = ThreadPoolExecutor(SENDS_AT_ONCE, "send")
        self._downloads = ThreadPoolExecutor(DOWNLOADS_AT_ONCE, "download")
        self._questions = ThreadPoolExecutor(QUESTIONS_AT_ONCE, "question")
        self._queries = ThreadPoolExecutor(QUERIES_AT_ONCE, "query")
        self._idle = threading.Condition()
        self._running = 0
        self._querying = 0

    def submit(
        self,
        command: SendMessage | DownloadMedia | Query | Probe | RequestPairingCode | Logout,
        carry_out: Callable[[Any], Answer],
    ) -> None:
        """Carry out a command and emit its answer."""
        with self._idle:
            if self._full(command):
                self._refuse(command, "too many commands at once", reason="busy")
                return
            self._count(command, 1)
        pool = self._questions
        if isinstance(command, SendMessage):
            pool = self._sends
        elif isinstance(command, DownloadMedia):
            pool = self._downloads
        elif isinstance(command, Query):
            pool = self._queries
        pool.submit(self._run, command, carry_out)

    def drain(self, seconds: float) -> None:
        """Wait until nothing is being carried out, but no longer than ``seconds``."""
        with self._idle:
            self._idle.wait_for(lambda: not self._running and not self._querying, seconds)

    def _full(self, command: Any) -> bool:
        if isinstance(command, Query):
            return self._querying >= QUERIES_IN_FLIGHT
        return self._running >= COMMANDS_IN_FLIGHT

    def _count(self, command: Any, change: int) -> None:
        if isinstance(command, Query):
            self._querying += change
        else:
            self._running += change

    def _run(self, command: Any, carry_out: Callable[[Any], Answer]) -> None:
        try:
            self._emit(carry_out(command))
        except Exception as error:
            log.exception("the command %s failed", command.type)
            uncertain = isinstance(command, SendMessage)
            self._refuse(command, type(error).__name__, uncertain=uncertain)
        finally:
            with self._idle:
                self._count(command, -1)
                self._idle.notify_all()

    def _refuse(
        self,
        command: Any,
        detail: str,
        *,
        reason: Literal["internal", "busy"] = "internal",
        uncertain: bool = False,
    ) -> None:
        failure = Failure(reason=reason, detail=detail, uncertain=uncertain)
        self._emit(Answer(instance=command.instance, id=command.id, failure=failure))


class _SessionProcess:
    """What a session process does between its first command and its end."""

    def __init__(self, opening: Open, writer: _Writer, redirect: dict[str, str] | None) -> None:
        self._opening = opening
        self._writer = writer
        self._workers = _Workers(writer.emit)
        self._redirect = redirect
        self._stopping = threading.Event()
        self._client: NativeClient | None = None

    def start(self) -> None:
        """Load the native client, report ready, and connect in another thread."""
        client = self._load()
        self._client = client
        threading.Thread(target=self._connect, args=(client,), name="connect", daemon=True).start()

    def _load(self) -> NativeClient:
        from wavisor.whatsapp.client import CLIENT_VERSION, NativeClient

        opening = self._opening
        proxy_url = None
        if self._redirect is not None:
            from wavisor.sandbox.redirect import apply

            apply(bytes.fromhex(self._redirect["root_public_key"]))
            proxy_url = self._redirect["proxy_url"]
        self._writer.emit(
            Ready(
                instance=opening.instance,
                version=PROTOCOL_VERSION,
                pid=os.getpid(),
                client_version=CLIENT_VERSION,
            )
        )
        return NativeClient(opening, self._writer.emit, opening.proxy or proxy_url)

    def on_command(self, command: Command) -> None:
        """Start to carry out a command."""
        client = self._client
        assert client is not None  # noqa: S101 - commands are read after start()
        if isinstance(command, Ping):
            self._writer.emit(Answer(instance=command.instance, id=command.id))
        elif isinstance(command, Stop):
            self._stopping.set()
            threading.Thread(target=self._stop, args=(client,), name="stop", daemon=True).start()
        elif isinstance(command, Open):
            _give_up("the session is open already")
        elif self._stopping.is_set():
            failure = Failure(reason="not_connected", detail="the session is being stopped")
            self._writer.emit(Answer(instance=command.instance, id=command.id, failure=failure))
        elif isinstance(command, SendMessage):
            self._workers.submit(command, client.accept(command))
        elif isinstance(command, DownloadMedia):
            self._workers.submit(command, client.download)
        elif isinstance(command, Query):
            self._workers.submit(command, client.queries.accept(command))
        elif isinstance(command, Probe):
            self._workers.submit(command, client.probe)
        elif isinstance(command, RequestPairingCode):
            self._workers.submit(command, client.request_pairing_code)
        else:
            self._workers.submit(command, client.logout)

    def _connect(self, client: NativeClient) -> None:
        code = EXIT_CONNECT_FAILED
        try:
            client.connect()
        except Exception:
            log.exception("the native client failed")
            code = EXIT_ERROR
        if self._stopping.is_set():
            return
        self._writer.flush()
        os._exit(code)

    def _stop(self, client: NativeClient) -> None:
        client.interrupt()
        self._workers.drain(DRAIN_SECONDS)
        # May block for as long as a dial hangs, so it gets a thread and a deadline.
        closing = threading.Thread(target=client.disconnect, daemon=True)
        closing.start()
        closing.join(DISCONNECT_SECONDS)
        self._writer.flush()
        os._exit(EXIT_OK)


def run_session(channel: socket.socket, redirect: dict[str, str] | None = None) -> NoReturn:
    """Be a session process until it is stopped, fails, or its gateway is gone.

    Args:
        channel: the socket to the gateway; the first command on it is ``Open``.
        redirect: where to find a local WhatsApp (``proxy_url``) and the root key that it signs
            with (``root_public_key``, hexadecimal) instead of the real one.
    """
    _log_to_stderr()
    if redirect is not None:
        log.warning("sandbox: this session talks to a local WhatsApp")
    commands = _commands(channel)
    opening = next(commands, None)
    if not isinstance(opening, Open):
        _give_up("the first command is not to open a session")
    if opening.version != PROTOCOL_VERSION:
        _give_up(f"the gateway speaks version {opening.version}, not {PROTOCOL_VERSION}")
    process = _SessionProcess(opening, _Writer(channel), redirect)
    process.start()
    for command in commands:
        process.on_command(command)
    os._exit(EXIT_GATEWAY_GONE)


def _commands(channel: socket.socket) -> Iterator[Command]:
    decoder = FrameDecoder()
    while data := _receive(channel):
        try:
            for body in decoder.feed(data):
                yield COMMANDS.validate_json(body)
        except FrameError as error:
            _give_up(str(error))
        except ValidationError as error:
            # Not its text, which quotes the command.
            _give_up(f"a command is malformed ({error.error_count()} errors)")


def _receive(channel: socket.socket) -> bytes:
    try:
        return channel.recv(65_536)
    except ConnectionError:
        return b""


def _give_up(why: str) -> NoReturn:
    log.error("%s", why)
    os._exit(EXIT_PROTOCOL)


def _log_to_stderr() -> None:
    # Before neonize is imported, whose own set-up then does nothing.
    logging.basicConfig(
        format="%(levelname)s %(name)s %(message)s", level=logging.INFO, stream=sys.stderr
    )
    # Says at every start that ffmpeg is missing, which only media need.
    logging.getLogger("neonize.utils.ffmpeg").setLevel(logging.ERROR)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
