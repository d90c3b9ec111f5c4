"""The few protobuf messages that simulated people exchange, declared at run time.

Only fields that the sandbox reads or writes are declared; others survive as unknown fields. Numbers
are those of whatsmeow's ``proto/`` directory and of Signal's ``WhisperTextProtocol``; a test
compares them with the installed neonize. What a message says is in ``content_schemas.py``.
"""

from __future__ import annotations

from typing import Any

from wavisor.sandbox.content_schemas import CONTENT_FIELDS
from wavisor.sandbox.declarations import declare

__all__ = [
    "ADV_DEVICE_IDENTITY",
    "ADV_SIGNED_DEVICE_IDENTITY",
    "ADV_SIGNED_DEVICE_IDENTITY_HMAC",
    "FIELDS",
    "HISTORY_SYNC",
    "MESSAGE",
    "POLL_VOTE",
    "PRE_KEY_SIGNAL_MESSAGE",
    "SENDER_KEY_DISTRIBUTION",
    "SENDER_KEY_MESSAGE",
    "SIGNAL_MESSAGE",
    "SYNCD_PATCH",
    "SYNC_ACTION_DATA",
]

_OWN_FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "SignalMessage": {
        "ratchetKey": (1, "bytes"),
        "counter": (2, "uint32"),
        "previousCounter": (3, "uint32"),
        "ciphertext": (4, "bytes"),
    },
    "SenderKeyMessage": {
        "id": (1, "uint32"),
        "iteration": (2, "uint32"),
        "ciphertext": (3, "bytes"),
    },
    "SenderKeyDistribution": {
        "id": (1, "uint32"),
        "iteration": (2, "uint32"),
        "chainKey": (3, "bytes"),
        "signingKey": (4, "bytes"),
    },
    "PreKeySignalMessage": {
        "preKeyId": (1, "uint32"),
        "baseKey": (2, "bytes"),
        "identityKey": (3, "bytes"),
        "message": (4, "bytes"),
        "registrationId": (5, "uint32"),
        "signedPreKeyId": (6, "uint32"),
    },
    "ADVDeviceIdentity": {
        "rawID": (1, "uint32"),
        "timestamp": (2, "uint64"),
        "keyIndex": (3, "uint32"),
    },
    "ADVSignedDeviceIdentity": {
        "details": (1, "bytes"),
        "accountSignatureKey": (2, "bytes"),
        "accountSignature": (3, "bytes"),
        "deviceSignature": (4, "bytes"),
    },
    "ADVSignedDeviceIdentityHMAC": {
        "details": (1, "bytes"),
        "HMAC": (2, "bytes"),
    },
    "AppStateSyncKeyShare": {"keys": (1, "repeated AppStateSyncKey")},
    "AppStateSyncKeyRequest": {"keyIDs": (1, "repeated AppStateSyncKeyId")},
    "AppStateSyncKey": {
        "keyID": (1, "AppStateSyncKeyId"),
        "keyData": (2, "AppStateSyncKeyData"),
    },
    "AppStateSyncKeyId": {"keyID": (1, "bytes")},
    "AppStateSyncKeyData": {
        "keyData": (1, "bytes"),
        "fingerprint": (2, "AppStateSyncKeyFingerprint"),
        "timestamp": (3, "int64"),
    },
    "AppStateSyncKeyFingerprint": {"rawID": (1, "uint32"), "currentIndex": (2, "uint32")},
    "SyncdPatch": {
        "version": (1, "SyncdVersion"),
        "mutations": (2, "repeated SyncdMutation"),
        "snapshotMAC": (4, "bytes"),
        "patchMAC": (5, "bytes"),
        "keyID": (6, "KeyId"),
    },
    "SyncdVersion": {"version": (1, "uint64")},
    "SyncdMutation": {"operation": (1, "int32"), "record": (2, "SyncdRecord")},
    "SyncdRecord": {
        "index": (1, "SyncdIndex"),
        "value": (2, "SyncdValue"),
        "keyID": (3, "KeyId"),
    },
    "SyncdIndex": {"blob": (1, "bytes")},
    "SyncdValue": {"blob": (1, "bytes")},
    "KeyId": {"ID": (1, "bytes")},
    "SyncActionData": {
        "index": (1, "bytes"),
        "value": (2, "SyncActionValue"),
        "padding": (3, "bytes"),
        "version": (4, "int32"),
    },
    "SyncActionValue": {
        "timestamp": (1, "int64"),
        "starAction": (2, "StarAction"),
        "contactAction": (3, "ContactAction"),
        "muteAction": (4, "MuteAction"),
        "pinAction": (5, "PinAction"),
        "pushNameSetting": (7, "PushNameSetting"),
        "archiveChatAction": (17, "ArchiveChatAction"),
        "deleteMessageForMeAction": (18, "DeleteMessageForMeAction"),
        "markChatAsReadAction": (20, "MarkChatAsReadAction"),
    },
    "PushNameSetting": {"name": (1, "string")},
    "StarAction": {"starred": (1, "bool")},
    "ContactAction": {
        "fullName": (1, "string"),
        "firstName": (2, "string"),
        "lidJID": (3, "string"),
        "pnJID": (5, "string"),
    },
    "MuteAction": {"muted": (1, "bool"), "muteEndTimestamp": (2, "int64")},
    "PinAction": {"pinned": (1, "bool")},
    "ArchiveChatAction": {"archived": (1, "bool")},
    "DeleteMessageForMeAction": {"deleteMedia": (1, "bool"), "messageTimestamp": (2, "int64")},
    "MarkChatAsReadAction": {"read": (1, "bool")},
    "HistorySync": {
        "syncType": (1, "int32"),
        "conversations": (2, "repeated Conversation"),
        "chunkOrder": (5, "uint32"),
        "progress": (6, "uint32"),
        "pushnames": (7, "repeated Pushname"),
        "phoneNumberToLidMappings": (15, "repeated PhoneNumberToLIDMapping"),
    },
    "Conversation": {
        "ID": (1, "string"),
        "messages": (2, "repeated HistorySyncMsg"),
        "unreadCount": (6, "uint32"),
        "conversationTimestamp": (12, "uint64"),
        "name": (13, "string"),
        "pnJID": (39, "string"),
        "lidJID": (42, "string"),
    },
    "HistorySyncMsg": {"message": (1, "WebMessageInfo"), "msgOrderID": (2, "uint64")},
    "WebMessageInfo": {
        "key": (1, "MessageKey"),
        "message": (2, "Message"),
        "messageTimestamp": (3, "uint64"),
        "status": (4, "int32"),
        "participant": (5, "string"),
        "pushName": (19, "string"),
    },
    "Pushname": {"ID": (1, "string"), "pushname": (2, "string")},
    "PhoneNumberToLIDMapping": {"pnJID": (1, "string"), "lidJID": (2, "string")},
}

