"""How stanzas travel from one device to others: messages, receipts, presence, typing.

Used by the connections of real clients and by simulated peers alike, so that both are treated the
same. Source: whatsmeow ``send.go``, ``message.go`` (``parseMessageSource``), ``receipt.go``,
``retry.go``, ``presence.go``, ``notification.go``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator

from wavisor.sandbox.calls import on_call
from wavisor.sandbox.channel_routing import NEWSLETTER_SERVER, on_channel_message
from wavisor.sandbox.codec import Jid, Node
from wavisor.sandbox.delivery import (
    FORBIDDEN,
    NOT_FOUND,
    ack_of,
    deliver_receipt,
    identity_of,
    now,
    present,
    remember_ack,
)
from wavisor.sandbox.directory import Account, Device, World
from wavisor.sandbox.faults import FaultKind
from wavisor.sandbox.group_routing import (
    is_shared,
    on_shared_chatstate,
    on_shared_message,
    on_shared_receipt,
)
from wavisor.sandbox.notices import announce_timelock

__all__ = ["announce_app_state", "announce_devices", "presence_changed", "submit", "unlink"]

_NOT_FORWARDED = ("participants", "enc", "tctoken", "cstoken")
"""Parts of a message that are addressed one by one, or meant for the server alone."""
REACHOUT_TIMELOCK = 463
"""The account may not write to people who never wrote to it, for a while."""


async def submit(world: World, sender: Device, stanza: Node) -> Node | None:
    """Carry out what a device sends: message, receipt, presence, chatstate or call.

    A peer sends exactly what a client would: ``<message to=LID id type><participants><to
    jid=LID:dev><enc v=2 type=pkmsg|msg/></to>…</participants></message>`` (or ``<enc>`` directly
    with a device in ``to``), ``<receipt to=… id [type]/>``, with ``recipient`` where a client
    would set it.

    Returns:
        The server's ``<ack>`` for a message, receipt or call (with ``error`` if it was refused),
        None for presence and typing.
    """
    match stanza.tag:
        case "message":
            return await _on_message(world, sender, stanza)
        case "receipt":
            return await _on_receipt(world, sender, stanza)
        case "presence":
            await _on_presence(world, sender, stanza)
        case "chatstate":
            await _on_chatstate(world, sender, stanza)
        case "call":
            return await on_call(world, sender, stanza)
    return None


async def _on_message(world: World, sender: Device, stanza: Node) -> Node:
    message_id, to = stanza.text("id"), stanza.jid("to")
    if fault := world.faults.strike(FaultKind.REJECT_MESSAGES, **identity_of(sender)):
        if fault.code == REACHOUT_TIMELOCK:
            await announce_timelock(sender, fault.seconds)
        return ack_of(stanza, fault.code)
    if to is not None and message_id:
        if is_shared(to):
            return await on_shared_message(world, sender, to, stanza)
        if to.server == NEWSLETTER_SERVER:
            return await on_channel_message(world, sender, to, stanza)
    account = world.account_of(to) if to else None
    if to is None or account is None or not message_id:
        return ack_of(stanza, NOT_FOUND)
    fanned_out = stanza.child("participants") is not None
    key = (str(to), message_id)
    if fanned_out and key in sender.recent_ids:
        return sender.recent_ids[key]
    if account.lid in sender.account.blocked or account.pn in sender.account.blocked:
        return ack_of(stanza, FORBIDDEN)
    deliveries = list(_deliveries(world, sender, account, to, stanza))
    blocked = sender.account.lid in account.blocked or sender.account.pn in account.blocked
    for device, delivery in deliveries:
        # To the sender it looks as if a message to somebody who blocks it was just never read.
        if not (blocked and device.account is account):
            await device.deliver(delivery)
    world.messages_routed += 1
    answer = ack_of(stanza)
    return remember_ack(sender, stanza, answer) if fanned_out else answer


def _deliveries(
    world: World, sender: Device, account: Account, to: Jid, stanza: Node
) -> Iterator[tuple[Device, Node]]:
    """Yield what each addressed device gets: the envelope, its own ciphertext, and the rest."""
    participants = stanza.child("participants")
    extras = tuple(child for child in stanza.children if child.tag not in _NOT_FORWARDED)
    targets: Iterable[tuple[Jid | None, tuple[Node, ...]]]
    if participants is not None:
        targets = [(target.jid("jid"), target.children) for target in participants.all("to")]
    else:
        targets = [(to, tuple(stanza.all("enc")))]
    for jid, ciphertexts in targets:
        device = world.device_of(jid) if jid else None
        if device is None or device is sender or not ciphertexts:
            continue
        if device.account is not account and device.account is not sender.account:
            continue
        identity_needed = any(enc.text("type") == "pkmsg" for enc in ciphertexts)
        kept = tuple(e for e in extras if identity_needed or e.tag != "device-identity")
        envelope = _envelope(sender, device, account, to, stanza)
        yield device, Node("message", envelope, ciphertexts + kept)


def _envelope(
    sender: Device, receiver: Device, account: Account, to: Jid, stanza: Node
) -> dict[str, str | Jid]:
    by_lid = to.is_lid
    attrs: dict[str, str | Jid | None] = {
        "from": sender.lid if by_lid else sender.jid,
        "id": stanza.text("id"),
        "type": stanza.text("type") or "text",
        "t": now(),
        "notify": sender.account.name,
        "edit": stanza.attrs.get("edit"),
        "category": stanza.attrs.get("category"),
    }
    if receiver.account is not sender.account:
        attrs["sender_pn" if by_lid else "sender_lid"] = (
            sender.account.pn if by_lid else sender.account.lid
        )
    elif stanza.text("category") != "peer":
        attrs["recipient"] = stanza.attrs.get("recipient") or to.bare
        attrs["peer_recipient_pn" if by_lid else "peer_recipient_lid"] = (
            account.pn if by_lid else account.lid
        )
    return present(attrs)


async def _on_receipt(world: World, sender: Device, stanza: Node) -> Node:
    to, kind = stanza.jid("to"), stanza.text("type")
    ack = Node(
        "ack",
        {
            name: value
            for name, value in (
                ("class", "receipt"),
                ("id", stanza.text("id")),
                ("from", stanza.attrs.get("to")),
                ("type", stanza.attrs.get("type")),
                ("t", now()),
            )
            if value is not None
        },
    )
    if kind != "retry":
        # A receipt confirms the message itself too: whatsmeow sends no other ack for it.
        participant = stanza.text("participant")
        sender.acknowledge(("message", stanza.text("id"), stanza.text("to"), "", participant))
    if to is not None and is_shared(to):
        await on_shared_receipt(world, sender, to, stanza)
        return ack
    account = world.account_of(to) if to else None
    if to is None or account is None:
        return ack
    for device, receipt in _receipts(world, sender, account, to, stanza):
        await deliver_receipt(world, device, receipt)
    return ack


def _receipts(
    world: World, sender: Device, account: Account, to: Jid, stanza: Node
) -> Iterator[tuple[Device, Node]]:
    kind = stanza.text("type")
    forwarded = Node(
        "receipt",
        {
            "from": sender.lid if to.is_lid else sender.jid,
            "id": stanza.text("id"),
            "t": now(),
            **{
                name: stanza.attrs[name]
                for name in ("type", "recipient", "participant", "category")
                if name in stanza.attrs
            },
        },
        stanza.children,
    )
    if kind == "retry" or account is sender.account:
        # Only the device that sent the message can encrypt it again, or is waiting for this.
        device = account.devices.get(to.device)
        if device is not None and device is not sender:
            yield device, forwarded
        return
    for device in world.devices_of(account):
        yield device, forwarded
    if kind in ("read", "played"):
        for device in world.devices_of(sender.account):
            if device is not sender:
                yield device, forwarded.with_attrs(recipient=to.bare)


async def _on_presence(world: World, sender: Device, stanza: Node) -> None:
    kind, to = stanza.text("type"), stanza.jid("to")
    account = sender.account
    if kind == "subscribe" and to is not None:
        target = world.account_of(to)
        if target is not None:
            target.presence_subscribers[account.phone] = to.bare
            await sender.signal(_presence(target, to.bare))
        return
    if name := stanza.text("name"):
        account.name = name
    was_available = _is_available(account)
    sender.available = kind != "unavailable"
    if was_available != _is_available(account):
        account.last_seen = None if sender.available else int(time.time())
        await presence_changed(world, account)


def _is_available(account: Account) -> bool:
    return any(device.available for device in account.devices.values())


def _presence(account: Account, addressed_as: Jid) -> Node:
    attrs: dict[str, str | Jid] = {"from": addressed_as}
    if not _is_available(account):
        attrs["type"] = "unavailable"
        attrs["last"] = str(account.last_seen) if account.last_seen else "deny"
    return Node("presence", attrs)


async def presence_changed(world: World, account: Account) -> None:
    """Tell those who subscribed, as far as they are available themselves."""
    if not world.settings.presence_echo:
        return
    for phone, addressed_as in list(account.presence_subscribers.items()):
        subscriber = world.account_by_phone(phone)
        for device in world.devices_of(subscriber) if subscriber else ():
            if device.available or device.peer is not None:
                await device.signal(_presence(account, addressed_as))


async def _on_chatstate(world: World, sender: Device, stanza: Node) -> None:
    to = stanza.jid("to")
    if to is not None and is_shared(to):
        await on_shared_chatstate(world, sender, to, stanza)
        return
    account = world.account_of(to) if to else None
    if to is None or account is None or account is sender.account:
        return
    state = Node("chatstate", {"from": sender.lid if to.is_lid else sender.jid}, stanza.children)
    for device in world.devices_of(account):
        await device.signal(state)


async def announce_devices(world: World, account: Account) -> None:
    """Tell everybody who knows the account's devices that the list has changed.

    Both addresses of the account are named, since a client may have cached the list under either;
    ``update`` makes it drop what it has (whatsmeow ``handleDeviceNotification``).
    """
    listeners = [account, *(world.account_by_phone(phone) for phone in sorted(account.contacts))]
    for listener in listeners:
        for device in world.devices_of(listener) if listener else ():
            for address in (account.lid, account.pn):
                update = Node("update", {"device_hash": secrets.token_hex(4)})
                attrs: dict[str, str | Jid] = {
                    "from": address,
                    "type": "devices",
                    "id": secrets.token_hex(8),
                    "t": now(),
                }
                await device.deliver(Node("notification", attrs, (update,)))


async def announce_app_state(
    world: World, account: Account, collection: str, *, author: Device
) -> None:
    """Tell an account's other devices that ``author`` changed its synchronised settings."""
    version = str(account.app_state.version(collection))
    for device in world.devices_of(account):
        if device is not author:
            change = Node("collection", {"name": collection, "version": version})
            attrs: dict[str, str | Jid] = {
                "from": account.pn,
                "type": "server_sync",
                "id": secrets.token_hex(8),
                "t": now(),
            }
            await device.deliver(Node("notification", attrs, (change,)))


async def unlink(world: World, device: Device, *, announced: bool = True) -> None:
    """Remove a companion device from its account.

    Args:
        world: where it lives.
        device: the companion.
        announced: whether it is told by ``device_removed`` (its phone unlinked it) or knows
            already (it logged out itself). At its next login it gets 401 in both cases.
    """
    connection = device.connection
    if not world.drop_device(device):
        return
    await announce_devices(world, device.account)
    if connection is not None and announced:
        conflict = Node("conflict", {"type": "device_removed"})
        await connection.dismiss(Node("stream:error", {"code": "401"}, (conflict,)))
