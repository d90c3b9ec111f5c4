"""Encryption of media as clients do it before an upload and undo it after a download.

Source: whatsmeow ``download.go`` (``getMediaKeys``, ``validateMedia``) and ``upload.go``.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from wavisor.sandbox.ratchet import derive

__all__ = [
    "MEDIA_KINDS",
    "MediaDecryptionError",
    "MediaFile",
    "decrypt_media",
    "encrypt_media",
]

_MAC_LENGTH = 10
_INFO: Final = {
    "image": b"WhatsApp Image Keys",
    "sticker": b"WhatsApp Image Keys",
    "video": b"WhatsApp Video Keys",
    "audio": b"WhatsApp Audio Keys",
    "voice": b"WhatsApp Audio Keys",
    "document": b"WhatsApp Document Keys",
}

MEDIA_KINDS: Final = frozenset(_INFO)
"""Kinds of media that can be in a message."""


class MediaDecryptionError(ValueError):
    """A file is not what its message says: another hash, another key, or truncated."""


@dataclass(frozen=True, slots=True)
class MediaFile:
    """What a message tells about its file.

    Attributes:
        kind: one of :data:`MEDIA_KINDS`.
        direct_path: where it is on the media host.
        key: 32 secret bytes.
        digest: SHA-256 of the file.
        encrypted_digest: SHA-256 of what the media host has.
        size: of the file, in bytes.
        mime_type: as the sender says.
        file_name: of a document.
        seconds: length of sound and film.
    """

    kind: str
    direct_path: str
    key: bytes = field(repr=False)
    digest: bytes
    encrypted_digest: bytes
    size: int
    mime_type: str
    file_name: str | None = None
    seconds: int | None = None


def _keys(kind: str, key: bytes) -> tuple[bytes, bytes, bytes]:
    material = derive(key, _INFO[kind], 112)
    return material[:16], material[16:48], material[48:80]


def _mac(mac_key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    return hmac.digest(mac_key, iv + ciphertext, sha256)[:_MAC_LENGTH]


def encrypt_media(kind: str, content: bytes) -> tuple[bytes, bytes]:
    """Return a new key and the encrypted file, as it goes to the media host."""
    key = os.urandom(32)
    iv, cipher_key, mac_key = _keys(kind, key)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(cipher_key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()
    return key, ciphertext + _mac(mac_key, iv, ciphertext)


def decrypt_media(file: MediaFile, encrypted: bytes) -> bytes:
    """Return the file in what the media host has; raises MediaDecryptionError."""
    if sha256(encrypted).digest() != file.encrypted_digest:
        raise MediaDecryptionError("the encrypted file has another hash")
    iv, cipher_key, mac_key = _keys(file.kind, file.key)
    ciphertext, mac = encrypted[:-_MAC_LENGTH], encrypted[-_MAC_LENGTH:]
    if not hmac.compare_digest(_mac(mac_key, iv, ciphertext), mac):
        raise MediaDecryptionError("the file's MAC is wrong")
    decryptor = Cipher(algorithms.AES256(cipher_key), modes.CBC(iv)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    try:
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        content = unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise MediaDecryptionError("the file is truncated") from error
    if sha256(content).digest() != file.digest or len(content) != file.size:
        raise MediaDecryptionError("the file has another hash or size")
    return content
