"""One Signal session state: the double ratchet, its key derivations and its wire form.

Version 3 of the protocol, as WhatsApp uses it: https://signal.org/docs/specifications/doubleratchet/
with the constants and the framing of ``go.mau.fi/libsignal`` (X25519, HMAC-SHA256, AES-256-CBC,
8 byte MAC). How a state comes into being (X3DH) and which of several states belongs to a message
is the business of :mod:`wavisor.sandbox.signal_protocol`.
"""

from __future__ import annotations

import copy
import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from google.protobuf.message import DecodeError

from wavisor.sandbox import schemas
from wavisor.sandbox.xeddsa import KEY_LENGTH, KeyPair, dh, generate_keypair

__all__ = [
    "DuplicateMessageError",
    "InvalidMessageError",
    "PreKeyMessage",
    "RatchetMessage",
    "RatchetState",
    "SignalError",
    "decode_key",
    "derive",
    "encode_key",
]

_VERSION = 0x33
_KEY_TYPE = b"\x05"
_MAC_LENGTH = 8
_MAX_FORWARD_JUMP = 2000
_MAX_RECEIVING_CHAINS = 5
_MAX_SKIPPED_KEYS = 2000


class SignalError(Exception):
    """A message cannot be encrypted or decrypted."""


class InvalidMessageError(SignalError):
    """The message is malformed, forged, or belongs to another session."""


class DuplicateMessageError(SignalError):
    """The message was decrypted before; its key is gone."""


def encode_key(public: bytes) -> bytes:
    """Return a public key with the type byte that it has inside Signal's messages."""
    return _KEY_TYPE + public


def decode_key(encoded: bytes) -> bytes:
    """Return the raw key of an encoded one; raises InvalidMessageError for anything else."""
    if len(encoded) != KEY_LENGTH + 1 or encoded[:1] != _KEY_TYPE:
        raise InvalidMessageError("not a Curve25519 public key")
    return encoded[1:]


def derive(secret: bytes, info: bytes, length: int, salt: bytes | None = None) -> bytes:
    """Return ``length`` bytes of HKDF-SHA256; no ``salt`` means 32 zero bytes."""
    return HKDF(SHA256(), length, salt, info).derive(secret)


@dataclass(frozen=True, slots=True)
class RatchetMessage:
    """A ratcheted message (``msg``) on the wire."""

    ratchet_key: bytes
    counter: int
    previous_counter: int
    ciphertext: bytes

    @classmethod
    def parse(cls, data: bytes) -> RatchetMessage:
        """Read the wire form; its MAC is checked when it is decrypted.

        Raises InvalidMessageError for a malformed message.
        """
        if len(data) < 1 + _MAC_LENGTH or data[0] >> 4 != _VERSION >> 4:
            raise InvalidMessageError("not a message of version 3")
        body = _parse(schemas.SIGNAL_MESSAGE, data[1:-_MAC_LENGTH])
        if not body.HasField("ratchetKey") or not body.HasField("ciphertext"):
            raise InvalidMessageError("a message without ratchet key or ciphertext")
        return cls(decode_key(body.ratchetKey), body.counter, body.previousCounter, body.ciphertext)

    def serialize(self, mac_key: bytes, sender: bytes, receiver: bytes) -> bytes:
        """Return the wire form, authenticated for the identity keys of both parties."""
        body = schemas.SIGNAL_MESSAGE(
            ratchetKey=encode_key(self.ratchet_key),
            counter=self.counter,
            previousCounter=self.previous_counter,
            ciphertext=self.ciphertext,
        )
        data: bytes = bytes([_VERSION]) + body.SerializeToString()
        return data + _mac(mac_key, sender, receiver, data)


