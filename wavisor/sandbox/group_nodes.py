"""Groups as stanzas have them. Source: whatsmeow ``group.go`` (``parseGroupNode``)."""

from __future__ import annotations

from collections.abc import Iterable

from wavisor.sandbox.accounts import Account
from wavisor.sandbox.codec import Jid, Node
from wavisor.sandbox.directory import World
from wavisor.sandbox.groups import Group, MemberChange

__all__ = ["changes_node", "group_node", "member_node", "members_node"]


def member_node(account: Account, *, role: str = "member", code: int = 200) -> Node:
    """Return ``<participant>``; ``code`` is what became of it in a change."""
    attrs: dict[str, str | Jid] = {"jid": account.lid, "phone_number": account.pn}
    if role != "member":
        attrs["type"] = role
    if code != 200:
        attrs["error"] = str(code)
    return Node("participant", attrs)


def members_node(tag: str, group: Group, accounts: Iterable[Account], *, reason: str = "") -> Node:
    """Return a change of members as notifications have it."""
    attrs = {"prev_v_id": str(group.version - 1), "v_id": str(group.version)}
    if reason:
        attrs["reason"] = reason
    return Node(tag, attrs, tuple(member_node(account) for account in accounts))


def changes_node(tag: str, group: Group, changes: Iterable[MemberChange]) -> Node:
    """Return what became of a wanted change of members, as the answer to it."""
    return Node(
        tag,
        {},
        tuple(
            member_node(
                change.account,
                role=group.members.get(change.account.phone, "member"),
                code=change.code,
            )
            for change in changes
        ),
    )


def group_node(world: World, group: Group, *, full: bool = True) -> Node:
    """Return ``<group>``; with ``full`` False without members, as for who is not in it."""
    attrs: dict[str, str | Jid] = {
        "id": group.id,
        "subject": group.subject,
        "s_t": str(group.subject_at),
        "creation": str(group.created),
        "creator": group.creator.lid,
        "creator_pn": group.creator.pn,
        "size": str(len(group.members)),
        "addressing_mode": "lid",
        "a_v_id": str(group.version),
        "p_v_id": str(group.version),
    }
    if group.subject_author is not None:
        attrs |= {"s_o": group.subject_author.lid, "s_o_pn": group.subject_author.pn}
    children = [*_settings(group)]
    if full:
        children += [
            member_node(world.accounts[phone], role=role) for phone, role in group.members.items()
        ]
    return Node("group", attrs, tuple(children))


def _settings(group: Group) -> Iterable[Node]:
    if (description := group.description) is not None:
        attrs: dict[str, str | Jid] = {
            "id": description.id,
            "t": str(description.at),
            "participant": description.author.lid,
            "participant_pn": description.author.pn,
        }
        body = Node("body", {}, description.text.encode())
        yield Node("description", attrs, (body,))
    if group.announce:
        yield Node("announcement")
    if group.locked:
        yield Node("locked")
    if group.expiration:
        yield Node("ephemeral", {"expiration": str(group.expiration)})
    if group.approval:
        join = Node("group_join", {"state": "on"})
        yield Node("membership_approval_mode", {}, (join,))
    yield Node("member_add_mode", {}, group.add_mode.encode())
