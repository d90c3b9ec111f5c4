"""A whole gateway in this process: real storage, real actors, real sockets, scripted sessions.

`gateway` runs on SQLite, `gateway_on_both` on each engine in turn; `new_gateway` makes one with
settings of the test's own. It is what ``wavisor.main`` starts, but for the session driver. The
event loop runs in a thread, so tests are plain functions::

    def test_connect(gateway):
        owner = gateway.register()
        instance = gateway.create_instance(owner)
        gateway.link(instance)
        assert gateway.status(owner, instance) == "connected"
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from support.declared import check_declared
from support.feed_client import FeedClient
from support.http import SECRET, Answer, Bus, HttpLab, Member
from support.native_messages import said
from wavisor.clock import SystemClock
from wavisor.config import Settings
from wavisor.domain import Role
from wavisor.gateway import Gateway
from wavisor.http.accounts.tokens import TokenIssuer
from wavisor.storage import AuditFilter, EventRecord, NewEvent, accounts, audit, events
from wavisor.storage.models import User
from wavisor.whatsapp.events import MessageReceived, Person, ReceiptReceived
from wavisor.whatsapp.scripted import ScriptedDriver, ScriptedSession

WAIT = 60.0


class EventLog:
    """Every event that the bus has handed out."""

    def __init__(self) -> None:
        self.records: list[EventRecord] = []
        self._changed = threading.Condition()

    def __call__(self, record: EventRecord) -> None:
        with self._changed:
            self.records.append(record)
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[EventRecord], bool], timeout: float = WAIT) -> EventRecord:
        """The first event that fits, also one that has been already."""

        def find() -> EventRecord | None:
            return next((one for one in self.records if wanted(one)), None)

        with self._changed:
            found = self._changed.wait_for(find, timeout)
        assert found is not None, "the event did not come in time"
        return found


@dataclass
class GatewayLab(HttpLab):
    """A running gateway, a client for it, and a hand on its sessions."""

    gateway: Gateway | None = None
    driver: ScriptedDriver = field(default_factory=ScriptedDriver)
    seen: EventLog = field(default_factory=EventLog)
    feeds: list[FeedClient] = field(default_factory=list)
    made_up: set[str] = field(default_factory=set)
    """The ids of events that did not happen; they may hold anything."""

    # People

    def colleague(self, owner: Member, role: Role) -> Member:
        """Somebody of another role in the owner's subscription."""
        other = self.register()

        def move() -> None:
            User.update(subscription=owner.subscription_id, role=role.value).where(
                User.id == other.user_id
            ).execute()

        self.database.write_wait(move)
        return replace(other, subscription_id=owner.subscription_id)

    # Instances

    def create_instance(self, owner: Member, name: str = "Shop") -> str:
        answer = self.post("/api/instances", {"name": name}, token=owner.token)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    def command(self, owner: Member, instance: str, command: str, json: Any = None) -> Answer:
        return self.post(f"/api/instances/{instance}/{command}", json or {}, token=owner.token)

    def state(self, owner: Member, instance: str) -> Any:
        answer = self.get(f"/api/instances/{instance}/status", token=owner.token)
        assert answer.status == 200, answer.body
        return answer.json

    def status(self, owner: Member, instance: str) -> str:
        return str(self.state(owner, instance)["status"])

    def session(self, instance: str) -> ScriptedSession:
        return self.driver.latest(instance)

    def show_qr(self, owner: Member, instance: str, text: str = "2@code") -> ScriptedSession:
        """Connect an instance without an account, and let it show its first QR code."""
        session = self.connect(owner, instance)
        session.show_qr(text)
        self.wait_status(instance, "qr")
        return session

    def connect(self, owner: Member, instance: str) -> ScriptedSession:
        """Send the command and wait for the session that it opens."""
        before = len([one for one in self.driver.sessions if one.spec.instance_id == instance])
        assert self.command(owner, instance, "connect").status == 202
        self.driver.wait_for(before + 1, instance)
        return self.session(instance)

    def link(self, owner: Member, instance: str, user: str = "15550100") -> ScriptedSession:
        """Take a new instance all the way to connected."""
        session = self.show_qr(owner, instance)
        jid = f"{user}:1@s.whatsapp.net"
        session.pair(jid)
        session.connect(jid)
        self.wait_status(instance, "connected")
        return session

    def wait_status(self, instance: str, status: str) -> EventRecord:
        """Wait until the latest status of an instance is this one."""

        def reached(_: EventRecord) -> bool:
            changes = [
                one.data["new"]
                for one in self.seen.records
                if one.instance_id == instance and one.type == "instance:status:changed"
            ]
            return bool(changes) and changes[-1] == status

        return self.seen.wait_for(reached)

    def wait_message(self, message: str, status: str) -> EventRecord:
        return self.seen.wait_for(
            lambda one: (
                one.type == "message:status:changed"
                and one.data["messageId"] == message
                and one.data["status"] == status
            )
        )

    def receive(self, instance: str, text: str = "hello", message_id: str = "3EB0IN") -> None:
        """Let a message of somebody arrive."""
        person = Person(jid="15550199@s.whatsapp.net", phone="+15550199")
        self.session(instance).emit(
            MessageReceived(
                instance=instance,
                message_id=message_id,
                chat=person,
                sender=person,
                from_me=False,
                is_group=False,
                timestamp=datetime.now(UTC),
                content=said(text),
            )
        )

    def receipt(self, instance: str, whatsapp_id: str, kind: Any) -> None:
        person = Person(jid="15550199@s.whatsapp.net")
        self.session(instance).emit(
            ReceiptReceived(
                instance=instance,
                message_ids=(whatsapp_id,),
                chat=person,
                sender=person,
                kind=kind,
                timestamp=datetime.now(UTC),
            )
        )

    # What is stored

    def store_events(self, instance: str, count: int, data: Any = None) -> list[EventRecord]:
        """Store events without publishing them, as if they had happened while nobody listened."""
        fresh = [NewEvent(type="message:received", data=data or {"n": n}) for n in range(count)]
        return self.database.write_wait(events.append, instance, fresh)

    def publish(self, records: list[EventRecord]) -> None:
        """Hand events to the bus, in the order given."""
        assert self.gateway is not None
        self.made_up.update(one.id for one in records)
        self.gateway.instances.publish(tuple(records))

    def audit_of(self, target: str) -> list[Any]:
        """The audit entries about something, oldest first."""
        page = self.database.read_wait(audit.list_page, AuditFilter(target=target), limit=200)
        return list(reversed(page.items))

    def user_audit_of(self, target: str) -> list[Any]:
        return [one for one in self.audit_of(target) if one.actor_kind == "user"]

    # The feed

    def feed_with_short_token(self, member: Member, seconds: float = 1.0) -> FeedClient:
        """A websocket whose token expires in so many seconds."""
        settings = self.services.settings
        account = self.database.read_wait(accounts.find_user, member.user_id)
        claims = self.application.tokens.read_access(member.token)
        past = _Past(settings.access_token_ttl_seconds - seconds)
        issuer = TokenIssuer(settings, self.services.jwt_secret, past)
        issued = issuer.issue_access(account, claims.sid)
        return self.feed(replace(member, token=issued.token))

    def feed(self, member: Member | None = None, path: str = "/ws", **more: Any) -> FeedClient:
        """Open a websocket, with the member's token in the header."""
        headers = dict(more.pop("headers", {}))
        if member is not None:
            headers["Authorization"] = f"Bearer {member.token}"
        url = f"ws://127.0.0.1:{self.port}{path}"
        client = FeedClient.open(self.loop, url, headers=headers, **more)
        self.feeds.append(client)
        return client


