"""The gateway's end of a session, against a peer that the test plays itself."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from wavisor.ids import Kind, new_id
from wavisor.whatsapp.commands import COMMANDS, Command, Open, Ping, Stop
from wavisor.whatsapp.events import Answer, Event, Exited, Ready
from wavisor.whatsapp.frames import FrameDecoder, encode_frame
from wavisor.whatsapp.nursery import Nursery
from wavisor.whatsapp.port import SessionSpec
from wavisor.whatsapp.session import MAX_QUEUED, ProcessSession

INSTANCE = new_id(Kind.INSTANCE)
PATIENCE = 60.0


class Peer:
    """Stands for the forkserver and the child: the test speaks for both."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended: list[ProcessSession] = []
        self.over = asyncio.Event()
        self.killed = 0
        self.socket: socket.socket | None = None
        self.stderr = -1
        self._news = asyncio.Event()
        self.session = ProcessSession(
            asyncio.get_running_loop(), SessionSpec(INSTANCE, None), self._on_event, self._on_end
        )

    def _on_event(self, incarnation: str, event: Event) -> None:
        assert incarnation == self.session.incarnation
        self.events.append(event)
        self._news.set()

    def _on_end(self, session: ProcessSession) -> None:
        self.ended.append(session)
        self.over.set()

    # What the session asks of a nursery

    def fork(self, key: str, ward: Any, descriptors: list[int], redirect: Any) -> None:
        self.socket = socket.socket(fileno=descriptors[0])
        self.socket.settimeout(PATIENCE)
        os.close(descriptors[1])
        self.stderr = descriptors[2]

    def kill(self, key: str) -> None:
        self.killed += 1
        self.close()
        asyncio.get_running_loop().call_soon(self.session.on_exited, -9)

    # What a test does

    def start(self) -> None:
        opening = Open(instance=INSTANCE, store="/x", jid=None, incarnation="i")
        self.session.start(cast(Nursery, self), opening, None)
        self.session.on_forked(4711)

    def say(self, *events: Event) -> None:
        assert self.socket is not None
        frames = [encode_frame(event.model_dump_json().encode()) for event in events]
        self.socket.sendall(b"".join(frames))

    async def hear(self, count: int) -> list[Command]:
        """Return the first commands that the session was sent."""
        assert self.socket is not None
        self.socket.setblocking(False)
        decoder, heard = FrameDecoder(), []
        async with asyncio.timeout(PATIENCE):
            while len(heard) < count:
                data = await asyncio.get_running_loop().sock_recv(self.socket, 65_536)
                heard += [COMMANDS.validate_json(body) for body in decoder.feed(data)]
        return heard

    async def told(self, count: int) -> list[Event]:
        async with asyncio.timeout(PATIENCE):
            while len(self.events) < count:
                self._news.clear()
                await self._news.wait()
        return self.events

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        if self.stderr >= 0:
            os.close(self.stderr)
            self.stderr = -1


def play(scenario: Callable[[Peer], Awaitable[None]]) -> None:
    async def run() -> None:
        peer = Peer()
        try:
            await scenario(peer)
        finally:
            peer.close()
            peer.session.on_exited(None)
            async with asyncio.timeout(PATIENCE):
                await peer.over.wait()

    asyncio.run(run())


READY = Ready(instance=INSTANCE, version=1, pid=4711, client_version="x")


def test_the_first_command_is_to_open_whatever_was_sent_before() -> None:
    async def scenario(peer: Peer) -> None:
        assert peer.session.send(Ping(instance=INSTANCE, id="1"))
        peer.start()
        assert [command.type for command in await peer.hear(2)] == ["open", "ping"]
        assert peer.session.pid == 4711

    play(scenario)


def test_last_words_are_heard_before_the_exit() -> None:
    async def scenario(peer: Peer) -> None:
        peer.start()
        answers = [Answer(instance=INSTANCE, id=str(number)) for number in range(100)]
        peer.say(READY, *answers)
        peer.session.on_exited(0)
        assert peer.socket is not None
        peer.socket.close()
        events = await peer.told(102)
        assert events == [READY, *answers, Exited(instance=INSTANCE, exit_code=0)]
        assert peer.ended == [peer.session]
        assert peer.session.pid is None
        assert not peer.session.send(Ping(instance=INSTANCE, id="late"))

    play(scenario)


