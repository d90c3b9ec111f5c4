"""What a phone shares with its companions by synchronised settings: the user's name, and which
chats are archived, muted, pinned, messages starred or deleted.

The real client takes its push name from here, and without one it may not send its presence
(whatsmeow ``appstate.go``, ``appstate/encode.go``, ``presence.go``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError

from wavisor.sandbox import schemas
from wavisor.sandbox.accounts import Account
from wavisor.sandbox.app_state import (
    COLLECTIONS,
    Collection,
    InvalidPatchError,
    Setting,
    SyncKey,
    make_patch,
    read_patch,
)

__all__ = ["KINDS", "NAME_COLLECTION", "SettingKind", "SharedSettings", "requests_key"]

NAME_COLLECTION = "critical_block"
"""The collection that the user's name is in (whatsmeow ``appstate/keys.go``)."""

_NAME_INDEX = ("setting_pushName",)
_KEY_SHARE = 6
_KEY_REQUEST = 7


@dataclass(frozen=True, slots=True)
class SettingKind:
    """Where a kind of setting is: its collection, its action in ``SyncActionValue``, its version,
    and the action's field that matters."""

    collection: str
    action: str
    version: int
    field: str


KINDS: Final[Mapping[str, SettingKind]] = {
    "setting_pushName": SettingKind(NAME_COLLECTION, "pushNameSetting", 1, "name"),
    "contact": SettingKind("critical_unblock_low", "contactAction", 2, "fullName"),
    "mute": SettingKind("regular_high", "muteAction", 2, "muted"),
    "star": SettingKind("regular_high", "starAction", 2, "starred"),
    "deleteMessageForMe": SettingKind("regular_high", "deleteMessageForMeAction", 3, "deleteMedia"),
    "pin_v1": SettingKind("regular_low", "pinAction", 5, "pinned"),
    "archive": SettingKind("regular_low", "archiveChatAction", 3, "archived"),
    "markChatAsRead": SettingKind("regular_low", "markChatAsReadAction", 3, "read"),
}
"""Kinds of settings that are understood here, by the first part of their index."""


class SharedSettings:
    """The phone's view of its account's synchronised settings, and the key to them."""

    def __init__(self, account: Account) -> None:
        self._store = account.app_state
        self._key = SyncKey.generate()
        self._states = {name: Collection(name) for name in COLLECTIONS}
        self._values: dict[tuple[str, ...], Any] = {}

    def put_name(self, name: str) -> None:
        """Give the user a name."""
        self.put(_NAME_INDEX, name)

    def put(self, index: tuple[str, ...], value: bool | str) -> str:
        """Put a setting in force, and return the collection that it is in.

        Args:
            index: the kind and what it is about: ``("pin_v1", "123@lid")``,
                ``("star", chat, message id, "1" if from me, sender or "0")``.
            value: what it is set to.

        Raises KeyError for an unknown kind, InvalidPatchError when the collection cannot be read.
        """
        kind = KINDS[index[0]]
        self.read()
        setting = schemas.SYNC_ACTION_DATA().value
        setting.timestamp = int(time.time() * 1000)
        action = getattr(setting, kind.action)
        setattr(action, kind.field, value)
        if index[0] == "mute" and value:
            action.muteEndTimestamp = -1
        if index[0] == "deleteMessageForMe":
            action.messageTimestamp = int(time.time())
        state = self._states[kind.collection]
        patch = make_patch(self._key, state, [Setting(index, setting, kind.version)])
        self._store.append(kind.collection, state.version, patch)
        self.read()
        return kind.collection

    def read(self) -> Mapping[tuple[str, ...], Any]:
        """Return all settings in force after all patches, those of companions included.

        Values are ``SyncActionValue``. A patch that cannot be read ends the reading of its
        collection, as it does in the client.
        """
        for name in COLLECTIONS:
            for patch in self._store.since(name, self._states[name].version):
                try:
                    self._states[name], settings = read_patch(self._key, self._states[name], patch)
                except InvalidPatchError:
                    break
                self._values |= {setting.index: setting.value for setting in settings}
        return self._values

    def read_name(self) -> str | None:
        """Return the user's name after all patches, those of companions included."""
        value = self.read().get(_NAME_INDEX)
        return value.pushNameSetting.name if value is not None else None

    def known(self) -> list[tuple[tuple[str, ...], bool | str]]:
        """Return the settings that are understood here: index and value."""
        return [
            (index, getattr(getattr(value, kind.action), kind.field))
            for index, value in self.read().items()
            if (kind := KINDS.get(index[0])) is not None
        ]

    def key_share(self) -> bytes:
        """Return the message content that hands the key to a companion."""
        message = schemas.MESSAGE()
        message.protocolMessage.type = _KEY_SHARE
        key = message.protocolMessage.appStateSyncKeyShare.keys.add()
        key.keyID.keyID = self._key.id
        key.keyData.keyData = self._key.data
        key.keyData.fingerprint.rawID = 0
        key.keyData.fingerprint.currentIndex = 0
        key.keyData.timestamp = int(time.time() * 1000)
        data: bytes = message.SerializeToString()
        return data


def requests_key(content: bytes) -> bool:
    """Tell whether message content asks for the key."""
    message = schemas.MESSAGE()
    try:
        message.ParseFromString(content)
    except DecodeError:
        return False
    return bool(message.protocolMessage.type == _KEY_REQUEST)
