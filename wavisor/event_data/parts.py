"""What several events have in common: people, places, files, and the forms of texts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, NotRequired

from pydantic import Field, WithJsonSchema

# Of the standard library only from Python 3.12 on is the one that pydantic reads.
from typing_extensions import TypedDict

from wavisor.domain import MediaState

__all__ = [
    "ContactCard",
    "FileState",
    "MediaFile",
    "MessageFile",
    "Moment",
    "Person",
    "Place",
    "PollContent",
    "QuotedMessage",
    "SendFailure",
    "words",
]


Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time as it stands on the wire."""


def words(kind: type[StrEnum]) -> Any:
    """Return the annotation of a text that is one of an enumeration's."""
    return WithJsonSchema({"type": "string", "enum": [one.value for one in kind]})


FileState = Annotated[str, words(MediaState)]


class Person(TypedDict):
    """Somebody on WhatsApp; null for what is unknown."""

    jid: Annotated[str, Field(description="The address as WhatsApp gave it.")]
    lid: Annotated[str | None, Field(description="The hidden address, `…@lid`.")]
    phone: Annotated[str | None, Field(description="The number in E.164.")]


class SendFailure(TypedDict):
    """Why a message was not sent, or may not have been."""

    reason: str
    detail: str
    code: Annotated[int | None, Field(description="WhatsApp's own, where it gave one.")]


class Place(TypedDict):
    """A location."""

    latitude: float
    longitude: float
    name: str | None
    address: str | None
    live: Annotated[bool, Field(description="Where somebody was at that moment, and goes on.")]
    accuracy: Annotated[int | None, Field(description="In metres.")]


class ContactCard(TypedDict):
    """A card of somebody."""

    name: str
    vcard: str


class PollContent(TypedDict):
    """A question with answers to choose from."""

    question: str
    options: list[str]
    selectable: Annotated[int, Field(description="How many one may choose; 0 for any number.")]


class QuotedMessage(TypedDict):
    """The message that another one answers, as its sender claims it was."""

    whatsappId: str
    sender: Person | None
    chat: Annotated[str | None, Field(description="JID, where it is from another chat.")]
    kind: str
    text: Annotated[str | None, Field(description="Shortened.")]


class MediaFile(TypedDict):
    """A file as it is known here."""

    id: str
    state: FileState
    mimeType: str
    size: Annotated[int | None, Field(description="In bytes.")]
    fileName: str | None
    failure: Annotated[dict[str, Any] | None, Field(description="`{reason, detail}`.")]
    url: Annotated[str, Field(description="Where it is fetched, with a token.")]


class MessageFile(TypedDict):
    """A file that came with a message: what its sender says of it, and what is known of it here."""

    kind: Annotated[str, Field(description="What it was sent as, such as `image`.")]
    mimeType: str
    size: Annotated[int | None, Field(description="In bytes.")]
    sha256: str | None
    fileName: str | None
    seconds: int | None
    width: int | None
    height: int | None
    pages: int | None
    animated: bool
    waveform: Annotated[str | None, Field(description="Loudness of voice, as base64.")]
    thumbnail: Annotated[str | None, Field(description="A small JPEG as base64.")]
    id: NotRequired[Annotated[str, Field(description="Names it for `GET /api/media/{id}`.")]]
    state: NotRequired[FileState]
    failure: NotRequired[dict[str, Any] | None]
    url: NotRequired[str]
