"""What a message consists of, as the gateway hands it to a session and gets it from one.

One vocabulary for both directions: the queue stores it, a session turns it into WhatsApp's
protobuf (``waE2E``) and back. Media are files in the data directory; a frame only names them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

__all__ = [
    "CONTENT",
    "ContactCard",
    "Contacts",
    "Content",
    "Edit",
    "Location",
    "Media",
    "MediaFile",
    "MediaKind",
    "MessageKey",
    "Pin",
    "Poll",
    "Reaction",
    "Revoke",
    "SendOptions",
    "StatusFont",
    "Text",
    "with_paths",
]

StatusFont = Literal[
    "system", "text", "script", "bold", "morning_breeze", "calistoga", "exo2", "courier_prime"
]
"""What WhatsApp's apps offer for a status (``ExtendedTextMessage.FontType``)."""
MediaKind = Literal["image", "video", "audio", "voice", "document", "sticker"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MessageKey(_Part):
    """Names a message on WhatsApp (``waCommon.MessageKey``)."""

    chat: str
    """JID of the chat."""
    id: str
    """WhatsApp's id of the message, unique within its chat and sender."""
    from_me: bool
    sender: str | None = None
    """JID of who wrote it; needed for others' messages in groups."""


class MediaFile(_Part):
    """A file to be sent. All that WhatsApp wants told about it is found out by the gateway."""

    path: str
    """Absolute path; the session reads it and does not change it. In the queue, relative to the
    media directory, which may move meanwhile."""
    mime_type: str
    size: int
    """In bytes."""
    file_name: str | None = None
    width: int | None = None
    """In pixels."""
    height: int | None = None
    seconds: int | None = None
    """Length of sound and film."""
    pages: int | None = None
    thumbnail_path: str | None = None
    """A JPEG of at most 100 by 100 pixels."""
    waveform: str | None = None
    """Of voice: 64 loudness values of 0 to 100 as base64."""
    animated: bool = False
    """Of a sticker."""


class Text(_Part):
    """A text, with the preview of a link in it where the sender wants one."""

    type: Literal["text"] = "text"
    text: str
    preview_url: str | None = None
    preview_title: str | None = None
    preview_description: str | None = None
    preview_thumbnail_path: str | None = None
    background: str | None = None
    """Of a status: the colour behind the text, as ``#RRGGBB``."""
    font: StatusFont | None = None
    """Of a status."""


class Media(_Part):
    """A file: picture, film, sound, voice note, document or sticker."""

    type: Literal["media"] = "media"
    kind: MediaKind
    file: MediaFile
    caption: str | None = None


class Location(_Part):
    """A place."""

    type: Literal["location"] = "location"
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    name: str | None = None
    address: str | None = None


class ContactCard(_Part):
    """Somebody's card."""

    name: str
    vcard: str
    """vCard 3.0; WhatsApp recognises people by a ``waid`` parameter of ``TEL``."""


class Contacts(_Part):
    """One or several cards."""

    type: Literal["contact", "contacts"] = "contact"
    """Messages that were queued by an earlier version have the other name."""
    cards: tuple[ContactCard, ...]


class Poll(_Part):
    """A question with answers to choose from."""

    type: Literal["poll"] = "poll"
    question: str
    options: tuple[str, ...]
    selectable: int = 1
    """How many answers one may choose; 0 for any number."""


class Reaction(_Part):
    """An emoji on a message; empty takes an earlier one back."""

    type: Literal["reaction"] = "reaction"
    target: MessageKey
    emoji: str


class Edit(_Part):
    """A new text, or caption, for a message of one's own."""

    type: Literal["edit"] = "edit"
    target: MessageKey
    text: str
    of: MediaKind | None = None
    """What the message is, if its caption is edited; None for a text."""


class Revoke(_Part):
    """Take a message back for everyone."""

    type: Literal["revoke"] = "revoke"
    target: MessageKey


class Pin(_Part):
    """Pin a message for everyone in its chat, or take the pin away with 0 seconds."""

    type: Literal["pin"] = "pin"
    target: MessageKey
    seconds: int


Content = Annotated[
    Text | Media | Location | Contacts | Poll | Reaction | Edit | Revoke | Pin,
    Field(discriminator="type"),
]
CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


def with_paths(content: Content, change: Callable[[str], str]) -> Content:
    """Return the content with the paths of its files changed, such as from stored to absolute."""
    if isinstance(content, Media):
        small = content.file.thumbnail_path
        paths = {
            "path": change(content.file.path),
            "thumbnail_path": None if small is None else change(small),
        }
        return content.model_copy(update={"file": content.file.model_copy(update=paths)})
    if isinstance(content, Text) and content.preview_thumbnail_path is not None:
        path = change(content.preview_thumbnail_path)
        return content.model_copy(update={"preview_thumbnail_path": path})
    return content


class SendOptions(_Part):
    """What goes with a message whatever it consists of."""

    quoted: MessageKey | None = None
    quoted_text: str | None = None
    """What the quoted message said; WhatsApp shows what the sender claims."""
    mentions: tuple[str, ...] = ()
    """JIDs of those who are told."""
    mention_all: bool = False
    """Everybody in the group is mentioned; the session looks up who that is."""
    view_once: bool = False
    ephemeral_seconds: int | None = None
    """The message vanishes after so long; the chat's own setting if None."""
    forwarded: bool = False
    forwarding_score: int = Field(default=1, ge=1)
    """Of a forwarded message: how often it was, this time included."""
    typing_seconds: float = 0.0
    """The recipient sees the sender typing (or recording) for so long first."""
