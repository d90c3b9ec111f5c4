"""The server's side of ``Noise_XX_25519_AESGCM_SHA256`` and WhatsApp's frames; no I/O in here.

Source: whatsmeow ``socket/noisehandshake.go``, ``socket/noisesocket.go``,
``socket/framesocket.go`` and ``handshake.go``, each seen from the other end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from google.protobuf.message import DecodeError

from wavisor.sandbox.authority import NoiseAuthority
from wavisor.sandbox.handshake_schemas import CLIENT_PAYLOAD, HANDSHAKE_MESSAGE
from wavisor.sandbox.tokens import DICTIONARY_VERSION
from wavisor.sandbox.xeddsa import dh, generate_keypair

__all__ = [
    "HEADER",
    "Finished",
    "FrameReader",
    "NoiseError",
    "ServerHandshake",
    "Transport",
    "frame",
]

HEADER = bytes((0x57, 0x41, 6, DICTIONARY_VERSION))
"""What a client sends first: ``WA``, the protocol's magic value, the dictionary's version."""

PATTERN = b"Noise_XX_25519_AESGCM_SHA256".ljust(32, b"\0")
MAX_FRAME = 1 << 24
KEY_LENGTH = 32


class NoiseError(ValueError):
    """The other side does not speak the protocol, or a message was tampered with."""


def frame(data: bytes) -> bytes:
    """Return data with its three-byte length in front.

    Raises:
        NoiseError: the data is too long for a frame.
    """
    if len(data) >= MAX_FRAME:
        raise NoiseError("too long for one frame")
    return len(data).to_bytes(3, "big") + data


class FrameReader:
    """Cuts the byte stream of a client into frames, after checking its header."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header_seen = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes from the wire and yield the frames that they complete.

        Raises:
            NoiseError: the stream does not begin with :data:`HEADER`.
        """
        self._buffer += data
        if not self._header_seen:
            if len(self._buffer) < len(HEADER):
                return
            if self._buffer[: len(HEADER)] != HEADER:
                raise NoiseError("the client did not announce protocol and dictionary")
            del self._buffer[: len(HEADER)]
            self._header_seen = True
        while len(self._buffer) >= 3:
            end = 3 + int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < end:
                return
            complete = bytes(self._buffer[3:end])
            del self._buffer[:end]
            yield complete


def _nonce(counter: int) -> bytes:
    return bytes(8) + counter.to_bytes(4, "big")


def _derive(salt: bytes, secret: bytes) -> tuple[bytes, bytes]:
    derived = HKDF(hashes.SHA256(), 2 * KEY_LENGTH, salt=salt, info=b"").derive(secret)
    return derived[:KEY_LENGTH], derived[KEY_LENGTH:]


class _SymmetricState:
    """Noise's running hash, chaining key and cipher."""

    def __init__(self) -> None:
        self._hash = self._salt = PATTERN
        self._cipher = AESGCM(PATTERN)
        self._counter = 0

    def authenticate(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def mix(self, secret: bytes) -> None:
        self._salt, key = _derive(self._salt, secret)
        self._cipher = AESGCM(key)
        self._counter = 0

    def encrypt(self, plaintext: bytes) -> bytes:
        ciphertext = self._cipher.encrypt(_nonce(self._counter), plaintext, self._hash)
        self._counter += 1
        self.authenticate(ciphertext)
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        try:
            plaintext = self._cipher.decrypt(_nonce(self._counter), ciphertext, self._hash)
        except InvalidTag as error:
            raise NoiseError("the handshake message does not authenticate") from error
        self._counter += 1
        self.authenticate(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        return _derive(self._salt, b"")


class Transport:
    """Encrypts and decrypts frames after the handshake, each direction with its own counter."""

    def __init__(self, send_key: bytes, receive_key: bytes) -> None:
        self._send = AESGCM(send_key)
        self._receive = AESGCM(receive_key)
        self._sent = 0
        self._received = 0

    def encrypt(self, plaintext: bytes) -> bytes:
        """Return the next outgoing frame's data. Frames must be sent in this order."""
        ciphertext = self._send.encrypt(_nonce(self._sent), plaintext, None)
        self._sent += 1
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Return the next incoming frame's content.

        Raises:
            NoiseError: the frame was altered, or one was lost before it.
        """
        try:
            plaintext = self._receive.decrypt(_nonce(self._received), ciphertext, None)
        except InvalidTag as error:
            raise NoiseError("the frame does not authenticate") from error
        self._received += 1
        return plaintext


@dataclass(frozen=True, slots=True)
class Finished:
    """A completed handshake.

    ``payload`` is the client's ``ClientPayload``, ``client_static`` its public Noise key.
    """

    transport: Transport
    payload: Any
    client_static: bytes


class ServerHandshake:
    """One handshake: :meth:`on_client_hello`, then :meth:`on_client_finish`."""

    def __init__(self, authority: NoiseAuthority) -> None:
        self._authority = authority
        self._ephemeral = generate_keypair()
        self._state = _SymmetricState()
        self._state.authenticate(HEADER)
        self._greeted = False

    def on_client_hello(self, data: bytes) -> bytes:
        """Take the ClientHello and return the ServerHello to send.

        Raises:
            NoiseError: the message is not a ClientHello.
        """
        client_ephemeral: bytes = _parse(data).clientHello.ephemeral
        if len(client_ephemeral) != KEY_LENGTH:
            raise NoiseError("no ephemeral key in the ClientHello")
        state = self._state
        state.authenticate(client_ephemeral)
        state.authenticate(self._ephemeral.public)
        state.mix(_agree(self._ephemeral.private, client_ephemeral))
        static = state.encrypt(self._authority.static.public)
        state.mix(_agree(self._authority.static.private, client_ephemeral))
        payload = state.encrypt(self._authority.certificate_chain())
        answer = HANDSHAKE_MESSAGE()
        answer.serverHello.ephemeral = self._ephemeral.public
        answer.serverHello.static = static
        answer.serverHello.payload = payload
        self._greeted = True
        serialised: bytes = answer.SerializeToString()
        return serialised

    def on_client_finish(self, data: bytes) -> Finished:
        """Take the ClientFinish and return the keys and what the client says about itself.

        Raises:
            NoiseError: the message is not a ClientFinish, or comes too early, or is forged.
        """
        if not self._greeted:
            raise NoiseError("ClientFinish before ClientHello")
        finish = _parse(data).clientFinish
        if not finish.static or not finish.payload:
            raise NoiseError("parts of the ClientFinish are missing")
        static = self._state.decrypt(finish.static)
        self._state.mix(_agree(self._ephemeral.private, static))
        try:
            payload = CLIENT_PAYLOAD.FromString(self._state.decrypt(finish.payload))
        except DecodeError as error:
            raise NoiseError("the client's payload does not parse") from error
        client_to_server, server_to_client = self._state.split()
        return Finished(Transport(server_to_client, client_to_server), payload, static)


def _parse(data: bytes) -> Any:
    try:
        return HANDSHAKE_MESSAGE.FromString(data)
    except DecodeError as error:
        raise NoiseError("not a handshake message") from error


def _agree(private: bytes, public: bytes) -> bytes:
    try:
        return dh(private, public)
    except ValueError as error:
        raise NoiseError("not a usable public key") from error
