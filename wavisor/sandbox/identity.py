"""The account's end of linking a device: what the primary device signs, and the code pairing.

An account vouches for each of its devices with an ADV device identity, under a secret that only
the phone and the new device know. With a QR code that secret is in the code; with a phone code the
two derive it together (``link_code_companion_reg``). Facts from whatsmeow's ``pair.go`` and
``pair-code.go``, which are the other end.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wavisor.sandbox import schemas
from wavisor.sandbox.ratchet import derive
from wavisor.sandbox.xeddsa import KEY_LENGTH, KeyPair, dh, generate_keypair, sign

__all__ = [
    "AccountIdentity",
    "CodePairing",
    "CodePairingError",
    "QrCode",
    "QrCodeError",
]

_ACCOUNT_SIGNATURE_PREFIX = b"\x06\x00"
_CODE_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"
_CODE_LENGTH = 8
_PBKDF2_ROUNDS = 2 << 16
_SALT_LENGTH = 32
_IV_LENGTH = 16
_NONCE_LENGTH = 12
_WRAPPED_KEY_LENGTH = _SALT_LENGTH + _IV_LENGTH + KEY_LENGTH


class QrCodeError(ValueError):
    """A text that is not the content of a pairing QR code."""


class CodePairingError(ValueError):
    """The code or the keys of a code pairing do not fit together."""


@dataclass(frozen=True, slots=True)
class QrCode:
    """What a pairing QR code says. Keys are raw bytes; ``ref`` is the server's ticket."""

    ref: str
    noise_key: bytes
    identity_key: bytes
    adv_secret: bytes = field(repr=False)
    client_type: str

    @classmethod
    def parse(cls, text: str) -> QrCode:
        """Read the text of a code: ``ref,noise,identity,secret,clientType``, maybe after a link.

        Raises QrCodeError.
        """
        parts = text.strip().rpartition("#")[2].split(",")
        # The reference is the server's own text and may contain commas.
        if len(parts) < 5 or not parts[0]:
            raise QrCodeError("a pairing code has five parts")
        *ref, noise, identity, secret, client_type = parts
        keys = [_decode_key(part) for part in (noise, identity, secret)]
        return cls(",".join(ref), keys[0], keys[1], keys[2], client_type)


def _decode_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise QrCodeError("a key of the pairing code is not base64") from error
    if len(key) != KEY_LENGTH:
        raise QrCodeError(f"a key of the pairing code has {len(key)} bytes, not {KEY_LENGTH}")
    return key


class AccountIdentity:
    """The primary device's power to certify the other devices of the account.

    ``key`` is the identity key pair of the primary device, which is the account's signature key.
    """

    def __init__(self, key: KeyPair) -> None:
        self._key = key
        self._raw_id = secrets.randbelow(2**31)
        self._last_key_index = 0

    def certify(self, device_identity: bytes, adv_secret: bytes, timestamp: int) -> bytes:
        """Return the ``device-identity`` of ``pair-success`` for a new device.

        ``device_identity`` is its public identity key, ``adv_secret`` the secret of the pairing,
        ``timestamp`` the time in Unix seconds. Each device gets a key index of its own.
        """
        self._last_key_index += 1
        details: bytes = schemas.ADV_DEVICE_IDENTITY(
            rawID=self._raw_id, timestamp=timestamp, keyIndex=self._last_key_index
        ).SerializeToString()
        signed: bytes = schemas.ADV_SIGNED_DEVICE_IDENTITY(
            details=details,
            accountSignatureKey=self._key.public,
            accountSignature=sign(
                self._key.private, _ACCOUNT_SIGNATURE_PREFIX + details + device_identity
            ),
        ).SerializeToString()
        container: bytes = schemas.ADV_SIGNED_DEVICE_IDENTITY_HMAC(
            details=signed, HMAC=hmac.digest(adv_secret, signed, sha256)
        ).SerializeToString()
        return container


