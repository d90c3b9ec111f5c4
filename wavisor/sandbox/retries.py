"""Pre-key bundles inside retry receipts: "I could not read that, here are keys to begin anew".

Source: whatsmeow ``retry.go`` (``sendRetryReceipt``) and ``prekeys.go`` (``nodeToPreKeyBundle``).
"""

from __future__ import annotations

from wavisor.sandbox.codec import Node
from wavisor.sandbox.directory import PreKey, PreKeyBundle

__all__ = ["bundle_node", "bundle_of"]


def _key_node(tag: str, key: PreKey) -> Node:
    parts = [
        Node("id", {}, key.id.to_bytes(3, "big")),
        Node("value", {}, key.public),
    ]
    if key.signature is not None:
        parts.append(Node("signature", {}, key.signature))
    return Node(tag, {}, tuple(parts))


def bundle_node(bundle: PreKeyBundle) -> Node:
    """Return ``<keys>`` for a retry receipt."""
    parts = [
        Node("type", {}, b"\x05"),
        Node("identity", {}, bundle.identity),
        _key_node("skey", bundle.signed),
    ]
    if bundle.one_time is not None:
        parts.append(_key_node("key", bundle.one_time))
    return Node("keys", {}, tuple(parts))


def bundle_of(stanza: Node) -> PreKeyBundle | None:
    """Return the bundle in a retry receipt; None if it has none (clients add it to the second)."""
    keys, registration = stanza.child("keys"), stanza.child("registration")
    identity = keys.child("identity") if keys else None
    signed = _pre_key(keys.child("skey")) if keys else None
    if keys is None or registration is None or identity is None or signed is None:
        return None
    return PreKeyBundle(
        registration_id=int.from_bytes(registration.data, "big"),
        identity=identity.data,
        signed=signed,
        one_time=_pre_key(keys.child("key")),
    )


def _pre_key(node: Node | None) -> PreKey | None:
    number, value = (node.child("id"), node.child("value")) if node else (None, None)
    if node is None or number is None or value is None:
        return None
    signature = node.child("signature")
    return PreKey(
        int.from_bytes(number.data, "big"), value.data, signature.data if signature else None
    )
