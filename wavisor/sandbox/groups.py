"""Groups: who is in them, what they are called, and what their members may do.

The rules are here; ``group_desk.py`` carries out what clients and simulated people want and tells
the members. Source: whatsmeow ``group.go``. Which error code goes with which refusal is known for
some of them only; the others are a guess.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wavisor.sandbox.accounts import Account
from wavisor.sandbox.codec import GROUP_SERVER, Jid
from wavisor.sandbox.profiles import Picture

if TYPE_CHECKING:
    from wavisor.sandbox.directory import World

__all__ = [
    "Group",
    "GroupRefusalError",
    "MemberChange",
    "Role",
    "find_group",
    "found_group",
    "group_by_invite",
]

UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404
NOT_ACCEPTABLE, CONFLICT, GONE, LIMIT = 406, 409, 410, 419
MOST_MEMBERS = 1024
LONGEST_SUBJECT = 100
LONGEST_DESCRIPTION = 2048

Role = str
"""``member``, ``admin`` or ``superadmin`` (who created the group)."""


class GroupRefusalError(Exception):
    """Something about a group is not allowed, or there is no such group."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class MemberChange:
    """What became of one person in a change of members; ``code`` 200 if it was done."""

    account: Account
    code: int = 200


@dataclass(slots=True)
class Description:
    """A group's description and who set it when."""

    id: str
    text: str
    author: Account
    at: int


@dataclass(slots=True)
class Group:
    """A group. ``members`` are phone numbers with their roles, in the order of joining."""

    id: str
    subject: str
    creator: Account
    members: dict[str, Role]
    created: int = field(default_factory=lambda: int(time.time()))
    subject_author: Account | None = None
    subject_at: int = 0
    description: Description | None = None
    announce: bool = False
    """Only admins may write."""
    locked: bool = False
    """Only admins may change subject, description and picture."""
    approval: bool = False
    """An admin must let in who comes by the link."""
    add_mode: str = "all_member_add"
    expiration: int = 0
    """Seconds until messages disappear, 0 for never."""
    invite_code: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    requests: dict[str, int] = field(default_factory=dict)
    """Who asked to be let in (phone numbers), and when."""
    picture: Picture | None = None
    version: int = 1

    @property
    def jid(self) -> Jid:
        """The group's address."""
        return Jid(self.id, GROUP_SERVER)

    def is_admin(self, account: Account) -> bool:
        """Tell whether somebody is an admin here."""
        return self.members.get(account.phone) in ("admin", "superadmin")

    def require_member(self, account: Account) -> None:
        """Raise GroupRefusalError 403 unless somebody is in the group."""
        if account.phone not in self.members:
            raise GroupRefusalError(FORBIDDEN, "forbidden")

    def require_admin(self, account: Account) -> None:
        """Raise GroupRefusalError unless somebody is an admin here."""
        self.require_member(account)
        if not self.is_admin(account):
            raise GroupRefusalError(UNAUTHORIZED, "not-authorized")

    def require_editor(self, account: Account) -> None:
        """Raise GroupRefusalError unless somebody may change subject, description, picture."""
        self.require_member(account)
        if self.locked:
            self.require_admin(account)

    def rename(self, author: Account, subject: str) -> None:
        """Give it another subject. Raises GroupRefusalError."""
        self.require_editor(author)
        _check_subject(subject)
        self.subject, self.subject_author, self.subject_at = subject, author, int(time.time())

    def describe(self, author: Account, text: str, *, new_id: str, previous: str | None) -> None:
        """Give it another description; an empty one removes it. Raises GroupRefusalError."""
        self.require_editor(author)
        if len(text) > LONGEST_DESCRIPTION:
            raise GroupRefusalError(NOT_ACCEPTABLE, "not-acceptable")
        current = self.description.id if self.description else None
        if previous != current:
            raise GroupRefusalError(CONFLICT, "conflict")
        self.description = Description(new_id, text, author, int(time.time())) if text else None

    def add(self, author: Account, accounts: Iterable[Account]) -> list[MemberChange]:
        """Let an admin, or a member if the group allows it, add people. Raises GroupRefusalError.

        Who is in already has code 409; whose privacy settings forbid it 403.
        """
        self.require_member(author)
        if self.add_mode == "admin_add":
            self.require_admin(author)
        changes = []
        for account in accounts:
            if account.phone in self.members:
                changes.append(MemberChange(account, CONFLICT))
            elif not account.on_whatsapp:
                changes.append(MemberChange(account, NOT_FOUND))
            elif account.privacy.get("groupadd") == "none":
                changes.append(MemberChange(account, FORBIDDEN))
            else:
                self._let_in(account)
                changes.append(MemberChange(account))
        return changes

    def remove(self, author: Account, accounts: Iterable[Account]) -> list[MemberChange]:
        """Remove people; who is not in has code 404. Raises GroupRefusalError."""
        return self._change(author, accounts, self.members.__delitem__)

    def set_role(
        self, author: Account, accounts: Iterable[Account], role: Role
    ) -> list[MemberChange]:
        """Make people admins, or admins ordinary members. Raises GroupRefusalError."""

        def give(phone: str) -> None:
            self.members[phone] = role

        return self._change(author, accounts, give)

    def _change(
        self, author: Account, accounts: Iterable[Account], change: Callable[[str], None]
    ) -> list[MemberChange]:
        self.require_admin(author)
        changes = []
        for account in accounts:
            if account.phone not in self.members:
                changes.append(MemberChange(account, NOT_FOUND))
            elif self.members[account.phone] == "superadmin":
                changes.append(MemberChange(account, NOT_ACCEPTABLE))
            else:
                change(account.phone)
                self.version += 1
                changes.append(MemberChange(account))
        return changes

    def leave(self, account: Account) -> None:
        """Let somebody go. Raises GroupRefusalError for somebody who is not in."""
        self.require_member(account)
        del self.members[account.phone]
        self.version += 1

    def join(self, account: Account) -> bool:
        """Let somebody in who has the invite link; False if an admin must approve first.

        Raises GroupRefusalError 409 for a member.
        """
        if account.phone in self.members:
            raise GroupRefusalError(CONFLICT, "conflict")
        if self.approval:
            self.requests[account.phone] = int(time.time())
            return False
        self._let_in(account)
        return True

    def decide(
        self, author: Account, accounts: Iterable[Account], *, approve: bool
    ) -> list[MemberChange]:
        """Approve or reject requests; who did not ask has code 404. Raises GroupRefusalError."""
        self.require_admin(author)
        changes = []
        for account in accounts:
            if self.requests.pop(account.phone, None) is None:
                changes.append(MemberChange(account, NOT_FOUND))
                continue
            if approve:
                self._let_in(account)
            changes.append(MemberChange(account))
        return changes

    def new_invite(self, author: Account) -> str:
        """Revoke the invite link and return the new code. Raises GroupRefusalError."""
        self.require_admin(author)
        self.invite_code = secrets.token_urlsafe(16)
        return self.invite_code

    def _let_in(self, account: Account) -> None:
        if len(self.members) >= MOST_MEMBERS:
            raise GroupRefusalError(LIMIT, "resource-limit")
        self.members[account.phone] = "member"
        self.requests.pop(account.phone, None)
        self.version += 1


