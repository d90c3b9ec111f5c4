"""Sender keys: how one device encrypts once for all who are in a group.

Each device has a chain of its own in each group and tells the others of it, one by one, in a
distribution message. Source: Signal's sender keys as in ``go.mau.fi/libsignal`` (``groups/``,
``protocol/SenderKeyMessage.go``), used by whatsmeow ``send.go`` (``sendGroup``) and ``message.go``
(``decryptGroupMsg``).
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from google.protobuf.message import DecodeError

from wavisor.sandbox import schemas
from wavisor.sandbox.ratchet import (
    DuplicateMessageError,
    InvalidMessageError,
    SignalError,
    decode_key,
    derive,
    encode_key,
)
from wavisor.sandbox.xeddsa import SIGNATURE_LENGTH, KeyPair, generate_keypair, sign, verify

__all__ = ["NoSenderKeyError", "SenderKeys"]

_VERSION = 0x33
_MAX_FORWARD_JUMP = 2000
_MAX_SKIPPED = 2000
_MAX_STATES = 5
"""Chains remembered of one device in one group: it may begin anew."""


class NoSenderKeyError(SignalError):
    """Nothing is known of the chain that a message was encrypted with."""


@dataclass(slots=True)
class _Chain:
    """A chain: its number, its place, and who signs."""

    id: int
    iteration: int
    seed: bytes = field(repr=False)
    signing_key: bytes = field(repr=False)
    skipped: OrderedDict[int, bytes] = field(default_factory=OrderedDict, repr=False)

    def step(self) -> bytes:
        """Return the seed of the next message's keys and move on."""
        seed = hmac.digest(self.seed, b"\x01", sha256)
        self.seed = hmac.digest(self.seed, b"\x02", sha256)
        self.iteration += 1
        return seed

    def seed_of(self, iteration: int) -> bytes:
        """Return the seed of a message's keys, keeping those of messages still to come."""
        if iteration < self.iteration:
            seed = self.skipped.pop(iteration, None)
            if seed is None:
                raise DuplicateMessageError(f"group message {iteration} was received before")
            return seed
        if iteration - self.iteration > _MAX_FORWARD_JUMP:
            raise InvalidMessageError(f"group message {iteration} is too far in the future")
        while self.iteration < iteration:
            place = self.iteration
            self.skipped[place] = self.step()
        while len(self.skipped) > _MAX_SKIPPED:
            self.skipped.popitem(last=False)
        return self.step()


@dataclass(slots=True)
class _OwnChain:
    chain: _Chain
    signing: KeyPair


class SenderKeys:
    """The chains that one device knows: its own, and those that others told it of.

    Groups and devices are named by strings of the caller's choice.
    """

    def __init__(self) -> None:
        self._own: dict[str, _OwnChain] = {}
        self._known: dict[tuple[str, str], OrderedDict[int, _Chain]] = {}

    def distribution(self, group: str) -> bytes:
        """Return what lets others read this device's next messages to a group."""
        own = self._own_chain(group)
        body = schemas.SENDER_KEY_DISTRIBUTION(
            id=own.chain.id,
            iteration=own.chain.iteration,
            chainKey=own.chain.seed,
            signingKey=encode_key(own.signing.public),
        )
        return bytes([_VERSION]) + bytes(body.SerializeToString())

    def renew(self, group: str) -> None:
        """Begin a new chain, as a device does when somebody has left."""
        self._own.pop(group, None)

    def encrypt(self, group: str, plaintext: bytes) -> bytes:
        """Return a message (``skmsg``) for all who know this device's chain."""
        own = self._own_chain(group)
        iteration = own.chain.iteration
        body = schemas.SENDER_KEY_MESSAGE(
            id=own.chain.id, iteration=iteration, ciphertext=_encrypt(own.chain.step(), plaintext)
        )
        data = bytes([_VERSION]) + bytes(body.SerializeToString())
        return data + sign(own.signing.private, data)

    def learn(self, group: str, device: str, distribution: bytes) -> None:
        """Take a device's distribution message; raises InvalidMessageError for a malformed one."""
        body = _parsed(schemas.SENDER_KEY_DISTRIBUTION, distribution)
        states = self._known.setdefault((group, device), OrderedDict())
        if body.id in states and states[body.id].iteration > body.iteration:
            return  # told again; what was skipped must not be forgotten
        states[body.id] = _Chain(
            body.id, body.iteration, body.chainKey, decode_key(body.signingKey)
        )
        while len(states) > _MAX_STATES:
            states.popitem(last=False)

    def forget(self, group: str, device: str) -> None:
        """Forget a device's chains, as somebody who reinstalled the app would."""
        self._known.pop((group, device), None)

    def decrypt(self, group: str, device: str, data: bytes) -> bytes:
        """Return the plaintext of a device's message to a group.

        Raises NoSenderKeyError, InvalidMessageError or DuplicateMessageError.
        """
        signed, signature = data[:-SIGNATURE_LENGTH], data[-SIGNATURE_LENGTH:]
        body = _parsed(schemas.SENDER_KEY_MESSAGE, signed)
        chain = self._known.get((group, device), {}).get(body.id)
        if chain is None:
            raise NoSenderKeyError("no sender key of this device")
        if not verify(chain.signing_key, signed, signature):
            raise InvalidMessageError("the group message's signature is wrong")
        return _decrypt(chain.seed_of(body.iteration), body.ciphertext)

    def _own_chain(self, group: str) -> _OwnChain:
        if group not in self._own:
            signing = generate_keypair()
            chain = _Chain(secrets.randbelow(2**31), 0, os.urandom(32), signing.public)
            self._own[group] = _OwnChain(chain, signing)
        return self._own[group]


def _parsed(schema: Any, data: bytes) -> Any:
    if not data or data[0] >> 4 != _VERSION >> 4:
        raise InvalidMessageError("not a group message of version 3")
    message = schema()
    try:
        message.ParseFromString(data[1:])
    except DecodeError as error:
        raise InvalidMessageError("a malformed group message") from error
    return message


def _cipher(seed: bytes) -> Cipher[modes.CBC]:
    material = derive(seed, b"WhisperGroup", 48)
    return Cipher(algorithms.AES256(material[16:]), modes.CBC(material[:16]))


def _encrypt(seed: bytes, plaintext: bytes) -> bytes:
    padder = padding.PKCS7(128).padder()
    encryptor = _cipher(seed).encryptor()
    return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()


def _decrypt(seed: bytes, ciphertext: bytes) -> bytes:
    decryptor = _cipher(seed).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    try:
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise InvalidMessageError("the group message's ciphertext is malformed") from error
