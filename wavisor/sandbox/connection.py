"""One client's connection: handshake, encryption, stanzas in and out, pairing.

The websocket handler of ``server.py`` feeds it bytes; what stanzas mean is in ``stanzas/``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Coroutine
from enum import Enum, auto
from typing import Any, Protocol

import structlog

from wavisor.sandbox.authority import NoiseAuthority
from wavisor.sandbox.codec import SERVER_JID, Codec, CodecError, Node
from wavisor.sandbox.directory import Device, World
from wavisor.sandbox.faults import FaultKind
from wavisor.sandbox.noise import FrameReader, NoiseError, ServerHandshake, Transport, frame
from wavisor.sandbox.pairing import PairingRefusedError, PendingPairing
from wavisor.sandbox.statistics import Attempt, Outcome

__all__ = ["ClientConnection", "Socket", "StanzaHandler"]

log = structlog.get_logger(__name__)

FAREWELL_SECONDS = 10.0
"""How long a client gets to take in the last stanza of its stream."""


class Socket(Protocol):
    """The websocket below a connection."""

    def write(self, data: bytes) -> bool:
        """Send one binary message; False if too much is waiting to be sent already."""
        ...

    def close(self) -> None:
        """Close the websocket with code 1000."""
        ...

    def abort(self) -> None:
        """Reset the TCP connection."""
        ...


class StanzaHandler(Protocol):
    """What a connection hands its decrypted stanzas to (``stanzas/``)."""

    async def on_open(self, connection: ClientConnection, payload: Any) -> None:
        """Take over after the handshake; ``payload`` is the ``ClientPayload``."""
        ...

    async def on_stanza(self, connection: ClientConnection, stanza: Node) -> None:
        """Take a stanza of the client."""
        ...

    async def on_close(self, connection: ClientConnection) -> None:
        """Clean up after the connection is gone."""
        ...


class _Stage(Enum):
    HELLO = auto()
    FINISH = auto()
    OPEN = auto()
    CLOSED = auto()


class ClientConnection:
    """A real client, from its first byte to its last."""

    def __init__(
        self,
        world: World,
        socket: Socket,
        handler: StanzaHandler,
        codec: Codec,
        authority: NoiseAuthority,
        attempt: Attempt,
    ) -> None:
        self.world = world
        self.attempt = attempt
        self.device: Device | None = None
        self.pairing: PendingPairing | None = None
        self.client_static = b""
        self.active = False
        self._socket = socket
        self._handler = handler
        self._codec = codec
        self._reader = FrameReader()
        self._handshake = ServerHandshake(authority)
        self._transport: Transport | None = None
        self._stage = _Stage.HELLO
        self._ids = itertools.count(1)
        self._answers: dict[str, asyncio.Future[Node]] = {}
        self._farewell = ""
        self._taken_in = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        world.connections.add(self)

    @property
    def label(self) -> str | None:
        """The user name that the client gave to the proxy."""
        return self.attempt.label

    @property
    def closed(self) -> bool:
        """Whether nothing more can be sent."""
        return self._stage is _Stage.CLOSED

    def hit_by(self, kind: FaultKind) -> bool:
        """Tell whether a fault of this kind is in force for this client, not counting a use."""
        return self.world.faults.find(kind, **self.identity()) is not None

    def identity(self) -> dict[str, Any]:
        """Return what is known of the client, as ``FaultBoard`` wants it."""
        return {
            "phone": self.device.account.phone if self.device else None,
            "device": self.device.id if self.device else None,
            "label": self.label,
        }

    async def feed(self, data: bytes) -> None:
        """Take bytes from the websocket; a client that breaks the protocol is cut off."""
        try:
            for received in self._reader.feed(data):
                if self.closed:
                    return
                await self._on_frame(received)
        except (NoiseError, CodecError) as error:
            log.warning("client broke the protocol", error=str(error))
            await self.close(abruptly=True)

    async def _on_frame(self, data: bytes) -> None:
        if self._stage is _Stage.HELLO:
            if self.world.faults.strike(FaultKind.SILENT_HANDSHAKE, **self.identity()):
                return
            self._socket.write(frame(self._handshake.on_client_hello(data)))
            self._stage = _Stage.FINISH
        elif self._stage is _Stage.FINISH:
            finished = self._handshake.on_client_finish(data)
            self._transport = finished.transport
            self.client_static = finished.client_static
            self._stage = _Stage.OPEN
            await self._handler.on_open(self, finished.payload)
        elif self._transport is not None:
            await self._on_stanza(self._codec.decode(self._transport.decrypt(data)))

    async def _on_stanza(self, stanza: Node) -> None:
        if mute := self.world.faults.find(FaultKind.MUTE, **self.identity()):
            mute.unheard += 1
            return
        if self._farewell:
            if stanza.tag != "ack":
                return  # its stream is over
            if stanza.text("id") == self._farewell:
                self._taken_in.set()
        if stanza.tag == "iq" and stanza.text("type") in ("result", "error"):
            answer = self._answers.pop(stanza.text("id"), None)
            if answer is not None and not answer.done():
                answer.set_result(stanza)
            return
        await self._handler.on_stanza(self, stanza)

    async def send(self, stanza: Node) -> None:
        """Encrypt and send; nothing happens once closed or while the client is to hear nothing."""
        if not self._farewell:
            await self._write(stanza)

    async def _write(self, stanza: Node) -> None:
        if self.closed or self._transport is None or self.hit_by(FaultKind.MUTE):
            return
        # The frame counter ties encryption to the order of writing, so nothing may be awaited
        # between the two; and a client that does not read must not hold up those who write to it.
        sealed = self._transport.encrypt(self._codec.encode(stanza))
        if not self._socket.write(frame(sealed)):
            log.warning("client does not read; cut off")
            await self.close(abruptly=True)

    def next_id(self) -> str:
        """Return an id for a query of the server's own."""
        return f"{int(time.time())}-{next(self._ids)}"

    async def request(self, query: Node, *, within: float) -> Node:
        """Send an ``<iq>`` without id and return the client's answer, result or error.

        Raises:
            TimeoutError: no answer ``within`` seconds.
            ConnectionError: the client went away.
        """
        if self.closed:
            raise ConnectionError("the client has gone")
        query_id = self.next_id()
        answer: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        self._answers[query_id] = answer
        try:
            async with asyncio.timeout(within):
                await self.send(query.with_attrs(id=query_id, from_=SERVER_JID))
                return await answer
        finally:
            self._answers.pop(query_id, None)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the stanzas; it is cancelled when the connection ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("work for a client failed", error=repr(error))

    async def dismiss(self, last: Node) -> None:
        """End the stream by a stanza that says why; close when the client has taken it in.

        A client works off stanzas one by one beside reading, and forgets those that still wait
        when its socket closes (whatsmeow ``client.go``, ``handlerQueueLoop``). Closed at once, a
        busy one would never learn the reason and take it for a lost connection. So a notification
        that says nothing goes last, which is acknowledged when its turn has come.
        """
        if self.closed or self._farewell:
            return
        await self.send(last)
        if not self.hit_by(FaultKind.MUTE):
            self._farewell = self.next_id()
            now = str(int(time.time()))
            notice = Node("notification", {"id": self._farewell, "type": "account_sync", "t": now})
            await self._write(notice.with_attrs(from_=SERVER_JID))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._taken_in.wait()
        await self.close()

    async def close(self, *, abruptly: bool = False) -> None:
        """Close the websocket with code 1000, or reset the TCP connection."""
        if abruptly:
            self._socket.abort()
        else:
            self._socket.close()
        await self.on_close()

    async def on_close(self) -> None:
        """Clean up; called once by whoever notices the end first."""
        if self.closed:
            return
        self._stage = _Stage.CLOSED
        self.world.connections.discard(self)
        self._taken_in.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the client has gone"))
        current = asyncio.current_task()
        for task in list(self._tasks):
            if task is not current:
                task.cancel()
        await self._handler.on_close(self)

    def note(self, outcome: Outcome) -> None:
        """Record how far this attempt came."""
        self.attempt.outcome = outcome
        if self.device is not None:
            self.attempt.phone = self.device.account.phone
            self.attempt.device = self.device.id


def refused(error: BaseException) -> PairingRefusedError:
    """Return why a pairing failed when the client did not answer."""
    text = "the client did not answer" if isinstance(error, TimeoutError) else str(error)
    return PairingRefusedError(0, text)