def find_group(world: World, jid: Jid | None) -> Group:
    """Return the group with this JID; raises GroupRefusalError 404."""
    group = world.groups.get(jid.user) if jid is not None and jid.server == GROUP_SERVER else None
    if group is None:
        raise GroupRefusalError(NOT_FOUND, "item-not-found")
    return group


def found_group(world: World, creator: Account, subject: str) -> Group:
    """Create a group with nobody but its creator in it. Raises GroupRefusalError."""
    _check_subject(subject)
    group = Group(
        id=f"1203634{secrets.randbelow(10**11):011d}",
        subject=subject,
        creator=creator,
        members={creator.phone: "superadmin"},
        subject_author=creator,
        subject_at=int(time.time()),
    )
    world.groups[group.id] = group
    return group


def group_by_invite(world: World, code: str) -> Group:
    """Return the group with this invite code.

    Raises GroupRefusalError 406 for what is no code, and 410 for one that leads nowhere (any more).
    """
    if len(code) != 22:
        raise GroupRefusalError(NOT_ACCEPTABLE, "not-acceptable")
    group = next((g for g in world.groups.values() if g.invite_code == code), None)
    if group is None:
        raise GroupRefusalError(GONE, "gone")
    return group


def _check_subject(subject: str) -> None:
    if not subject or len(subject) > LONGEST_SUBJECT:
        raise GroupRefusalError(NOT_ACCEPTABLE, "not-acceptable")
