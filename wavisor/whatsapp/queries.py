"""Questions to WhatsApp and changes that are no messages, as a tagged union of frozen models.

A query travels inside the command :class:`~wavisor.whatsapp.commands.Query`; its answer holds
the query's result as JSON, or a failure. Each query names its result as the type argument of its
base. What the native client cannot do is not here: archiving, muting and pinning chats, starring
and deleting for oneself (its binding never names the collection that they are kept in), removing
pictures, approving requests to join, and the profiles of businesses.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter

from wavisor.whatsapp import query_results as results
from wavisor.whatsapp.group_queries import (
    ChangeParticipants,
    CreateGroup,
    GetInviteLink,
    GroupFromLink,
    GroupInfo,
    JoinGroup,
    LeaveGroup,
    ListGroups,
    ListJoinRequests,
    SetGroupPicture,
    UpdateGroup,
)
from wavisor.whatsapp.query_base import (
    MAX_NUMBERS,
    MAX_PARTICIPANTS,
    MAX_PICTURE,
    Base64,
    ChannelJid,
    Digits,
    GroupJid,
    InviteCode,
    MessageId,
    Person,
    QueryModel,
    result_type,
)

__all__ = [
    "MAX_NUMBERS",
    "MAX_PARTICIPANTS",
    "MAX_PICTURE",
    "QUERIES",
    "AnyQuery",
    "BlockList",
    "ChangeParticipants",
    "ChannelFromLink",
    "ChannelInfo",
    "ChannelReaction",
    "CheckNumbers",
    "CreateGroup",
    "FollowChannel",
    "GetContact",
    "GetInviteLink",
    "GetPicture",
    "GetPrivacy",
    "GetProfile",
    "GetUser",
    "GroupFromLink",
    "GroupInfo",
    "JoinGroup",
    "LeaveGroup",
    "ListChannels",
    "ListContacts",
    "ListGroups",
    "ListJoinRequests",
    "LookUpAddress",
    "MarkRead",
    "QueryModel",
    "RejectCall",
    "SetBlocked",
    "SetDisappearing",
    "SetGroupPicture",
    "SetPresence",
    "SetPrivacy",
    "SetProfileAbout",
    "SetProfileName",
    "SetProfilePicture",
    "ShowTyping",
    "SubscribePresence",
    "UpdateGroup",
    "result_type",
]

# People


class CheckNumbers(QueryModel[results.CheckedNumbers]):
    """Ask which numbers are on WhatsApp. Asking about many gets accounts banned."""

    kind: Literal["check_numbers"] = "check_numbers"
    numbers: tuple[Digits, ...] = Field(min_length=1, max_length=MAX_NUMBERS)


class LookUpAddress(QueryModel[results.People]):
    """Find the other address of each of some people: the LID of a number, or the reverse.

    Of numbers that are not known yet WhatsApp is asked; the number behind a LID is known only
    if it was told before, and else stays None.
    """

    kind: Literal["look_up_address"] = "look_up_address"
    people: tuple[Person, ...] = Field(min_length=1, max_length=MAX_NUMBERS)


class ListContacts(QueryModel[results.ContactList]):
    """Read the contacts that are in the key store, sorted by JID; asks nobody."""

    kind: Literal["list_contacts"] = "list_contacts"
    after: str | None = Field(default=None, max_length=64)
    limit: int = Field(default=50, ge=1, le=200)


class GetContact(QueryModel[results.Contact]):
    """Read one contact from the key store; ``not_found`` when nothing is known of them."""

    kind: Literal["get_contact"] = "get_contact"
    person: Person


class GetUser(QueryModel[results.UserDetails]):
    """Ask what somebody shows of themselves."""

    kind: Literal["get_user"] = "get_user"
    person: Person


class GetPicture(QueryModel[results.Picture]):
    """Ask where the picture of somebody or of a group is; ``not_found`` when there is none."""

    kind: Literal["get_picture"] = "get_picture"
    of: Person | GroupJid
    preview: bool = False


class BlockList(QueryModel[results.People]):
    """Ask whom this account blocks."""

    kind: Literal["block_list"] = "block_list"


class SetBlocked(QueryModel[results.Done]):
    """Block somebody, or stop blocking them."""

    kind: Literal["set_blocked"] = "set_blocked"
    person: Person
    blocked: bool


# Presence and chats


class SetPresence(QueryModel[results.Done]):
    """Show this account as online or not."""

    kind: Literal["set_presence"] = "set_presence"
    available: bool


class SubscribePresence(QueryModel[results.Done]):
    """Ask to be told when somebody comes and goes, until the connection ends.

    WhatsApp tells it only to accounts that are online themselves.
    """

    kind: Literal["subscribe_presence"] = "subscribe_presence"
    person: Person


class ShowTyping(QueryModel[results.Done]):
    """Show somebody that one is typing or recording. Others' clients forget it after 10-25 s."""

    kind: Literal["show_typing"] = "show_typing"
    chat: Person | GroupJid
    state: Literal["composing", "recording", "paused"]


