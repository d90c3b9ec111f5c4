"""How messages, receipts and typing travel in groups and in status broadcasts.

Everybody is addressed by LID there. A message is encrypted once for all (``skmsg``), and the key to
it is sent to each device that lacks it in a part of its own. Source: whatsmeow ``send.go``
(``sendGroup``), ``message.go`` (``parseMessageSource``), ``receipt.go``, ``broadcast.go``.
"""

from __future__ import annotations

from collections.abc import Iterator

from wavisor.sandbox.accounts import Account, Device
from wavisor.sandbox.codec import GROUP_SERVER, Jid, Node
from wavisor.sandbox.delivery import (
    FORBIDDEN,
    NOT_FOUND,
    ack_of,
    deliver_receipt,
    now,
    present,
    remember_ack,
)
from wavisor.sandbox.directory import World

__all__ = [
    "STATUS_JID",
    "is_shared",
    "on_shared_chatstate",
    "on_shared_message",
    "on_shared_receipt",
]

STATUS_JID = Jid("status", "broadcast")
"""Where everybody's status (stories) goes."""

_NOT_FORWARDED = ("participants", "enc", "device-identity", "tctoken", "cstoken", "reporting")


def is_shared(jid: Jid) -> bool:
    """Tell whether something addressed so goes to many."""
    return jid.server == GROUP_SERVER or jid == STATUS_JID


async def on_shared_message(world: World, sender: Device, to: Jid, stanza: Node) -> Node:
    """Deliver a message to a group or a status; return the server's ack."""
    fanned_out = stanza.child("participants") is not None
    key = (str(to), stanza.text("id"))
    if fanned_out and key in sender.recent_ids:
        return sender.recent_ids[key]
    refusal = _refusal(world, sender.account, to)
    if refusal:
        return ack_of(stanza, refusal)
    deliveries = list(_deliveries(world, sender, to, stanza))
    for device, delivery in deliveries:
        await device.deliver(delivery)
    world.messages_routed += 1
    ack = ack_of(stanza)
    return remember_ack(sender, stanza, ack) if fanned_out else ack


def _refusal(world: World, author: Account, to: Jid) -> int:
    """Return why somebody may not write there, 0 if he may. The codes are a guess."""
    if to == STATUS_JID:
        return 0
    group = world.groups.get(to.user)
    if group is None:
        return NOT_FOUND
    if author.phone not in group.members:
        return FORBIDDEN
    return FORBIDDEN if group.announce and not group.is_admin(author) else 0


def _deliveries(
    world: World, sender: Device, to: Jid, stanza: Node
) -> Iterator[tuple[Device, Node]]:
    own = dict(_own_parts(world, to, stanza))
    shared = () if "participant" in stanza.attrs else tuple(stanza.all("enc"))
    extras = tuple(child for child in stanza.children if child.tag not in _NOT_FORWARDED)
    identity = tuple(stanza.all("device-identity"))
    envelope = Node("message", _envelope(sender, to, stanza))
    for device in _audience(world, to, stanza, own):
        ciphertexts = own.get(device, ()) + shared
        if device is sender or not ciphertexts:
            continue
        first = any(enc.text("type") == "pkmsg" for enc in ciphertexts)
        content = ciphertexts + (identity if first else ()) + extras
        yield device, Node("message", envelope.attrs, content)


def _own_parts(world: World, to: Jid, stanza: Node) -> Iterator[tuple[Device, tuple[Node, ...]]]:
    """Yield what is encrypted for one device alone: keys, or a message sent again."""
    participants, single = stanza.child("participants"), stanza.jid("participant")
    targets = (
        [(node.jid("jid"), node.children) for node in participants.all("to")]
        if (participants is not None)
        else [(single, tuple(stanza.all("enc")))]
    )
    for jid, ciphertexts in targets:
        device = world.device_of(jid) if jid else None
        if device is not None:
            yield device, ciphertexts


def _audience(
    world: World, to: Jid, stanza: Node, own: dict[Device, tuple[Node, ...]]
) -> list[Device]:
    """Return who gets it: all devices of a group's members, or those that a status names."""
    if "participant" in stanza.attrs:
        return list(own)
    group = world.groups.get(to.user) if to.server == GROUP_SERVER else None
    if group is None:
        return list(own)
    return [device for phone in group.members for device in world.devices_of(world.accounts[phone])]


def _envelope(sender: Device, to: Jid, stanza: Node) -> dict[str, str | Jid]:
    return present(
        {
            "from": to,
            "participant": sender.lid,
            "participant_pn": sender.account.pn,
            "addressing_mode": "lid",
            "id": stanza.text("id"),
            "type": stanza.text("type") or "text",
            "t": now(),
            "notify": sender.account.name,
            "edit": stanza.attrs.get("edit"),
        }
    )


async def on_shared_receipt(world: World, sender: Device, to: Jid, stanza: Node) -> None:
    """Tell the author of a message (``participant``) what became of it at this member."""
    author_jid, kind = stanza.jid("participant"), stanza.text("type")
    author = world.account_of(author_jid) if author_jid else None
    if author is None or author_jid is None:
        return
    receipt = Node(
        "receipt",
        present(
            {
                "from": to,
                "participant": sender.lid,
                "participant_pn": sender.account.pn,
                "addressing_mode": "lid",
                "id": stanza.text("id"),
                "t": now(),
                "type": stanza.attrs.get("type"),
            }
        ),
        stanza.children,
    )
    if kind == "retry" or author is sender.account:
        device = author.devices.get(author_jid.device)
        if device is not None and device is not sender:
            await deliver_receipt(world, device, receipt)
        return
    if kind != "read-self":
        for device in world.devices_of(author):
            await deliver_receipt(world, device, receipt)
    if kind in ("read", "read-self", "played"):
        for device in world.devices_of(sender.account):
            if device is not sender:
                copy = receipt.with_attrs(recipient=author_jid.bare)
                await deliver_receipt(world, device, copy)


async def on_shared_chatstate(world: World, sender: Device, to: Jid, stanza: Node) -> None:
    """Show a group's members that one of them is typing."""
    group = world.groups.get(to.user)
    if group is None or sender.account.phone not in group.members:
        return
    attrs: dict[str, str | Jid] = {"from": to, "participant": sender.lid}
    for phone in group.members:
        if phone != sender.account.phone:
            for device in world.devices_of(world.accounts[phone]):
                await device.signal(Node("chatstate", attrs, stanza.children))
