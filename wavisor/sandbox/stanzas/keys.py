"""Pre-keys: counting, uploading, and handing them out. Source: whatsmeow ``prekeys.go``."""

from __future__ import annotations

import time

from wavisor.sandbox.codec import SERVER_JID, CodecError, Node
from wavisor.sandbox.connection import ClientConnection
from wavisor.sandbox.directory import Device, DeviceKeys, PreKey, PreKeyBundle
from wavisor.sandbox.stanzas.answers import error, result

__all__ = ["on_query"]

DJB_TYPE = b"\x05"
LOW_WATER = 5
"""Below this many one-time keys a client is asked for more (whatsmeow ``MinPreKeyCount``)."""
MOST_KEYS = 10_000
"""One-time keys kept for a device; whatsmeow uploads at most 812 at once."""


async def on_query(connection: ClientConnection, device: Device, query: Node) -> Node | None:
    """Answer ``encrypt`` queries: set, get count, get keys of others."""
    if query.text("type") == "set":
        try:
            _store(device, query)
        except CodecError as failure:
            return error(query, 400, str(failure))
        return result(query)
    if query.child("count") is not None:
        count = len(device.keys.one_time) if device.keys else 0
        return result(query, Node("count", {"value": str(count)}))
    wanted = query.child("key")
    if wanted is None:
        return error(query, 400, "bad-request")
    users = tuple([await _bundle(connection, user) for user in wanted.all("user")])
    return result(query, Node("list", {}, users))


def _store(device: Device, query: Node) -> None:
    registration, identity = query.child("registration"), query.child("identity")
    signed, listed = query.child("skey"), query.child("list")
    if registration is None or identity is None or signed is None or listed is None:
        raise CodecError("parts of the key upload are missing")
    keys = DeviceKeys(int.from_bytes(registration.data, "big"), identity.data, _read_key(signed))
    if device.keys is not None and device.keys.identity == keys.identity:
        keys.one_time.extend(device.keys.one_time)
    keys.one_time.extend(_read_key(key) for key in listed.all("key"))
    while len(keys.one_time) > MOST_KEYS:
        keys.one_time.popleft()
    device.keys = keys
    device.keys_uploaded.set()


def _read_key(node: Node) -> PreKey:
    number, value, signature = node.child("id"), node.child("value"), node.child("signature")
    if number is None or value is None or len(value.data) != 32:
        raise CodecError("a pre-key needs a number and 32 bytes")
    return PreKey(
        int.from_bytes(number.data, "big"), value.data, signature.data if signature else None
    )


async def _bundle(connection: ClientConnection, user: Node) -> Node:
    jid = user.jid("jid")
    device = connection.world.device_of(jid) if jid else None
    bundle = device.bundle() if device else None
    if jid is None or device is None or bundle is None:
        missing = Node("error", {"code": "404", "text": "item-not-found"})
        return Node("user", {"jid": jid or SERVER_JID}, (missing,))
    # Once when the mark is passed: whoever has none at all asks for the count at its login.
    if device.keys is not None and bundle.one_time and len(device.keys.one_time) == LOW_WATER - 1:
        await _ask_for_more(connection, device, LOW_WATER - 1)
    return Node("user", {"jid": jid, "t": str(int(time.time()))}, _bundle_nodes(bundle))


def _bundle_nodes(bundle: PreKeyBundle) -> tuple[Node, ...]:
    nodes = [
        Node("registration", {}, bundle.registration_id.to_bytes(4, "big")),
        Node("type", {}, DJB_TYPE),
        Node("identity", {}, bundle.identity),
        _key_node("skey", bundle.signed),
    ]
    if bundle.one_time is not None:
        nodes.append(_key_node("key", bundle.one_time))
    return tuple(nodes)


def _key_node(tag: str, key: PreKey) -> Node:
    content = [Node("id", {}, key.id.to_bytes(3, "big")), Node("value", {}, key.public)]
    if key.signature is not None:
        content.append(Node("signature", {}, key.signature))
    return Node(tag, {}, tuple(content))


async def _ask_for_more(connection: ClientConnection, device: Device, left: int) -> None:
    await device.deliver(
        Node(
            "notification",
            {
                "from": SERVER_JID,
                "type": "encrypt",
                "id": connection.next_id(),
                "t": str(int(time.time())),
            },
            (Node("count", {"value": str(left)}),),
        )
    )
