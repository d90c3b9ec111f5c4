"""Who is on WhatsApp, with which devices and LID. Source: whatsmeow ``user.go``."""

from __future__ import annotations

import hashlib

from wavisor.sandbox.codec import LEGACY_SERVER, PHONE_SERVER, Jid, Node
from wavisor.sandbox.connection import ClientConnection
from wavisor.sandbox.directory import Account, Device, World
from wavisor.sandbox.number_variants import variants
from wavisor.sandbox.stanzas.answers import error, result

__all__ = ["on_query"]


async def on_query(connection: ClientConnection, device: Device, query: Node) -> Node | None:
    """Answer a ``usync`` query: one ``<user>`` for each that was asked for."""
    usync, asked, listed = (
        query.child("usync"),
        query.child("usync", "query"),
        query.child("usync", "list"),
    )
    if usync is None or asked is None or listed is None:
        return error(query, 400, "bad-request")
    wanted = {node.tag for node in asked.children}
    users = tuple(
        _user(connection.world, device.account, user, wanted) for user in listed.all("user")
    )
    answer = Node(
        "usync",
        {"sid": usync.text("sid"), "index": "0", "last": "true", "mode": usync.text("mode")},
        (Node("result", {}, asked.children), Node("list", {}, users)),
    )
    return result(query, answer)


def _user(world: World, asking: Account, user: Node, wanted: set[str]) -> Node:
    contact = user.child("contact")
    if contact is not None:
        return _contact(world, asking, contact.data, wanted)
    jid = user.jid("jid")
    account = world.account_of(jid) if jid else None
    if jid is None or account is None or not account.on_whatsapp:
        return Node("user", {"jid": jid or Jid("", PHONE_SERVER)})
    return Node("user", {"jid": jid.bare}, _details(world, asking, account, wanted))


def _contact(world: World, asking: Account, query: bytes, wanted: set[str]) -> Node:
    number = query.decode(errors="replace").removesuffix(f"@{LEGACY_SERVER}").lstrip("+")
    account = _by_any_variant(world, number)
    if account is None:
        answer = Node("contact", {"type": "out"}, query)
        return Node("user", {"pn_jid": Jid(number, PHONE_SERVER)}, (answer,))
    answer = Node("contact", {"type": "in"}, query)
    details = _details(world, asking, account, wanted)
    return Node("user", {"jid": account.lid, "pn_jid": account.pn}, (answer, *details))


def _by_any_variant(world: World, number: str) -> Account | None:
    for candidate in (number, *variants(number)):
        account = world.account_by_phone(candidate)
        if account is not None and account.on_whatsapp:
            return account
    return None


def _details(world: World, asking: Account, account: Account, wanted: set[str]) -> tuple[Node, ...]:
    details = []
    if "devices" in wanted:
        # From now on the asking account caches the list, so it must hear of changes.
        account.contacts.add(asking.phone)
        details.append(_devices(world, account))
    if "lid" in wanted:
        details.append(Node("lid", {"val": account.lid}))
    if "status" in wanted:
        hidden = asking is not account and account.privacy.get("status") == "none"
        text = b"" if hidden else account.status.encode()
        details.append(Node("status", {}, text or None))
    if "picture" in wanted and account.picture is not None:
        details.append(Node("picture", {"id": account.picture.id}))
    if "disappearing_mode" in wanted:
        details.append(Node("disappearing_mode", {"duration": "0"}))
    return tuple(details)


def _devices(world: World, account: Account) -> Node:
    devices = world.devices_of(account)
    listed = tuple(
        Node(
            "device", {"id": str(device.id)} | ({"key-index": str(device.id)} if device.id else {})
        )
        for device in devices
    )
    digest = hashlib.sha256("".join(sorted(str(d.jid) for d in devices)).encode()).hexdigest()
    return Node("devices", {}, (Node("device-list", {"hash": digest[:12]}, listed),))
