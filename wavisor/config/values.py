"""Kinds of values that settings have beyond numbers and text: networks, origins, URLs."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from pydantic import BeforeValidator

__all__ = [
    "IPNetwork",
    "Networks",
    "Origins",
    "Textual",
    "check_database_url",
    "check_postgresql_url",
    "check_public_url",
    "check_sandbox_url",
    "is_public_address",
    "mask_url",
]

T = TypeVar("T")

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MASK = "********"


def _split(value: Any) -> Any:
    """Read a list from one line of text: comma-separated, or JSON where it starts with ``[``."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not a JSON list: {error.msg}") from None
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_each(values: Iterable[Any], read: Callable[[Any], T], what: str) -> tuple[T, ...]:
    """Read every part of a list; what is wrong is said of all parts at once."""
    good, bad = [], []
    for value in values:
        try:
            good.append(read(value))
        except ValueError:
            bad.append(repr(str(value)))
    if bad:
        raise ValueError(f"{', '.join(bad)} is no {what}")
    return tuple(good)


def _networks(values: Iterable[Any]) -> tuple[IPNetwork, ...]:
    what = "address or network; expected such as 10.0.0.0/8 or ::1"
    return _read_each(values, ipaddress.ip_network, what)


def _origins(values: Iterable[Any]) -> tuple[str, ...]:
    what = "origin; expected such as https://app.example.com, or *"
    return _read_each(values, lambda value: _origin(str(value)), what)


def _origin(value: str) -> str:
    if value == "*":
        return value
    parts = urlsplit(value)
    bare = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not bare:
        raise ValueError(value)
    return f"{parts.scheme}://{parts.netloc.lower()}"


Networks = Annotated[tuple[IPNetwork, ...], BeforeValidator(_networks), BeforeValidator(_split)]
"""Addresses and networks; in text, separated by commas."""

Origins = Annotated[tuple[str, ...], BeforeValidator(_origins), BeforeValidator(_split)]
"""Browser origins; in text, separated by commas."""

Textual = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
"""Accepts a word in any letter case."""


def _hosted(value: str, schemes: frozenset[str], example: str) -> str:
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(f"not a URL; expected such as {example}") from None
    whole = value.startswith(f"{parts.scheme}://")
    if parts.scheme not in schemes or not whole or not port_is_good:
        raise ValueError(f"expected a URL such as {example}")
    return value


def check_postgresql_url(value: str | None) -> str | None:
    """Return ``value``; raise ValueError unless it is None or a PostgreSQL URL with a database."""
    if value is None:
        return None
    example = "postgresql://user:password@host/name"
    _hosted(value, frozenset({"postgresql", "postgres"}), example)
    if not urlsplit(value).path.strip("/"):
        raise ValueError(f"the URL names no database; expected such as {example}")
    return value


def check_database_url(value: str | None) -> str | None:
    """Return ``value``; raise ValueError unless it is None, an SQLite or a PostgreSQL URL."""
    if value is None:
        return None
    if value.startswith("sqlite:"):
        path = value.removeprefix("sqlite:///")
        if path == value or not path or path.startswith(":memory:"):
            raise ValueError("expected a file, such as sqlite:////var/lib/wavisor/wavisor.db")
        return value
    if not value.startswith(("postgresql:", "postgres:")):
        raise ValueError(
            "expected a URL such as postgresql://user:password@host/name or sqlite:///path"
        )
    return check_postgresql_url(value)


def check_public_url(value: str | None) -> str | None:
    """Return ``value`` without a slash at its end; raise ValueError unless paths can follow it."""
    if value is None:
        return None
    example = "https://wa.example.com"
    parts = urlsplit(_hosted(value, frozenset({"http", "https"}), example))
    if not parts.hostname or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"only scheme, host and path belong here; expected such as {example}")
    return value.rstrip("/")


def check_sandbox_url(value: str | None) -> str | None:
    """Return ``value``; raise ValueError unless it is None or a URL of this very machine.

    Sessions trust whatever answers there, so it may never be another machine.
    """
    if value is None:
        return None
    example = "http://127.0.0.1:9090"
    _hosted(value, frozenset({"http", "https", "ws", "wss"}), example)
    host = urlsplit(value).hostname
    if host is None or not _is_loopback(host):
        raise ValueError(f"only this machine can be the sandbox; expected such as {example}")
    return value


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public_address(host: str) -> bool:
    """Tell whether listening on ``host`` makes the server reachable from other machines."""
    return not _is_loopback(host)


def mask_url(url: str) -> str:
    """Return ``url`` with its password, and any query that names one, replaced by stars.

    What cannot be taken apart safely, such as a password with an unescaped slash, is not shown.
    """
    if url.startswith("sqlite:"):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    if not parts.netloc or "@" in parts.path + parts.query + parts.fragment:
        return MASK
    account, at, host = parts.netloc.rpartition("@")
    user, colon, _ = account.partition(":")
    netloc = f"{user}:{MASK}{at}{host}" if colon else parts.netloc
    query = "&".join(_mask_pair(pair) for pair in parts.query.split("&")) if parts.query else ""
    return urlunsplit(parts._replace(netloc=netloc, query=query))


def _mask_pair(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}{equals}{MASK}" if "pass" in name.lower() and equals else pair
