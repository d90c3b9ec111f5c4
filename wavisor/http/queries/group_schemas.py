"""Wire models of groups and channels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from wavisor.http.queries.addresses import InviteText, PersonText, group_jid
from wavisor.http.queries.schemas import PersonModel
from wavisor.http.schemas import ApiModel, Time
from wavisor.whatsapp.queries import MAX_PARTICIPANTS

__all__ = [
    "ChangeParticipants",
    "ChannelListModel",
    "ChannelModel",
    "CreateGroup",
    "GroupModel",
    "GroupSummaryModel",
    "InviteLinkModel",
    "JoinGroup",
    "JoinRequestListModel",
    "JoinRequestModel",
    "JoinedGroupModel",
    "OutcomeModel",
    "OutcomesModel",
    "ParticipantModel",
    "ReactInChannel",
    "UpdateGroup",
]

Role = Literal["member", "admin", "superadmin"]
GroupName = Annotated[str, Field(min_length=1, max_length=100)]


class ParticipantModel(ApiModel):
    """A member of a group."""

    person: PersonModel
    role: Role


class OutcomeModel(ApiModel):
    """What came of a change for one person."""

    person: PersonModel
    reason: (
        Literal[
            "invitation_needed", "left_recently", "not_found", "already", "forbidden", "refused"
        ]
        | None
    ) = Field(
        description="Null if it was done. `invitation_needed`: their privacy settings let them "
        "only be invited. `not_found`: not on WhatsApp, or not in the group."
    )
    code: int | None = Field(description="WhatsApp's code for the refusal.")


class OutcomesModel(ApiModel):
    """What came of a change, in the order of the request."""

    items: list[OutcomeModel]


class GroupSummaryModel(ApiModel):
    """A group, without its members and description."""

    jid: str
    name: str
    owner: PersonModel | None
    created_at: Time | None = Field(description="To within two minutes.")
    size: int
    role: Role | None = Field(description="What this account is in it; null when it is not.")
    announce: bool = Field(description="Only admins may write.")
    locked: bool = Field(description="Only admins may change name, description and picture.")
    ephemeral_seconds: int = Field(description="0 when messages stay.")
    is_community: bool
    community: str | None = Field(description="JID of the community that it belongs to.")


class GroupModel(GroupSummaryModel):
    """A group."""

    description: str | None
    participants: list[ParticipantModel]
    not_added: list[OutcomeModel] = Field(
        description="In the answer to its creation: who could not be added."
    )


class CreateGroup(ApiModel):
    """A group to be created."""

    name: GroupName
    participants: list[PersonText] = Field(max_length=MAX_PARTICIPANTS)
    community: Annotated[str, Field(max_length=64), AfterValidator(group_jid)] | None = Field(
        default=None, description="JID of the community that it is to belong to."
    )


class UpdateGroup(ApiModel):
    """What to change; what is left out stays."""

    name: GroupName | None = None
    description: str | None = Field(
        default=None, max_length=2048, description="Empty to remove it."
    )
    announce: bool | None = None
    locked: bool | None = None
    ephemeral_seconds: Literal[0, 86_400, 604_800, 7_776_000] | None = None

    @model_validator(mode="after")
    def _something(self) -> UpdateGroup:
        if not self.model_dump(exclude_none=True):
            raise ValueError("names nothing to change")
        return self


class ChangeParticipants(ApiModel):
    """A change of some members."""

    change: Literal["add", "remove", "promote", "demote"]
    people: list[PersonText] = Field(min_length=1, max_length=MAX_PARTICIPANTS)


class JoinRequestModel(ApiModel):
    """Somebody who wants to join."""

    person: PersonModel
    requested_at: Time | None


class JoinRequestListModel(ApiModel):
    """Those who want to join."""

    items: list[JoinRequestModel]


class InviteLinkModel(ApiModel):
    """A link by which one joins."""

    link: str


class JoinGroup(ApiModel):
    """Which group to join."""

    link: InviteText


class JoinedGroupModel(ApiModel):
    """The group joined."""

    jid: str


class ChannelModel(ApiModel):
    """A channel."""

    jid: str
    name: str
    description: str | None
    subscribers: int
    verified: bool
    state: Literal["active", "suspended", "geosuspended"]
    role: Literal["subscriber", "guest", "admin", "owner"] | None = Field(
        description="What this account is there."
    )
    muted: bool | None
    invite_link: str | None
    picture_path: str | None = Field(description="Path of its picture on WhatsApp's media server.")
    created_at: Time | None


class ChannelListModel(ApiModel):
    """Some channels."""

    items: list[ChannelModel]


class ReactInChannel(ApiModel):
    """A reaction to a message of a channel."""

    message: int = Field(
        ge=1, lt=2**31, description="The message's number in the channel, `serverId` in its event."
    )
    emoji: str = Field(max_length=32, description="Empty to take the reaction back.")
