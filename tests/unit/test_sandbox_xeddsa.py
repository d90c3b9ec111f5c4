"""XEdDSA signatures: a published vector, an independent verifier, and what must not verify."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from wavisor.sandbox import xeddsa

# Published with Signal's libraries (Curve25519Test, testSignature), made by their own code.
VECTOR_PRIVATE = bytes.fromhex("c097248412e58bf05df487968205132794178e367637f5818f81e0e6ce73e865")
VECTOR_PUBLIC = bytes.fromhex("ab7e717d4a163b7d9a1d8071dfe9dcf8cdcd1cea3339b6356be84d887e322c64")
VECTOR_MESSAGE = bytes.fromhex("05edce9d9c415ca78cb7252e72c2c4a554d3eb29485a0e1d503118d1a82d99fb4a")
VECTOR_SIGNATURE = bytes.fromhex(
    "5de88ca9a89b4a115da79109c67c9c7464a3e4180274f1cb8c63c2984e286dfb"
    "ede82deb9dcd9fae0bfbb821569b3d9001bd8130cd11d486cef047bd60b86e88"
)

keys = st.binary(min_size=32, max_size=32)


def test_published_signature_verifies():
    assert xeddsa.verify(VECTOR_PUBLIC, VECTOR_MESSAGE, VECTOR_SIGNATURE)


@pytest.mark.parametrize("position", range(64))
def test_published_signature_with_one_changed_byte_does_not_verify(position):
    damaged = bytearray(VECTOR_SIGNATURE)
    damaged[position] ^= 0x01
    assert not xeddsa.verify(VECTOR_PUBLIC, VECTOR_MESSAGE, bytes(damaged))


def test_public_key_of_the_published_private_key():
    assert xeddsa.keypair_from_private(VECTOR_PRIVATE).public == VECTOR_PUBLIC


def test_signature_with_the_published_key_verifies():
    signature = xeddsa.sign(VECTOR_PRIVATE, VECTOR_MESSAGE)
    assert xeddsa.verify(VECTOR_PUBLIC, VECTOR_MESSAGE, signature)


def test_same_nonce_gives_the_signature_that_the_specification_defines():
    """Pinned, so that a change of the nonce's derivation does not go unnoticed."""
    first = xeddsa.sign_with_nonce(VECTOR_PRIVATE, b"message", bytes(64))
    second = xeddsa.sign_with_nonce(VECTOR_PRIVATE, b"message", bytes(64))
    scalar = int.from_bytes(VECTOR_PRIVATE, "little") & ((1 << 254) - 8) | 1 << 254
    order = 2**252 + 27742317777372353535851937790883648493
    commitment, response = first[:32], int.from_bytes(first[32:], "little")
    candidates = set()
    for signed in (scalar % order, -scalar % order):
        seed = b"\xfe" + b"\xff" * 31 + signed.to_bytes(32, "little") + b"message" + bytes(64)
        nonce = int.from_bytes(hashlib.sha512(seed).digest(), "little") % order
        edwards = _edwards_of(VECTOR_PUBLIC)
        challenge = int.from_bytes(
            hashlib.sha512(commitment + edwards + b"message").digest(), "little"
        )
        candidates.add((nonce + challenge * signed) % order)
    assert first == second
    assert response in candidates


@given(private=keys, message=st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_every_signature_verifies_and_is_a_valid_ed25519_signature(private, message):
    pair = xeddsa.keypair_from_private(private)
    signature = xeddsa.sign(private, message)
    assert signature[63] & 0x80 == 0
    assert xeddsa.verify(pair.public, message, signature)
    Ed25519PublicKey.from_public_bytes(_edwards_of(pair.public)).verify(signature, message)


@given(private=keys, other=keys, message=st.binary(max_size=50), more=st.binary(min_size=1))
@settings(max_examples=25, deadline=None)
def test_signature_fits_neither_another_message_nor_another_key(private, other, message, more):
    signature = xeddsa.sign(private, message)
    pair, stranger = xeddsa.keypair_from_private(private), xeddsa.keypair_from_private(other)
    assert not xeddsa.verify(pair.public, message + more, signature)
    if stranger.public != pair.public:
        assert not xeddsa.verify(stranger.public, message, signature)


@given(data=st.binary(max_size=80), signature=st.binary(max_size=80))
@settings(max_examples=100, deadline=None)
def test_garbage_is_invalid_and_raises_nothing(data, signature):
    assert not xeddsa.verify(data, b"message", signature)


@pytest.mark.parametrize("u", [2**255 - 20, 2**255 - 19, 2**255 - 1])
def test_public_key_without_an_edwards_form_is_invalid(u):
    assert not xeddsa.verify(u.to_bytes(32, "little"), VECTOR_MESSAGE, VECTOR_SIGNATURE)


def test_two_signatures_of_one_message_differ():
    assert xeddsa.sign(VECTOR_PRIVATE, b"message") != xeddsa.sign(VECTOR_PRIVATE, b"message")


@given(first=keys, second=keys)
@settings(max_examples=25, deadline=None)
def test_both_sides_agree_on_a_secret(first, second):
    alice, bob = xeddsa.keypair_from_private(first), xeddsa.keypair_from_private(second)
    assert xeddsa.dh(alice.private, bob.public) == xeddsa.dh(bob.private, alice.public)


def test_agreement_with_a_key_of_small_order_is_refused():
    with pytest.raises(ValueError, match=r".*"):
        xeddsa.dh(VECTOR_PRIVATE, bytes(32))


@pytest.mark.parametrize(("private", "nonce"), [(b"short", bytes(64)), (bytes(32), b"short")])
def test_signing_with_a_wrong_length_is_refused(private, nonce):
    with pytest.raises(ValueError, match="32 bytes"):
        xeddsa.sign_with_nonce(private, b"message", nonce)


def test_private_key_is_not_shown():
    assert repr(VECTOR_PRIVATE) not in repr(xeddsa.keypair_from_private(VECTOR_PRIVATE))


def _edwards_of(public: bytes) -> bytes:
    """Return the Edwards form, sign 0: y = (u - 1) / (u + 1)."""
    p = 2**255 - 19
    u = int.from_bytes(public, "little")
    return ((u - 1) * pow(u + 1, -1, p) % p).to_bytes(32, "little")
