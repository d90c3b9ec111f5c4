"""A gateway's HTTP side on a real socket with a real database, for tests.

`http` runs on SQLite, `http_on_both` on each engine in turn; `new_http` makes one with settings of
the test's own. The server runs on an event loop in a thread of its own, so tests are plain
functions::

    def test_me(http):
        session = http.register()
        assert http.get("/api/auth/me", token=session.token).status == 200
"""

from __future__ import annotations

import asyncio
import itertools
import json as jsonlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from support.conformance import objections
from support.manual_clock import ManualClock
from wavisor.actors.event_bus import EventListener
from wavisor.actors.instance.messages import InstanceSnapshot, PairingCode
from wavisor.actors.instances import Instances, InstanceUnavailableError
from wavisor.config import Settings
from wavisor.http import HttpServer, Services, make_application
from wavisor.http.application import HttpApplication
from wavisor.media import MediaStore
from wavisor.storage import Database

SECRET = SecretStr("a secret that only the tests of this gateway know")
PASSWORD = "correct horse battery staple"
WAIT = 60.0

T = TypeVar("T")


class NoInstances:
    """Instances of which none ever answers."""

    async def start(self, instance_id: str) -> InstanceSnapshot:
        raise InstanceUnavailableError(instance_id)

    snapshot = connect = disconnect = restart = logout = start

    async def pairing_code(self, instance_id: str, phone: str) -> PairingCode:
        raise InstanceUnavailableError(instance_id)

    async def delete(self, instance_id: str) -> None:
        raise InstanceUnavailableError(instance_id)

    async def forget(self, instance_id: str) -> None:
        """There are no actors."""

    def deliver(self, instance_id: str) -> None:
        """Nothing is delivered."""

    def suspensions_changed(self) -> None:
        """Nothing is stopped."""

    campaigns_changed = suspensions_changed


class Bus:
    """The event bus as HTTP sees it; a test publishes by hand."""

    def __init__(self) -> None:
        self.listeners: list[EventListener] = []

    def subscribe(self, listener: EventListener) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def publish(self, event: Any) -> None:
        for listener in tuple(self.listeners):
            listener(event)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return jsonlib.loads(self.body)

    @property
    def problem(self) -> str:
        """The slug of the problem; fails when it is no proper problem document."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        document = self.json
        assert document["status"] == self.status
        assert document["requestId"] == self.headers["X-Request-Id"]
        assert document["title"]
        prefix, _, slug = document["type"].rpartition(":")
        assert prefix == "urn:wavisor:problem"
        return str(slug)

    @property
    def pointers(self) -> list[str]:
        return [one.get("pointer", one.get("parameter")) for one in self.json["errors"]]


@dataclass(frozen=True)
class Member:
    """Somebody with an account."""

    email: str
    token: str
    refresh_token: str
    user_id: str
    subscription_id: str

    @staticmethod
    def of(session: dict[str, Any]) -> Member:
        account = session["account"]
        return Member(
            account["user"]["email"],
            session["accessToken"],
            session["refreshToken"],
            account["user"]["id"],
            account["subscription"]["id"],
        )


@dataclass
class HttpLab:
    """A running server, and a client for it."""

    application: HttpApplication
    services: Services
    clock: ManualClock
    bus: Bus
    loop: asyncio.AbstractEventLoop
    server: HttpServer
    port: int = 0
    _client: AsyncHTTPClient | None = None
    _emails: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def database(self) -> Database:
        return self.services.database

    def run(self, work: Coroutine[Any, Any, T], timeout: float = WAIT) -> T:
        """Run a coroutine on the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        answer = self.run(
            self.send(method, path, json=json, body=body, token=token, headers=headers)
        )
        wrong = objections(method, path, answer.status, answer.headers, answer.body)
        assert wrong == [], f"{method} {path} answers {answer.status}, not as it is documented"
        return answer

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """As `request`, for several at once inside one coroutine."""
        sent = dict(headers or {})
        if json is not None:
            body = jsonlib.dumps(json).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if self._client is None:
            self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=200)
        response: HTTPResponse = await self._client.fetch(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            body=body,
            headers=sent,
            raise_error=False,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            request_timeout=WAIT,
        )
        return Answer(response.code, response.headers, response.body or b"")

    def get(self, path: str, **more: Any) -> Answer:
        return self.request("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> Answer:
        return self.request("POST", path, json=json, **more)

    def patch(self, path: str, json: Any = None, **more: Any) -> Answer:
        return self.request("PATCH", path, json=json, **more)

    def delete(self, path: str, **more: Any) -> Answer:
        return self.request("DELETE", path, **more)

    def raw(self, sent: bytes, *, timeout: float = 5.0) -> bytes:
        """Send bytes on a fresh connection; return all that comes back until it is closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(sent)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
            return received

    def register(self, email: str | None = None, password: str = PASSWORD) -> Member:
        """Open an account; each call another one."""
        address = email or f"person{next(self._emails)}@example.com"
        answer = self.post("/api/auth/register", {"email": address, "password": password})
        assert answer.status == 201, answer.body
        return Member.of(answer.json)

    def audited(self) -> list[str]:
        """The actions in the audit trail, oldest first."""
        from wavisor.storage import AuditFilter, audit

        page = self.run(self.database.fetch(audit.list_page, AuditFilter(), limit=200))
        return [entry.action for entry in reversed(page.items)]


@pytest.fixture
def http_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="http-loop")
    thread.start()
    yield loop
    asyncio.run_coroutine_threadsafe(_cancel_rest(), loop).result(WAIT)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(WAIT)
    assert not thread.is_alive()
    loop.close()


async def _cancel_rest() -> None:
    """End what connections left behind, as a closing loop would complain about it."""
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


NewHttp = Callable[..., HttpLab]


@pytest.fixture
def new_http(
    http_loop: asyncio.AbstractEventLoop, storage_clock: ManualClock, tmp_path: Path
) -> Iterator[NewHttp]:
    """Makes servers: ``new_http(database=…, instances=…, factory=…, **settings)``."""
    with ExitStack() as stack:

        def make(
            *,
            database: Database | None = None,
            instances: Instances | None = None,
            factory: Callable[[Services], HttpApplication] = make_application,
            **settings: Any,
        ) -> HttpLab:
            if database is None:
                database = Database(f"sqlite:///{tmp_path}/http.db", clock=storage_clock)
                database.open()
                stack.callback(database.close)
            bus = Bus()
            store = MediaStore(tmp_path / "media")
            stack.callback(store.close)
            services = Services(
                settings=Settings(**{"bcrypt_rounds": 4, "port": 0, **settings}),
                database=database,
                instances=instances or NoInstances(),
                subscribe=bus.subscribe,
                clock=storage_clock,
                media=store,
                jwt_secret=SECRET,
            )
            application = factory(services)
            server = HttpServer(application, "127.0.0.1", 0)
            lab = HttpLab(application, services, storage_clock, bus, http_loop, server)

            async def start() -> int:
                return server.start()

            lab.port = lab.run(start())
            stack.callback(lambda: lab.run(server.stop(1.0)))
            stack.callback(lambda: lab.run(_close(lab)))
            return lab

        yield make


async def _close(lab: HttpLab) -> None:
    if lab._client is not None:
        lab._client.close()


@pytest.fixture
def http(new_http: NewHttp) -> HttpLab:
    """A server on SQLite with the default settings."""
    return new_http()


@pytest.fixture
def http_on_both(new_http: NewHttp, database: Database) -> HttpLab:
    """A server on each engine in turn."""
    return new_http(database=database)