def test_the_exit_is_told_once_however_often_it_is_reported() -> None:
    async def scenario(peer: Peer) -> None:
        peer.start()
        peer.close()
        for _ in range(3):
            peer.session.on_exited(-11)
        assert await peer.told(1) == [Exited(instance=INSTANCE, exit_code=-11)]
        peer.session.kill()
        await asyncio.sleep(0)
        assert len(peer.events) == 1

    play(scenario)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        encode_frame(b"not json"),
        encode_frame(b'{"type":"boom","instance":"x"}'),
        encode_frame(Ready.model_validate(READY).model_dump_json().encode()).replace(
            INSTANCE.encode(), new_id(Kind.INSTANCE).encode()
        ),
        encode_frame(Exited(instance=INSTANCE, exit_code=0).model_dump_json().encode()),
    ],
    ids=["another protocol", "no JSON", "no event", "another instance", "its own exit"],
)
def test_a_process_that_talks_nonsense_is_killed(nonsense: bytes) -> None:
    async def scenario(peer: Peer) -> None:
        peer.start()
        assert peer.socket is not None
        with capture_logs() as logs:
            peer.socket.sendall(nonsense)
            (exited,) = await peer.told(1)
        assert isinstance(exited, Exited)
        assert exited.exit_code == -9
        assert exited.detail
        assert peer.killed == 1
        serious = [log["log_level"] for log in logs if log["log_level"] != "debug"]
        assert serious == ["error"]

    play(scenario)


def test_a_process_that_does_not_read_fills_a_bounded_queue() -> None:
    async def scenario(peer: Peer) -> None:
        peer.start()
        ping = Ping(instance=INSTANCE, id="x" * 100_000)
        accepted = 0
        while peer.session.send(ping):
            accepted += 1
            await asyncio.sleep(0)  # lets the loop run; nothing is waited for by time
        assert MAX_QUEUED // 100_000 * 0.9 < accepted < MAX_QUEUED // 100_000 * 2
        # and it all arrives, in pieces, once the peer reads
        assert len(await peer.hear(accepted + 1)) == accepted + 1
        assert peer.session.send(Stop(instance=INSTANCE))

    play(scenario)


def test_a_session_killed_before_it_started_ends_without_a_process() -> None:
    async def scenario(peer: Peer) -> None:
        peer.session.kill()
        (exited,) = await peer.told(1)
        assert exited == Exited(
            instance=INSTANCE, exit_code=None, detail="stopped before it was started"
        )
        peer.start()
        assert peer.socket is None

    play(scenario)


def test_a_crash_report_becomes_the_reason_of_the_exit() -> None:
    async def scenario(peer: Peer) -> None:
        peer.start()
        os.write(peer.stderr, b"fatal error: concurrent map writes\n\ngoroutine 1:\npanic: x\n")
        peer.close()
        peer.session.on_exited(2)
        (exited,) = await peer.told(1)
        assert isinstance(exited, Exited)
        assert (exited.exit_code, exited.detail) == (2, "fatal error: concurrent map writes")

    play(scenario)


def test_a_listener_that_raises_harms_nobody() -> None:
    async def scenario(peer: Peer) -> None:
        peer.start()
        heard: list[Event] = []

        def listen(_: str, event: Event) -> None:
            heard.append(event)
            raise RuntimeError("listener")

        peer.session._on_event = listen
        with capture_logs() as logs:
            peer.say(READY)
            peer.session.on_exited(0)
            peer.close()
            async with asyncio.timeout(PATIENCE):
                await peer.over.wait()
        assert [event.type for event in heard] == ["ready", "exited"]
        serious = [log["event"] for log in logs if log["log_level"] != "debug"]
        assert serious == ["the listener of a session failed"] * 2

    play(scenario)
