"""Fetching what a user names by its URL, from servers on loopback that misbehave."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wavisor.media import Fetched, Fetcher, MediaError, MediaReason, Patience
from wavisor.media.fetch import plain_name
from wavisor.netguard import GuardedResolver, TargetRule

INTRANET = TargetRule(allow_private=True)
PUBLIC = TargetRule()
PATIENCE = Patience(total=60.0, idle=30.0)

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def says(text: bytes) -> Answer:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return answer


def ok(body: bytes, headers: str = "") -> Answer:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()
    return says(head + body)


def redirect(location: str) -> Answer:
    return says(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())


class Web:
    """A server on loopback whose answers a test gives, by path."""

    def __init__(self, answers: dict[str, Answer], host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self.port = port
        self.answers = answers
        self.asked: list[str] = []
        self.headers: list[str] = []
        self._open: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> Web:
        self._server = await asyncio.start_server(self._serve, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for one in self._open:
            assert one is not None
            one.cancel()
        await asyncio.gather(*[one for one in self._open if one], return_exceptions=True)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(asyncio.current_task())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            self.asked.append(path)
            self.headers.append(head)
            await self.answers[path](path, writer)
        except ConnectionError:
            pass  # the client had enough
        finally:
            self._open.discard(asyncio.current_task())
            writer.close()


def fetch(
    answers: dict[str, Answer],
    path: str = "/",
    *,
    limit: int = 10_000,
    rule: TargetRule = INTRANET,
    patience: Patience = PATIENCE,
    sink: Any = None,
) -> tuple[bytes, Fetched, Web]:
    async def run() -> tuple[bytes, Fetched, Web]:
        received = bytearray()

        async def keep(chunk: bytes) -> None:
            received.extend(chunk)

        fetcher = Fetcher(rule)
        async with Web(answers) as web:
            try:
                fetched = await fetcher.fetch(
                    web.url(path), sink or keep, limit=limit, patience=patience
                )
            finally:
                fetcher.close()
        return bytes(received), fetched, web

    return asyncio.run(run())


def failure(answers: dict[str, Answer], path: str = "/", **more: Any) -> MediaReason:
    with pytest.raises(MediaError) as caught:
        fetch(answers, path, **more)
    assert "127.0.0.1" not in caught.value.detail
    return caught.value.reason


def test_body_is_fetched_and_named() -> None:
    body, fetched, web = fetch({"/a/cat%20one.png?v=1": ok(b"picture")}, "/a/cat%20one.png?v=1")
    assert body == b"picture"
    assert fetched.file_name == "cat one.png"
    assert "Accept-Encoding: identity" in web.headers[0]
    assert f"Host: 127.0.0.1:{web.port}" in web.headers[0]


def test_server_may_name_the_file_but_not_its_place() -> None:
    header = 'Content-Disposition: attachment; filename="../../etc/pass:wd"\r\n'
    _, fetched, _ = fetch({"/": ok(b"x", header)})
    assert fetched.file_name == "pass_wd"


@pytest.mark.parametrize(
    "body",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nabcde",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
    ],
)
def test_body_may_be_framed_in_any_way(body: bytes) -> None:
    assert fetch({"/": says(body)})[0] == b"abcde"


def test_redirects_are_followed_three_times() -> None:
    answers = {
        "/": redirect("/1"),
        "/1": redirect("2"),
        "/2": redirect("./3?x"),
        "/3?x": ok(b"here"),
    }
    body, fetched, web = fetch(answers)
    assert body == b"here"
    assert web.asked == ["/", "/1", "/2", "/3?x"]
    assert fetched.url.endswith("/3?x")


def test_fourth_redirect_is_too_many() -> None:
    answers = {"/": redirect("/1"), "/1": redirect("/2"), "/2": redirect("/3"), "/3": redirect("/")}
    assert failure(answers) is MediaReason.UNREACHABLE


def test_loopback_is_refused_by_default() -> None:
    assert failure({}, rule=PUBLIC) is MediaReason.FORBIDDEN_URL


class Names(GuardedResolver):
    """Resolves by a table; counts look-ups."""

    def initialize(self, rule: TargetRule, table: dict[str, list[str]]) -> None:  # type: ignore[override]  # for tests
        self.asked: list[str] = []

        def lookup(host: str, port: int, family: int) -> list[Any]:
            self.asked.append(host)
            # Each look-up takes the next answer: what an attacker's name server does.
            answers = table[host]
            address = answers.pop(0) if len(answers) > 1 else answers[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        super().initialize(rule, lookup)


class PublicTestNet(TargetRule):
    """Takes 127.0.0.2 for a public address, and the rest of loopback for what it is."""

    def check_address(self, address: str) -> None:
        if address != "127.0.0.2":
            super().check_address(address)


def test_redirect_to_loopback_is_refused_and_never_asked() -> None:
    async def run() -> None:
        rule = PublicTestNet()
        async with (
            Web({"/secret": ok(b"secret")}) as inner,
            Web({"/": redirect(inner.url("/secret"))}, "127.0.0.2") as shop,
        ):
            names = Names(rule, {"shop.example": ["127.0.0.2"]})
            fetcher = Fetcher(rule, resolver=names)
            with pytest.raises(MediaError) as caught:
                await fetcher.fetch(
                    shop.url("/", "shop.example"), _nobody, limit=100, patience=PATIENCE
                )
            assert caught.value.reason is MediaReason.FORBIDDEN_URL
            assert inner.asked == []
            fetcher.close()

    asyncio.run(run())


def test_name_that_changes_its_address_is_asked_only_once() -> None:
    """DNS rebinding: the first answer is checked, the second would be connected to."""

    async def run() -> None:
        rule = PublicTestNet()
        async with (
            Web({"/": ok(b"secret")}) as inner,
            Web({"/": ok(b"public")}, "127.0.0.2", inner.port),
        ):
            names = Names(rule, {"evil.example": ["127.0.0.2", "127.0.0.1"]})
            fetcher = Fetcher(rule, resolver=names)
            received = bytearray()

            async def keep(chunk: bytes) -> None:
                received.extend(chunk)

            url = inner.url("/", "evil.example")
            await fetcher.fetch(url, keep, limit=100, patience=PATIENCE)
            assert bytes(received) == b"public"
            assert names.asked == ["evil.example"]
            # And when it does resolve to loopback, it is refused.
            with pytest.raises(MediaError) as caught:
                await fetcher.fetch(url, keep, limit=100, patience=PATIENCE)
            assert caught.value.reason is MediaReason.FORBIDDEN_URL
            assert inner.asked == []
            fetcher.close()

    asyncio.run(run())


async def _nobody(_: bytes) -> None:
    raise AssertionError("nothing was to be received")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://example.com/", "http://[::1]/"])
def test_redirect_elsewhere_is_refused(location: str) -> None:
    assert failure({"/": redirect(location)}, rule=_LoopbackFour()) is MediaReason.FORBIDDEN_URL


class _LoopbackFour(TargetRule):
    def check_address(self, address: str) -> None:
        if address != "127.0.0.1":
            super().check_address(address)


def test_body_that_claims_to_be_too_large_is_not_read() -> None:
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
    assert failure({"/": says(text)}, sink=_nobody) is MediaReason.TOO_LARGE


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_body_that_never_ends_is_cut_off_at_the_limit(head: bytes) -> None:
    async def endless(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    assert failure({"/": endless}, limit=100_000) is MediaReason.TOO_LARGE


def test_chunks_without_end_are_cut_off_at_the_limit() -> None:
    async def endless(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    assert failure({"/": endless}, limit=100_000) is MediaReason.TOO_LARGE


def test_body_of_exactly_the_limit_is_taken() -> None:
    assert len(fetch({"/": ok(b"x" * 1000)}, limit=1000)[0]) == 1000


def test_silent_server_is_given_up() -> None:
    async def silent(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        await writer.drain()
        await asyncio.Event().wait()

    patience = Patience(total=10.0, idle=0.05)
    assert failure({"/": silent}, patience=patience) is MediaReason.TIMEOUT


def test_server_that_trickles_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async def trickle(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)  # the pace of the server, not a wait of the test

    patience = Patience(total=0.3, idle=5.0)
    assert failure({"/": trickle}, patience=patience) is MediaReason.TIMEOUT
    gc.collect()  # what nobody looked at would be told here
    assert not [one for one in caplog.messages if "never retrieved" in one]


def test_server_that_breaks_off_is_told_from_one_that_is_done() -> None:
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"
    assert failure({"/": says(text)}) is MediaReason.UNREACHABLE


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
)
def test_answer_that_is_no_file_is_refused(text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert failure({"/": says(text)}) is MediaReason.UNREACHABLE
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_port_where_nobody_listens_is_told() -> None:
    async def run() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            fetcher = Fetcher(INTRANET)
            with pytest.raises(MediaError) as caught:
                url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
                await fetcher.fetch(url, _nobody, limit=10, patience=PATIENCE)
            assert caught.value.reason is MediaReason.UNREACHABLE
            fetcher.close()

    asyncio.run(run())


def test_server_without_tls_is_told() -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        fetcher = Fetcher(INTRANET)
        with pytest.raises(MediaError) as caught:
            await fetcher.fetch(url, _nobody, limit=10, patience=PATIENCE)
        assert caught.value.reason is MediaReason.UNREACHABLE
        fetcher.close()
        server.close()

    asyncio.run(run())


def test_failure_of_the_receiver_ends_the_download(caplog: pytest.LogCaptureFixture) -> None:
    async def full(_: bytes) -> None:
        raise MediaError(MediaReason.DISK_FULL, "cannot be stored: the disk is full")

    assert failure({"/": ok(b"abc")}, sink=full) is MediaReason.DISK_FULL
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_slow_receiver_slows_the_server_down() -> None:
    """No more is read from the network than the receiver takes."""
    sent = 0

    async def flood(_: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _chunk in range(1000):
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async def stuck(_: bytes) -> None:
        await asyncio.Event().wait()

    patience = Patience(total=20.0, idle=0.5)
    assert failure({"/": flood}, limit=10**9, patience=patience, sink=stuck) is MediaReason.TIMEOUT
    assert sent < 32 * 1024 * 1024


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, None),
        ("", None),
        ("...", None),
        ("a.txt", "a.txt"),
        ("C:\\Users\\x\\a.txt", "a.txt"),
        ("/etc/passwd", "passwd"),
        ("a\r\nb", "a_b"),
        ("ünïcode 文.pdf", "ünïcode 文.pdf"),
        ("x" * 500, "x" * 200),
    ],
)
def test_name_of_a_file_is_made_plain(given: str | None, name: str | None) -> None:
    assert plain_name(given) == name
