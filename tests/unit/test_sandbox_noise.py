"""The server's handshake against a client written here from the Noise specification.

The client shares no code with the server: its own X25519, HKDF (from ``hmac``) and transcript.
"""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from wavisor.sandbox.authority import NoiseAuthority
from wavisor.sandbox.handshake_schemas import (
    CERT_CHAIN,
    CERT_DETAILS,
    CLIENT_PAYLOAD,
    HANDSHAKE_MESSAGE,
)
from wavisor.sandbox.noise import (
    HEADER,
    MAX_FRAME,
    Finished,
    FrameReader,
    NoiseError,
    ServerHandshake,
    frame,
)
from wavisor.sandbox.xeddsa import verify

AUTHORITY = NoiseAuthority()


def hkdf2(salt: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """RFC 5869 with SHA-256, no info, two blocks."""
    extracted = hmac.digest(salt, secret, "sha256")
    first = hmac.digest(extracted, b"\x01", "sha256")
    return first, hmac.digest(extracted, first + b"\x02", "sha256")


class Client:
    """The initiator of Noise_XX as whatsmeow plays it (handshake.go)."""

    def __init__(self) -> None:
        self.static = X25519PrivateKey.generate()
        self.ephemeral = X25519PrivateKey.generate()
        self.chain = b""
        self.hash = self.salt = self.key = b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0"
        self.counter = 0
        self.authenticate(b"WA\x06\x03")

    def authenticate(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix(self, private: X25519PrivateKey, public: bytes) -> None:
        secret = private.exchange(X25519PublicKey.from_public_bytes(public))
        self.salt, self.key = hkdf2(self.salt, secret)
        self.counter = 0

    def nonce(self) -> bytes:
        self.counter += 1
        return bytes(8) + (self.counter - 1).to_bytes(4, "big")

    def encrypt(self, data: bytes) -> bytes:
        sealed = AESGCM(self.key).encrypt(self.nonce(), data, self.hash)
        self.authenticate(sealed)
        return sealed

    def decrypt(self, sealed: bytes) -> bytes:
        data = AESGCM(self.key).decrypt(self.nonce(), sealed, self.hash)
        self.authenticate(sealed)
        return data

    def hello(self) -> bytes:
        public = self.ephemeral.public_key().public_bytes_raw()
        self.authenticate(public)
        message = HANDSHAKE_MESSAGE()
        message.clientHello.ephemeral = public
        return message.SerializeToString()

    def finish(self, answer: bytes, payload: bytes) -> bytes:
        hello = HANDSHAKE_MESSAGE.FromString(answer).serverHello
        self.authenticate(hello.ephemeral)
        self.mix(self.ephemeral, hello.ephemeral)
        self.server_static = self.decrypt(hello.static)
        self.mix(self.ephemeral, self.server_static)
        self.chain = self.decrypt(hello.payload)
        message = HANDSHAKE_MESSAGE()
        message.clientFinish.static = self.encrypt(self.static.public_key().public_bytes_raw())
        self.mix(self.static, hello.ephemeral)
        message.clientFinish.payload = self.encrypt(payload)
        return message.SerializeToString()

    def transport_keys(self) -> tuple[bytes, bytes]:
        """Return the keys for sending and for receiving."""
        return hkdf2(self.salt, b"")


def handshake(payload: bytes) -> tuple[Client, Finished]:
    client, server = Client(), ServerHandshake(AUTHORITY)
    finish = client.finish(server.on_client_hello(client.hello()), payload)
    return client, server.on_client_finish(finish)


def test_both_sides_agree_on_keys_and_know_each_other():
    payload = CLIENT_PAYLOAD(username=491555, device=3, passive=True)
    client, finished = handshake(payload.SerializeToString())
    assert finished.payload == payload
    assert finished.client_static == client.static.public_key().public_bytes_raw()
    assert client.server_static == AUTHORITY.static.public
    send, receive = (AESGCM(key) for key in client.transport_keys())
    for number in range(3):
        nonce = bytes(8) + number.to_bytes(4, "big")
        assert finished.transport.decrypt(send.encrypt(nonce, b"up", None)) == b"up"
        assert receive.decrypt(nonce, finished.transport.encrypt(b"down"), None) == b"down"


def test_certificate_chain_passes_the_clients_checks():
    """The checks of verifyServerCert in whatsmeow's handshake.go, in its order."""
    client, _ = handshake(b"")
    chain = CERT_CHAIN.FromString(client.chain)
    intermediate = CERT_DETAILS.FromString(chain.intermediate.details)
    leaf = CERT_DETAILS.FromString(chain.leaf.details)
    assert len(chain.intermediate.signature) == len(chain.leaf.signature) == 64
    assert verify(AUTHORITY.root.public, chain.intermediate.details, chain.intermediate.signature)
    assert intermediate.issuerSerial == 0
    assert verify(intermediate.key, chain.leaf.details, chain.leaf.signature)
    assert leaf.issuerSerial == intermediate.serial
    assert leaf.key == client.server_static
    for details in (intermediate, leaf):
        assert details.notAfter - details.notBefore > 24 * 3600


def test_two_handshakes_share_no_key():
    (first, _), (second, _) = handshake(b""), handshake(b"")
    assert not set(first.transport_keys()) & set(second.transport_keys())


def test_altered_or_repeated_frames_are_refused():
    client, finished = handshake(b"")
    sealed = AESGCM(client.transport_keys()[0]).encrypt(bytes(12), b"once", None)
    altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    with pytest.raises(NoiseError):
        finished.transport.decrypt(altered)
    assert finished.transport.decrypt(sealed) == b"once"
    with pytest.raises(NoiseError):
        finished.transport.decrypt(sealed)


def test_client_with_another_header_cannot_decrypt_the_answer():
    client, server = Client(), ServerHandshake(AUTHORITY)
    client.hash = hashlib.sha256(client.salt + b"WA\x06\x02").digest()
    answer = server.on_client_hello(client.hello())
    with pytest.raises(InvalidTag):
        client.finish(answer, b"")


def test_forged_finish_is_refused():
    client, server = Client(), ServerHandshake(AUTHORITY)
    finish = HANDSHAKE_MESSAGE.FromString(
        client.finish(server.on_client_hello(client.hello()), b"payload")
    )
    finish.clientFinish.payload = finish.clientFinish.payload[:-1] + b"\0"
    with pytest.raises(NoiseError):
        server.on_client_finish(finish.SerializeToString())


def test_finish_before_hello_is_refused():
    with pytest.raises(NoiseError, match="before"):
        ServerHandshake(AUTHORITY).on_client_finish(b"")


@pytest.mark.parametrize("hello", [b"", b"\xff\xff", bytes(100)])
def test_rubbish_instead_of_a_hello_is_refused(hello):
    with pytest.raises(NoiseError):
        ServerHandshake(AUTHORITY).on_client_hello(hello)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32)])
def test_unusable_ephemeral_key_is_refused(key):
    """All zeros is a point of small order: it would make the secret known to everybody."""
    message = HANDSHAKE_MESSAGE()
    message.clientHello.ephemeral = key
    with pytest.raises(NoiseError):
        ServerHandshake(AUTHORITY).on_client_hello(message.SerializeToString())


@given(st.lists(st.binary(max_size=600), max_size=8), st.data())
def test_frames_are_found_however_the_stream_is_cut(contents, data):
    stream = HEADER + b"".join(frame(content) for content in contents)
    reader, found = FrameReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == contents


@pytest.mark.parametrize("start", [b"WA\x06\x02", b"GET / HTTP/1.1", b"\0\0\0\0"])
def test_stream_with_a_foreign_header_is_refused(start):
    with pytest.raises(NoiseError):
        list(FrameReader().feed(start))


def test_frame_longer_than_its_length_field_is_refused():
    assert frame(bytes(MAX_FRAME - 1))[:3] == b"\xff\xff\xff"
    with pytest.raises(NoiseError):
        frame(bytes(MAX_FRAME))