FIELDS = _OWN_FIELDS | CONTENT_FIELDS
"""Declared messages: name -> field -> (number, type)."""

_CLASSES = declare("wavisor.sandbox.people", FIELDS)

SIGNAL_MESSAGE: Any = _CLASSES["SignalMessage"]
"""Signal's ratcheted message (``msg``)."""

PRE_KEY_SIGNAL_MESSAGE: Any = _CLASSES["PreKeySignalMessage"]
"""Signal's first message to somebody (``pkmsg``); wraps a ratcheted one."""

ADV_DEVICE_IDENTITY: Any = _CLASSES["ADVDeviceIdentity"]
"""What an account certifies about one of its devices."""

ADV_SIGNED_DEVICE_IDENTITY: Any = _CLASSES["ADVSignedDeviceIdentity"]
"""A device identity with the account's and later the device's signature."""

ADV_SIGNED_DEVICE_IDENTITY_HMAC: Any = _CLASSES["ADVSignedDeviceIdentityHMAC"]
"""A signed device identity under the secret of the pairing."""

MESSAGE: Any = _CLASSES["Message"]
"""The content of an end-to-end encrypted message (``waE2E.Message``)."""

SENDER_KEY_MESSAGE: Any = _CLASSES["SenderKeyMessage"]
"""A message to a group (``skmsg``)."""

SENDER_KEY_DISTRIBUTION: Any = _CLASSES["SenderKeyDistribution"]
"""What lets somebody read a device's messages to a group."""

POLL_VOTE: Any = _CLASSES["PollVoteMessage"]
"""The answers that somebody chose in a poll, before encryption."""

HISTORY_SYNC: Any = _CLASSES["HistorySync"]
"""What a phone tells a new companion of the past."""

SYNCD_PATCH: Any = _CLASSES["SyncdPatch"]
"""A change of the account's synchronised settings."""

SYNC_ACTION_DATA: Any = _CLASSES["SyncActionData"]
"""One setting inside such a change, in clear."""
