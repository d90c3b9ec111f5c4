"""Which addresses users may make the gateway connect to (protection against SSRF).

Whoever names a URL that the gateway then asks could reach what only the gateway's machine reaches:
loopback services, the intranet, a cloud's metadata address. One rule for all of them: URLs of
media and links now, webhooks likewise.

The URL is checked first; then the name is resolved once, every address found is checked, and the
connection goes to just these addresses: :class:`GuardedResolver` is what connects by name, so a
name that resolves differently a moment later (DNS rebinding) is never asked again.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import idna
from tornado.netutil import Resolver

__all__ = ["ForbiddenTargetError", "GuardedResolver", "Target", "TargetRule"]

URL_LIMIT = 8192
"""The longest URL, in characters; signed ones of object stores have some 2,000."""

_LABELS = re.compile(r"\A[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?\Z")
_NUMERIC_LABEL = re.compile(r"\A([0-9]+|0x[0-9a-f]*)\Z")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_PATH_SAFE = "/%:@!$&'()*+,;=~-._?[]"
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Services that a request of HTTP could be smuggled into, of those at 1024 and above. Source:
# https://fetch.spec.whatwg.org/#port-blocking
_BAD_PORTS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6679, 6697, 10080}
    | set(range(6665, 6670))
)
# IPv6 addresses that stand for an IPv4 one (RFC 6052, RFC 8215): NAT64 and its local form.
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_SITE_LOCAL = ipaddress.IPv6Network("fec0::/10")  # deprecated, and yet in use (RFC 3879)
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_RESOLVER_THREADS = 64
"""As many as there are deliveries of webhooks at a time; begun only when they are needed."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenTargetError(Exception):
    """A URL or address that nobody may make the gateway connect to; says why."""


@dataclass(frozen=True)
class Target:
    """A URL that was checked, in parts."""

    scheme: str
    host: str
    """In ASCII; an IPv6 address without brackets."""
    port: int
    path: str
    """With the query, percent-encoded."""

    @property
    def authority(self) -> str:
        """What the header ``Host`` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL again, without a fragment."""
        return f"{self.scheme}://{self.authority}{self.path}"


@dataclass(frozen=True)
class TargetRule:
    """The rule itself.

    Args:
        allow_private: whether private and loopback addresses are allowed, for intranets and tests.
            Everything else holds all the same.
    """

    allow_private: bool = False

    def check_url(self, url: str) -> Target:
        """Return the URL in parts.

        Raises:
            ForbiddenTargetError: it is none of HTTP, is ambiguous, or breaks the rule.
        """
        if len(url) > URL_LIMIT:
            raise ForbiddenTargetError(f"is longer than {URL_LIMIT} characters")
        if _UNSAFE.search(url):
            raise ForbiddenTargetError("holds blanks, control characters or a backslash")
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
        except ValueError:
            raise ForbiddenTargetError("is no valid URL") from None
        if scheme not in _DEFAULT_PORTS:
            raise ForbiddenTargetError("must begin with http:// or https://")
        if "@" in parts.netloc:
            raise ForbiddenTargetError("must not hold a user name or password")
        target = Target(
            scheme=scheme,
            host=self._check_host(host),
            port=_DEFAULT_PORTS[scheme] if port is None else port,
            path=_path(parts.path, parts.query),
        )
        _check_port(target.port)
        return target

    def check_address(self, address: str) -> None:
        """Refuse an address that the rule forbids.

        Raises:
            ForbiddenTargetError: it does.
        """
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            raise ForbiddenTargetError("leads to an address that is not understood") from None
        actual = _actual(found)
        # Of what Python calls private, some stay out of reach: a cloud's metadata, for one.
        if (
            self.allow_private
            and actual.is_private
            and not (actual.is_unspecified or actual.is_link_local or actual.is_multicast)
        ):
            return
        special = actual.is_multicast or actual.is_reserved or actual in _SITE_LOCAL
        if special or not actual.is_global:
            raise ForbiddenTargetError("leads to an address that is not public")

    def objection(self, address: str) -> str | None:
        """Return why an address is forbidden; None when it is not."""
        try:
            self.check_address(address)
        except ForbiddenTargetError as error:
            return str(error)
        return None

    def _check_host(self, host: str) -> str:
        if not host:
            raise ForbiddenTargetError("names no host")
        if ":" in host:
            if "%" in host:
                raise ForbiddenTargetError("names an address with a zone")
            self.check_address(host)
            return host
        ascii_host = _to_ascii(host)
        if not _LABELS.match(ascii_host) or len(ascii_host) > 253:
            raise ForbiddenTargetError("names no valid host")
        last = ascii_host.rstrip(".").rpartition(".")[2]
        if _NUMERIC_LABEL.match(last):
            # Libraries differ in how they read 0177.1, 2130706433 or 0x7f000001.
            try:
                ipaddress.IPv4Address(ascii_host)
            except ValueError:
                raise ForbiddenTargetError("names no valid host") from None
            self.check_address(ascii_host)
        return ascii_host


Lookup = Callable[[str, int, int], list[Any]]


def _system_lookup(host: str, port: int, family: int) -> list[Any]:
    return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)


class GuardedResolver(Resolver):
    """Resolves names to addresses that the rule allows; for :class:`tornado.tcpclient.TCPClient`.

    A name is refused as a whole when one of its addresses is. Look-ups have threads of their own,
    and each name one at most: a name server that does not answer keeps nobody else waiting.

    Args:
        rule: what is allowed.
        lookup: asks for the addresses of a name; blocks.
    """

    def initialize(self, rule: TargetRule, lookup: Lookup = _system_lookup) -> None:
        """Take the constructor's arguments."""
        self._rule = rule
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolver")
        self._asked: dict[tuple[str, int, int], asyncio.Future[list[Any]]] = {}

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        """Return the addresses of a name.

        Raises:
            ForbiddenTargetError: it has one that is not allowed.
            OSError: it has none.
        """
        # Shielded: whoever gives up leaves the answer to those who asked for the same.
        found = await asyncio.shield(self._ask(host, port, family))
        addresses = [(int(one[0]), one[4]) for one in found]
        for _, address in addresses:
            self._rule.check_address(str(address[0]))
        return addresses

    def _ask(self, host: str, port: int, family: socket.AddressFamily) -> asyncio.Future[list[Any]]:
        """Return the look-up of a name that is under way, or begin one."""
        loop, key = asyncio.get_running_loop(), (host, port, int(family))
        running = self._asked.get(key)
        if running is not None and running.get_loop() is loop:
            return running
        asked = loop.run_in_executor(self._threads, self._lookup, host, port, family)
        self._asked[key] = asked

        def forget(done: asyncio.Future[list[Any]]) -> None:
            if self._asked.get(key) is done:
                del self._asked[key]
            if not done.cancelled():
                done.exception()  # taken note of: those who asked may have left

        asked.add_done_callback(forget)
        return asked

    def close(self) -> None:
        """Give back the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _actual(address: _Address) -> _Address:
    """Return the address that packets end up at: IPv4 in the disguise of IPv6 is IPv4."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in _NAT64):
        return embedded
    if address in _COMPATIBLE and int(address) > 1:
        return embedded
    return address


def _check_port(port: int) -> None:
    if port in (80, 443) or (port >= 1024 and port not in _BAD_PORTS):
        return
    raise ForbiddenTargetError("names a port that is not for HTTP")


def _to_ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii").lower()
    except idna.IDNAError:
        raise ForbiddenTargetError("names no valid host") from None


def _path(path: str, query: str) -> str:
    whole = (path or "/") + (f"?{query}" if query else "")
    return quote(whole, safe=_PATH_SAFE)
