"""Carries out what somebody wants of groups, and tells their members.

Used for real clients (``stanzas/groups.py``) and for simulated people (``control_groups.py``).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

from wavisor.sandbox.accounts import Account
from wavisor.sandbox.codec import Node
from wavisor.sandbox.directory import World
from wavisor.sandbox.group_nodes import group_node, members_node
from wavisor.sandbox.groups import Group, MemberChange, found_group
from wavisor.sandbox.notices import announce_group, announce_picture, tell_of_group
from wavisor.sandbox.profiles import Picture

__all__ = ["GroupDesk"]

_FLAGS = {
    "announcement": ("announce", True),
    "not_announcement": ("announce", False),
    "locked": ("locked", True),
    "unlocked": ("locked", False),
}
"""Changes that have a tag and nothing else, as queries and in notifications."""


class GroupDesk:
    """What ``actor`` does with groups. Everything raises GroupRefusalError if it is not allowed."""

    def __init__(self, world: World, actor: Account) -> None:
        self.world = world
        self.actor = actor

    async def create(
        self,
        subject: str,
        members: Sequence[Account],
        *,
        announce: bool = False,
        locked: bool = False,
        approval: bool = False,
        expiration: int = 0,
    ) -> tuple[Group, list[MemberChange]]:
        """Found a group with people in it; return it, and what became of each of them."""
        group = found_group(self.world, self.actor, subject)
        group.announce, group.locked, group.approval = announce, locked, approval
        group.expiration = expiration
        changes = group.add(self.actor, [a for a in members if a is not self.actor])
        for phone in group.members:
            await self._welcome(group, phone)
        return group, changes

    async def add(self, group: Group, accounts: Iterable[Account]) -> list[MemberChange]:
        """Add people."""
        changes = group.add(self.actor, accounts)
        await self._announce_arrivals(group, changes)
        return changes

    async def remove(self, group: Group, accounts: Iterable[Account]) -> list[MemberChange]:
        """Remove people."""
        changes = group.remove(self.actor, accounts)
        await self._announce_members(group, "remove", changes)
        return changes

    async def promote(self, group: Group, accounts: Iterable[Account]) -> list[MemberChange]:
        """Make people admins."""
        changes = group.set_role(self.actor, accounts, "admin")
        await self._announce_members(group, "promote", changes)
        return changes

    async def demote(self, group: Group, accounts: Iterable[Account]) -> list[MemberChange]:
        """Make admins ordinary members."""
        changes = group.set_role(self.actor, accounts, "member")
        await self._announce_members(group, "demote", changes)
        return changes

    async def leave(self, group: Group) -> None:
        """Leave."""
        group.leave(self.actor)
        await self._announce_members(group, "remove", [MemberChange(self.actor)])

    async def rename(self, group: Group, subject: str) -> None:
        """Change the subject."""
        group.rename(self.actor, subject)
        await self._announce(
            group,
            Node(
                "subject",
                {
                    "subject": subject,
                    "s_t": str(group.subject_at),
                    "s_o": self.actor.lid,
                    "s_o_pn": self.actor.pn,
                },
            ),
        )

    async def describe(
        self, group: Group, text: str, *, new_id: str | None = None, previous: str | None = None
    ) -> None:
        """Change the description; ``previous`` is the id of the one that is replaced."""
        new_id = new_id or secrets.token_hex(8).upper()
        group.describe(self.actor, text, new_id=new_id, previous=previous)
        body = Node("body", {}, text.encode()) if text else Node("delete")
        await self._announce(group, Node("description", {"id": new_id}, (body,)))

    async def set_picture(self, group: Group, content: bytes | None) -> Picture | None:
        """Change the picture (JPEG), or remove it; return the new one."""
        group.require_editor(self.actor)
        path = self.world.media.put(content) if content else ""
        group.picture = Picture(content, path) if content else None
        await announce_picture(self.world, group, self.actor)
        return group.picture

    async def set_flag(self, group: Group, tag: str) -> None:
        """Carry out ``announcement``, ``not_announcement``, ``locked`` or ``unlocked``."""
        group.require_admin(self.actor)
        name, value = _FLAGS[tag]
        setattr(group, name, value)
        attrs = {"v_id": str(group.version)} if name == "announce" else {}
        await self._announce(group, Node(tag, attrs))

    async def set_expiration(self, group: Group, seconds: int) -> None:
        """Let messages disappear after some seconds, or never (0)."""
        group.require_editor(self.actor)
        group.expiration = seconds
        change = Node("ephemeral", {"expiration": str(seconds)}) if seconds else None
        await self._announce(group, change or Node("not_ephemeral"))

    async def set_approval(self, group: Group, *, required: bool) -> None:
        """Require that an admin lets in who comes by the link, or not."""
        group.require_admin(self.actor)
        group.approval = required
        join = Node("group_join", {"state": "on" if required else "off"})
        await self._announce(group, Node("membership_approval_mode", {}, (join,)))

    async def set_add_mode(self, group: Group, mode: str) -> None:
        """Say who may add people: ``admin_add`` or ``all_member_add``."""
        group.require_admin(self.actor)
        group.add_mode = mode
        await self._announce(group, Node("member_add_mode", {}, mode.encode()))

    async def renew_invite(self, group: Group) -> str:
        """Revoke the invite link; return the new code."""
        code = group.new_invite(self.actor)
        await self._announce(group, Node("invite", {"code": code}))
        return code

    async def join(self, group: Group) -> bool:
        """Join by the invite link; False if an admin must approve first."""
        joined = group.join(self.actor)
        if joined:
            await self._announce_arrivals(group, [MemberChange(self.actor)], reason="invite")
        else:
            await self._announce_request(group)
        return joined

    async def decide(
        self, group: Group, accounts: Iterable[Account], *, approve: bool
    ) -> list[MemberChange]:
        """Approve or reject requests to join."""
        changes = group.decide(self.actor, accounts, approve=approve)
        if approve:
            await self._announce_arrivals(group, changes, reason="invite")
        return changes

    async def _announce_request(self, group: Group) -> None:
        request = Node(
            "created_membership_requests",
            {"request_method": "invite_link"},
            (Node("requested_user", {"jid": self.actor.lid, "phone_number": self.actor.pn}),),
        )
        for phone, role in group.members.items():
            if role != "member":
                await tell_of_group(self.world, group, self.actor, request, phone)

    async def _announce_arrivals(
        self, group: Group, changes: Sequence[MemberChange], *, reason: str = ""
    ) -> None:
        arrived = [change.account for change in changes if change.code == 200]
        if not arrived:
            return
        change = members_node("add", group, arrived, reason=reason)
        newcomers = {account.phone for account in arrived}
        for phone in group.members:
            if phone in newcomers:
                await self._welcome(group, phone, reason=reason)
            else:
                await tell_of_group(self.world, group, self.actor, change, phone)

    async def _welcome(self, group: Group, phone: str, *, reason: str = "") -> None:
        attrs = {"type": "new"} | ({"reason": reason} if reason else {})
        created = Node("create", attrs, (group_node(self.world, group),))
        await tell_of_group(self.world, group, self.actor, created, phone)

    async def _announce_members(
        self, group: Group, tag: str, changes: Sequence[MemberChange]
    ) -> None:
        accounts = [change.account for change in changes if change.code == 200]
        if accounts:
            change = members_node(tag, group, accounts)
            phones = [account.phone for account in accounts]
            await announce_group(self.world, group, self.actor, change, to=phones)

    async def _announce(self, group: Group, change: Node) -> None:
        await announce_group(self.world, group, self.actor, change)
