"""What clients ask of channels, and GraphQL queries (``w:mex``), which most of it travels in.

Source: whatsmeow ``newsletter.go``, ``user.go`` (``SetStatusMessage``).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from wavisor.sandbox.accounts import Device
from wavisor.sandbox.channel_routing import post_node
from wavisor.sandbox.channels import Channel
from wavisor.sandbox.codec import Node
from wavisor.sandbox.connection import ClientConnection
from wavisor.sandbox.directory import World
from wavisor.sandbox.notices import announce_about, mex_update
from wavisor.sandbox.stanzas.answers import error, result

__all__ = ["on_mex", "on_query"]

NOT_FOUND, NOT_IMPLEMENTED = 404, 501
LIVE_SECONDS = "300"
DEFAULT_COUNT = 100


class _UnknownChannelError(LookupError):
    """There is no such channel."""


async def on_query(connection: ClientConnection, device: Device, query: Node) -> Node:
    """Answer ``newsletter`` queries: messages of a channel, their updates, live updates."""
    asked = next(iter(query.children), None)
    to = (asked.jid("jid") if asked else None) or query.jid("to")
    channel = connection.world.channels.find(to.user) if to else None
    if asked is None or channel is None:
        return error(query, NOT_FOUND, "item-not-found")
    match asked.tag:
        case "live_updates":
            return result(query, Node("live_updates", {"duration": LIVE_SECONDS}))
        case "messages":
            return result(query, _messages(channel, asked, with_content=True))
        case "message_updates":
            updates = _messages(channel, asked, with_content=False)
            return result(query, Node("message_updates", {}, (updates,)))
    return error(query, NOT_IMPLEMENTED, "feature-not-implemented")


def _messages(channel: Channel, asked: Node, *, with_content: bool) -> Node:
    count = int(asked.text("count") or DEFAULT_COUNT)
    before, after = int(asked.text("before") or 0), int(asked.text("after") or 0)
    posts = [
        post
        for post in channel.posts
        if (not before or post.server_id < before) and post.server_id > after
    ]
    nodes = (post_node(post, with_content=with_content) for post in posts[-count:])
    return Node("messages", {"jid": channel.jid}, tuple(nodes))


async def on_mex(connection: ClientConnection, device: Device, query: Node) -> Node:
    """Carry out a GraphQL query; those that are not known are refused."""
    asked = query.child("query")
    operation = _OPERATIONS.get(asked.text("query_id")) if asked else None
    if asked is None or operation is None:
        return error(query, NOT_IMPLEMENTED, "feature-not-implemented")
    try:
        data = await operation(connection.world, device, json.loads(asked.data)["variables"])
    except _UnknownChannelError:
        problem = {"message": "not found", "extensions": {"error_code": NOT_FOUND}}
        answer: dict[str, Any] = {"data": None, "errors": [problem]}
    except (ValueError, KeyError, TypeError):
        return error(query, 400, "bad-request")
    else:
        answer = {"data": data}
    return result(query, Node("result", {}, json.dumps(answer).encode()))


def _channel(world: World, key: str) -> Channel:
    channel = world.channels.find(key)
    if channel is None:
        raise _UnknownChannelError
    return channel


async def _about(world: World, device: Device, variables: Any) -> Any:
    device.account.status = str(variables["input"]["text"] or "")
    await announce_about(world, device.account)
    return {}


async def _fetch(world: World, device: Device, variables: Any) -> Any:
    channel = _channel(world, variables["input"]["key"])
    viewer = device.account if variables.get("fetch_viewer_metadata") else None
    return {"xwa2_newsletter": channel.metadata(viewer)}


async def _followed(world: World, device: Device, variables: Any) -> Any:
    channels = world.channels.followed_by(device.account)
    return {"xwa2_newsletter_subscribed": [c.metadata(device.account) for c in channels]}


async def _create(world: World, device: Device, variables: Any) -> Any:
    wanted = variables["newsletter_input"]
    channel = world.channels.create(device.account, wanted["name"], wanted.get("description") or "")
    return {"xwa2_newsletter_create": channel.metadata(device.account)}


async def _follow(world: World, device: Device, variables: Any) -> Any:
    channel = _channel(world, variables["newsletter_id"])
    channel.followers.setdefault(device.account.phone, False)
    await _tell(world, device, "on_join", channel.metadata(device.account))
    return {}


async def _unfollow(world: World, device: Device, variables: Any) -> Any:
    channel = _channel(world, variables["newsletter_id"])
    channel.followers.pop(device.account.phone, None)
    role = channel.role_of(device.account)
    await _tell(world, device, "on_leave", {"id": str(channel.jid), "role": role})
    return {}


async def _mute(world: World, device: Device, variables: Any) -> Any:
    return await _set_mute(world, device, variables, muted=True)


async def _unmute(world: World, device: Device, variables: Any) -> Any:
    return await _set_mute(world, device, variables, muted=False)


async def _set_mute(world: World, device: Device, variables: Any, *, muted: bool) -> Any:
    channel = _channel(world, variables["newsletter_id"])
    if device.account.phone not in channel.followers:
        raise _UnknownChannelError
    channel.followers[device.account.phone] = muted
    change = {"id": str(channel.jid), "mute": "ON" if muted else "OFF"}
    await _tell(world, device, "on_mute_change", change)
    return {}


async def _tell(world: World, device: Device, event: str, data: Any) -> None:
    """Tell all devices of the account what happened between it and a channel."""
    for other in world.devices_of(device.account):
        await other.deliver(mex_update(f"xwa2_notify_newsletter_{event}", data))


_OPERATIONS: dict[str, Callable[[World, Device, Any], Awaitable[Any]]] = {
    "9152604461510864": _about,
    "6563316087068696": _fetch,
    "9779843322044422": _fetch,
    "6388546374527196": _followed,
    "6234210096708695": _create,
    "27527996220149684": _create,
    "9926858900719341": _follow,
    "6392786840836363": _unfollow,
    "8782612271820087": _unfollow,
    "6274038279359549": _mute,
    "5971669009605755": _mute,
    "6068417879924485": _unmute,
    "6104029483058502": _unmute,
}
"""GraphQL documents by their number, of the web and of the desktop app."""
