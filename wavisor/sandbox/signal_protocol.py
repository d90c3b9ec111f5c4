"""A simulated person's end of Signal: identity, pre-keys, and a session with every device.

:class:`SignalDevice` does what the native client's Signal library does for the real one: it agrees
on a session from the other's pre-key bundle (X3DH, https://signal.org/docs/specifications/x3dh/) or
from a pre-key message, encrypts, decrypts, and keeps old sessions for messages that are late.
Padding of WhatsApp's messages is here too.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from wavisor.sandbox.directory import PreKey, PreKeyBundle
from wavisor.sandbox.ratchet import (
    DuplicateMessageError,
    InvalidMessageError,
    PreKeyMessage,
    RatchetState,
    SignalError,
    encode_key,
)
from wavisor.sandbox.xeddsa import KeyPair, dh, generate_keypair, sign, verify

__all__ = [
    "Ciphertext",
    "DuplicateMessageError",
    "InvalidMessageError",
    "NoSessionError",
    "SignalDevice",
    "SignalError",
    "UnknownPreKeyError",
    "pad_message",
    "unpad_message",
]

_DISCONTINUITY = b"\xff" * 32
_MAX_ARCHIVED_STATES = 40
_MAX_PRE_KEY_ID = 0xFFFFFF
_MAX_UNUSED_PRE_KEYS = 10_000
"""Handed out and never used; the oldest are forgotten, as a phone would rotate them away."""


class NoSessionError(SignalError):
    """There is no session with that device yet."""


class UnknownPreKeyError(SignalError):
    """A pre-key message names a pre-key that does not exist, or was used before."""


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """An encrypted message and its kind, as in ``<enc type=…>``."""

    kind: Literal["pkmsg", "msg"]
    data: bytes


@dataclass(slots=True)
class _Pending:
    """How our messages must name their session until the other device has answered."""

    pre_key_id: int | None
    signed_pre_key_id: int


@dataclass(slots=True)
class _Session:
    """All states shared with one device, the current one first."""

    states: list[RatchetState] = field(default_factory=list)
    pending: dict[bytes, _Pending] = field(default_factory=dict)

    def promote(self, state: RatchetState) -> None:
        """Make ``state`` the current one."""
        # By base key, not by equality: two states may well be equal for a moment.
        others = [other for other in self.states if other.base_key != state.base_key]
        self.states = [state, *others[:_MAX_ARCHIVED_STATES]]
        kept = {other.base_key for other in self.states}
        self.pending = {base: value for base, value in self.pending.items() if base in kept}


class SignalDevice:
    """The keys and sessions of one simulated device. Addresses are strings of the caller's choice.

    Attributes:
        identity: the long-term key pair.
        registration_id: the random number that tells installations apart, below 2^14.
    """

    def __init__(self) -> None:
        self.identity = generate_keypair()
        self.registration_id = secrets.randbelow(0x3FFF) + 1
        self._signed_pre_key = generate_keypair()
        self._signed = PreKey(
            id=1,
            public=self._signed_pre_key.public,
            signature=sign(self.identity.private, encode_key(self._signed_pre_key.public)),
        )
        self._pre_keys: dict[int, KeyPair] = {}
        self._pre_key_ids: Iterator[int] = itertools.count(1)
        self._sessions: dict[str, _Session] = {}

    def issue_bundle(self) -> PreKeyBundle:
        """Return a bundle with a one-time pre-key that nobody was given before."""
        pre_key_id = next(self._pre_key_ids) % _MAX_PRE_KEY_ID or 1
        pre_key = self._pre_keys[pre_key_id] = generate_keypair()
        while len(self._pre_keys) > _MAX_UNUSED_PRE_KEYS:
            del self._pre_keys[next(iter(self._pre_keys))]
        return PreKeyBundle(
            registration_id=self.registration_id,
            identity=self.identity.public,
            signed=self._signed,
            one_time=PreKey(pre_key_id, pre_key.public),
        )

    def has_session(self, address: str, identity: bytes | None = None) -> bool:
        """Tell whether there is a session with a device, and with that identity key if given."""
        session = self._sessions.get(address)
        if session is None or not session.states:
            return False
        return identity is None or session.states[0].remote_identity == identity

    def forget(self, address: str) -> None:
        """Drop all sessions with a device, as when it has been linked anew."""
        self._sessions.pop(address, None)

    def begin(self, address: str, bundle: PreKeyBundle) -> None:
        """Start a session with a device from its bundle (X3DH as initiator).

        Raises InvalidMessageError when the bundle's signature is not its identity's.
        """
        signed, one_time = bundle.signed, bundle.one_time
        if not verify(bundle.identity, encode_key(signed.public), signed.signature or b""):
            raise InvalidMessageError("the signed pre-key's signature is wrong")
        base = generate_keypair()
        secret = _DISCONTINUITY + b"".join(
            (
                _agree(self.identity.private, signed.public),
                _agree(base.private, bundle.identity),
                _agree(base.private, signed.public),
                _agree(base.private, one_time.public) if one_time else b"",
            )
        )
        state = RatchetState.for_initiator(
            secret,
            local_identity=self.identity.public,
            remote_identity=bundle.identity,
            base_key=base.public,
            remote_ratchet=signed.public,
        )
        session = self._sessions.setdefault(address, _Session())
        session.promote(state)
        session.pending[base.public] = _Pending(one_time.id if one_time else None, signed.id)

    def encrypt(self, address: str, plaintext: bytes) -> Ciphertext:
        """Encrypt for a device in its current session.

        Raises NoSessionError when :meth:`begin` must come first.
        """
        session = self._sessions.get(address)
        if session is None or not session.states:
            raise NoSessionError(f"no session with {address}")
        state = session.states[0]
        message = state.encrypt(plaintext)
        pending = session.pending.get(state.base_key)
        if pending is None:
            return Ciphertext("msg", message)
        wrapped = PreKeyMessage(
            registration_id=self.registration_id,
            pre_key_id=pending.pre_key_id,
            signed_pre_key_id=pending.signed_pre_key_id,
            base_key=state.base_key,
            identity_key=self.identity.public,
            message=message,
        )
        return Ciphertext("pkmsg", wrapped.serialize())

    def decrypt(self, address: str, ciphertext: Ciphertext) -> bytes:
        """Decrypt what a device sent.

        Raises NoSessionError, UnknownPreKeyError, InvalidMessageError or DuplicateMessageError;
        nothing changes then.
        """
        if ciphertext.kind == "pkmsg":
            return self._decrypt_pre_key_message(address, PreKeyMessage.parse(ciphertext.data))
        session = self._sessions.get(address)
        if session is None or not session.states:
            raise NoSessionError(f"no session with {address}")
        return _decrypt_in(session, ciphertext.data)

    def _decrypt_pre_key_message(self, address: str, message: PreKeyMessage) -> bytes:
        session = self._sessions.get(address, _Session())
        known = next((s for s in session.states if s.base_key == message.base_key), None)
        state = known or self._respond(message)
        plaintext = state.decrypt(message.message)
        self._sessions[address] = session
        session.promote(state)
        if known is None and message.pre_key_id is not None:
            # Used up: whoever records this exchange cannot replay it.
            del self._pre_keys[message.pre_key_id]
        return plaintext

    def _respond(self, message: PreKeyMessage) -> RatchetState:
        """Agree on the session that a pre-key message begins (X3DH as responder)."""
        if message.signed_pre_key_id != self._signed.id:
            raise UnknownPreKeyError(f"no signed pre-key {message.signed_pre_key_id}")
        secret = _DISCONTINUITY + b"".join(
            (
                _agree(self._signed_pre_key.private, message.identity_key),
                _agree(self.identity.private, message.base_key),
                _agree(self._signed_pre_key.private, message.base_key),
            )
        )
        if message.pre_key_id is not None:
            pre_key = self._pre_keys.get(message.pre_key_id)
            if pre_key is None:
                raise UnknownPreKeyError(f"no pre-key {message.pre_key_id}")
            secret += _agree(pre_key.private, message.base_key)
        return RatchetState.for_responder(
            secret,
            local_identity=self.identity.public,
            remote_identity=message.identity_key,
            base_key=message.base_key,
            local_ratchet=self._signed_pre_key,
        )


def _decrypt_in(session: _Session, data: bytes) -> bytes:
    """Decrypt with the state that fits, the current one first, and make it the current one."""
    for state in session.states:
        try:
            plaintext = state.decrypt(data)
        except InvalidMessageError:
            continue
        session.pending.pop(state.base_key, None)
        session.promote(state)
        return plaintext
    raise InvalidMessageError("no session fits the message")


def _agree(private: bytes, public: bytes) -> bytes:
    try:
        return dh(private, public)
    except ValueError as error:
        raise InvalidMessageError("an unusable public key") from error


def pad_message(plaintext: bytes) -> bytes:
    """Return a message's content with 1 to 15 bytes of WhatsApp's padding (version 2)."""
    count = os.urandom(1)[0] & 0x0F or 0x0F
    return plaintext + bytes([count]) * count


def unpad_message(padded: bytes) -> bytes:
    """Take WhatsApp's padding off; raises InvalidMessageError when there is none."""
    count = padded[-1] if padded else 0
    if not 0 < count <= len(padded) or padded[-count:] != bytes([count]) * count:
        raise InvalidMessageError("the content is not padded")
    return padded[:-count]
