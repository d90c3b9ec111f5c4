"""Runs the local WhatsApp in the test's own event loop, and real clients against it.

The test process itself never imports neonize (its Go runtime does not survive a fork): the token
dictionary is fetched by a child process, and each client is a child process too.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from wavisor.sandbox.directory import Settings, World
from wavisor.sandbox.people import People
from wavisor.sandbox.redirect import Endpoints
from wavisor.sandbox.server import SandboxServer
from wavisor.sandbox.tokens import Tokens

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "tests" / "e2e" / "sandbox_client_driver.py"
PATIENCE = 60.0
"""Seconds that anything a client does may take."""

_PRINT_TOKENS = """
import json, neonize
from wavisor.sandbox.tokens import load_tokens
tokens = load_tokens()
print(json.dumps([list(tokens.single), [list(part) for part in tokens.double]]))
"""


@functools.cache
def client_tokens() -> Tokens:
    """Return the token dictionary of the installed client."""
    answer = subprocess.run(
        [sys.executable, "-c", _PRINT_TOKENS],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
        text=True,
    )
    single, double = json.loads(answer.stdout.splitlines()[-1])
    return Tokens(tuple(single), tuple(tuple(part) for part in double))


class RefusedCommandError(Exception):
    """The client answered a command by an error."""


class RealClient:
    """A neonize client in a child process: its events, and commands to it."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path) -> None:
        self._process = process
        self._output = output
        self._ids = itertools.count(1)
        self._news = asyncio.Condition()
        self._reader: asyncio.Task[None] | None = None
        self._transport: asyncio.BaseTransport | None = None
        self.events: list[tuple[str, Any]] = []

    @classmethod
    async def start(cls, endpoints: Endpoints, store: Path) -> RealClient:
        read_end, write_end = os.pipe()
        output = store.with_suffix(".log")
        environment = {
            name: os.environ[name] for name in ("PATH", "HOME", "DRIVER_LOG") if name in os.environ
        } | {
            "SSL_CERT_FILE": endpoints.ca_file,
            "SANDBOX_ENDPOINTS": endpoints.to_json(),
            "PYTHONPATH": str(ROOT),
        }
        with output.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(DRIVER),
                str(write_end),
                str(store),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(write_end,),
                env=environment,
                cwd=store.parent,
            )
        os.close(write_end)
        client = cls(process, output)
        reader = asyncio.StreamReader(limit=2**22)
        client._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb")
        )
        client._reader = asyncio.create_task(client._read(reader))
        return client

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            event = json.loads(line)
            async with self._news:
                self.events.append((event["event"], event["data"]))
                self._news.notify_all()

    async def wait(
        self,
        event: str,
        matches: Callable[[Any], bool] = lambda data: True,
        *,
        after: int = 0,
        patience: float = PATIENCE,
    ) -> Any:
        """Return the data of the first such event, from position ``after`` of all events on."""

        def found() -> list[Any]:
            return [d for name, d in self.events[after:] if name == event and matches(d)]

        try:
            async with asyncio.timeout(patience), self._news:
                await self._news.wait_for(found)
        except TimeoutError:
            seen = [name for name, _ in self.events[after:]]
            log = self._output.read_text(errors="replace")[-4000:]
            raise AssertionError(f"no {event}; seen: {seen}\n{log}") from None
        return found()[0]

    def count(self, event: str, *, after: int = 0) -> int:
        return sum(1 for name, _ in self.events[after:] if name == event)

    @property
    def mark(self) -> int:
        """A position for ``after``: now."""
        return len(self.events)

    async def do(self, what: str, *, patience: float = PATIENCE, **args: Any) -> Any:
        """Run a command of the driver and return its answer; raises RefusedCommandError."""
        number = next(self._ids)
        assert self._process.stdin is not None
        self._process.stdin.write(
            json.dumps({"id": number, "do": what, "args": args}).encode() + b"\n"
        )
        answer = await self.wait("Answer", lambda data: data["id"] == number, patience=patience)
        if "error" in answer:
            raise RefusedCommandError(answer["error"])
        return answer["result"]

    async def invoke(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the neonize client; see the driver for how arguments are written."""
        return await self.do("invoke", method=method, args=list(args), kwargs=kwargs)

    async def text(self, body: str, *, after: int = 0) -> Any:
        """Wait for a message with this text and return its event."""
        return await self.wait("Message", lambda data: text_of(data) == body, after=after)

    def texts(self) -> list[str]:
        """Return the texts received so far, in order of arrival."""
        bodies = [text_of(data) for name, data in self.events if name == "Message"]
        return [body for body in bodies if body]

    def send_signal(self, number: int) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    async def kill(self) -> None:
        """End the process as SIGKILL does; nothing else ends a client reliably."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        if self._reader is not None:
            await self._reader
        if self._transport is not None:
            self._transport.close()


def jid(text: str) -> dict[str, str]:
    """Return a JID, or a phone number, as an argument for :meth:`RealClient.invoke`."""
    return {"jid": text}


def binary(content: bytes) -> dict[str, str]:
    """Return bytes as an argument for :meth:`RealClient.invoke`."""
    return {"bytes": base64.b64encode(content).decode()}


def text_of(message: Any) -> str:
    """Return the text in a message event."""
    content = message.get("Message", {})
    return content.get("conversation") or content.get("extendedTextMessage", {}).get("text", "")


class Rig:
    """A running local WhatsApp with its people and clients."""

    def __init__(self, directory: Path, server: SandboxServer, endpoints: Endpoints) -> None:
        self.directory = directory
        self.server = server
        self.endpoints = endpoints
        self.world: World = server.world
        self.people = People(server.world)
        self._clients: list[RealClient] = []

    async def client(self, name: str, *, label: str | None = None) -> RealClient:
        """Start a client whose key store has this name; an existing store is resumed."""
        endpoints = self.endpoints
        if label:
            url = endpoints.proxy_url.replace("//", f"//{label}@")
            endpoints = Endpoints(
                url, endpoints.ca_file, endpoints.root_public_key, endpoints.control_url
            )
        client = await RealClient.start(endpoints, self.directory / f"{name}.db")
        self._clients.append(client)
        return client

    async def paired(self, name: str, phone: str, *, label: str | None = None) -> RealClient:
        """Start a client and link it to this number's phone, which is added if need be."""
        if phone not in self.people.phones:
            self.people.add_phone(phone, name.title())
        client = await self.client(name, label=label)
        await self.people.phones[phone].scan(await client.wait("QR"))
        await client.wait("Connected")
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.kill()
        await self.server.stop()


@contextlib.asynccontextmanager
async def running_rig(directory: Path, settings: Settings | None = None) -> AsyncIterator[Rig]:
    """Run a local WhatsApp on free ports as long as the context lasts."""
    server = SandboxServer(client_tokens(), World(settings))
    rig = Rig(directory, server, await server.start())
    try:
        yield rig
    finally:
        await rig.close()


def play(
    directory: Path,
    scenario: Callable[[Rig], Awaitable[None]],
    settings: Settings | None = None,
) -> None:
    """Run a scenario with a rig of its own in a new event loop."""

    async def run() -> None:
        async with running_rig(directory, settings) as rig:
            await scenario(rig)

    asyncio.run(run())


async def eventually(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until a condition holds that nobody announces."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 # what is looked at has no event to wait for
            await asyncio.sleep(0.01)
