"""What a request to send says: one model for each kind of message."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from wavisor.http.schemas import ApiModel, Moment
from wavisor.whatsapp.content import StatusFont

__all__ = [
    "ContactBody",
    "EditMessage",
    "FileBody",
    "ForwardMessage",
    "MediaBody",
    "PinMessage",
    "PostImage",
    "PostText",
    "PostVideo",
    "ScheduledBody",
    "SendAudio",
    "SendBody",
    "SendContact",
    "SendDocument",
    "SendImage",
    "SendLocation",
    "SendPoll",
    "SendReaction",
    "SendSticker",
    "SendText",
    "SendVideo",
    "SendVoice",
]

TEXT_LIMIT = 65_536
"""The longest text that WhatsApp's own clients send, in characters."""
CAPTION_LIMIT = 4096
STATUS_LIMIT = 700
"""The longest text of a status that WhatsApp's own clients take, in characters."""
_NAME_LIMIT = 200
_BASE64_LIMIT = 400_000_000
"""More than any setting allows."""
_POLL_OPTIONS = 12
_CONTACTS = 50
_MENTIONS = 1024
_EPHEMERAL = (86_400, 604_800, 7_776_000)
TYPING_LIMIT_MS = 60_000
EMOJI_LIMIT = 40
"""In characters; a family with skin colours has 11, a flag of a region 7."""


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("is blank")
    return value


class ScheduledBody(ApiModel):
    """When a message goes."""

    send_at: Moment | None = Field(default=None, description="Not before this time, with its zone.")
    expires_at: Moment | None = Field(
        default=None, description="When it is still queued then, it fails instead."
    )
    priority: int = Field(
        default=0, ge=-10, le=10, description="Higher ones overtake lower ones in the queue."
    )


class SendBody(ScheduledBody):
    """What every message has: to whom it goes, and how."""

    to: str = Field(
        min_length=1,
        max_length=64,
        description="A phone number, or the JID of a person (`…@s.whatsapp.net`, `…@lid`), a group "
        "(`…@g.us`), a channel (`…@newsletter`) or the own status (`status@broadcast`). A number "
        "has its country code, unless the instance has a `defaultRegion`.",
        examples=["+4915112345678"],
    )
    quoted: str | None = Field(
        default=None, max_length=64, description="The id (`msg_…`) of the message that it answers."
    )
    mentions: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        default=(),
        max_length=_MENTIONS,
        description="People who are told, as numbers or JIDs. The text names them as `@` and "
        "the digits before the `@` of the JID.",
    )
    mention_all: bool = Field(default=False, description="Everybody in the group is told.")
    ephemeral: int | None = Field(
        default=None,
        description="Seconds after which the message vanishes: 86400, 604800 or 7776000. The "
        "chat's own setting if left out.",
    )
    typing: Annotated[int | bool, Field(union_mode="left_to_right")] = Field(
        default=False,
        description="The recipient first sees somebody typing, or recording: true for as long as "
        f"fits the text, or milliseconds, {TYPING_LIMIT_MS} at most.",
    )

    @field_validator("ephemeral")
    @classmethod
    def _known_period(cls, value: int | None) -> int | None:
        if value is not None and value not in _EPHEMERAL:
            raise ValueError(f"must be one of {', '.join(map(str, _EPHEMERAL))}")
        return value

    @field_validator("typing")
    @classmethod
    def _bounded(cls, value: int | bool) -> int | bool:
        if not isinstance(value, bool) and not 0 <= value <= TYPING_LIMIT_MS:
            raise ValueError(f"must be true, false, or 0 to {TYPING_LIMIT_MS} milliseconds")
        return value


class SendText(SendBody):
    """A text to be sent."""

    text: str = Field(min_length=1, max_length=TEXT_LIMIT)
    link_preview: bool = Field(
        default=False,
        description="Show title and picture of the first link's page, which is then fetched. "
        "Without one to be had, the text is sent without.",
    )

    _text = field_validator("text")(_not_blank)


class FileBody(ApiModel):
    """A file: by URL, as base64, or as the field `file` of a form."""

    url: str | None = Field(
        default=None,
        min_length=1,
        max_length=8192,
        description="Where to fetch the file; http or https, and public.",
        examples=["https://example.com/file"],
    )
    base64: str | None = Field(
        default=None,
        min_length=1,
        max_length=_BASE64_LIMIT,
        description="The file itself; a `data:` URL will do as well. How large it may be is a "
        "setting (16 MiB by default).",
    )
    file_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=_NAME_LIMIT,
        description="What it is called; by default as its URL or upload tells.",
    )


class MediaBody(SendBody, FileBody):
    """A file to be sent."""


class _Captioned(MediaBody):
    caption: str | None = Field(default=None, max_length=CAPTION_LIMIT)


class _OnceViewable(ApiModel):
    view_once: bool = Field(default=False, description="It can be looked at, or heard, once.")


