"""What clients ask and want of groups (``w:g2``). Source: whatsmeow ``group.go``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from wavisor.sandbox.codec import GROUP_SERVER, Node
from wavisor.sandbox.connection import ClientConnection
from wavisor.sandbox.directory import Account, Device, World
from wavisor.sandbox.group_desk import GroupDesk
from wavisor.sandbox.group_nodes import changes_node, group_node
from wavisor.sandbox.groups import Group, GroupRefusalError, find_group, group_by_invite
from wavisor.sandbox.stanzas.answers import error, result

__all__ = ["on_query"]

BAD_REQUEST = 400

_Change = Callable[[GroupDesk, Group, Node], Awaitable[Node | None]]


async def on_query(connection: ClientConnection, device: Device, query: Node) -> Node:
    """Answer a question about groups, or carry out a change."""
    desk = GroupDesk(connection.world, device.account)
    asked = next(iter(query.children), None)
    if asked is None:
        return error(query, BAD_REQUEST, "bad-request")
    to = query.jid("to")
    try:
        if to is not None and to.server == GROUP_SERVER and to.user:
            answer = await _about_one(desk, find_group(connection.world, to), query, asked)
        else:
            answer = await _about_any(desk, query, asked)
    except GroupRefusalError as refusal:
        return error(query, refusal.code, str(refusal))
    return result(query, *([answer] if answer is not None else []))


async def _about_any(desk: GroupDesk, query: Node, asked: Node) -> Node | None:
    """Carry out what is not addressed to one group."""
    world, account = desk.world, desk.actor
    match asked.tag:
        case "participating":
            mine = [g for g in world.groups.values() if account.phone in g.members]
            return Node("groups", {}, tuple(group_node(world, group) for group in mine))
        case "create":
            return await _create(desk, asked)
        case "leave":
            for node in asked.all("group"):
                await desk.leave(find_group(world, node.jid("id")))
            return Node("leave")
        case "invite":
            group = group_by_invite(world, asked.text("code"))
            if query.text("type") == "get":
                return group_node(world, group, full=account.phone in group.members)
            if await desk.join(group):
                return Node("group", {"jid": group.jid})
            return Node("membership_approval_request", {"jid": group.jid})
    raise GroupRefusalError(BAD_REQUEST, "bad-request")


async def _create(desk: GroupDesk, asked: Node) -> Node:
    join = asked.child("membership_approval_mode", "group_join")
    expiration = asked.child("ephemeral")
    group, changes = await desk.create(
        asked.text("subject"),
        list(_accounts(desk.world, asked)),
        announce=asked.child("announcement") is not None,
        locked=asked.child("locked") is not None,
        approval=join is not None and join.text("state") == "on",
        expiration=_number(expiration.text("expiration")) if expiration else 0,
    )
    node = group_node(desk.world, group)
    failed = changes_node("", group, [change for change in changes if change.code != 200])
    return Node("group", node.attrs, node.children + failed.children)


async def _about_one(desk: GroupDesk, group: Group, query: Node, asked: Node) -> Node | None:
    """Answer about one group, or change it."""
    if asked.tag == "query" and asked.child("add_request") is None:
        group.require_member(desk.actor)
        return group_node(desk.world, group)
    if asked.tag == "invite":
        code = group.invite_code
        if query.text("type") == "set":
            code = await desk.renew_invite(group)
        group.require_admin(desk.actor)
        return Node("invite", {"code": code})
    change = _CHANGES.get(asked.tag)
    if change is None:
        raise GroupRefusalError(BAD_REQUEST, "bad-request")
    return await change(desk, group, asked)


async def _change_members(desk: GroupDesk, group: Group, asked: Node) -> Node:
    act = {
        "add": desk.add,
        "remove": desk.remove,
        "promote": desk.promote,
        "demote": desk.demote,
    }[asked.tag]
    return changes_node(asked.tag, group, await act(group, _accounts(desk.world, asked)))


async def _requests(desk: GroupDesk, group: Group, asked: Node) -> Node:
    group.require_admin(desk.actor)
    return Node(
        asked.tag,
        {},
        tuple(
            Node(
                "membership_approval_request",
                {"jid": desk.world.accounts[phone].lid, "request_time": str(at)},
            )
            for phone, at in group.requests.items()
        ),
    )


async def _decide(desk: GroupDesk, group: Group, asked: Node) -> Node:
    decided = []
    for decision in asked.children:
        approve = decision.tag == "approve"
        accounts = _accounts(desk.world, decision)
        changes = await desk.decide(group, accounts, approve=approve)
        decided.append(changes_node(decision.tag, group, changes))
    return Node(asked.tag, {}, tuple(decided))


async def _subject(desk: GroupDesk, group: Group, asked: Node) -> None:
    await desk.rename(group, asked.data.decode())


async def _description(desk: GroupDesk, group: Group, asked: Node) -> None:
    body = asked.child("body")
    text = body.data.decode() if body is not None else ""
    previous = asked.text("prev") or None
    await desk.describe(group, text, new_id=asked.text("id") or None, previous=previous)


async def _flag(desk: GroupDesk, group: Group, asked: Node) -> None:
    await desk.set_flag(group, asked.tag)


async def _expiration(desk: GroupDesk, group: Group, asked: Node) -> None:
    seconds = _number(asked.text("expiration")) if asked.tag == "ephemeral" else 0
    await desk.set_expiration(group, seconds)


async def _approval(desk: GroupDesk, group: Group, asked: Node) -> None:
    join = asked.child("group_join")
    await desk.set_approval(group, required=join is not None and join.text("state") == "on")


async def _add_mode(desk: GroupDesk, group: Group, asked: Node) -> None:
    await desk.set_add_mode(group, asked.data.decode())


_CHANGES: dict[str, _Change] = {
    "add": _change_members,
    "remove": _change_members,
    "promote": _change_members,
    "demote": _change_members,
    "subject": _subject,
    "description": _description,
    "announcement": _flag,
    "not_announcement": _flag,
    "locked": _flag,
    "unlocked": _flag,
    "ephemeral": _expiration,
    "not_ephemeral": _expiration,
    "membership_approval_mode": _approval,
    "membership_approval_requests": _requests,
    "membership_requests_action": _decide,
    "member_add_mode": _add_mode,
}


def _accounts(world: World, node: Node) -> Iterator[Account]:
    """Yield the accounts of ``<participant>`` children; raises GroupRefusalError for nobody's."""
    for participant in node.all("participant"):
        jid = participant.jid("jid")
        account = world.account_of(jid) if jid else None
        if account is None:
            raise GroupRefusalError(BAD_REQUEST, "bad-request")
        yield account


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