class MarkRead(QueryModel[results.Done]):
    """Tell the author of messages that they were read or played, and one's other devices."""

    kind: Literal["mark_read"] = "mark_read"
    chat: Person | GroupJid | ChannelJid
    sender: Person | None = None
    """Who wrote them; needed in groups. One call is about one author."""
    messages: tuple[MessageId, ...] = Field(min_length=1, max_length=200)
    played: bool = False


class SetDisappearing(QueryModel[results.Done]):
    """Let messages of a chat, or without one of chats begun from now on, disappear."""

    kind: Literal["set_disappearing"] = "set_disappearing"
    chat: Person | GroupJid | None = None
    seconds: Literal[0, 86_400, 604_800, 7_776_000]


class RejectCall(QueryModel[results.Done]):
    """Reject a call that was offered."""

    kind: Literal["reject_call"] = "reject_call"
    call: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
    caller: Person


# This account


class GetProfile(QueryModel[results.Profile]):
    """Ask what this account shows of itself."""

    kind: Literal["get_profile"] = "get_profile"


class SetProfileName(QueryModel[results.Done]):
    """Change this account's name; needs the keys that the phone shares after linking."""

    kind: Literal["set_profile_name"] = "set_profile_name"
    name: str = Field(min_length=1, max_length=25)


class SetProfileAbout(QueryModel[results.Done]):
    """Change the text that this account shows about itself."""

    kind: Literal["set_profile_about"] = "set_profile_about"
    about: str = Field(max_length=139)


class SetProfilePicture(QueryModel[results.PictureChanged]):
    """Change this account's picture."""

    kind: Literal["set_profile_picture"] = "set_profile_picture"
    image: Base64
    """JPEG, PNG or WebP; made square and no larger than WhatsApp takes."""


class GetPrivacy(QueryModel[results.PrivacySettings]):
    """Ask who may see what."""

    kind: Literal["get_privacy"] = "get_privacy"


class SetPrivacy(QueryModel[results.PrivacySettings]):
    """Change who may see what; what is None stays. A failure may leave some of it changed."""

    kind: Literal["set_privacy"] = "set_privacy"
    last_seen: Literal["all", "contacts", "none"] | None = None
    online: Literal["all", "match_last_seen"] | None = None
    profile_picture: Literal["all", "contacts", "none"] | None = None
    about: Literal["all", "contacts", "none"] | None = None
    group_add: Literal["all", "contacts"] | None = None
    call_add: Literal["all", "known"] | None = None
    read_receipts: Literal["all", "none"] | None = None


# Channels


class ListChannels(QueryModel[results.ChannelList]):
    """Ask which channels this account follows or owns."""

    kind: Literal["list_channels"] = "list_channels"


class ChannelInfo(QueryModel[results.Channel]):
    """Ask about a channel."""

    kind: Literal["channel_info"] = "channel_info"
    channel: ChannelJid


class ChannelFromLink(QueryModel[results.Channel]):
    """Ask which channel a link leads to. What this account is there, it does not tell."""

    kind: Literal["channel_from_link"] = "channel_from_link"
    code: InviteCode


class FollowChannel(QueryModel[results.Done]):
    """Follow a channel, or stop following it."""

    kind: Literal["follow_channel"] = "follow_channel"
    channel: ChannelJid
    follow: bool


class ChannelReaction(QueryModel[results.Done]):
    """React to a message of a channel, or take the reaction back. WhatsApp does not answer."""

    kind: Literal["channel_reaction"] = "channel_reaction"
    channel: ChannelJid
    message: int = Field(ge=1, lt=2**31)
    """The number of the message in its channel."""
    emoji: str = Field(max_length=32)
    """Empty to take it back."""


AnyQuery = Annotated[
    CheckNumbers
    | LookUpAddress
    | ListContacts
    | GetContact
    | GetUser
    | GetPicture
    | BlockList
    | SetBlocked
    | SetPresence
    | SubscribePresence
    | ShowTyping
    | MarkRead
    | SetDisappearing
    | RejectCall
    | GetProfile
    | SetProfileName
    | SetProfileAbout
    | SetProfilePicture
    | GetPrivacy
    | SetPrivacy
    | ListGroups
    | GroupInfo
    | CreateGroup
    | UpdateGroup
    | SetGroupPicture
    | ChangeParticipants
    | ListJoinRequests
    | GetInviteLink
    | GroupFromLink
    | JoinGroup
    | LeaveGroup
    | ListChannels
    | ChannelInfo
    | ChannelFromLink
    | FollowChannel
    | ChannelReaction,
    Field(discriminator="kind"),
]
QUERIES: TypeAdapter[AnyQuery] = TypeAdapter(AnyQuery, config=ConfigDict(defer_build=True))
"""Built when it is first used, by one thread: many a process never needs it."""