class SendImage(_OnceViewable, _Captioned):
    """A picture to be sent."""


class SendVideo(_OnceViewable, _Captioned):
    """A film to be sent."""


class SendAudio(_OnceViewable, MediaBody):
    """A sound file to be sent."""


class SendVoice(_OnceViewable, MediaBody):
    """A voice note to be sent; it is made from nearly any recording."""


class SendDocument(_Captioned):
    """A document to be sent; any file will do."""


class SendSticker(MediaBody):
    """A sticker to be sent; it is made from a picture or an animated GIF."""


class SendLocation(SendBody):
    """A place to be sent."""

    latitude: float = Field(ge=-90, le=90, description="In degrees.")
    longitude: float = Field(ge=-180, le=180, description="In degrees.")
    name: str | None = Field(default=None, max_length=_NAME_LIMIT)
    address: str | None = Field(default=None, max_length=500)


class ContactBody(ApiModel):
    """Somebody's card: a name and a number, or a whole vCard."""

    name: str = Field(min_length=1, max_length=_NAME_LIMIT)
    phone: str | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="With its country code.",
        examples=["+4915112345678"],
    )
    organization: str | None = Field(default=None, max_length=_NAME_LIMIT)
    vcard: str | None = Field(default=None, min_length=1, max_length=16_384)

    _name = field_validator("name")(_not_blank)

    @field_validator("vcard")
    @classmethod
    def _whole(cls, value: str | None) -> str | None:
        text = (value or "").strip().upper()
        if value is not None and not (
            text.startswith("BEGIN:VCARD") and text.endswith("END:VCARD")
        ):
            raise ValueError("must begin with BEGIN:VCARD and end with END:VCARD")
        return value

    @model_validator(mode="after")
    def _one_of(self) -> ContactBody:
        if (self.phone is None) == (self.vcard is None):
            raise ValueError("needs either phone or vcard")
        if self.vcard is not None and self.organization is not None:
            raise ValueError("has its organization in the vcard")
        return self


class SendContact(SendBody):
    """One or several cards to be sent."""

    contacts: tuple[ContactBody, ...] = Field(min_length=1, max_length=_CONTACTS)


class SendPoll(SendBody):
    """A poll to be sent."""

    question: str = Field(min_length=1, max_length=255)
    options: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        min_length=2,
        max_length=_POLL_OPTIONS,
        description="What to choose from; all different.",
        examples=[["Yes", "No"]],
    )
    selectable_count: int = Field(
        default=1,
        ge=0,
        le=_POLL_OPTIONS,
        description="How many may be chosen; 0 for any number.",
    )

    _question = field_validator("question")(_not_blank)

    @field_validator("options")
    @classmethod
    def _different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not one.strip() for one in value):
            raise ValueError("must not be blank")
        if len(set(value)) != len(value):
            raise ValueError("must be different from one another")
        return value

    @model_validator(mode="after")
    def _enough(self) -> SendPoll:
        if self.selectable_count > len(self.options):
            raise ValueError("selectableCount is more than there are options")
        return self


class SendReaction(ApiModel):
    """A reaction to a message."""

    message_id: str = Field(
        max_length=64,
        description="The id (`msg_…`) of the message.",
        examples=["msg_01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    )
    emoji: str = Field(
        max_length=EMOJI_LIMIT,
        description="One emoji; empty takes an earlier reaction back.",
        examples=["\N{THUMBS UP SIGN}"],
    )

    @field_validator("emoji")
    @classmethod
    def _emoji(cls, value: str) -> str:
        if any(one.isspace() or (one.isascii() and one not in "#*0123456789") for one in value):
            raise ValueError("is no emoji")
        return value


class EditMessage(ApiModel):
    """A new text, or caption, for a message that was sent."""

    text: str = Field(min_length=1, max_length=TEXT_LIMIT)

    _text = field_validator("text")(_not_blank)


class PinMessage(ApiModel):
    """For how long to pin a message."""

    seconds: Literal[0, 86_400, 604_800, 2_592_000] = Field(
        description="A day, a week or 30 days; 0 takes the pin away."
    )


class ForwardMessage(ApiModel):
    """Where to forward a message to."""

    to: str = Field(
        min_length=1, max_length=64, description="As of every send.", examples=["+4915112345678"]
    )


class PostText(ScheduledBody):
    """A text to be posted as a status."""

    text: str = Field(min_length=1, max_length=STATUS_LIMIT)
    background: str = Field(
        default="#075E54",
        max_length=7,
        pattern=r"^#[0-9A-Fa-f]{6}$",
        description="The colour behind the text, which is white.",
    )
    font: StatusFont = "system"

    _text = field_validator("text")(_not_blank)


class _Post(ScheduledBody, FileBody):
    caption: str | None = Field(default=None, max_length=CAPTION_LIMIT)


class PostImage(_Post):
    """A picture to be posted as a status."""


class PostVideo(_Post):
    """A film to be posted as a status."""
