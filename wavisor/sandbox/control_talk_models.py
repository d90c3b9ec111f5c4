"""Bodies of the control API about what people write, show and do, besides plain texts.

The other bodies are in ``control_models.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Base64Bytes, Field

from wavisor.sandbox.control_models import Model, Name, PhoneNumber, Text
from wavisor.sandbox.people import InvalidNumberError, normalize_number

__all__ = [
    "BusinessInfo",
    "CallInfo",
    "ChannelInfo",
    "ChatAddress",
    "Confirm",
    "GroupAction",
    "GroupInfo",
    "HangUp",
    "LoseKeys",
    "NewCall",
    "NewChannel",
    "NewGroup",
    "NewMessage",
    "NewPost",
    "ProfileChange",
    "ProfileInfo",
    "SharedSetting",
    "ShowPresence",
    "SignalInfo",
    "Typing",
]


def _address(text: str) -> str:
    """Return a number's digits; JIDs of groups and of the status stay as they are."""
    if text == "status@broadcast" or text.endswith("@g.us"):
        return text
    try:
        return normalize_number(text)
    except InvalidNumberError as error:
        raise ValueError("a phone number, a group's JID or status@broadcast is needed") from error


ChatAddress = Annotated[str, Field(max_length=64), AfterValidator(_address)]
MessageId = Annotated[str, Field(min_length=1, max_length=64)]

MOST_BYTES = 128 * 1024 * 1024
"""The largest file that the media host keeps."""


class NewMessage(Model):
    """A message of any kind; see :class:`wavisor.sandbox.drafts.Draft` for what each needs.

    The file of media is ``data`` in base64, or ``size`` zeros.
    """

    to: ChatAddress
    kind: Literal[
        "text",
        "image",
        "video",
        "audio",
        "voice",
        "document",
        "sticker",
        "location",
        "contact",
        "poll",
        "poll_vote",
        "reaction",
        "edit",
        "revoke",
        "timer",
    ]
    text: Annotated[str, Field(max_length=65_536)] | None = None
    target: MessageId | None = None
    quoted: MessageId | None = None
    mentions: list[PhoneNumber] = Field(default_factory=list, max_length=1024)
    forwarded: bool = False
    view_once: bool = False
    expiration: Annotated[int, Field(ge=0, le=10**8)] = 0
    names: list[Text] = Field(default_factory=list, max_length=100)
    selectable: Annotated[int, Field(ge=0, le=100)] = 1
    cards: list[Text] = Field(default_factory=list, max_length=100)
    position: tuple[float, float] | None = None
    address: Text | None = None
    data: Base64Bytes | None = None
    size: Annotated[int, Field(ge=0, le=MOST_BYTES)] = 0
    mime_type: Text | None = None
    file_name: Text | None = None
    seconds: Annotated[int, Field(ge=0)] | None = None
    wrong_hash: bool = False
    missing: bool = False


class Confirm(Model):
    """Receipts to be sent for messages, in whatever order they are asked for.

    ``author`` wrote them; it is needed in groups.
    """

    chat: ChatAddress
    messages: Annotated[list[MessageId], Field(min_length=1, max_length=1000)]
    kind: Literal["delivered", "read", "played"]
    author: PhoneNumber | None = None


class ShowPresence(Model):
    """Whether somebody is online."""

    available: bool


class Typing(Model):
    """Somebody is typing, speaking, or has stopped."""

    to: ChatAddress
    state: Literal["composing", "recording", "paused"] = "composing"


class NewCall(Model):
    """A call to be made."""

    to: PhoneNumber
    video: bool = False


class HangUp(Model):
    """Why a call ends."""

    reason: Annotated[str, Field(max_length=64)] = "timeout"


class CallInfo(Model):
    """A call that somebody made; ``status`` is ringing, rejected or terminated."""

    id: str
    to: str
    video: bool
    status: str


class BusinessInfo(Model):
    """What a shop tells about itself. ``hours`` are day, opening and closing minute."""

    address: str = ""
    email: str = ""
    category: str = ""
    timezone: str = "America/New_York"
    hours: list[tuple[str, int, int]] = Field(default_factory=list, max_length=7)


class ProfileChange(Model):
    """What somebody shows of himself; what is left out stays, and null removes a picture."""

    about: Annotated[str, Field(max_length=500)] | None = None
    picture: Base64Bytes | None = None
    business: BusinessInfo | None = None


class ProfileInfo(Model):
    """What somebody shows of himself, and whom he blocks (JIDs)."""

    name: str
    about: str
    picture_id: str | None
    business: BusinessInfo | None
    privacy: dict[str, str]
    blocked: list[str]


class SharedSetting(Model):
    """A setting that a phone shares with its companions.

    ``index`` is its kind (``archive``, ``mute``, ``pin_v1``, ``star``, ``deleteMessageForMe``,
    ``markChatAsRead``, ``contact``) and what it is about.
    """

    index: Annotated[list[Annotated[str, Field(max_length=200)]], Field(min_length=1, max_length=5)]
    value: bool | str


class SignalInfo(Model):
    """Presence, typing or a notification that arrived: tag, type, sender, and what is inside."""

    tag: str
    type: str
    source: str
    participant: str
    content: list[str]


class LoseKeys(Model):
    """Whose keys are lost, as by a new installation: the next message must be sent again."""

    phone: PhoneNumber


class NewGroup(Model):
    """A group to be founded by ``actor``."""

    actor: PhoneNumber
    subject: Name
    members: list[PhoneNumber] = Field(default_factory=list, max_length=1024)
    announce: bool = False
    locked: bool = False
    approval: bool = False
    expiration: Annotated[int, Field(ge=0)] = 0


class GroupAction(Model):
    """Something that ``actor`` does in a group; ``text``, ``phones``, ``seconds`` as it needs."""

    actor: PhoneNumber
    action: Literal[
        "add",
        "remove",
        "promote",
        "demote",
        "approve",
        "reject",
        "leave",
        "join",
        "rename",
        "describe",
        "announcement",
        "not_announcement",
        "locked",
        "unlocked",
        "ephemeral",
        "require_approval",
        "open",
        "renew_invite",
    ]
    phones: list[PhoneNumber] = Field(default_factory=list, max_length=1024)
    text: Annotated[str, Field(max_length=4096)] = ""
    seconds: Annotated[int, Field(ge=0)] = 0


class GroupInfo(Model):
    """A group. ``members`` are phone numbers with their roles."""

    jid: str
    subject: str
    description: str
    members: dict[str, str]
    requests: list[str]
    announce: bool
    locked: bool
    approval: bool
    expiration: int
    invite_code: str
    picture_id: str | None


class NewChannel(Model):
    """A channel to be created by ``owner``."""

    owner: PhoneNumber
    name: Name
    description: Annotated[str, Field(max_length=2048)] = ""


class NewPost(Model):
    """A text for a channel, under an id of the caller's choice."""

    id: MessageId
    text: Text


class ChannelInfo(Model):
    """A channel. ``posts`` are their ids, ``reactions`` the emojis of each, by phone number."""

    jid: str
    name: str
    invite: str
    followers: list[str]
    posts: list[str]
    reactions: list[dict[str, str]]
