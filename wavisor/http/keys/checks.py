"""Whether a key that was presented is good: now, and from where."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from wavisor.http.keys.form import GivenKey, same_digest
from wavisor.storage import KeyRecord

__all__ = ["address_allowed", "good_until", "network_text", "secret_fits"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# The IPv4 addresses within IPv6: ::ffff:0:0/96, RFC 4291, section 2.5.5.2.
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def secret_fits(key: KeyRecord, given: GivenKey) -> bool:
    """Tell whether the secret is the key's, or was before its last rotation."""
    present = same_digest(given.digest, key.digest)
    # Compared in any case, so that the time does not tell which one it was.
    before = same_digest(given.digest, key.previous_digest or key.digest)
    return present or before


def good_until(key: KeyRecord, given: GivenKey) -> datetime | None:
    """Return when a key that fits ceases to be good by itself; None for never."""
    if same_digest(given.digest, key.digest):
        return key.expires_at
    ends = [one for one in (key.expires_at, key.previous_until) if one is not None]
    return min(ends)


def address_allowed(networks: Sequence[str], address: str) -> bool:
    """Tell whether a client's address is in one of the networks; no networks allow everybody.

    Args:
        networks: as :func:`network_text` returns them.
        address: as ``addresses.client_address`` returns it.
    """
    if not networks:
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in _network(one) for one in networks)


def network_text(text: str) -> str:
    """Return an address or network in the form in which it is stored and compared.

    IPv4 in IPv6's clothes becomes plain IPv4, as the addresses of clients do.

    Raises:
        ValueError: it is neither; says why in words.
    """
    text = text.strip()
    if "%" in text:
        raise ValueError("has a zone, which means nothing on another machine")
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            raise ValueError("has bits beyond its prefix; 10.0.0.0/8 is a network") from None
        raise ValueError("is no address or network such as 10.0.0.0/8 or 2001:db8::1") from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        plain = ipaddress.IPv4Address(int(network.network_address) & 0xFFFF_FFFF)
        network = ipaddress.IPv4Network((plain, network.prefixlen - _MAPPED.prefixlen))
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address if single else network)


@lru_cache(maxsize=4096)
def _network(text: str) -> _Network:
    return ipaddress.ip_network(text)