@dataclass(frozen=True, slots=True)
class PreKeyMessage:
    """A message that carries the start of its session (``pkmsg``) on the wire."""

    registration_id: int
    pre_key_id: int | None
    signed_pre_key_id: int
    base_key: bytes
    identity_key: bytes
    message: bytes

    @classmethod
    def parse(cls, data: bytes) -> PreKeyMessage:
        """Read the wire form; raises InvalidMessageError for a malformed message."""
        if not data or data[0] >> 4 != _VERSION >> 4:
            raise InvalidMessageError("not a message of version 3")
        body = _parse(schemas.PRE_KEY_SIGNAL_MESSAGE, data[1:])
        return cls(
            registration_id=body.registrationId,
            pre_key_id=body.preKeyId if body.HasField("preKeyId") else None,
            signed_pre_key_id=body.signedPreKeyId,
            base_key=decode_key(body.baseKey),
            identity_key=decode_key(body.identityKey),
            message=body.message,
        )

    def serialize(self) -> bytes:
        """Return the wire form."""
        body = schemas.PRE_KEY_SIGNAL_MESSAGE(
            preKeyId=self.pre_key_id,
            baseKey=encode_key(self.base_key),
            identityKey=encode_key(self.identity_key),
            message=self.message,
            registrationId=self.registration_id,
            signedPreKeyId=self.signed_pre_key_id,
        )
        data: bytes = bytes([_VERSION]) + body.SerializeToString()
        return data


@dataclass(frozen=True, slots=True)
class _MessageKeys:
    cipher_key: bytes
    mac_key: bytes
    iv: bytes


@dataclass(slots=True)
class _Chain:
    """A symmetric ratchet: the key of message ``index`` and those that were skipped."""

    key: bytes
    index: int = 0
    skipped: dict[int, _MessageKeys] = field(default_factory=dict)

    def step(self) -> _MessageKeys:
        """Return the keys of the next message and move on."""
        seed = hmac.digest(self.key, b"\x01", sha256)
        material = derive(seed, b"WhisperMessageKeys", 80)
        self.key = hmac.digest(self.key, b"\x02", sha256)
        self.index += 1
        return _MessageKeys(material[:32], material[32:64], material[64:])

    def keys_of(self, counter: int) -> _MessageKeys:
        """Return the keys of message ``counter``, keeping those of messages still to come."""
        if counter < self.index:
            keys = self.skipped.pop(counter, None)
            if keys is None:
                raise DuplicateMessageError(f"message {counter} was received before")
            return keys
        if counter - self.index > _MAX_FORWARD_JUMP:
            raise InvalidMessageError(f"message {counter} is too far in the future")
        while self.index < counter:
            index = self.index
            self.skipped[index] = self.step()
        while len(self.skipped) > _MAX_SKIPPED_KEYS:
            del self.skipped[min(self.skipped)]
        return self.step()