class CodePairing:
    """The phone's end of pairing by an eight character code.

    ``code`` is what the user typed (``ABCD-EFGH``, any case); ``wrapped_companion_key`` the 80
    bytes of ``link_code_pairing_wrapped_companion_ephemeral_pub`` from ``companion_hello``;
    ``identity`` the phone's identity key pair. Raises CodePairingError for a malformed code or key.

    Whether the code was the right one shows only in :meth:`finish`. Deriving a key from it costs
    some 50 ms of processor time; :meth:`unwrap` belongs off the event loop.
    """

    def __init__(self, code: str, wrapped_companion_key: bytes, identity: KeyPair) -> None:
        self._code = code.replace("-", "").replace(" ", "").upper()
        if len(self._code) != _CODE_LENGTH or set(self._code) - set(_CODE_ALPHABET):
            raise CodePairingError("a pairing code has eight characters of WhatsApp's alphabet")
        if len(wrapped_companion_key) != _WRAPPED_KEY_LENGTH:
            raise CodePairingError("the companion's wrapped key has a wrong length")
        self._wrapped_companion_key = wrapped_companion_key
        self._identity = identity
        self._ephemeral = generate_keypair()
        self._shared_secret = b""

    def unwrap(self) -> bytes:
        """Return ``link_code_pairing_wrapped_primary_ephemeral_pub`` for the companion.

        Raises CodePairingError for a companion key of small order.
        """
        salt, iv, encrypted = _split_wrapped(self._wrapped_companion_key)
        companion_key = _apply_ctr(self._code_key(salt), iv, encrypted)
        try:
            self._shared_secret = dh(self._ephemeral.private, companion_key)
        except ValueError as error:
            raise CodePairingError("the companion's key is unusable") from error
        salt, iv = os.urandom(_SALT_LENGTH), os.urandom(_IV_LENGTH)
        return salt + iv + _apply_ctr(self._code_key(salt), iv, self._ephemeral.public)

    def finish(self, wrapped_key_bundle: bytes, companion_identity: bytes) -> bytes:
        """Return the ADV secret that the companion derives too, from its ``companion_finish``.

        ``wrapped_key_bundle`` is the content of ``link_code_pairing_wrapped_key_bundle``,
        ``companion_identity`` that of ``companion_identity_public``. Raises CodePairingError when
        the code was wrong or the keys are not the ones that took part.
        """
        salt = wrapped_key_bundle[:_SALT_LENGTH]
        nonce = wrapped_key_bundle[_SALT_LENGTH : _SALT_LENGTH + _NONCE_LENGTH]
        sealed = wrapped_key_bundle[_SALT_LENGTH + _NONCE_LENGTH :]
        key = derive(
            self._shared_secret, b"link_code_pairing_key_bundle_encryption_key", 32, salt=salt
        )
        try:
            bundle = AESGCM(key).decrypt(nonce, sealed, None)
        except (InvalidTag, ValueError) as error:
            raise CodePairingError("the code is wrong") from error
        if bundle[:64] != companion_identity + self._identity.public or len(bundle) != 96:
            raise CodePairingError("the key bundle names other identities")
        try:
            identity_secret = dh(self._identity.private, companion_identity)
        except ValueError as error:
            raise CodePairingError("the companion's identity is unusable") from error
        return derive(self._shared_secret + identity_secret + bundle[64:], b"adv_secret", 32)

    def _code_key(self, salt: bytes) -> bytes:
        return hashlib.pbkdf2_hmac("sha256", self._code.encode(), salt, _PBKDF2_ROUNDS, 32)


def _split_wrapped(wrapped: bytes) -> tuple[bytes, bytes, bytes]:
    iv_end = _SALT_LENGTH + _IV_LENGTH
    return wrapped[:_SALT_LENGTH], wrapped[_SALT_LENGTH:iv_end], wrapped[iv_end:]


def _apply_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Encrypt or decrypt with AES-CTR, which are the same."""
    transform = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    return transform.update(data) + transform.finalize()