class _Past(SystemClock):
    """A clock that is so many seconds late."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> datetime:
        return super().now() - timedelta(seconds=self._seconds)


NewGateway = Callable[..., GatewayLab]


@pytest.fixture
def new_gateway(http_loop: asyncio.AbstractEventLoop, tmp_path: Path) -> Iterator[NewGateway]:
    """Makes gateways: ``new_gateway(driver=…, policy={…}, **settings)``."""
    with ExitStack() as stack:

        def make(
            *,
            driver: ScriptedDriver | None = None,
            policy: dict[str, Any] | None = None,
            **settings: Any,
        ) -> GatewayLab:
            defaults = {
                "bcrypt_rounds": 4,
                "port": 0,
                "jwt_secret": SecretStr(SECRET.get_secret_value()),
                "data_dir": tmp_path / "data",
                "database_url": f"sqlite:///{tmp_path}/gateway.db",
                "pacing_enabled": False,
            }
            return stack.enter_context(
                _running(
                    Settings(**{**defaults, **settings}),
                    http_loop,
                    driver or ScriptedDriver(),
                    policy or {},
                )
            )

        yield make


@contextmanager
def _running(
    settings: Settings,
    loop: asyncio.AbstractEventLoop,
    driver: ScriptedDriver,
    policy: dict[str, Any],
) -> Iterator[GatewayLab]:
    gateway = Gateway.build(settings, loop, driver=driver)
    driver.timers = driver.timers or gateway.timers
    gateway.instances = replace(
        gateway.instances, policy=replace(gateway.instances.policy, **policy)
    )
    seen = EventLog()
    gateway.hub.subscribe(seen)
    gateway.database.open()
    with ExitStack() as stack:
        stack.callback(_close, gateway)
        port = gateway.listen()
        assert gateway.server is not None
        application = gateway.server._application
        lab = GatewayLab(
            application,
            application.services,
            gateway.clock,
            Bus(),
            loop,
            gateway.server,
            gateway=gateway,
            driver=driver,
            seen=seen,
        )
        lab.port = port
        root = gateway.start_actors(loop)
        stack.callback(lambda: root.stop().result(WAIT))
        stack.callback(_close_clients, lab)
        root.started.result(WAIT)
        yield lab
    check_declared(one for one in seen.records if one.id not in lab.made_up)


def _close_clients(lab: GatewayLab) -> None:
    for feed in lab.feeds:
        feed.close()
    if lab._client is not None:

        async def close() -> None:
            lab._client.close()

        lab.run(close())


def _close(gateway: Gateway) -> None:
    gateway.driver.close()
    gateway.timers.close()
    gateway.observer.close()
    assert gateway.database.close(timeout=60), "threads of the database did not end"


@pytest.fixture
def gateway(new_gateway: NewGateway) -> GatewayLab:
    """A gateway on SQLite with the default settings."""
    return new_gateway()


@pytest.fixture
def gateway_on_both(new_gateway: NewGateway, database_url: str) -> GatewayLab:
    """A gateway on each engine in turn."""
    return new_gateway(database_url=database_url)


@contextmanager
def locked(lab: GatewayLab) -> Iterator[None]:
    """Hold SQLite's write lock, as a backup or another program might."""
    path = lab.services.settings.effective_database_url.removeprefix("sqlite:///")
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()
