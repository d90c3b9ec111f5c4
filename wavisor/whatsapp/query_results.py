"""What queries answer: typed, frozen, and JSON on the wire between session and gateway.

People are always a :class:`~wavisor.whatsapp.person.Person`, with None for what is unknown.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from wavisor.whatsapp.person import Person

__all__ = [
    "Audience",
    "Channel",
    "ChannelList",
    "CheckedNumber",
    "CheckedNumbers",
    "Contact",
    "ContactList",
    "Done",
    "Group",
    "GroupList",
    "GroupSummary",
    "InviteLink",
    "JoinRequest",
    "JoinRequestList",
    "JoinedGroup",
    "Participant",
    "ParticipantOutcome",
    "ParticipantOutcomes",
    "People",
    "Picture",
    "PictureChanged",
    "PrivacySettings",
    "Profile",
    "UserDetails",
]

Audience = Literal["all", "contacts", "contact_blacklist", "match_last_seen", "known", "none"]
"""Who may see or do something, in WhatsApp's words (whatsmeow ``types/user.go``)."""


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Done(_Result):
    """It was done, and there is nothing more to tell."""


class CheckedNumber(_Result):
    """What WhatsApp says about one number that was asked for."""

    number: str
    """The digits as they were asked for."""
    on_whatsapp: bool
    person: Person | None = None
    """Who has it. Their number may be written differently from the one asked for, as numbers of
    Argentina, Brazil and Mexico have two forms and an account has one of them."""
    verified_name: str | None = None


class CheckedNumbers(_Result):
    """One entry for each number asked for, in that order."""

    numbers: tuple[CheckedNumber, ...]


class People(_Result):
    """Some people."""

    people: tuple[Person, ...]


class Contact(_Result):
    """Somebody in the account's address book, or whose name was told by a message."""

    person: Person
    name: str | None = None
    """As saved on the phone."""
    first_name: str | None = None
    push_name: str | None = None
    """The name that they gave themselves."""
    business_name: str | None = None


class ContactList(_Result):
    """A part of the contacts."""

    items: tuple[Contact, ...]
    next: str | None = None
    """The JID after which the next part begins; None at the end."""


class UserDetails(_Result):
    """What somebody shows of themselves to this account."""

    person: Person
    about: str | None
    verified_name: str | None
    picture_id: str | None
    devices: int = Field(ge=0)
    """How many devices they have linked, their phone included."""


class Picture(_Result):
    """A profile picture, or a group's."""

    id: str
    url: str
    """On WhatsApp's servers; expires after some days."""


class PictureChanged(_Result):
    """The id of the new picture."""

    id: str


class Profile(_Result):
    """What this account shows of itself."""

    person: Person
    name: str | None
    about: str | None
    picture_id: str | None
    verified_name: str | None
    platform: str | None


class PrivacySettings(_Result):
    """Who may see or do what; None for what WhatsApp did not tell."""

    last_seen: Audience | None = None
    online: Audience | None = None
    profile_picture: Audience | None = None
    about: Audience | None = None
    group_add: Audience | None = None
    call_add: Audience | None = None
    read_receipts: Audience | None = None


class Participant(_Result):
    """A member of a group."""

    person: Person
    role: Literal["member", "admin", "superadmin"]


class GroupSummary(_Result):
    """A group without its members and description."""

    jid: str
    name: str
    owner: Person | None
    created_at: datetime | None
    """To within two minutes: neonize passes it on as a 32-bit float."""
    size: int = Field(ge=0)
    role: Literal["member", "admin", "superadmin"] | None
    """What this account is in it."""
    announce: bool
    """Only admins may write."""
    locked: bool
    """Only admins may change name, description and picture."""
    ephemeral_seconds: int = Field(ge=0)
    """0 when messages stay."""
    is_community: bool
    community: str | None
    """JID of the community that it belongs to."""


class GroupList(_Result):
    """A part of the groups that this account is in."""

    items: tuple[GroupSummary, ...]
    next: str | None = None
    """The JID after which the next part begins; None at the end."""


class ParticipantOutcome(_Result):
    """What came of a change for one person."""

    person: Person
    reason: (
        Literal[
            "invitation_needed", "left_recently", "not_found", "already", "forbidden", "refused"
        ]
        | None
    ) = None
    """None if it was done."""
    code: int | None = None
    """WhatsApp's code for the refusal."""


class ParticipantOutcomes(_Result):
    """What came of a change, for each person in the order of the query."""

    outcomes: tuple[ParticipantOutcome, ...]


class Group(GroupSummary):
    """A group."""

    description: str | None
    participants: tuple[Participant, ...]
    not_added: tuple[ParticipantOutcome, ...] = ()
    """After creating it: who could not be added."""


class JoinRequest(_Result):
    """Somebody who wants to join a group."""

    person: Person
    requested_at: datetime | None


class JoinRequestList(_Result):
    """Those who want to join a group."""

    items: tuple[JoinRequest, ...]


class InviteLink(_Result):
    """A link by which one joins a group."""

    link: str


class JoinedGroup(_Result):
    """The group joined. Where admins must approve, the account is in it only after that."""

    jid: str


class Channel(_Result):
    """A channel (newsletter)."""

    jid: str
    name: str
    description: str | None
    subscribers: int = Field(ge=0)
    verified: bool
    state: Literal["active", "suspended", "geosuspended"]
    role: Literal["subscriber", "guest", "admin", "owner"] | None
    muted: bool | None
    invite_link: str | None
    picture_path: str | None
    """Path of the picture on WhatsApp's media server."""
    created_at: datetime | None


class ChannelList(_Result):
    """The channels that this account follows or owns."""

    items: tuple[Channel, ...]
