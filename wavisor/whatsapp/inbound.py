"""What a received message consists of: one model for all of WhatsApp's kinds.

Made by :mod:`wavisor.whatsapp.incoming` in session processes, carried by the events in
:mod:`wavisor.whatsapp.events`, stored and published by the gateway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from wavisor.whatsapp.content import ContactCard, MediaKind
from wavisor.whatsapp.person import Person

__all__ = [
    "InboundContent",
    "InboundLocation",
    "InboundPoll",
    "MediaDescriptor",
    "MessageType",
    "Quoted",
    "chosen_options",
    "poll_option_hash",
]

MessageType = Literal[
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
    "button_reply",
    "interactive",
    "event",
    "group_invite",
    "album",
    "product",
    "order",
    "system",
    "other",
]
"""``button_reply``: a choice from what a business offered; ``interactive``: such an offer;
``system``: what the app shows in grey between messages, see :attr:`InboundContent.system`;
``other``: see :attr:`InboundContent.raw_type`."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quoted(_Part):
    """The message that another one answers, as its sender claims it was."""

    id: str
    sender: Person | None
    chat: str | None
    """JID, if it is from another chat."""
    type: MessageType
    text: str | None
    """Its text or caption, shortened."""


class MediaDescriptor(_Part):
    """A file that came with a message, all of it as the sender claims but the hash."""

    kind: MediaKind
    mime_type: str
    size: int
    """In bytes."""
    sha256: str | None
    """Of the decrypted file, hexadecimal; the download is checked against it."""
    file_name: str | None = None
    seconds: int | None = None
    width: int | None = None
    """In pixels."""
    height: int | None = None
    pages: int | None = None
    animated: bool = False
    """A moving sticker, or a film shown as a GIF."""
    waveform: str | None = None
    """Of voice: loudness values of 0 to 100 as base64."""
    thumbnail: str | None = None
    """A small JPEG as base64."""
    source: str
    """Opaque: what ``DownloadMedia`` takes. It holds the key to the file: not for the public."""


class InboundLocation(_Part):
    """A place."""

    latitude: float
    longitude: float
    name: str | None = None
    address: str | None = None
    live: bool = False
    """Somebody's position at that moment, who goes on sharing it."""
    accuracy: int | None = None
    """In metres."""


class InboundPoll(_Part):
    """A question with answers to choose from."""

    question: str
    options: tuple[str, ...]
    selectable: int
    """How many answers one may choose; 0 for any number."""


class InboundContent(_Part):
    """A message's content; which fields are filled depends on ``type``."""

    type: MessageType
    raw_type: str
    """Name of the protobuf field that the message fills (``waE2E.Message``)."""
    text: str | None = None
    """A text; of replies and offers what the app would show."""
    caption: str | None = None
    media: MediaDescriptor | None = None
    location: InboundLocation | None = None
    contacts: tuple[ContactCard, ...] = ()
    poll: InboundPoll | None = None
    choice: str | None = None
    """Of a ``button_reply``: the id of what was chosen."""
    system: Literal["pinned", "unpinned", "kept", "unkept", "ephemeral_changed"] | None = None
    target_id: str | None = None
    """The message that ``system`` is about."""
    quoted: Quoted | None = None
    mentions: tuple[str, ...] = ()
    """JIDs."""
    mention_all: bool = False
    forwarded: bool = False
    forwarding_score: int = 0
    """How often, as far as known; 5 and more is what the apps call many times."""
    view_once: bool = False
    ephemeral_seconds: int | None = None
    """The message vanishes so long after it was sent, or read."""
    shortened: bool = False
    """Something was left out because it was too large to pass on."""

    @property
    def searchable(self) -> str | None:
        """What a search in text should look at: text, caption, question or name."""
        if self.text or self.caption:
            return self.text or self.caption
        if self.poll is not None:
            return "\n".join((self.poll.question, *self.poll.options))
        if self.location is not None:
            return " ".join(filter(None, (self.location.name, self.location.address))) or None
        if self.contacts:
            return "\n".join(card.name for card in self.contacts)
        return self.media.file_name if self.media is not None else None


def poll_option_hash(option: str) -> str:
    """Return how votes name a poll's option: the hexadecimal SHA-256 of its text.

    Source: whatsmeow ``msgsecret.go``, ``HashPollOptions``.
    """
    return hashlib.sha256(option.encode()).hexdigest()


def chosen_options(poll: Mapping[str, Any], chosen: Iterable[str]) -> list[str]:
    """Return the texts of the options that a vote names, without those that the poll has not.

    Args:
        poll: the content of the poll's message, received or sent from here, as JSON.
        chosen: hashes as of :func:`poll_option_hash`.
    """
    options = (poll.get("poll") or poll).get("options") or ()
    texts = {poll_option_hash(option): option for option in options}
    return [texts[one] for one in chosen if one in texts]