@dataclass(slots=True)
class RatchetState:
    """What one party knows of one session.

    Build one with :meth:`for_initiator` or :meth:`for_responder`. ``base_key`` names the session:
    it is the ephemeral key with which the initiator began it.
    """

    local_identity: bytes
    remote_identity: bytes
    base_key: bytes
    root_key: bytes = field(repr=False)
    sending_ratchet: KeyPair = field(repr=False)
    sending_chain: _Chain = field(repr=False)
    previous_counter: int = 0
    receiving_chains: dict[bytes, _Chain] = field(default_factory=dict, repr=False)

    @classmethod
    def for_initiator(
        cls,
        secret: bytes,
        *,
        local_identity: bytes,
        remote_identity: bytes,
        base_key: bytes,
        remote_ratchet: bytes,
    ) -> RatchetState:
        """Return the state of the party that began, from X3DH's ``secret``.

        ``remote_ratchet`` is the other's signed pre-key, his first ratchet key.
        """
        root, chain = _first_keys(secret)
        ratchet = generate_keypair()
        root, sending = _turn_root(root, ratchet.private, remote_ratchet)
        return cls(
            local_identity=local_identity,
            remote_identity=remote_identity,
            base_key=base_key,
            root_key=root,
            sending_ratchet=ratchet,
            sending_chain=_Chain(sending),
            receiving_chains={remote_ratchet: _Chain(chain)},
        )

    @classmethod
    def for_responder(
        cls,
        secret: bytes,
        *,
        local_identity: bytes,
        remote_identity: bytes,
        base_key: bytes,
        local_ratchet: KeyPair,
    ) -> RatchetState:
        """Return the state of the party that was written to, from X3DH's ``secret``.

        ``local_ratchet`` is the pair of the signed pre-key that the initiator used.
        """
        root, chain = _first_keys(secret)
        return cls(
            local_identity=local_identity,
            remote_identity=remote_identity,
            base_key=base_key,
            root_key=root,
            sending_ratchet=local_ratchet,
            sending_chain=_Chain(chain),
        )

    def encrypt(self, plaintext: bytes) -> bytes:
        """Return the next message (``msg``) on the wire."""
        counter = self.sending_chain.index
        keys = self.sending_chain.step()
        message = RatchetMessage(
            self.sending_ratchet.public,
            counter,
            self.previous_counter,
            _encrypt_cbc(keys, plaintext),
        )
        return message.serialize(keys.mac_key, self.local_identity, self.remote_identity)

    def decrypt(self, data: bytes) -> bytes:
        """Return the plaintext of a message (``msg``) from the wire.

        The state changes only if the message is genuine. Raises InvalidMessageError and
        DuplicateMessageError.
        """
        message = RatchetMessage.parse(data)
        attempt = copy.deepcopy(self)
        plaintext = attempt._decrypt(message, data)
        self.root_key = attempt.root_key
        self.sending_ratchet = attempt.sending_ratchet
        self.sending_chain = attempt.sending_chain
        self.previous_counter = attempt.previous_counter
        self.receiving_chains = attempt.receiving_chains
        return plaintext

    def _decrypt(self, message: RatchetMessage, data: bytes) -> bytes:
        if message.ratchet_key not in self.receiving_chains:
            self._turn(message.ratchet_key)
        keys = self.receiving_chains[message.ratchet_key].keys_of(message.counter)
        expected = _mac(
            keys.mac_key, self.remote_identity, self.local_identity, data[:-_MAC_LENGTH]
        )
        if not hmac.compare_digest(expected, data[-_MAC_LENGTH:]):
            raise InvalidMessageError("the message's MAC is wrong")
        return _decrypt_cbc(keys, message.ciphertext)

    def _turn(self, remote_ratchet: bytes) -> None:
        """Take a step of the Diffie-Hellman ratchet: the other party has a new key."""
        root, receiving = _turn_root(self.root_key, self.sending_ratchet.private, remote_ratchet)
        self.receiving_chains[remote_ratchet] = _Chain(receiving)
        while len(self.receiving_chains) > _MAX_RECEIVING_CHAINS:
            del self.receiving_chains[next(iter(self.receiving_chains))]
        self.previous_counter = max(self.sending_chain.index - 1, 0)
        self.sending_ratchet = generate_keypair()
        self.root_key, sending = _turn_root(root, self.sending_ratchet.private, remote_ratchet)
        self.sending_chain = _Chain(sending)


def _parse(schema: Any, data: bytes) -> Any:
    message = schema()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise InvalidMessageError("a malformed message") from error
    return message


def _first_keys(secret: bytes) -> tuple[bytes, bytes]:
    material = derive(secret, b"WhisperText", 64)
    return material[:32], material[32:]


def _turn_root(root_key: bytes, private: bytes, public: bytes) -> tuple[bytes, bytes]:
    try:
        shared = dh(private, public)
    except ValueError as error:
        raise InvalidMessageError("an unusable ratchet key") from error
    material = derive(shared, b"WhisperRatchet", 64, salt=root_key)
    return material[:32], material[32:]


def _mac(key: bytes, sender: bytes, receiver: bytes, data: bytes) -> bytes:
    signed = encode_key(sender) + encode_key(receiver) + data
    return hmac.digest(key, signed, sha256)[:_MAC_LENGTH]


def _encrypt_cbc(keys: _MessageKeys, plaintext: bytes) -> bytes:
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(keys.cipher_key), modes.CBC(keys.iv)).encryptor()
    return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()


def _decrypt_cbc(keys: _MessageKeys, ciphertext: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES256(keys.cipher_key), modes.CBC(keys.iv)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    try:
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise InvalidMessageError("the ciphertext is malformed") from error
