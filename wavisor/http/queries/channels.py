"""Channels (newsletters): what they are, following them, reacting to what they say."""

from __future__ import annotations

from http import HTTPStatus

from wavisor.http.permissions import Permission
from wavisor.http.queries.addresses import CHANNEL, INVITE_CODE
from wavisor.http.queries.asking import ask, change, wire
from wavisor.http.queries.failures import QUERY_PROBLEMS
from wavisor.http.queries.group_schemas import ChannelListModel, ChannelModel, ReactInChannel
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.http.schemas import Empty
from wavisor.whatsapp import queries

__all__ = ["router"]

router = Router("channels", "Channels (newsletters) that the account follows.")


@router.route(
    "GET",
    "/api/channels",
    operation="listChannels",
    summary="List channels",
    access=Permission.CHANNELS_READ,
    instance=InstanceFrom.HEADER,
    responses={200: ChannelListModel},
    problems=QUERY_PROBLEMS,
)
async def list_channels(call: Call[None, None]) -> Reply:
    """Lists the channels that the account follows or owns."""
    found = await ask(call, queries.ListChannels())
    return Reply(ChannelListModel(items=[wire(ChannelModel, one) for one in found.items]))


@router.route(
    "GET",
    "/api/channels/{jid}",
    operation="getChannel",
    summary="Read a channel",
    access=Permission.CHANNELS_READ,
    parameters={"jid": CHANNEL},
    instance=InstanceFrom.HEADER,
    responses={200: ChannelModel},
    problems=QUERY_PROBLEMS,
)
async def get_channel(call: Call[None, None]) -> Reply:
    """Returns a channel, whether the account follows it or not."""
    channel = await ask(call, queries.ChannelInfo(channel=call.path["jid"]))
    return Reply(wire(ChannelModel, channel))


@router.route(
    "GET",
    "/api/channels/invites/{code}",
    operation="getChannelOfInvite",
    summary="See where a channel's link leads",
    access=Permission.CHANNELS_READ,
    parameters={"code": INVITE_CODE},
    instance=InstanceFrom.HEADER,
    responses={200: ChannelModel},
    problems=QUERY_PROBLEMS,
)
async def get_channel_of_invite(call: Call[None, None]) -> Reply:
    """Returns the channel that `https://whatsapp.com/channel/{code}` leads to.

    WhatsApp does not tell then what the account is there: `role` and `muted` are null.
    """
    channel = await ask(call, queries.ChannelFromLink(code=call.path["code"]))
    return Reply(wire(ChannelModel, channel))


@router.route(
    "POST",
    "/api/channels/{jid}/follow",
    operation="followChannel",
    summary="Follow a channel",
    access=Permission.CHANNELS_MANAGE,
    parameters={"jid": CHANNEL},
    instance=InstanceFrom.HEADER,
    body=Empty,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def follow_channel(call: Call[Empty, None]) -> Reply:
    """Follows a channel."""
    return await _follow(call, follow=True)


@router.route(
    "POST",
    "/api/channels/{jid}/unfollow",
    operation="unfollowChannel",
    summary="Stop following a channel",
    access=Permission.CHANNELS_MANAGE,
    parameters={"jid": CHANNEL},
    instance=InstanceFrom.HEADER,
    body=Empty,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def unfollow_channel(call: Call[Empty, None]) -> Reply:
    """Stops following a channel."""
    return await _follow(call, follow=False)


@router.route(
    "POST",
    "/api/channels/{jid}/reactions",
    operation="reactInChannel",
    summary="React to a message of a channel",
    access=Permission.CHANNELS_MANAGE,
    parameters={"jid": CHANNEL},
    instance=InstanceFrom.HEADER,
    body=ReactInChannel,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def react_in_channel(call: Call[ReactInChannel, None]) -> Reply:
    """Reacts to a message, or takes the reaction back. WhatsApp does not confirm it."""
    query = queries.ChannelReaction(
        channel=call.path["jid"], message=call.body.message, emoji=call.body.emoji
    )
    await ask(call, query)
    return Reply(status=HTTPStatus.NO_CONTENT)


async def _follow(call: Call[Empty, None], *, follow: bool) -> Reply:
    jid = call.path["jid"]
    action = "channel.follow" if follow else "channel.unfollow"
    await change(call, action, jid, queries.FollowChannel(channel=jid, follow=follow))
    return Reply(status=HTTPStatus.NO_CONTENT)
