"""Votes in polls, which are encrypted under a secret of the poll. Source: whatsmeow
``msgsecret.go``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError

from wavisor.sandbox import schemas
from wavisor.sandbox.codec import Jid
from wavisor.sandbox.content import said
from wavisor.sandbox.ratchet import derive

__all__ = ["open_vote", "options_of", "seal_vote"]

_POLLS = ("pollCreationMessage", "pollCreationMessageV2", "pollCreationMessageV3")


def options_of(poll: Any) -> list[str]:
    """Return the answers of a message that is a poll, none of one that is not."""
    content = said(poll)
    part = next((getattr(content, name) for name in _POLLS if content.HasField(name)), None)
    return [option.optionName for option in part.options] if part is not None else []


def _secret(poll: Any) -> bytes:
    inner = poll.deviceSentMessage.message if poll.HasField("deviceSentMessage") else poll
    secret: bytes = poll.messageContextInfo.messageSecret or inner.messageContextInfo.messageSecret
    return secret or said(poll).messageContextInfo.messageSecret


def _key(secret: bytes, poll_id: str, author: Jid, voter: Jid) -> tuple[bytes, bytes]:
    """Return the key of a vote and what is authenticated besides."""
    purpose = f"{poll_id}{author.bare}{voter.bare}Poll Vote".encode()
    return derive(secret, purpose, 32), f"{poll_id}\0{voter.bare}".encode()


def seal_vote(
    poll: Any, *, author: Jid, poll_id: str, voter: Jid, options: Sequence[str]
) -> tuple[bytes, bytes] | None:
    """Return a vote's ciphertext and nonce; None if the poll is none or has no secret."""
    secret = _secret(poll)
    if not secret or not options_of(poll):
        return None
    chosen = [sha256(option.encode()).digest() for option in options]
    vote = schemas.POLL_VOTE(selectedOptions=chosen).SerializeToString()
    key, associated = _key(secret, poll_id, author, voter)
    nonce = os.urandom(12)
    return AESGCM(key).encrypt(nonce, vote, associated), nonce


def open_vote(poll: Any, update: Any, *, author: Jid, voter: Jid) -> tuple[str, ...] | None:
    """Return the chosen answers of a vote (a ``PollUpdateMessage``); None if it cannot be read.

    ``poll`` is the message that the poll came in.
    """
    key, associated = _key(_secret(poll), update.pollCreationMessageKey.ID, author, voter)
    vote = schemas.POLL_VOTE()
    try:
        plaintext = AESGCM(key).decrypt(update.vote.encIV, update.vote.encPayload, associated)
        vote.ParseFromString(plaintext)
    except (InvalidTag, ValueError, DecodeError):
        return None
    names = {sha256(option.encode()).digest(): option for option in options_of(poll)}
    return tuple(names.get(chosen, "?") for chosen in vote.selectedOptions)
