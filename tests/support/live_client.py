"""A tenant of a live gateway: calls the API, follows the feed, and has phones to link."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from wavisor.sandbox.client import SandboxControl

__all__ = ["Answer", "Feed", "Instance", "Owner"]

PATIENCE = 60.0
PASSWORD = "correct horse battery staple"

Event = dict[str, Any]


class Server(Protocol):
    """Where the gateway is; the URL may change when it is started anew."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True)
class Answer:
    """What the API answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def expect(self, status: int) -> Any:
        """The document, when the status is this one."""
        assert self.status == status, f"{self.status}: {self.body.decode(errors='replace')}"
        return json.loads(self.body) if self.body else None


def call(
    url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Answer:
    """Make one request."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=90)
    sent = {"Content-Type": "application/json", **(headers or {})}
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, sent)
        response = connection.getresponse()
        return Answer(
            response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        )
    finally:
        connection.close()


class Feed:
    """The events of one tenant, as its websocket tells them, in a thread with a loop of its own."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = threading.Condition()
        self._connection: WebSocketClientConnection | None = None
        self._subscribed = threading.Event()
        self._closed = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def open(self, url: str, token: str) -> None:
        """Connect and subscribe to everything after the last event that was seen."""
        self._subscribed.clear()
        self._closed.clear()
        since = self.events[-1]["id"] if self.events else None
        asyncio.run_coroutine_threadsafe(self._open(url, token, since), self._loop).result(PATIENCE)
        assert self._subscribed.wait(PATIENCE), "the feed did not accept the subscription"

    async def _open(self, url: str, token: str, since: str | None) -> None:
        request = HTTPRequest(
            f"{url.replace('http', 'ws', 1)}/ws", headers={"Authorization": f"Bearer {token}"}
        )
        if self._connection is not None:
            self._connection.close()
        self._connection = await websocket_connect(request, on_message_callback=self._on_message)
        frame = {"type": "subscribe", "instances": ["*"], "events": ["*"], "since": since}
        await self._connection.write_message(json.dumps(frame))

    def _on_message(self, message: str | bytes | None) -> None:
        if message is None:
            self._closed.set()
            return
        frame = json.loads(message)
        if ":" not in frame["type"]:
            assert frame["type"] != "error", frame
            if frame["type"] == "subscribed":
                self._subscribed.set()
            return
        with self._news:
            self.events.append(frame)
            self._news.notify_all()

    def wait_closed(self) -> None:
        """Wait until the gateway has closed the connection."""
        assert self._closed.wait(PATIENCE), "the feed was not closed"

    def close(self) -> None:
        """Leave, and end the thread."""

        async def leave() -> None:
            if self._connection is not None:
                self._connection.close()

        asyncio.run_coroutine_threadsafe(leave(), self._loop).result(PATIENCE)
        if self._subscribed.is_set():
            self._closed.wait(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    @property
    def mark(self) -> int:
        """A position for ``after``: now."""
        with self._news:
            return len(self.events)

    def all(self, kind: str = "", instance: str | None = None, after: int = 0) -> list[Event]:
        """The events of this type."""
        with self._news:
            return [
                event
                for event in self.events[after:]
                if event["type"].startswith(kind) and instance in {None, event["instanceId"]}
            ]

    def wait(
        self,
        kind: str,
        *,
        instance: str | None = None,
        after: int = 0,
        where: Callable[[Any], bool] = lambda _: True,
        patience: float = PATIENCE,
    ) -> Event:
        """Return the first such event whose data is ``where``; fails when it does not come."""

        def found() -> list[Event]:
            return [event for event in self.all(kind, instance, after) if where(event["data"])]

        with self._news:
            self._news.wait_for(found, patience)
            events = found()
        seen = "\n".join(str(event) for event in self.all("", instance, after))
        assert events, f"no {kind} of {instance}; seen:\n{seen}"
        return events[0]


class Instance:
    """One instance of a tenant."""

    def __init__(self, owner: Owner, identifier: str) -> None:
        self.owner = owner
        self.id = identifier
        self.phone = ""

    def api(self, method: str, path: str = "", body: Any = None) -> Answer:
        """Call something under this instance."""
        return self.owner.api(method, f"/api/instances/{self.id}{path}", body)

    def command(self, name: str) -> Any:
        """Carry out a command that the status allows."""
        return self.api("POST", f"/{name}", {}).expect(202)

    def connect(self) -> Any:
        return self.command("connect")

    def status(self) -> Any:
        return self.api("GET", "/status").expect(200)

    @property
    def mark(self) -> int:
        return self.owner.feed.mark

    def wait(self, kind: str, after: int = 0, **more: Any) -> Any:
        """The data of the first such event of this instance."""
        return self.owner.feed.wait(kind, instance=self.id, after=after, **more)["data"]

    def wait_status(self, status: str, after: int = 0, patience: float = PATIENCE) -> Any:
        """The data of the event that tells of this status."""
        return self.wait(
            "instance:status:changed",
            after,
            where=lambda data: data["new"] == status,
            patience=patience,
        )

    def statuses(self, after: int = 0) -> list[str]:
        """The statuses it went through."""
        found = self.owner.feed.all("instance:status:changed", self.id, after)
        return [event["data"]["new"] for event in found]

    def wait_qr(self, after: int = 0) -> Any:
        """The first QR code."""
        return self.wait("instance:qr:updated", after)

    def link(
        self, whatsapp: SandboxControl, number: str, name: str = "Ann", **phone: Any
    ) -> Instance:
        """Connect it and scan its code with a new phone; return when it is connected."""
        whatsapp.add_phone(number, name, **phone)
        self.phone = number
        mark = self.mark
        self.connect()
        whatsapp.scan(number, self.wait_qr(mark)["code"])
        self.wait_status("connected", mark)
        return self

    def send(self, to: str, text: str, *, wait: int | None = None) -> Any:
        """Have a text sent; return the message resource."""
        headers = {"X-Instance-Id": self.id}
        if wait is not None:
            headers["Prefer"] = f"wait={wait}"
        body = {"to": f"+{to}", "text": text}
        return self.owner.api("POST", "/api/messages/text", body, headers).expect(202)

    def wait_message(self, message_id: str, status: str, after: int = 0) -> Any:
        """The data of the event that tells that a message has this status."""
        return self.wait(
            "message:status:changed",
            after,
            where=lambda data: data["messageId"] == message_id and data["status"] == status,
        )

    def wait_text(self, text: str, after: int = 0) -> Any:
        """The data of the event that a text was received."""
        return self.wait("message:received", after, where=lambda data: data["text"] == text)


class Owner:
    """A tenant with its token and its feed. A context manager: closes the feed."""

    def __init__(self, server: Server, token: str) -> None:
        self._server = server
        self.token = token
        self.feed = Feed()
        self.feed.open(server.url, token)

    @classmethod
    def register(cls, server: Server, email: str) -> Owner:
        body = {"email": email, "password": PASSWORD}
        session = call(server.url, "POST", "/api/auth/register", body).expect(201)
        return cls(server, session["accessToken"])

    def __enter__(self) -> Owner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.feed.close()

    def reopen_feed(self) -> None:
        """Follow the gateway that was started anew, from the last event on."""
        self.feed.open(self._server.url, self.token)

    def api(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Call the API as this tenant."""
        authorized = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        return call(self._server.url, method, path, body, authorized)

    def create(self, name: str = "Ann") -> Instance:
        """Create an instance."""
        return Instance(self, self.api("POST", "/api/instances", {"name": name}).expect(201)["id"])

    def message(self, message_id: str) -> Any:
        """The message resource."""
        return self.api("GET", f"/api/messages/{message_id}").expect(200)

    def delete_instances(self) -> None:
        """Delete every instance."""
        for item in self.api("GET", "/api/instances").expect(200)["items"]:
            self.api("DELETE", f"/api/instances/{item['id']}").expect(204)
