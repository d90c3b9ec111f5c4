"""Synchronised settings of an account ("app state"): encrypted patches with a running hash.

The phone shares a key with each companion; from then on all of them read and write patches, which
the server only stores and numbers. Source: whatsmeow ``appstate/`` (``encode.go``, ``decode.go``,
``hash.go``, ``keys.go``, ``lthash``).
"""

from __future__ import annotations

import hmac
import json
import os
import struct
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256, sha512
from typing import Any, Final

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from google.protobuf.message import DecodeError

from wavisor.sandbox import schemas
from wavisor.sandbox.ratchet import derive

__all__ = [
    "COLLECTIONS",
    "AppStateStore",
    "Collection",
    "InvalidPatchError",
    "Setting",
    "StaleVersionError",
    "SyncKey",
    "make_patch",
    "read_patch",
]

COLLECTIONS: Final = (
    "critical_block",
    "critical_unblock_low",
    "regular_high",
    "regular_low",
    "regular",
)
"""All collections (whatsmeow ``appstate/keys.go``)."""

MOST_PATCHES = 10_000
"""Patches kept of one collection. WhatsApp folds old ones into snapshots; this one refuses more."""

_SET = 0
_MAC_LENGTH = 32
_IV_LENGTH = 16
_HASH_LENGTH = 128
_WORDS = struct.Struct(f"<{_HASH_LENGTH // 2}H")


class InvalidPatchError(ValueError):
    """A patch is malformed, was made with another key, or does not follow the state."""


class StaleVersionError(ValueError):
    """A patch was made for another version than the newest."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its place (``("setting_pushName",)``), its value, and its format's version.

    ``value`` is a ``SyncActionValue``.
    """

    index: tuple[str, ...]
    value: Any
    version: int = 1


@dataclass(frozen=True, slots=True)
class SyncKey:
    """The key that an account's devices share: its id (6 bytes) and 32 secret bytes."""

    id: bytes
    data: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> SyncKey:
        """Return a new key, the first of the phone."""
        return cls(id=bytes((0, 0)) + os.urandom(4), data=os.urandom(32))

    def derived(self) -> tuple[bytes, bytes, bytes, bytes, bytes]:
        """Return the keys for index, value, value MAC, snapshot MAC and patch MAC."""
        material = derive(self.data, b"WhatsApp Mutation Keys", 160)
        index, value, value_mac, snapshot_mac, patch_mac = (
            material[start : start + 32] for start in range(0, 160, 32)
        )
        return index, value, value_mac, snapshot_mac, patch_mac


@dataclass(slots=True)
class Collection:
    """The state of one collection as its readers track it: version, hash, and values' MACs."""

    name: str
    version: int = 0
    hash: bytes = bytes(_HASH_LENGTH)
    value_macs: dict[bytes, bytes] = field(default_factory=dict)

    def advanced(self, mutations: Iterable[Any]) -> Collection:
        """Return the state after a patch's mutations."""
        macs = dict(self.value_macs)
        added, removed = [], []
        for mutation in mutations:
            index_mac = mutation.record.index.blob
            previous = macs.pop(index_mac, None)
            if previous is not None:
                removed.append(previous)
            if mutation.operation == _SET:
                macs[index_mac] = mutation.record.value.blob[-_MAC_LENGTH:]
                added.append(macs[index_mac])
        new_hash = _summed(_summed(self.hash, removed, -1), added, 1)
        return Collection(self.name, self.version + 1, new_hash, macs)

    def snapshot_mac(self, key: bytes) -> bytes:
        """Return the MAC of this state."""
        data = self.hash + self.version.to_bytes(8, "big") + self.name.encode()
        return hmac.digest(key, data, sha256)


class AppStateStore:
    """The server's side: numbered patches of an account, by collection, which it cannot read."""

    def __init__(self) -> None:
        self._patches: OrderedDict[str, list[bytes]] = OrderedDict()

    def version(self, name: str) -> int:
        """Return the newest version of a collection, 0 if it is empty."""
        return len(self._patches.get(name, ()))

    def since(self, name: str, version: int) -> list[bytes]:
        """Return the serialised patches after a version, oldest first."""
        return self._patches.get(name, [])[version:]

    def append(self, name: str, base_version: int, patch: bytes) -> int:
        """Store a patch made on top of ``base_version`` and return its own version.

        Raises StaleVersionError when there is a newer version, InvalidPatchError for what is no
        patch, one too many, or for a collection that does not exist.
        """
        if name not in COLLECTIONS:
            raise InvalidPatchError("there is no such collection")
        message = _parsed(schemas.SYNCD_PATCH, patch)
        if base_version != self.version(name):
            raise StaleVersionError(f"the newest version is {self.version(name)}")
        if base_version >= MOST_PATCHES:
            raise InvalidPatchError("this collection is full")
        message.version.version = base_version + 1
        self._patches.setdefault(name, []).append(message.SerializeToString())
        return base_version + 1


