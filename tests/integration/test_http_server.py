"""The server's life: ports, and stopping."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from structlog.testing import capture_logs
from tornado.simple_httpclient import HTTPStreamClosedError

from support.http import HttpLab, NewHttp
from wavisor.http import AddressInUseError, HttpServer, ListenError, Services
from wavisor.http.application import ROUTERS, HttpApplication
from wavisor.http.permissions import PUBLIC
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Empty


class Gate:
    """A route that answers when it is told to."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self.router = Router("gate", "A gate.")

        @self.router.route(
            "GET",
            "/gate",
            operation="passGate",
            summary="Pass",
            access=PUBLIC,
            responses={200: Empty},
        )
        async def pass_gate(_: Call[None, None]) -> Reply:
            """Waits."""
            self.reached.set()
            async with asyncio.timeout(20):
                await self.opened.wait()
            return Reply(Empty())

    def application(self, services: Services) -> HttpApplication:
        return HttpApplication(services, [*ROUTERS, self.router])


class Feed:
    """A long-lived connection, as far as the server knows one."""

    closed = False

    def close_for_shutdown(self) -> None:
        self.closed = True


def test_taken_port_is_named(http: HttpLab) -> None:
    second = HttpServer(http.application, "127.0.0.1", http.port)
    with pytest.raises(AddressInUseError, match=f"127.0.0.1 port {http.port}"):
        second.listen()


def test_address_that_is_not_ours_is_named(http: HttpLab) -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1"):
        HttpServer(http.application, "192.0.2.1", 0).listen()


def test_every_address_of_a_name_is_served_on_one_port(http: HttpLab) -> None:
    server = HttpServer(http.application, "localhost", 0)
    port = server.listen()
    with socket.create_connection(("127.0.0.1", port), timeout=60):
        pass
    http.run(server.stop(1))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_any_ipv6_address_is_any_address(http: HttpLab) -> None:
    server = HttpServer(http.application, "::", 0)
    port = server.listen()
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, port), timeout=60):
            pass
    http.run(server.stop(1))


def test_stop_without_start_gives_the_port_back(http: HttpLab) -> None:
    server = HttpServer(http.application, "127.0.0.1", 0)
    port = server.listen()
    http.run(server.stop(1))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


def test_stop_finishes_what_is_in_flight_and_accepts_nothing_more(new_http: NewHttp) -> None:
    gate, feed = Gate(), Feed()
    http = new_http(factory=gate.application)

    async def stop_meanwhile() -> Any:
        http.application.connections.add(feed)
        request = asyncio.ensure_future(http.send("GET", "/gate"))
        await gate.reached.wait()
        stopping = asyncio.ensure_future(http.server.stop(10))
        await asyncio.sleep(0)  # lets it begin; it then waits for the gate
        with pytest.raises(OSError, match=r"refused|Connect"):
            await asyncio.open_connection("127.0.0.1", http.port)
        assert not stopping.done()
        gate.opened.set()
        answer = await request
        await stopping
        return answer

    answer = http.run(stop_meanwhile())
    assert answer.status == 200
    assert answer.headers["Connection"] == "close"
    assert feed.closed


def test_stop_cuts_off_what_takes_too_long(new_http: NewHttp) -> None:
    gate = Gate()
    http = new_http(factory=gate.application)

    async def stop_meanwhile() -> None:
        request = asyncio.ensure_future(http.send("GET", "/gate"))
        await gate.reached.wait()
        await http.server.stop(0.05)
        with pytest.raises(HTTPStreamClosedError):
            await request
        gate.opened.set()

    with capture_logs() as logs:
        http.run(stop_meanwhile())
    assert [line["count"] for line in logs if line["event"] == "requests cut off"] == [1]


def test_idle_connections_do_not_hold_up_a_stop(http: HttpLab) -> None:
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        connection.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        http.run(http.server.stop(10), timeout=60)
        while connection.recv(65536):
            pass
