"""Queries about groups; see :mod:`wavisor.whatsapp.queries`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wavisor.whatsapp import query_results as results
from wavisor.whatsapp.query_base import (
    MAX_PARTICIPANTS,
    Base64,
    GroupJid,
    InviteCode,
    Person,
    QueryModel,
)

__all__ = [
    "ChangeParticipants",
    "CreateGroup",
    "GetInviteLink",
    "GroupFromLink",
    "GroupInfo",
    "JoinGroup",
    "LeaveGroup",
    "ListGroups",
    "ListJoinRequests",
    "SetGroupPicture",
    "UpdateGroup",
]


class ListGroups(QueryModel[results.GroupList]):
    """Ask which groups this account is in, sorted by JID."""

    kind: Literal["list_groups"] = "list_groups"
    after: str | None = Field(default=None, max_length=64)
    limit: int = Field(default=50, ge=1, le=200)


class GroupInfo(QueryModel[results.Group]):
    """Ask about a group that this account is in."""

    kind: Literal["group_info"] = "group_info"
    group: GroupJid


class CreateGroup(QueryModel[results.Group]):
    """Create a group."""

    kind: Literal["create_group"] = "create_group"
    name: str = Field(min_length=1, max_length=100)
    participants: tuple[Person, ...] = Field(max_length=MAX_PARTICIPANTS)
    community: GroupJid | None = None
    """The community that it is to belong to."""


class UpdateGroup(QueryModel[results.Done]):
    """Change what is not None of a group. A failure may leave some of it changed."""

    kind: Literal["update_group"] = "update_group"
    group: GroupJid
    name: str | None = Field(default=None, min_length=1, max_length=100)
    description: str | None = Field(default=None, max_length=2048)
    """Empty to remove it."""
    announce: bool | None = None
    locked: bool | None = None


class SetGroupPicture(QueryModel[results.PictureChanged]):
    """Change the picture of a group."""

    kind: Literal["set_group_picture"] = "set_group_picture"
    group: GroupJid
    image: Base64


class ChangeParticipants(QueryModel[results.ParticipantOutcomes]):
    """Add or remove people, or make them admins or not."""

    kind: Literal["change_participants"] = "change_participants"
    group: GroupJid
    people: tuple[Person, ...] = Field(min_length=1, max_length=MAX_PARTICIPANTS)
    change: Literal["add", "remove", "promote", "demote"]


class ListJoinRequests(QueryModel[results.JoinRequestList]):
    """Ask who wants to join a group. The native client offers no way to answer them."""

    kind: Literal["list_join_requests"] = "list_join_requests"
    group: GroupJid


class GetInviteLink(QueryModel[results.InviteLink]):
    """Ask for the link of a group; with ``revoke`` for a new one, and the old one ends."""

    kind: Literal["get_invite_link"] = "get_invite_link"
    group: GroupJid
    revoke: bool = False


class GroupFromLink(QueryModel[results.Group]):
    """Ask which group a link leads to."""

    kind: Literal["group_from_link"] = "group_from_link"
    code: InviteCode


class JoinGroup(QueryModel[results.JoinedGroup]):
    """Join the group that a link leads to."""

    kind: Literal["join_group"] = "join_group"
    code: InviteCode


class LeaveGroup(QueryModel[results.Done]):
    """Leave a group."""

    kind: Literal["leave_group"] = "leave_group"
    group: GroupJid
