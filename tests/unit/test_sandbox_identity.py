"""Linking a device: QR texts, certificates, and both ends of the code pairing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from wavisor.sandbox import schemas
from wavisor.sandbox.identity import (
    AccountIdentity,
    CodePairing,
    CodePairingError,
    QrCode,
    QrCodeError,
)
from wavisor.sandbox.ratchet import derive
from wavisor.sandbox.xeddsa import KeyPair, dh, generate_keypair, verify

KEYS = [bytes([number]) * 32 for number in range(3)]
PARTS = [base64.b64encode(key).decode() for key in KEYS]


@pytest.mark.parametrize("prefix", ["", "https://wa.me/settings/linked_devices#", "  "])
@pytest.mark.parametrize("ref", ["2@abc/+=", "ref,with,commas"])
def test_qr_text_is_read_with_and_without_its_link(prefix, ref):
    code = QrCode.parse(f"{prefix}{ref},{','.join(PARTS)},1\n")
    assert code == QrCode(ref, *KEYS, "1")
    assert repr(KEYS[2]) not in repr(code)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.org/",
        ",".join(["ref", *PARTS]),
        ",".join(["", *PARTS, "1"]),
        ",".join(["ref", PARTS[0], PARTS[1], "AAAA", "1"]),
        ",".join(["ref", PARTS[0], "!" * 44, PARTS[2], "1"]),
        ",".join(["ref", PARTS[0], PARTS[1], "é" * 44, "1"]),
    ],
)
def test_what_is_no_pairing_code_is_refused(text):
    with pytest.raises(QrCodeError):
        QrCode.parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    try:
        QrCode.parse(text)
    except QrCodeError:
        return


def test_certificate_is_what_a_client_checks():
    """The checks of whatsmeow ``pair.go``: HMAC, then the account's signature."""
    account, device, secret = generate_keypair(), generate_keypair(), os.urandom(32)
    certificate = AccountIdentity(account).certify(device.public, secret, 1_700_000_000)
    container = schemas.ADV_SIGNED_DEVICE_IDENTITY_HMAC.FromString(certificate)
    assert hmac.digest(secret, container.details, hashlib.sha256) == container.HMAC
    signed = schemas.ADV_SIGNED_DEVICE_IDENTITY.FromString(container.details)
    assert signed.accountSignatureKey == account.public
    message = b"\x06\x00" + signed.details + device.public
    assert verify(account.public, message, signed.accountSignature)
    details = schemas.ADV_DEVICE_IDENTITY.FromString(signed.details)
    assert (details.timestamp, details.keyIndex) == (1_700_000_000, 1)


def test_every_device_has_a_key_index_of_its_own():
    identity = AccountIdentity(generate_keypair())
    indexes = []
    for _ in range(3):
        container = schemas.ADV_SIGNED_DEVICE_IDENTITY_HMAC.FromString(
            identity.certify(bytes(32), bytes(32), 0)
        )
        signed = schemas.ADV_SIGNED_DEVICE_IDENTITY.FromString(container.details)
        indexes.append(schemas.ADV_DEVICE_IDENTITY.FromString(signed.details).keyIndex)
    assert indexes == [1, 2, 3]


class Companion:
    """The client's end of the code pairing, written from whatsmeow ``pair-code.go``."""

    def __init__(self, code: str) -> None:
        self.code = code.replace("-", "")
        self.identity = generate_keypair()
        self.ephemeral = generate_keypair()

    def hello(self) -> bytes:
        salt, iv = os.urandom(32), os.urandom(16)
        return salt + iv + self._ctr(salt, iv, self.ephemeral.public)

    def finish(self, wrapped: bytes, primary: bytes) -> tuple[bytes, bytes]:
        key = self._ctr(wrapped[:32], wrapped[32:48], wrapped[48:])
        shared = dh(self.ephemeral.private, key)
        salt, nonce, random = os.urandom(32), os.urandom(12), os.urandom(32)
        bundle_key = derive(shared, b"link_code_pairing_key_bundle_encryption_key", 32, salt=salt)
        sealed = AESGCM(bundle_key).encrypt(nonce, self.identity.public + primary + random, None)
        secret = shared + dh(self.identity.private, primary) + random
        return salt + nonce + sealed, derive(secret, b"adv_secret", 32)

    def _ctr(self, salt: bytes, iv: bytes, data: bytes) -> bytes:
        key = hashlib.pbkdf2_hmac("sha256", self.code.encode(), salt, 131072, 32)
        return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update(data)


@pytest.mark.parametrize("typed", ["ABCD-2345", "abcd2345", "ABCD 2345"])
def test_both_ends_of_a_code_pairing_derive_one_secret(typed):
    companion, primary = Companion("ABCD-2345"), generate_keypair()
    pairing = CodePairing(typed, companion.hello(), primary)
    bundle, secret = companion.finish(pairing.unwrap(), primary.public)
    assert pairing.finish(bundle, companion.identity.public) == secret


def test_wrong_code_is_noticed_at_the_end():
    companion, primary = Companion("ABCD-2345"), generate_keypair()
    pairing = CodePairing("ABCD-2346", companion.hello(), primary)
    bundle, _ = companion.finish(pairing.unwrap(), primary.public)
    with pytest.raises(CodePairingError, match="code is wrong"):
        pairing.finish(bundle, companion.identity.public)


def test_bundle_that_names_other_identities_is_refused():
    companion, primary = Companion("ABCD-2345"), generate_keypair()
    pairing = CodePairing("ABCD-2345", companion.hello(), primary)
    wrapped = pairing.unwrap()
    bundle, _ = companion.finish(wrapped, primary.public)
    with pytest.raises(CodePairingError, match="other identities"):
        pairing.finish(bundle, generate_keypair().public)
    bundle, _ = companion.finish(wrapped, generate_keypair().public)
    with pytest.raises(CodePairingError, match="other identities"):
        pairing.finish(bundle, companion.identity.public)
    for damaged in (b"", bundle[:50], bundle[:-1] + b"\x00"):
        with pytest.raises(CodePairingError):
            pairing.finish(damaged, companion.identity.public)


@pytest.mark.parametrize("code", ["", "ABCD-234", "ABCD-23456", "ABCD-234O", "ABCD-2340"])
def test_malformed_code_is_refused(code):
    with pytest.raises(CodePairingError, match="eight characters"):
        CodePairing(code, bytes(80), KeyPair(bytes(32), bytes(32)))


def test_wrapped_key_of_a_wrong_length_is_refused():
    with pytest.raises(CodePairingError, match="length"):
        CodePairing("ABCD-2345", bytes(79), generate_keypair())
