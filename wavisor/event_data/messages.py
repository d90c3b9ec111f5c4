"""The data of events about messages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from wavisor.domain import MessageStatus
from wavisor.event_data.parts import (
    ContactCard,
    MediaFile,
    MessageFile,
    Moment,
    Person,
    Place,
    PollContent,
    QuotedMessage,
    SendFailure,
    words,
)

__all__ = [
    "InChat",
    "MessageContent",
    "MessageEdited",
    "MessageFailed",
    "MessageMediaChanged",
    "MessageReaction",
    "MessageReceived",
    "MessageRevoked",
    "MessageSent",
    "MessageStatusChanged",
    "PollVote",
]

_SystemKind = Literal["pinned", "unpinned", "kept", "unkept", "ephemeral_changed"]


class InChat(TypedDict):
    """Where somebody did something, who, and when."""

    chat: Person
    sender: Person
    fromMe: Annotated[bool, Field(description="By the account itself, on another device.")]
    isGroup: bool
    timestamp: Moment


class _AboutMessage(InChat):
    messageId: Annotated[
        str | None,
        Field(description="The gateway's id of the message; null where it stored none."),
    ]
    whatsappId: Annotated[str, Field(description="WhatsApp's id of the message.")]


class MessageContent(TypedDict):
    """What a message consists of; null for what does not apply to its kind."""

    caption: str | None
    media: MessageFile | None
    location: Place | None
    contacts: list[ContactCard]
    poll: PollContent | None
    choice: Annotated[str | None, Field(description="Of a `button_reply`: what was chosen.")]
    system: _SystemKind | None
    targetId: Annotated[str | None, Field(description="The message that `system` is about.")]
    quoted: QuotedMessage | None
    mentions: Annotated[list[str], Field(description="JIDs.")]
    mentionAll: bool
    forwarded: bool
    forwardingScore: int
    viewOnce: bool
    ephemeralSeconds: int | None
    rawType: Annotated[str | None, Field(description="The field of WhatsApp's own format.")]
    shortened: Annotated[bool, Field(description="Something was left out as too large.")]


class MessageReceived(_AboutMessage, MessageContent):
    """A message came in, or the account itself wrote one on another device."""

    isBroadcast: bool
    isChannel: bool
    isStatus: bool
    serverId: Annotated[int | None, Field(description="Its number in its channel.")]
    pushName: Annotated[str | None, Field(description="What the sender is called by themselves.")]
    kind: Annotated[
        str,
        Field(description="`undecryptable` for one that could not be read and was not stored."),
    ]
    text: Annotated[str | None, Field(description="Its text, or caption.")]
    unavailable: Annotated[
        bool, Field(description="WhatsApp does not show it to linked devices at all.")
    ]


class MessageEdited(_AboutMessage, MessageContent):
    """A message says something else now."""

    kind: str
    text: str | None


class MessageRevoked(_AboutMessage):
    """A message was taken back for everyone."""

    author: Annotated[
        Person | None, Field(description="Who had written it, where that is not the sender.")
    ]
    byAdmin: Annotated[bool, Field(description="Whether it was done as an admin of the group.")]


class MessageReaction(_AboutMessage):
    """Somebody reacted to a message, or took a reaction back."""

    messageFromMe: bool | None
    author: Annotated[Person | None, Field(description="Who wrote the message, in groups.")]
    emoji: Annotated[str | None, Field(description="Null when it was taken back.")]


class PollVote(_AboutMessage):
    """Somebody voted, or changed a vote."""

    selected: Annotated[list[str], Field(description="Each option as the SHA-256 of its text.")]
    options: Annotated[
        list[str] | None,
        Field(description="The texts of what was chosen; null where the poll is not stored."),
    ]
    readable: bool


class MessageStatusChanged(TypedDict):
    """A message that is sent from here, or was, has a new status."""

    messageId: str
    whatsappId: str | None
    chat: Annotated[str, Field(description="JID.")]
    kind: str
    status: Annotated[str, words(MessageStatus)]
    failure: SendFailure | None
    sentAt: Moment | None
    deliveredAt: Moment | None
    readAt: Moment | None
    playedAt: Moment | None


class MessageSent(MessageStatusChanged):
    """WhatsApp took a message that was sent from here; told once for each."""


class MessageFailed(MessageStatusChanged):
    """A message will not be sent, unless somebody asks for it once more."""


class MessageMediaChanged(TypedDict):
    """The file of a message is here, or could not be fetched."""

    messageId: str
    whatsappId: str | None
    chat: Annotated[str, Field(description="JID.")]
    media: MediaFile
