"""The form of API keys: ``wav_<prefix>_<secret>``.

The prefix finds the key's row and is no secret. The secret has 238 random bits, so that a plain
SHA-256 of it can be neither tried nor looked up, and costs nothing per request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field

__all__ = [
    "KEY_BEGINNING",
    "GivenKey",
    "is_key",
    "key_text",
    "make_prefix",
    "make_secret",
    "read_key",
    "same_digest",
]

KEY_BEGINNING = "wav_"
"""Tells a key from a JSON web token, whose first part is base64url of ``{"``: ``ey…``."""

_ALPHABET = string.ascii_letters + string.digits
_PREFIX_LENGTH = 12
_SECRET_LENGTH = 40
_FORM = re.compile(
    rf"{KEY_BEGINNING}([0-9A-Za-z]{{{_PREFIX_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})"
)


@dataclass(frozen=True)
class GivenKey:
    """A key as it was presented, without its secret."""

    prefix: str
    digest: str = field(repr=False)
    """SHA-256 of the secret, in hexadecimal."""


def is_key(token: str) -> bool:
    """Tell whether a bearer token claims to be an API key."""
    return token.startswith(KEY_BEGINNING)


def read_key(token: str) -> GivenKey | None:
    """Return what a key says; None when it has not the form of one."""
    match = _FORM.fullmatch(token)
    return None if match is None else GivenKey(match.group(1), _digest(match.group(2)))


def make_prefix() -> str:
    """Return the prefix of a new key."""
    return _random(_PREFIX_LENGTH)


def make_secret() -> tuple[str, str]:
    """Return a new secret, and the digest that is stored of it."""
    secret = _random(_SECRET_LENGTH)
    return secret, _digest(secret)


def key_text(prefix: str, secret: str) -> str:
    """Return the key as its bearer writes it."""
    return f"{KEY_BEGINNING}{prefix}_{secret}"


def same_digest(one: str, other: str) -> bool:
    """Compare two digests in a time that tells nothing."""
    return hmac.compare_digest(one.encode("ascii"), other.encode("ascii"))


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()
