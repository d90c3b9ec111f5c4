"""Points the WhatsApp client of one session process at the local WhatsApp.

The only module of this package that a gateway uses, and only in the child process of a session in
sandbox mode. Nothing here is imported, let alone done, by a normal gateway.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from wavisor.sandbox.tokens import Mapping, library_mappings

__all__ = ["Endpoints", "RedirectError", "apply"]

_WHATSAPP_ROOT = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")
"""WhatsApp's public root key for Noise certificates (whatsmeow ``handshake.go``,
``WACertPubKey``)."""


class RedirectError(RuntimeError):
    """The loaded client cannot be redirected; it must not be connected."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running local WhatsApp is, and what to trust.

    Attributes:
        proxy_url: HTTP proxy that stands for the whole internet, ``http://127.0.0.1:port``. A
            user name in it (``http://name@…``) labels the client in faults and statistics.
        ca_file: PEM file for ``SSL_CERT_FILE``, which must be in the environment when the client's
            process is exec'd.
        root_public_key: the Noise root key, 32 bytes, for :func:`apply`.
        control_url: base URL of the control API.
    """

    proxy_url: str
    ca_file: str
    root_public_key: bytes
    control_url: str

    def to_json(self) -> str:
        """Return one line of JSON, the key in hexadecimal."""
        return json.dumps(asdict(self) | {"root_public_key": self.root_public_key.hex()})

    @classmethod
    def from_json(cls, text: str) -> Endpoints:
        """Return what :meth:`to_json` wrote.

        Raises:
            ValueError: the text is not such a description.
        """
        fields = json.loads(text)
        try:
            key = bytes.fromhex(fields.pop("root_public_key"))
            endpoints = cls(root_public_key=key, **fields)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("not a description of a local WhatsApp") from error
        if len(key) != len(_WHATSAPP_ROOT):
            raise ValueError("a root key has 32 bytes")
        return endpoints


def apply(root_public_key: bytes) -> None:
    """Make the neonize library loaded in this process trust another Noise root key.

    Must run after neonize was imported and before it connects; the change is for the whole
    process and cannot be undone. Applying the same key again does nothing.

    Args:
        root_public_key: 32 bytes.

    Raises:
        ValueError: the key has another length.
        RedirectError: neonize is not loaded, or the key to replace does not stand exactly once
            in its data.
    """
    if len(root_public_key) != len(_WHATSAPP_ROOT):
        raise ValueError("a root key has 32 bytes")
    writable = [mapping for mapping in library_mappings() if mapping.permissions.startswith("rw")]
    if not writable:
        raise RedirectError("the neonize library is not loaded in this process")
    if _find(writable, root_public_key):
        return
    hits = _find(writable, _WHATSAPP_ROOT)
    if len(hits) != 1:
        raise RedirectError(f"the root key was found {len(hits)} times in the client, not once")
    with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
        memory.seek(hits[0])
        memory.write(root_public_key)


def _find(mappings: list[Mapping], needle: bytes) -> list[int]:
    hits = []
    for mapping in mappings:
        content = mapping.read()
        offset = content.find(needle)
        while offset >= 0:
            hits.append(mapping.start + offset)
            offset = content.find(needle, offset + 1)
    return hits
