"""The URL of an instance's proxy, and whether it may be used and works."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wavisor.netguard import TargetRule
from wavisor.whatsapp.proxy import ProxyError, ProxyUrl, ProxyWay, mask_proxy

ANYWHERE = TargetRule(allow_private=True)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("socks5://proxy.example", "socks5://proxy.example:1080"),
        ("http://proxy.example/", "http://proxy.example:80"),
        ("https://proxy.example:8443", "https://proxy.example:8443"),
        ("socks5://[2001:db8::1]:9", "socks5://[2001:db8::1]:9"),
        ("SOCKS5://a:b@proxy.example", "socks5://a:b@proxy.example:1080"),
        ("http://some%20one:p%40ss%3A@x:1", "http://some%20one:p%40ss%3A@x:1"),
        ("http://nobody@x:1", "http://nobody:@x:1"),
    ],
)
def test_a_url_is_read_and_written_again(text: str, url: str) -> None:
    assert ProxyUrl.parse(text).url == url
    assert ProxyUrl.parse(url).url == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "proxy.example",
        "proxy.example:1080",
        "ftp://proxy.example",
        "socks4://proxy.example",
        "socks5h://proxy.example",
        "socks5://",
        "socks5://:1080",
        "socks5://x:0",
        "socks5://x:65536",
        "socks5://x:port",
        "http://x/path",
        "http://x?query",
        "http://x#fragment",
        "http://x?",
        "http:// x",
        "http://x\n",
        "http://x\\y",
        "http://[::1",
        "http://pröxy.example",
        "http://:password@x",
        "http://***@x",
        "http://me:***@x",
        "http://me:%00@x",
        "http://me:" + "x" * 256 + "@x",
    ],
)
def test_what_is_no_proxys_url_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[a-z]") as refusal:
        ProxyUrl.parse(text)
    assert "password@" not in str(refusal.value)
    assert mask_proxy(text) == "***"


def test_others_see_neither_user_nor_password() -> None:
    proxy = ProxyUrl.parse("socks5://somebody:secret@proxy.example:1080")
    assert proxy.masked == mask_proxy(proxy.url) == "socks5://***@proxy.example:1080"
    assert "secret" not in repr(proxy)
    assert "somebody" not in repr(proxy)
    assert ProxyUrl.parse("http://x:1").masked == "http://x:1"


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def outcome(answer: Answer, url: str, way: ProxyWay) -> str:
    """Check a proxy that answers so; ``{port}`` in the URL is its port."""

    async def run() -> str:
        served: list[asyncio.Task[None]] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            served.append(task)
            await answer(reader, writer)
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return (await way.check(url.format(port=port))).replace(str(port), "{port}")
        except ProxyError as error:
            return str(error)
        finally:
            server.close()
            await server.wait_closed()
            await asyncio.sleep(0)  # a connection that was just made gets its task
            await asyncio.gather(*served, return_exceptions=True)

    return asyncio.run(run())


def saying(text: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        writer.close()

    return answer


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "http://127.0.0.1:{port}"),
        (b"HTTP/1.1 407 No\r\n\r\n", "the proxy refuses to connect to WhatsApp (407)"),
        (b"HTTP/1.1 502 No\r\n\r\n", "the proxy refuses to connect to WhatsApp (502)"),
        (b"SSH-2.0-OpenSSH\r\n", "the proxy does not speak HTTP"),
        (b"x" * 100_000, "the proxy does not speak HTTP"),
        (b"", "the proxy does not speak HTTP"),
    ],
)
def test_an_http_proxy_is_asked_for_whatsapp(text: bytes, told: str) -> None:
    assert outcome(saying(text), "http://localhost:{port}", ProxyWay(ANYWHERE)) == told


def test_the_name_of_a_proxy_gives_way_to_the_address_that_was_checked() -> None:
    way = ProxyWay(ANYWHERE)
    pinned = outcome(silence, "socks5://me:it@localhost:{port}", way)
    assert pinned == "socks5://me:it@127.0.0.1:{port}"
    # Of these the certificate proves the name.
    assert outcome(silence, "https://localhost:{port}", way) == "https://localhost:{port}"


def test_private_addresses_are_out_of_reach_also_behind_a_name() -> None:
    told = outcome(silence, "socks5://localhost:{port}", ProxyWay(TargetRule()))
    assert told == "the proxy's name leads to an address that is not public"


def test_a_proxy_that_is_silent_or_gone_says_so() -> None:
    way = ProxyWay(ANYWHERE, timeout=0.1)
    assert outcome(silence, "http://127.0.0.1:{port}", way) == "the proxy does not answer"
    gone = ProxyWay(ANYWHERE)
    assert outcome(silence, "socks5://127.0.0.1:1", gone) == "the proxy cannot be reached"
    assert outcome(silence, "socks5://" + "x" * 64 + ":1", gone) == "the proxy cannot be reached"
    assert outcome(silence, "gopher://x", gone).startswith("the proxy's URL must begin with")


def test_names_that_no_server_answers_for_hold_up_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def slow(host: Any, *more: Any, **named: Any) -> Any:
        asked.append(host)
        if host.endswith(".dead.example"):
            released.wait(30)
            raise OSError("nobody knows")
        return look_up(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    way = ProxyWay(ANYWHERE, timeout=0.05)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            tries = [way.check(f"socks5://{number}.dead.example") for number in range(40)]
            told = await asyncio.gather(*tries, return_exceptions=True)
            assert {str(one) for one in told} == {"the proxy does not answer"}
        assert len(asked) == len(set(asked)) == 40, "each name once at a time"
        try:
            async with asyncio.timeout(5):
                await loop.getaddrinfo("127.0.0.1", 1)
        finally:
            released.set()

    asyncio.run(run())
    assert outcome(silence, "socks5://localhost:{port}", ProxyWay(ANYWHERE)).startswith("socks5")