def make_patch(key: SyncKey, state: Collection, settings: Sequence[Setting]) -> bytes:
    """Return the serialised patch that puts ``settings`` in force on top of ``state``."""
    index_key, value_key, value_mac_key, snapshot_key, patch_key = key.derived()
    patch = schemas.SYNCD_PATCH()
    patch.keyID.ID = key.id
    for setting in settings:
        index = json.dumps(setting.index, separators=(",", ":")).encode()
        content = schemas.SYNC_ACTION_DATA(
            index=index, value=setting.value, padding=b"", version=setting.version
        ).SerializeToString()
        encrypted = _encrypt(value_key, content)
        mutation = patch.mutations.add(operation=_SET)
        mutation.record.index.blob = hmac.digest(index_key, index, sha256)
        mutation.record.value.blob = encrypted + _value_mac(value_mac_key, key, _SET, encrypted)
        mutation.record.keyID.ID = key.id
    after = state.advanced(patch.mutations)
    patch.snapshotMAC = after.snapshot_mac(snapshot_key)
    patch.patchMAC = _patch_mac(patch_key, patch, after)
    data: bytes = patch.SerializeToString()
    return data


def read_patch(key: SyncKey, state: Collection, patch: bytes) -> tuple[Collection, list[Setting]]:
    """Return the state after a patch on top of ``state``, and the settings that it puts in force.

    Raises InvalidPatchError unless all its MACs are right.
    """
    message = _parsed(schemas.SYNCD_PATCH, patch)
    _, _, _, snapshot_key, patch_key = key.derived()
    after = state.advanced(message.mutations)
    if not hmac.compare_digest(message.snapshotMAC, after.snapshot_mac(snapshot_key)):
        raise InvalidPatchError("the patch does not lead to the state that it claims")
    if not hmac.compare_digest(message.patchMAC, _patch_mac(patch_key, message, after)):
        raise InvalidPatchError("the patch's MAC is wrong")
    return after, [_read(key, m) for m in message.mutations if m.operation == _SET]


def _read(key: SyncKey, mutation: Any) -> Setting:
    index_key, value_key, value_mac_key, _, _ = key.derived()
    blob = mutation.record.value.blob
    encrypted, mac = blob[:-_MAC_LENGTH], blob[-_MAC_LENGTH:]
    if not hmac.compare_digest(_value_mac(value_mac_key, key, _SET, encrypted), mac):
        raise InvalidPatchError("a value's MAC is wrong")
    content = _parsed(schemas.SYNC_ACTION_DATA, _decrypt(value_key, encrypted))
    expected = hmac.digest(index_key, content.index, sha256)
    if not hmac.compare_digest(expected, mutation.record.index.blob):
        raise InvalidPatchError("an index's MAC is wrong")
    return Setting(tuple(json.loads(content.index)), content.value, content.version)


def _parsed(schema: Any, data: bytes) -> Any:
    message = schema()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise InvalidPatchError("not a patch") from error
    return message


def _summed(base: bytes, macs: Iterable[bytes], sign: int) -> bytes:
    """Add (or subtract) values' MACs to the hash, word by word without carry."""
    words = list(_WORDS.unpack(base))
    for mac in macs:
        for place, word in enumerate(
            _WORDS.unpack(derive(mac, b"WhatsApp Patch Integrity", _HASH_LENGTH))
        ):
            words[place] = (words[place] + sign * word) & 0xFFFF
    return _WORDS.pack(*words)


def _value_mac(mac_key: bytes, key: SyncKey, operation: int, encrypted: bytes) -> bytes:
    length = (len(key.id) + 1).to_bytes(8, "big")
    data = bytes((operation + 1,)) + key.id + encrypted + length
    return hmac.digest(mac_key, data, sha512)[:_MAC_LENGTH]


def _patch_mac(mac_key: bytes, patch: Any, after: Collection) -> bytes:
    values = b"".join(m.record.value.blob[-_MAC_LENGTH:] for m in patch.mutations)
    data = patch.snapshotMAC + values + after.version.to_bytes(8, "big") + after.name.encode()
    return hmac.digest(mac_key, data, sha256)


def _encrypt(key: bytes, content: bytes) -> bytes:
    iv = os.urandom(_IV_LENGTH)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).encryptor()
    padded = padder.update(content) + padder.finalize()
    return iv + encryptor.update(padded) + encryptor.finalize()


def _decrypt(key: bytes, encrypted: bytes) -> bytes:
    iv, body = encrypted[:_IV_LENGTH], encrypted[_IV_LENGTH:]
    try:
        decryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        padded = decryptor.update(body) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise InvalidPatchError("a value cannot be decrypted") from error
