"""The proxy that an instance may go through to WhatsApp: its URL, and whether it works.

The URL holds credentials: nothing here puts it, or a part of it but the scheme, into an error.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

__all__ = ["MASK", "AddressRule", "ProxyError", "ProxyUrl", "ProxyWay", "mask_proxy"]

MASK = "***"

_DEFAULT_PORTS = {"socks5": 1080, "http": 80, "https": 443}
_UNSAFE = re.compile(r"[^\x21-\x7e]|\\")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_CREDENTIAL = 255  # bytes, by RFC 1929
_TARGET = "web.whatsapp.com:443"
_LOOKUPS_AT_ONCE = 64


class ProxyError(Exception):
    """The proxy cannot be used now; says why."""


class AddressRule(Protocol):
    """Says which addresses users may make the gateway connect to."""

    def objection(self, address: str) -> str | None:
        """Return why an address is forbidden; None when it is not."""
        ...


@dataclass(frozen=True)
class ProxyUrl:
    """A proxy's URL in parts."""

    scheme: str
    host: str
    """A name, or an address without brackets."""
    port: int
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> ProxyUrl:
        """Return the parts of a URL.

        Raises:
            ValueError: it is none of a proxy's; says why.
        """
        if _UNSAFE.search(text):
            raise ValueError("must be in ASCII, without blanks and backslashes")
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("is no valid URL") from None
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError("must begin with socks5://, http:// or https://")
        if not host:
            raise ValueError("names no host")
        if port == 0:
            raise ValueError("names no valid port")
        if (
            parts.path not in ("", "/")
            or parts.query
            or parts.fragment
            or text.endswith(("?", "#"))
        ):
            raise ValueError("must end with the host and port")
        username, password = _credentials(parts.username, parts.password)
        return cls(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], username, password)

    @property
    def authority(self) -> str:
        """Host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL again, with its credentials."""
        if self.username is None:
            return f"{self.scheme}://{self.authority}"
        user, password = quote(self.username, safe=""), quote(self.password or "", safe="")
        return f"{self.scheme}://{user}:{password}@{self.authority}"

    @property
    def masked(self) -> str:
        """The URL for others to see."""
        hidden = "" if self.username is None else f"{MASK}@"
        return f"{self.scheme}://{hidden}{self.authority}"


def mask_proxy(text: str) -> str:
    """Return a proxy's URL for others to see; of one that makes no sense nothing."""
    try:
        return ProxyUrl.parse(text).masked
    except ValueError:
        return MASK


def _credentials(username: str | None, password: str | None) -> tuple[str | None, str | None]:
    if username is None:
        return None, None
    if MASK in username or (password is not None and MASK in password):
        raise ValueError("hides its user name and password: give them again, or leave proxy out")
    given = [unquote(one) for one in (username, password or "")]
    if not given[0]:
        raise ValueError("names no user")
    if any(len(one.encode()) > _LONGEST_CREDENTIAL or _CONTROL.search(one) for one in given):
        raise ValueError("has a user name or password that no proxy takes")
    return given[0], given[1]


class _Names:
    """Looks up names that users chose, each one once at a time.

    A name server that never answers holds a thread for as long as the system waits for it. The
    loop's own threads look up WhatsApp's name for everybody, so they are not used for this; and
    the threads here are daemons, which do not hold up the end of the process.
    """

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, int], Future[list[str]]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host.

        Raises:
            OSError: it has none, or too many names are being looked up.
            UnicodeError: it is no name.
        """
        key = host, port
        answer = self._under_way.get(key)
        if answer is None:
            if len(self._under_way) >= _LOOKUPS_AT_ONCE:
                raise OSError("too many names are being looked up")
            answer = self._under_way[key] = Future()
            answer.set_running_or_notify_cancel()  # who gives up waiting must not cancel it
            thread = threading.Thread(
                target=self._look_up, args=(key, answer), name="proxy-name", daemon=True
            )
            thread.start()
        return await asyncio.wrap_future(answer)

    def _look_up(self, key: tuple[str, int], answer: Future[list[str]]) -> None:
        try:
            found = socket.getaddrinfo(*key, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 - for whoever waits
            del self._under_way[key]
            answer.set_exception(error)
        else:
            del self._under_way[key]
            answer.set_result(list(dict.fromkeys(str(one[4][0]) for one in found)))


class ProxyWay:
    """Finds out whether a proxy may be used, and works. Used on an event loop.

    Args:
        rule: which addresses may be connected to.
        timeout: seconds until a proxy that does not answer counts as unreachable.
    """

    def __init__(self, rule: AddressRule, timeout: float = 5.0) -> None:
        self._rule = rule
        self._timeout = timeout
        self._names = _Names()

    async def check(self, text: str) -> str:
        """Return the URL that a session is to use, after the proxy has answered.

        Its name is replaced by the address that was checked, so that it cannot lead elsewhere a
        moment later; but not for ``https``, where the certificate proves the name.

        Raises:
            ProxyError: it is no proxy's URL, breaks the rule, or the proxy does not answer or
                refuses to connect to WhatsApp.
        """
        try:
            proxy = ProxyUrl.parse(text)
        except ValueError as error:
            raise ProxyError(f"the proxy's URL {error}") from None
        try:
            async with asyncio.timeout(self._timeout):
                address = await self._reach(proxy)
        except TimeoutError:
            raise ProxyError("the proxy does not answer") from None
        except (OSError, UnicodeError):
            raise ProxyError("the proxy cannot be reached") from None
        pinned = proxy if proxy.scheme == "https" else replace(proxy, host=address)
        return pinned.url

    async def _reach(self, proxy: ProxyUrl) -> str:
        addresses = await self._names.addresses(proxy.host, proxy.port)
        for address in addresses:
            objection = self._rule.objection(address)
            if objection is not None:
                raise ProxyError(f"the proxy's name {objection}")
        failure: OSError = OSError("no address")
        for address in addresses:
            try:
                await _connect(proxy, address)
            except OSError as error:
                failure = error
            else:
                return address
        raise failure


async def _connect(proxy: ProxyUrl, address: str) -> None:
    reader, writer = await asyncio.open_connection(address, proxy.port)
    try:
        if proxy.scheme != "http":
            return  # it would have to be spoken TLS or SOCKS to; the client tells what it says
        writer.write(_tunnel_request(proxy))
        # RFC 9112, section 4: HTTP-version SP status-code SP
        try:
            _, _, rest = (await reader.readline()).partition(b" ")
        except ValueError:
            rest = b""
        status = rest[:3].decode(errors="replace")
        if not status.isdigit():
            raise ProxyError("the proxy does not speak HTTP")
        if not status.startswith("2"):
            raise ProxyError(f"the proxy refuses to connect to WhatsApp ({status})")
    finally:
        writer.close()


def _tunnel_request(proxy: ProxyUrl) -> bytes:
    lines = [f"CONNECT {_TARGET} HTTP/1.1", f"Host: {_TARGET}"]
    if proxy.username is not None:
        credentials = f"{proxy.username}:{proxy.password}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(credentials).decode()}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
