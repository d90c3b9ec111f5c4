"""Small queries about people and settings that clients make on their own account.

Source: whatsmeow ``privacysettings.go``, ``user.go``, ``broadcast.go``.
"""

from __future__ import annotations

import base64
import secrets
import time
from hashlib import sha256

from wavisor.sandbox.codec import GROUP_SERVER, Jid, Node
from wavisor.sandbox.connection import ClientConnection
from wavisor.sandbox.directory import Account, Device, World
from wavisor.sandbox.group_desk import GroupDesk
from wavisor.sandbox.groups import Group, GroupRefusalError, find_group
from wavisor.sandbox.notices import announce_picture, announce_privacy
from wavisor.sandbox.profiles import Picture
from wavisor.sandbox.stanzas.answers import error, result

__all__ = ["on_blocklist", "on_business", "on_picture", "on_privacy", "on_status"]

_JPEG = b"\xff\xd8\xff"

_PRIVACY = {
    "groupadd": "all",
    "last": "all",
    "status": "all",
    "profile": "all",
    "readreceipts": "all",
    "online": "all",
    "calladd": "all",
}


async def on_privacy(connection: ClientConnection, device: Device, query: Node) -> Node:
    """Answer the privacy settings, accept a change, or pass on trusted-contact tokens."""
    if (tokens := query.child("tokens")) is not None:
        await _issue_tokens(connection, device, tokens)
        return result(query)
    asked = query.child("privacy")
    if asked is None:
        return result(query)
    account = device.account
    if query.text("type") == "set":
        for category in asked.children:
            account.privacy[category.text("name")] = category.text("value")
        await announce_privacy(connection.world, account, device, asked)
    categories = tuple(
        Node("category", {"name": name, "value": account.privacy.get(name, value)})
        for name, value in _PRIVACY.items()
    )
    return result(query, Node("privacy", {}, categories))


async def _issue_tokens(connection: ClientConnection, device: Device, tokens: Node) -> None:
    """Give people a token that shows later that this account trusts them (``tctoken.go``)."""
    for token in tokens.all("token"):
        jid = token.jid("jid")
        account = connection.world.account_of(jid) if jid else None
        if account is None:
            continue
        issued = Node(
            "token",
            {"type": "trusted_contact", "t": token.text("t") or str(int(time.time()))},
            secrets.token_bytes(16),
        )
        notification = Node(
            "notification",
            {
                "from": device.account.lid,
                "sender_lid": device.account.lid,
                "type": "privacy_token",
                "id": connection.next_id(),
                "t": str(int(time.time())),
            },
            (Node("tokens", {}, (issued,)),),
        )
        for receiver in connection.world.devices_of(account):
            await receiver.deliver(notification)


async def on_blocklist(connection: ClientConnection, device: Device, query: Node) -> Node:
    """Answer the block list, after applying a change."""
    account = device.account
    changes = tuple(query.all("item"))
    for item in changes:
        jid = item.jid("jid")
        if jid is not None and item.text("action") == "block":
            account.blocked[jid] = None
        elif jid is not None:
            account.blocked.pop(jid, None)
    if changes:
        change = Node("blocklist", {"dhash": str(len(account.blocked))}, changes)
        await announce_privacy(connection.world, account, device, change)
    items = tuple(Node("item", {"jid": jid}) for jid in account.blocked)
    return result(query, Node("list", {"dhash": str(len(items))}, items))


async def on_picture(connection: ClientConnection, device: Device, query: Node) -> Node:
    """Answer where a picture is, or take a new one of the account or of a group."""
    target, asked = query.jid("target"), query.child("picture")
    try:
        if query.text("type") == "set":
            picture = await _set_picture(connection.world, device, target, asked)
            return result(query, *([Node("picture", {"id": picture.id})] if picture else []))
        subject = _pictured(connection.world, device, target)
    except GroupRefusalError as refusal:
        return error(query, refusal.code, str(refusal))
    if subject is None or subject.picture is None:
        return error(query, 404, "item-not-found")
    if isinstance(subject, Account) and not _may_see(subject, device.account, "profile"):
        return error(query, 401, "not-authorized")
    if asked is not None and asked.text("id") == subject.picture.id:
        return result(query, Node("picture", {"status": "304"}))
    attrs = {
        "id": subject.picture.id,
        "type": asked.text("type") or "image" if asked else "image",
        "url": connection.world.media.url(subject.picture.direct_path),
        "direct_path": subject.picture.direct_path,
        "hash": base64.b64encode(sha256(subject.picture.content).digest()).decode(),
    }
    return result(query, Node("picture", attrs))


def _pictured(world: World, device: Device, target: Jid | None) -> Account | Group | None:
    if target is None:
        return device.account
    if target.server == GROUP_SERVER:
        group = find_group(world, target)
        group.require_member(device.account)
        return group
    return world.account_of(target)


async def _set_picture(
    world: World, device: Device, target: Jid | None, asked: Node | None
) -> Picture | None:
    content = asked.data if asked else b""
    if content and not content.startswith(_JPEG):
        raise GroupRefusalError(406, "not-acceptable")
    if target is not None and target.server == GROUP_SERVER:
        desk = GroupDesk(world, device.account)
        return await desk.set_picture(find_group(world, target), content or None)
    if target is not None and world.account_of(target) is not device.account:
        raise GroupRefusalError(403, "forbidden")
    account = device.account
    account.picture = Picture(content, world.media.put(content)) if content else None
    await announce_picture(world, account, account, except_for=device)
    return account.picture


def _may_see(owner: Account, viewer: Account, category: str) -> bool:
    """Tell whether privacy settings let somebody see something. All are each other's contacts."""
    return owner is viewer or owner.privacy.get(category) != "none"


async def on_business(connection: ClientConnection, device: Device, query: Node) -> Node:
    """Answer the profile of a business."""
    asked = query.child("business_profile", "profile")
    jid = asked.jid("jid") if asked else None
    account = connection.world.account_of(jid) if jid else None
    if account is None or jid is None or account.business is None:
        return error(query, 404, "item-not-found")
    business = account.business
    hours = tuple(
        Node(
            "business_hours_config",
            {
                "day_of_week": day,
                "mode": "specific_hours",
                "open_time": str(opening),
                "close_time": str(closing),
            },
        )
        for day, opening, closing in business.hours
    )
    category = Node("category", {"id": "1"}, business.category.encode())
    profile = Node(
        "profile",
        {"jid": jid},
        (
            Node("address", {}, business.address.encode()),
            Node("email", {}, business.email.encode()),
            Node("business_hours", {"timezone": business.timezone}, hours),
            Node("categories", {}, (category,) if business.category else ()),
        ),
    )
    return result(query, Node("business_profile", {"v": "244"}, (profile,)))


async def on_status(connection: ClientConnection, device: Device, query: Node) -> Node:
    """There are no lists of who may see status broadcasts; changes are accepted."""
    if query.text("type") == "get":
        return error(query, 404, "item-not-found")
    return result(query)
