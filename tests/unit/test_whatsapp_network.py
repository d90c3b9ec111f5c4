from __future__ import annotations

import asyncio
import base64
import socket

import pytest

from wavisor.whatsapp.network import WHATSAPP, NetworkCheck, first_hop, tunnel_request


async def ask(check: NetworkCheck) -> bool:
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    check.ask(answer.set_result)
    return await asyncio.wait_for(answer, 10)


def test_the_first_hop_is_the_proxy_where_there_is_one() -> None:
    assert first_hop({}) == WHATSAPP
    assert first_hop({"HTTPS_PROXY": "http://proxy.example:3128"}) == ("proxy.example", 3128)
    assert first_hop({"https_proxy": "proxy.example"}) == ("proxy.example", 80)
    assert first_hop({"HTTPS_PROXY": "http://a:1"}, "http://x@127.0.0.1:9") == ("127.0.0.1", 9)


def test_an_http_proxy_is_asked_for_whatsapp_and_no_other_proxy_is() -> None:
    assert tunnel_request({}) is None
    assert tunnel_request({"HTTPS_PROXY": "socks5://127.0.0.1:1080"}) is None
    assert tunnel_request({"HTTPS_PROXY": "https://proxy.example"}) is None
    assert tunnel_request({"HTTPS_PROXY": "proxy.example:3128"}) == (
        b"CONNECT web.whatsapp.com:443 HTTP/1.1\r\nHost: web.whatsapp.com:443\r\n\r\n"
    )
    request = tunnel_request({}, "http://some%20one:s%3Acret@proxy.example")
    assert request is not None
    credentials = base64.b64encode(b"some one:s:cret").decode()
    assert f"\r\nProxy-Authorization: Basic {credentials}\r\n\r\n" in request.decode()


@pytest.mark.parametrize(
    ("answer", "up"),
    [
        (b"HTTP/1.1 200 Connection established\r\n\r\n", True),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", False),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False),
        (b"x" * 100_000, False),
        (b"", False),
    ],
)
def test_a_proxy_tells_whether_whatsapp_is_behind_it(answer: bytes, up: bool) -> None:
    async def run() -> None:
        asked: list[bytes] = []

        async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        check = NetworkCheck(asyncio.get_running_loop(), address, request=b"CONNECT x\r\n\r\n")
        assert await ask(check) is up
        assert asked == [b"CONNECT x\r\n\r\n"]
        server.close()
        await server.wait_closed()

    asyncio.run(run())


def test_many_askers_share_one_dial() -> None:
    async def run() -> None:
        dials = 0

        def on_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal dials
            dials += 1
            writer.close()

        server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        check = NetworkCheck(asyncio.get_running_loop(), ("127.0.0.1", port), fresh_for=3600)
        assert await asyncio.gather(*(ask(check) for _ in range(50))) == [True] * 50
        assert await ask(check) is True
        server.close()
        await server.wait_closed()
        assert dials == 1

    asyncio.run(run())


def test_a_refused_dial_is_an_answer_and_the_next_one_is_fresh() -> None:
    async def run() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = unused.getsockname()
            check = NetworkCheck(asyncio.get_running_loop(), address, fresh_for=0.0)
            assert await ask(check) is False
            unused.listen()
            assert await ask(check) is True
        await check.close()

    asyncio.run(run())


def test_a_dial_that_hangs_counts_as_down() -> None:
    async def run() -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            address = full.getsockname()
            # The backlog is full, so a further connection gets no answer.
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            check = NetworkCheck(asyncio.get_running_loop(), address, timeout=0.2)
            assert await ask(check) is False
            for filler in fillers:
                filler.close()

    asyncio.run(run())
