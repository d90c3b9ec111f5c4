"""Which targets users may make the gateway connect to."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from wavisor.netguard import ForbiddenTargetError, GuardedResolver, TargetRule

RULE = TargetRule()
INTRANET = TargetRule(allow_private=True)

FORBIDDEN_ADDRESSES = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2002:c0a8:101::",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo around 10.0.0.1
    "nonsense",
]


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
def test_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(ForbiddenTargetError):
        RULE.check_address(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.215.14", "2606:4700::6810:84e5", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_address_is_allowed(address: str) -> None:
    RULE.check_address(address)
    INTRANET.check_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "fd00::1", "::ffff:127.0.0.1"])
def test_private_address_is_allowed_where_that_is_set(address: str) -> None:
    INTRANET.check_address(address)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::", "ff02::1"]
)
def test_link_local_and_multicast_stay_refused_even_in_an_intranet(address: str) -> None:
    with pytest.raises(ForbiddenTargetError):
        INTRANET.check_address(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/a.png",
        "//example.com/a.png",
        "ftp://example.com/a",
        "file:///etc/passwd",
        "gopher://example.com/",
        "data:image/png;base64,AAAA",
        "http://",
        "http:///a",
        "http://user:secret@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com\\@127.0.0.1/",
        "http://exa mple.com/",
        "http://example.com/a b",
        "http://example.com/a\r\nX-Header: 1",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://2130706433/",
        "http://134744072/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://8.8.8.8./",
        "http://１２７.0.0.1/",
        "http://127%2e0%2e0%2e1/",
        "http://exa_mple..com/",
        "http://[::1/",
        "http://example.com:99999/",
        "http://example.com:0/",
        "http://example.com:22/",
        "http://example.com:25/",
        "http://example.com:6667/",
        "https://example.com:2049/",
        "http://" + "a" * 300 + ".com/",
        "http://example.com/" + "a" * 9000,
    ],
)
def test_url_that_is_ambiguous_or_forbidden_is_refused(url: str) -> None:
    with pytest.raises(ForbiddenTargetError):
        RULE.check_url(url)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/A?b=c#d", "https://example.com/A?b=c"),
        ("http://example.com:8080/a%20b", "http://example.com:8080/a%20b"),
        ("http://8.8.8.8/x", "http://8.8.8.8/x"),
        ("http://[2606:4700::1]:8443/", "http://[2606:4700::1]:8443/"),
        ("https://bücher.example/straße?q=ä", "https://xn--bcher-kva.example/stra%C3%9Fe?q=%C3%A4"),
    ],
)
def test_good_url_is_returned_in_one_spelling(url: str, canonical: str) -> None:
    assert RULE.check_url(url).url == canonical


def resolve(rule: TargetRule, *addresses: str) -> Any:
    asked: list[str] = []

    def lookup(host: str, port: int, family: int) -> list[Any]:
        asked.append(host)
        return [
            (
                socket.AF_INET6 if ":" in one else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (one, port),
            )
            for one in addresses
        ]

    async def run() -> Any:
        resolver = GuardedResolver(rule, lookup)
        try:
            return await resolver.resolve("name.example", 443)
        finally:
            resolver.close()

    found = asyncio.run(run())
    assert asked == ["name.example"]
    return found


def test_name_resolves_to_its_public_addresses() -> None:
    found = resolve(RULE, "8.8.8.8", "2606:4700::1")
    assert [address[0] for _, address in found] == ["8.8.8.8", "2606:4700::1"]


def test_name_with_one_private_address_among_public_ones_is_refused() -> None:
    with pytest.raises(ForbiddenTargetError):
        resolve(RULE, "8.8.8.8", "10.0.0.1")


def test_name_of_this_machine_is_refused() -> None:
    with pytest.raises(ForbiddenTargetError):
        resolve(RULE, "127.0.0.1")
    assert resolve(INTRANET, "127.0.0.1")


def test_names_whose_servers_do_not_answer_keep_nobody_waiting() -> None:
    never, asked = threading.Event(), []

    def lookup(host: str, port: int, family: int) -> list[Any]:
        asked.append(host)
        if host.startswith("silent"):
            assert never.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", port))]

    async def run() -> None:
        resolver = GuardedResolver(RULE, lookup)
        silent = [f"silent{number % 30}.example" for number in range(120)]
        waiting = [asyncio.ensure_future(resolver.resolve(host, 443)) for host in silent]
        assert await resolver.resolve("fast.example", 443) == [(socket.AF_INET, ("1.1.1.1", 443))]
        assert not any(one.done() for one in waiting)
        for one in waiting[::2]:
            one.cancel()  # whoever gives up takes nothing from the others
        never.set()
        await asyncio.wait(waiting)
        assert {len(one.result()) for one in waiting[1::2]} == {1}
        assert sorted(asked) == sorted({*silent, "fast.example"})
        await resolver.resolve("fast.example", 443)
        assert asked.count("fast.example") == 2
        resolver.close()

    asyncio.run(run())
