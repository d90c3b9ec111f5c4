"""How messages and reactions travel in channels. Source: whatsmeow ``send.go``
(``sendNewsletter``), ``newsletter.go``, ``message.go`` (``handlePlaintextMessage``).
"""

from __future__ import annotations

from wavisor.sandbox.accounts import Device
from wavisor.sandbox.channels import NEWSLETTER_SERVER, Channel, ChannelPost
from wavisor.sandbox.codec import Jid, Node
from wavisor.sandbox.delivery import FORBIDDEN, NOT_FOUND, ack_of, present, remember_ack
from wavisor.sandbox.directory import World
from wavisor.sandbox.notices import notification

__all__ = ["NEWSLETTER_SERVER", "on_channel_message", "post_node"]

_ADMIN_EDIT = "3"
_ADMIN_REVOKE = "8"


async def on_channel_message(world: World, sender: Device, to: Jid, stanza: Node) -> Node:
    """Publish what an owner writes, or note a reaction; return the server's ack."""
    channel = world.channels.find(to.user)
    if channel is None:
        return ack_of(stanza, NOT_FOUND)
    key = (str(to), stanza.text("id"))
    if key in sender.recent_ids and not stanza.text("edit"):
        return sender.recent_ids[key]
    if stanza.text("type") == "reaction":
        return await _react(world, sender, channel, stanza)
    if sender.account is not channel.owner:
        return ack_of(stanza, FORBIDDEN)
    plaintext = stanza.child("plaintext")
    edit = stanza.text("edit")
    if edit in (_ADMIN_EDIT, _ADMIN_REVOKE):
        post = next((p for p in channel.posts if p.id == stanza.text("id")), None)
        if post is None:
            return ack_of(stanza, NOT_FOUND)
        post.content = plaintext.data if plaintext and edit == _ADMIN_EDIT else b""
    else:
        media_type = plaintext.text("mediatype") if plaintext else ""
        post = channel.publish(
            stanza.text("id"),
            stanza.text("type") or "text",
            plaintext.data if plaintext else b"",
            media_type or None,
        )
    await _publish(world, sender, channel, post, edit)
    world.messages_routed += 1
    return remember_ack(sender, stanza, ack_of(stanza, server_id=str(post.server_id)))


async def _react(world: World, sender: Device, channel: Channel, stanza: Node) -> Node:
    number = stanza.text("server_id")
    post = channel.post(int(number)) if number.isdecimal() else None
    if post is None:
        return ack_of(stanza, NOT_FOUND)
    reaction = stanza.child("reaction")
    emoji = reaction.text("code") if reaction else ""
    if emoji:
        post.reactions[sender.account.phone] = emoji
    else:
        post.reactions.pop(sender.account.phone, None)
    update = Node("live_updates", {}, (post_node(post, with_content=False),))
    for phone in channel.followers:
        for device in world.devices_of(world.accounts[phone]):
            await device.deliver(notification(channel.jid, "newsletter", update))
    return ack_of(stanza, server_id=number)


async def _publish(
    world: World, sender: Device, channel: Channel, post: ChannelPost, edit: str
) -> None:
    attrs = present(
        {
            "from": channel.jid,
            "id": post.id,
            "server_id": str(post.server_id),
            "type": post.type,
            "t": str(post.at),
            "edit": edit or None,
        }
    )
    content = (_plaintext(post),) if post.content else ()
    for phone in channel.followers:
        for device in world.devices_of(world.accounts[phone]):
            if device is not sender:
                await device.deliver(Node("message", attrs, content))


def _plaintext(post: ChannelPost) -> Node:
    return Node("plaintext", present({"mediatype": post.media_type}), post.content)


def post_node(post: ChannelPost, *, with_content: bool = True) -> Node:
    """Return ``<message>`` as in the answer to a query for a channel's messages."""
    counts: dict[str, int] = {}
    for emoji in post.reactions.values():
        counts[emoji] = counts.get(emoji, 0) + 1
    children = [Node("views_count", {"count": str(len(post.viewers))})]
    if counts:
        reactions = (Node("reaction", {"code": e, "count": str(n)}) for e, n in counts.items())
        children.append(Node("reactions", {}, tuple(reactions)))
    if with_content and post.content:
        children.append(_plaintext(post))
    attrs = {
        "server_id": str(post.server_id),
        "id": post.id,
        "type": post.type,
        "t": str(post.at),
    }
    return Node("message", attrs, tuple(children))
