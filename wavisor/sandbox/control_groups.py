"""Routes of the control API about groups and channels."""

from __future__ import annotations

from collections.abc import Sequence

from wavisor.sandbox.accounts import Account
from wavisor.sandbox.channel_routing import on_channel_message
from wavisor.sandbox.channels import Channel
from wavisor.sandbox.codec import Jid, Node
from wavisor.sandbox.content import text_message
from wavisor.sandbox.control_handlers import ControlHandler, ProblemError
from wavisor.sandbox.control_talk_models import (
    ChannelInfo,
    GroupAction,
    GroupInfo,
    NewChannel,
    NewGroup,
    NewPost,
)
from wavisor.sandbox.group_desk import GroupDesk
from wavisor.sandbox.groups import Group, GroupRefusalError

__all__ = ["ROUTES"]


class _Handler(ControlHandler):
    """What the routes share: accounts by their numbers."""

    def account(self, phone: str) -> Account:
        """Return the account with a number; raises ProblemError 404."""
        account = self.world.account_by_phone(phone)
        if account is None:
            raise ProblemError(404, "a number that is named has no account")
        return account

    def accounts(self, phones: Sequence[str]) -> list[Account]:
        """Return the accounts with some numbers; raises ProblemError 404."""
        return [self.account(phone) for phone in phones]


class GroupsHandler(_Handler):
    """``/groups``: all groups."""

    def get(self) -> None:
        """List them."""
        self.reply([_group_info(group) for group in self.world.groups.values()])

    async def post(self) -> None:
        """Found one."""
        wanted = self.body(NewGroup)
        desk = GroupDesk(self.world, self.account(wanted.actor))
        try:
            group, _ = await desk.create(
                wanted.subject,
                self.accounts(wanted.members),
                **wanted.model_dump(include={"announce", "locked", "approval", "expiration"}),
            )
        except GroupRefusalError as refusal:
            raise ProblemError(409, f"{refusal.code} {refusal}") from refusal
        self.reply(_group_info(group), 201)


class GroupHandler(_Handler):
    """``/groups/{jid}``: one group."""

    def get(self, jid: str) -> None:
        """Return it."""
        self.reply(_group_info(self._group(jid)))

    async def post(self, jid: str) -> None:
        """Let somebody do something in it."""
        group, wanted = self._group(jid), self.body(GroupAction)
        desk = GroupDesk(self.world, self.account(wanted.actor))
        try:
            await self._act(desk, group, wanted)
        except GroupRefusalError as refusal:
            raise ProblemError(409, f"{refusal.code} {refusal}") from refusal
        self.reply(_group_info(group))

    def _group(self, jid: str) -> Group:
        group = self.world.groups.get(jid.partition("@")[0])
        if group is None:
            raise ProblemError(404, "there is no such group")
        return group

    async def _act(self, desk: GroupDesk, group: Group, wanted: GroupAction) -> None:
        accounts = self.accounts(wanted.phones)
        match wanted.action:
            case "add" | "remove" | "promote" | "demote":
                await getattr(desk, wanted.action)(group, accounts)
            case "approve" | "reject":
                await desk.decide(group, accounts, approve=wanted.action == "approve")
            case "leave" | "join" | "renew_invite":
                await getattr(desk, wanted.action)(group)
            case "rename":
                await desk.rename(group, wanted.text)
            case "describe":
                previous = group.description.id if group.description else None
                await desk.describe(group, wanted.text, previous=previous)
            case "ephemeral":
                await desk.set_expiration(group, wanted.seconds)
            case "require_approval" | "open":
                await desk.set_approval(group, required=wanted.action != "open")
            case _:
                await desk.set_flag(group, wanted.action)


class ChannelsHandler(_Handler):
    """``/channels``: all channels."""

    def get(self) -> None:
        """List them."""
        self.reply([_channel_info(channel) for channel in self.world.channels])

    def post(self) -> None:
        """Create one."""
        wanted = self.body(NewChannel)
        owner = self.account(wanted.owner)
        channel = self.world.channels.create(owner, wanted.name, wanted.description)
        self.reply(_channel_info(channel), 201)


class ChannelHandler(_Handler):
    """``/channels/{jid}``: one channel."""

    def get(self, jid: str) -> None:
        """Return it."""
        self.reply(_channel_info(self._channel(jid)))

    async def post(self, jid: str) -> None:
        """Publish a text in it, as its owner."""
        channel, wanted = self._channel(jid), self.body(NewPost)
        plaintext = Node("plaintext", {}, text_message(wanted.text))
        attrs: dict[str, str | Jid] = {"to": channel.jid, "id": wanted.id, "type": "text"}
        stanza = Node("message", attrs, (plaintext,))
        await on_channel_message(self.world, channel.owner.primary, channel.jid, stanza)
        self.reply(_channel_info(channel), 201)

    def _channel(self, jid: str) -> Channel:
        channel = self.world.channels.find(jid)
        if channel is None:
            raise ProblemError(404, "there is no such channel")
        return channel


def _group_info(group: Group) -> GroupInfo:
    return GroupInfo(
        jid=str(group.jid),
        subject=group.subject,
        description=group.description.text if group.description else "",
        members=group.members,
        requests=list(group.requests),
        announce=group.announce,
        locked=group.locked,
        approval=group.approval,
        expiration=group.expiration,
        invite_code=group.invite_code,
        picture_id=group.picture.id if group.picture else None,
    )


def _channel_info(channel: Channel) -> ChannelInfo:
    return ChannelInfo(
        jid=str(channel.jid),
        name=channel.name,
        invite=channel.invite,
        followers=list(channel.followers),
        posts=[post.id for post in channel.posts],
        reactions=[post.reactions for post in channel.posts],
    )


ROUTES: list[tuple[str, type[ControlHandler]]] = [
    (r"/groups", GroupsHandler),
    (r"/groups/([^/]+)", GroupHandler),
    (r"/channels", ChannelsHandler),
    (r"/channels/([^/]+)", ChannelHandler),
]
"""Paths and their handlers."""
