"""The data of events about people, groups and calls."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from wavisor.event_data.parts import Moment, Person

__all__ = [
    "CallOffered",
    "ContactUpdated",
    "GroupParticipantsChanged",
    "GroupUpdated",
    "HistoryReceived",
    "PresenceUpdated",
]

_Picture = Literal["changed", "removed"]


class PresenceUpdated(TypedDict):
    """Somebody came, went, or types."""

    person: Person
    state: Literal["available", "unavailable", "composing", "recording", "paused"]
    chat: Person | None
    lastSeen: Moment | None


class GroupUpdated(TypedDict):
    """A group changed; null for what did not."""

    group: Annotated[str, Field(description="JID.")]
    actor: Person | None
    timestamp: Moment
    joined: Annotated[bool, Field(description="The account is in it from now on.")]
    deleted: bool
    name: str | None
    description: str | None
    announce: Annotated[bool | None, Field(description="Only admins may write.")]
    locked: Annotated[bool | None, Field(description="Only admins may change it.")]
    ephemeralSeconds: int | None
    inviteLink: str | None
    picture: _Picture | None
    linked: Annotated[str | None, Field(description="JID, within a community.")]
    unlinked: str | None


class GroupParticipantsChanged(TypedDict):
    """People joined or left a group, or became or ceased to be admins."""

    group: Annotated[str, Field(description="JID.")]
    actor: Person | None
    timestamp: Moment
    joined: list[Person]
    left: list[Person]
    promoted: list[Person]
    demoted: list[Person]


class CallOffered(TypedDict):
    """Somebody calls."""

    callId: str
    caller: Person
    origin: Annotated[str, Field(description="JID that a rejection goes to.")]
    timestamp: Moment
    video: bool
    group: bool
    rejected: Annotated[bool, Field(description="By the instance's own settings.")]


class ContactUpdated(TypedDict):
    """Somebody changed or removed their picture."""

    person: Person
    picture: _Picture
    timestamp: Moment


class HistoryReceived(TypedDict):
    """Messages from before the link were stored: how many, and from when."""

    chat: Person
    name: str | None
    isGroup: bool
    stored: int
    known: Annotated[int, Field(description="How many had been stored before.")]
    unread: int
    oldest: Moment
    newest: Moment
