"""Media that clients and simulated people uploaded, kept in memory. Source: whatsmeow
``upload.go``, ``download.go``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING

from wavisor.sandbox.authority import MEDIA_HOST

if TYPE_CHECKING:
    from wavisor.sandbox.accounts import Device

__all__ = ["MediaError", "MediaStore"]

CAPACITY = 256 * 1024 * 1024
"""Bytes kept at most; the oldest files are forgotten first."""
TOKENS_KEPT = 10_000


class MediaError(ValueError):
    """An upload without permission, or whose content is not what its name says."""


class MediaStore:
    """Files by the SHA-256 of their encrypted content."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._grants: OrderedDict[str, None] = OrderedDict()

    def grant(self, device: Device) -> str:
        """Return a token that allows uploads, for ``media_conn``."""
        token = secrets.token_urlsafe(24)
        self._grants[token] = None
        while len(self._grants) > TOKENS_KEPT:
            self._grants.popitem(last=False)
        return token

    def upload(self, name: str, content: bytes, auth: str) -> str:
        """Keep a file that a client uploads and return its direct path.

        Args:
            name: URL-safe base64 of the content's SHA-256.
            content: the encrypted file.
            auth: the token from :meth:`grant`.

        Raises:
            MediaError: the token is unknown or the hash is wrong.
        """
        if auth not in self._grants:
            raise MediaError("not allowed to upload")
        try:
            digest = base64.urlsafe_b64decode(name)
        except binascii.Error as error:
            raise MediaError("the file's name is not base64") from error
        if digest != hashlib.sha256(content).digest():
            raise MediaError("the content has another hash")
        return self.put(content)

    def put(self, content: bytes, *, kept: bool = True) -> str:
        """Keep a file and return its direct path; with ``kept`` False only the path is made."""
        name = hashlib.sha256(content).hexdigest()
        if kept and name not in self._files:
            self._files[name] = content
            self._size += len(content)
        while self._size > self._capacity and len(self._files) > 1:
            _, dropped = self._files.popitem(last=False)
            self._size -= len(dropped)
        # Clients append "&hash=…", so the path must already have a query.
        return f"/v/t62.7118-24/{name}?ccb=11-4"

    def at(self, direct_path: str) -> bytes | None:
        """Return the file with this direct path, or None."""
        return self.get(direct_path.partition("?")[0].rpartition("/")[2])

    def get(self, name: str) -> bytes | None:
        """Return the file with this name (the last part of its path), or None."""
        return self._files.get(name)

    @staticmethod
    def url(direct_path: str) -> str:
        """Return the whole URL of a direct path."""
        return f"https://{MEDIA_HOST}{direct_path}"
