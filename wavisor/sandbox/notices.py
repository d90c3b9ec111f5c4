"""Notifications of the server: groups, pictures, "about" texts, time limits.

Source: whatsmeow ``notification.go`` and ``group.go`` (``parseGroupNotification``).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable

from wavisor.sandbox.accounts import Account, Device
from wavisor.sandbox.codec import SERVER_JID, Jid, Node
from wavisor.sandbox.delivery import now
from wavisor.sandbox.directory import World
from wavisor.sandbox.groups import Group

__all__ = [
    "announce_about",
    "announce_group",
    "announce_picture",
    "announce_privacy",
    "announce_timelock",
    "mex_update",
    "notification",
]


def notification(source: Jid, kind: str, *content: Node, **attrs: str | Jid) -> Node:
    """Return a notification with an id of its own."""
    known: dict[str, str | Jid] = {
        "from": source,
        "type": kind,
        "id": secrets.token_hex(8).upper(),
        "t": now(),
    }
    return Node("notification", known | attrs, content)


async def announce_group(
    world: World, group: Group, author: Account, change: Node, *, to: Iterable[str] = ()
) -> None:
    """Tell a group's members, and the phone numbers in ``to`` besides, what ``author`` changed."""
    for phone in dict.fromkeys([*group.members, *to]):
        await tell_of_group(world, group, author, change, phone)


async def tell_of_group(
    world: World, group: Group, author: Account, change: Node, phone: str
) -> None:
    """Tell one person, member or not, what ``author`` changed in a group."""
    stanza = notification(
        group.jid,
        "w:gp2",
        change,
        participant=author.lid,
        participant_pn=author.pn,
        notify=author.name,
        addressing_mode="lid",
    )
    for device in world.devices_of(world.accounts[phone]):
        await device.deliver(stanza)


def _acquaintances(world: World, account: Account) -> list[Device]:
    """Return the devices of all who know an account, its own included."""
    known = [account, *(world.account_by_phone(phone) for phone in sorted(account.contacts))]
    return [device for other in known if other for device in world.devices_of(other)]


async def announce_picture(
    world: World, subject: Account | Group, author: Account, *, except_for: Device | None = None
) -> None:
    """Tell those who know somebody, or are in a group, that the picture has changed."""
    if isinstance(subject, Group):
        jid = subject.jid
        devices = [
            device
            for phone in subject.members
            for device in world.devices_of(world.accounts[phone])
        ]
    else:
        jid = subject.lid
        devices = _acquaintances(world, subject)
    if subject.picture is None:
        change = Node("delete", {"jid": jid, "author": author.lid})
    else:
        change = Node("set", {"jid": jid, "id": subject.picture.id, "author": author.lid})
    stanza = notification(jid, "picture", change)
    for device in devices:
        if device is not except_for:
            await device.deliver(stanza)


async def announce_about(world: World, account: Account) -> None:
    """Tell those who know somebody of the new "about" text."""
    stanza = notification(account.lid, "status", Node("set", {}, account.status.encode()))
    for device in _acquaintances(world, account):
        if device.account is not account:
            await device.deliver(stanza)


async def announce_privacy(world: World, account: Account, author: Device, change: Node) -> None:
    """Tell an account's other devices that ``author`` changed privacy settings or the block list.

    ``change`` is ``<privacy>`` or ``<blocklist>``.
    """
    for device in world.devices_of(account):
        if device is not author:
            await device.deliver(notification(account.pn, "account_sync", change))


def mex_update(operation: str, data: object) -> Node:
    """Return a notification about the result of a GraphQL operation."""
    content = json.dumps({"data": {operation: data}}).encode()
    return notification(SERVER_JID, "mex", Node("update", {"op_name": operation}, content))


async def announce_timelock(device: Device, seconds: float | None) -> None:
    """Tell a client that it may not write to strangers, and until when (an hour by default)."""
    data = {
        "is_active": True,
        "enforcement_type": "DEFAULT",
        "time_enforcement_ends": str(int(time.time() + (seconds or 3600))),
    }
    await device.deliver(mex_update("xwa2_notify_account_reachout_timelock", data))
