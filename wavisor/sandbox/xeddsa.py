"""Curve25519 keys that both agree on secrets and sign: X25519 and XEdDSA.

WhatsApp (like Signal) has one kind of long-term key, a Montgomery key, and signs with it by
XEdDSA (https://signal.org/docs/specifications/xeddsa/). ``cryptography`` offers X25519 and
Ed25519 but no Ed25519 signing with a given scalar, so the one missing step, the multiplication of
the base point, is done here; agreement and verification are left to the library.

The multiplication does not run in constant time. That is fine for the throw-away keys of a local
WhatsApp, and a reason not to use this module for anything else.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

KEY_LENGTH = 32
"""Length of private and public keys, in bytes."""

SIGNATURE_LENGTH = 64
"""Length of a signature, in bytes."""

_P = 2**255 - 19
_Q = 2**252 + 27742317777372353535851937790883648493
_D2 = 2 * -121665 * pow(121666, -1, _P) % _P
_SIGN_BIT = 0x80
_HASH1_PREFIX = b"\xfe" + b"\xff" * 31

_Point = tuple[int, int, int, int]
"""Extended twisted Edwards coordinates (X, Y, Z, T)."""

_BASE: _Point = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
    1,
    46827403850823179245072216630277197565144205554125654976674165829533817101731,
)
_NEUTRAL: _Point = (0, 1, 1, 0)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A Curve25519 key pair: ``private`` and ``public``, 32 raw bytes each."""

    private: bytes = field(repr=False)
    public: bytes


def generate_keypair() -> KeyPair:
    """Return a fresh random key pair."""
    return keypair_from_private(os.urandom(KEY_LENGTH))


def keypair_from_private(private: bytes) -> KeyPair:
    """Return the pair of a given private key.

    Raises ValueError unless ``private`` has 32 bytes.
    """
    key = X25519PrivateKey.from_private_bytes(private)
    return KeyPair(private=private, public=key.public_key().public_bytes_raw())


def dh(private: bytes, public: bytes) -> bytes:
    """Return the 32 byte X25519 shared secret of a private and a foreign public key.

    Raises ValueError for a wrong length or a public key of small order.
    """
    return X25519PrivateKey.from_private_bytes(private).exchange(
        X25519PublicKey.from_public_bytes(public)
    )


def sign(private: bytes, message: bytes) -> bytes:
    """Return the 64 byte XEdDSA signature of ``message``.

    Randomised, as the specification wants it: two signatures of one message differ.
    """
    return sign_with_nonce(private, message, os.urandom(64))


def sign_with_nonce(private: bytes, message: bytes, nonce: bytes) -> bytes:
    """Return the signature of ``message`` made with the 64 random bytes ``nonce``.

    Raises ValueError for wrong lengths of ``private`` or ``nonce``.
    """
    if len(private) != KEY_LENGTH or len(nonce) != 64:
        raise ValueError("a private key has 32 bytes and a nonce 64")
    scalar = _clamp(private)
    public = _compress(_multiply_base(scalar))
    if public[31] & _SIGN_BIT:
        # The Montgomery form keeps no sign, so signer and verifier agree on the positive one.
        scalar = -scalar
        public = public[:31] + bytes([public[31] & 0x7F])
    scalar %= _Q
    secret = scalar.to_bytes(KEY_LENGTH, "little")
    r = _hash_to_scalar(_HASH1_PREFIX, secret, message, nonce)
    commitment = _compress(_multiply_base(r))
    challenge = _hash_to_scalar(commitment, public, message)
    s = (r + challenge * scalar) % _Q
    return commitment + s.to_bytes(KEY_LENGTH, "little")


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether ``signature`` over ``message`` belongs to the Montgomery key ``public``.

    Malformed keys and signatures are just invalid. As in Signal's library, the highest bit of the
    signature, if set, is the sign of the signer's Edwards key (signatures older than XEdDSA).
    """
    if len(public) != KEY_LENGTH or len(signature) != SIGNATURE_LENGTH:
        return False
    u = int.from_bytes(public, "little") & (2**255 - 1)
    if u >= _P or u == _P - 1:
        return False
    y = (u - 1) * pow(u + 1, -1, _P) % _P
    sign_bit = signature[63] & _SIGN_BIT
    edwards = bytearray(y.to_bytes(KEY_LENGTH, "little"))
    edwards[31] |= sign_bit
    plain = signature[:63] + bytes([signature[63] & 0x7F])
    try:
        Ed25519PublicKey.from_public_bytes(bytes(edwards)).verify(plain, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _clamp(private: bytes) -> int:
    scalar = int.from_bytes(private, "little")
    scalar &= (1 << 254) - 8
    return scalar | (1 << 254)


def _hash_to_scalar(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % _Q


def _add(a: _Point, b: _Point) -> _Point:
    """Add two points by the complete formulas of RFC 8032, section 5.1.4."""
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    left = (y1 - x1) * (y2 - x2) % _P
    right = (y1 + x1) * (y2 + x2) % _P
    c = t1 * _D2 * t2 % _P
    d = 2 * z1 * z2 % _P
    e, f, g, h = right - left, d - c, d + c, right + left
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _doublings_of_base() -> list[_Point]:
    points = [_BASE]
    while len(points) < 256:
        points.append(_add(points[-1], points[-1]))
    return points


_DOUBLINGS = _doublings_of_base()


def _multiply_base(scalar: int) -> _Point:
    result = _NEUTRAL
    for bit, point in enumerate(_DOUBLINGS):
        if scalar >> bit & 1:
            result = _add(result, point)
    return result


def _compress(point: _Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    affine_x, affine_y = x * inverse % _P, y * inverse % _P
    return (affine_y | (affine_x & 1) << 255).to_bytes(KEY_LENGTH, "little")
