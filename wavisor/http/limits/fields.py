"""What clients are told of limits: the header fields of the IETF's draft on rate limits.

``RateLimit-Policy`` names the limits that hold, ``RateLimit`` says how far along the one is that
ends first (draft-ietf-httpapi-ratelimit-headers, version 10).
"""

from __future__ import annotations

import ipaddress
import math
from functools import lru_cache

__all__ = ["limit_field", "place_of", "policy_field"]

_IPV6_SITE_PREFIX = 64


@lru_cache(maxsize=1024)
def policy_field(name: str, quota: int, window: float) -> str:
    """Return one item of ``RateLimit-Policy``."""
    return f'"{name}";q={quota};w={math.ceil(window)}'


def limit_field(name: str, remaining: int, seconds: float) -> str:
    """Return one item of ``RateLimit``: what is left, and in how many seconds it is renewed."""
    return f'"{name}";r={remaining};t={math.ceil(seconds)}'


@lru_cache(maxsize=4096)
def place_of(address: str) -> str:
    """Return what an attacker cannot change at will: of an IPv6 address, its network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, _IPV6_SITE_PREFIX), strict=False))
    return address
