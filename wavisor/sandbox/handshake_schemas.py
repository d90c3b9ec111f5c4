"""The protobuf messages of the handshake, declared at run time.

Only fields that the server reads or writes are declared. Numbers are those of whatsmeow's
``proto/waWa6`` and ``proto/waCert``; a test compares them with the installed neonize.
"""

from __future__ import annotations

from typing import Any

from wavisor.sandbox.declarations import declare

__all__ = ["CERT_CHAIN", "CERT_DETAILS", "CLIENT_PAYLOAD", "FIELDS", "HANDSHAKE_MESSAGE"]

FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "ClientHello": {"ephemeral": (1, "bytes")},
    "ServerHello": {"ephemeral": (1, "bytes"), "static": (2, "bytes"), "payload": (3, "bytes")},
    "ClientFinish": {"static": (1, "bytes"), "payload": (2, "bytes")},
    "HandshakeMessage": {
        "clientHello": (2, "ClientHello"),
        "serverHello": (3, "ServerHello"),
        "clientFinish": (4, "ClientFinish"),
    },
    "Details": {
        "serial": (1, "uint32"),
        "issuerSerial": (2, "uint32"),
        "key": (3, "bytes"),
        "notBefore": (4, "uint64"),
        "notAfter": (5, "uint64"),
    },
    "NoiseCertificate": {"details": (1, "bytes"), "signature": (2, "bytes")},
    "CertChain": {"leaf": (1, "NoiseCertificate"), "intermediate": (2, "NoiseCertificate")},
    "DevicePairingRegistrationData": {
        "eRegid": (1, "bytes"),
        "eKeytype": (2, "bytes"),
        "eIdent": (3, "bytes"),
        "eSkeyID": (4, "bytes"),
        "eSkeyVal": (5, "bytes"),
        "eSkeySig": (6, "bytes"),
        "buildHash": (7, "bytes"),
        "deviceProps": (8, "bytes"),
    },
    "ClientPayload": {
        "username": (1, "uint64"),
        "passive": (3, "bool"),
        "device": (18, "uint32"),
        "devicePairingData": (19, "DevicePairingRegistrationData"),
    },
}
"""Declared messages: name -> field -> (number, type)."""

_CLASSES = declare("wavisor.sandbox.handshake", FIELDS)

HANDSHAKE_MESSAGE: Any = _CLASSES["HandshakeMessage"]
"""ClientHello, ServerHello or ClientFinish (``waWa6.HandshakeMessage``)."""

CLIENT_PAYLOAD: Any = _CLASSES["ClientPayload"]
"""Who the client is, or that it wants to be paired (``waWa6.ClientPayload``)."""

CERT_CHAIN: Any = _CLASSES["CertChain"]
"""The certificates of the server's Noise key (``waCert.CertChain``)."""

CERT_DETAILS: Any = _CLASSES["Details"]
"""The signed part of one of them (``waCert.CertChain.NoiseCertificate.Details``)."""
