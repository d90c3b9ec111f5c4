"""Whose address a request came from, when reverse proxies stand in between."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["client_address"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_address(
    peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[_Network]
) -> str:
    """Return the address of the client.

    ``X-Forwarded-For`` is read from its end: every proxy appends whom it heard from, so an entry
    counts only while everything after it came from a proxy that is trusted. What a client wrote
    into the header itself is never reached.

    Args:
        peer: the other end of the connection; None or a path for a Unix socket.
        forwarded_for: the values of the header ``X-Forwarded-For``, in order.
        trusted: the networks of trusted proxies.
    """
    address = _parse(peer or "")
    if address is None:
        return "unknown"
    hops = [hop for value in forwarded_for for hop in value.split(",")]
    while hops and any(address in network for network in trusted):
        before = _parse(hops.pop())
        if before is None:
            break
        address = before
    return str(address)


@lru_cache(maxsize=4096)  # the same few come again and again
def _parse(text: str) -> _Address | None:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address
