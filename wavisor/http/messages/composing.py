"""From what a request says to a message that can be queued."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from wavisor.http.messages.recipients import kind_refusal, person_jid, recipient_jid
from wavisor.http.messages.requests import (
    ContactBody,
    FileBody,
    ScheduledBody,
    SendBody,
    SendContact,
    SendLocation,
    SendPoll,
    SendText,
)
from wavisor.http.phones import digits_of, is_region
from wavisor.http.problems import VALIDATION_FAILED, FieldProblem, ProblemError
from wavisor.http.routing import Call
from wavisor.ids import Kind, normalise_id
from wavisor.media import LinkPreview, Prepared, StoredFile
from wavisor.storage import InstanceRecord, MediaRecord, MessageRecord, Scope, messages
from wavisor.whatsapp.content import (
    ContactCard,
    Contacts,
    Content,
    Location,
    Media,
    MediaKind,
    MessageKey,
    Poll,
    SendOptions,
    Text,
)

__all__ = [
    "Draft",
    "Keepsake",
    "check_times",
    "contacts_content",
    "draft_of",
    "key_of",
    "location_content",
    "media_content",
    "message_of",
    "poll_content",
    "recipient_of",
    "region_of",
    "text_content",
    "wrong",
]

T = TypeVar("T")

_FURTHEST = timedelta(days=366)
_TYPING_SECONDS = 3.0
_CHARACTERS_PER_SECOND = 12
_LEAST_TYPING, _MOST_TYPING = 1.5, 10.0


@dataclass(frozen=True)
class Keepsake:
    """A file that a message needs, to be noted with it."""

    stored: StoredFile
    mime_type: str
    file_name: str | None = None


@dataclass(frozen=True)
class Draft:
    """A message that can be queued."""

    chat: str = field(repr=False)
    """JID of the chat."""
    kind: str
    content: Content = field(repr=False)
    text: str | None = field(default=None, repr=False)
    """Its text or caption, for the search."""
    options: SendOptions = field(default_factory=SendOptions, repr=False)
    keepsake: Keepsake | None = None
    media_id: str | None = None
    """Of a file that is noted already."""
    file: MediaRecord | None = None
    """The same."""
    quoted_id: str | None = None
    priority: int = 0
    send_at: datetime | None = None
    expires_at: datetime | None = None
    created_by: str | None = None
    """Id of who asks for it; noted when it is accepted."""


def wrong(name: str, detail: str) -> ProblemError:
    """Return the problem of a field that does not fit."""
    return ProblemError(
        VALIDATION_FAILED, errors=[FieldProblem(detail=detail, pointer=f"#/{name}")]
    )


async def draft_of(
    call: Call[Any, Any], body: SendBody, kind: str, content: Content, text: str | None
) -> Draft:
    """Return the draft of a message of the instance that the request means.

    Args:
        call: the request.
        body: to whom the message goes, and how.
        kind: of the message.
        content: what it says.
        text: its text or caption.

    Raises:
        ProblemError: what the body says of recipients, time or quoted message does not fit.
    """
    region = region_of(call.instance)
    chat = recipient_of(body.to, call.instance, kind)
    if body.mention_all and not chat.endswith("@g.us"):
        raise wrong("mentionAll", "is only for groups")
    mentions = tuple(
        _reading(f"mentions/{number}", lambda one=one: person_jid(one, region))  # type: ignore[misc]  # mypy cannot infer a lambda's default
        for number, one in enumerate(body.mentions)
    )
    check_times(body, call.services.clock.now())
    quoted = await _quoted(call, body.quoted)
    options = SendOptions(
        quoted=None if quoted is None else key_of(quoted),
        quoted_text=None if quoted is None else quoted.text,
        mentions=tuple(dict.fromkeys(mentions)),
        mention_all=body.mention_all,
        view_once=bool(getattr(body, "view_once", False)),
        ephemeral_seconds=body.ephemeral,
        typing_seconds=_typing_seconds(body.typing, text),
    )
    return Draft(
        chat=chat,
        kind=kind,
        content=content,
        text=text,
        options=options,
        quoted_id=None if quoted is None else quoted.whatsapp_id,
        priority=body.priority,
        send_at=body.send_at,
        expires_at=body.expires_at,
    )


def recipient_of(to: str, instance: InstanceRecord, kind: str) -> str:
    """Return the JID of the chat that a request to send a kind of message means.

    Raises:
        ProblemError: it means none, or none to which such a message can go.
    """
    chat = _reading("to", lambda: recipient_jid(to, region_of(instance)))
    refusal = kind_refusal(kind, chat)
    if refusal is not None:
        raise wrong("to", refusal)
    return chat


async def message_of(call: Call[Any, Any], message_id: str) -> MessageRecord | None:
    """Return the caller's message by an id in any letter case; None when there is none."""
    identifier = normalise_id(message_id, Kind.MESSAGE)
    if identifier is None:
        return None
    scope = Scope(call.principal.subscription_id)
    found = await call.services.database.fetch(messages.get, scope, identifier)
    return found if found is not None and call.principal.sees(found.instance_id) else None


def key_of(message: MessageRecord) -> MessageKey | None:
    """Return what names a message on WhatsApp; None when WhatsApp does not know it."""
    if message.whatsapp_id is None:
        return None
    return MessageKey(
        chat=message.chat,
        id=message.whatsapp_id,
        from_me=message.from_me,
        sender=None if message.from_me else message.wire_sender,
    )


def text_content(body: SendText, preview: LinkPreview | None) -> Text:
    """Return a text, with the preview of its link where there is one."""
    if preview is None:
        return Text(text=body.text)
    return Text(
        text=body.text,
        preview_url=preview.url,
        preview_title=preview.title,
        preview_description=preview.description,
        preview_thumbnail_path=None if preview.picture is None else preview.picture.relative,
    )


def media_content(kind: MediaKind, body: FileBody, prepared: Prepared) -> Media:
    """Return a file; its paths are relative to the media directory."""
    stored = prepared.stored
    paths = {"path": stored.relative, "thumbnail_path": stored.relative_preview}
    file = prepared.file.model_copy(update=paths)
    return Media(kind=kind, file=file, caption=getattr(body, "caption", None) or None)


def location_content(body: SendLocation) -> Location:
    """Return a place."""
    return Location(
        latitude=body.latitude, longitude=body.longitude, name=body.name, address=body.address
    )


def contacts_content(body: SendContact, instance: InstanceRecord) -> Contacts:
    """Return cards.

    Raises:
        ProblemError: a number is none.
    """
    region = region_of(instance)
    return Contacts(
        cards=tuple(
            ContactCard(name=one.name, vcard=one.vcard or _vcard(number, one, region))
            for number, one in enumerate(body.contacts)
        )
    )


def poll_content(body: SendPoll) -> Poll:
    """Return a poll."""
    return Poll(question=body.question, options=body.options, selectable=body.selectable_count)


def _vcard(number: int, contact: ContactBody, region: str | None) -> str:
    digits = _reading(f"contacts/{number}/phone", lambda: digits_of(contact.phone or "", region))
    name = _escaped(contact.name)
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:;{name};;;", f"FN:{name}"]
    if contact.organization is not None:
        lines.append(f"ORG:{_escaped(contact.organization)};")
    # By `waid` the app knows whom to offer a chat with.
    lines += [f"TEL;type=CELL;type=VOICE;waid={digits}:+{digits}", "END:VCARD"]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Return a value of a vCard (RFC 2426, section 5): one line, separators escaped."""
    for plain, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\r", ""), ("\n", "\\n")):
        text = text.replace(plain, escaped)
    return text


def _reading(name: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except ValueError as error:
        raise wrong(name, str(error)) from None


def region_of(instance: InstanceRecord) -> str | None:
    """Return the country whose numbers need no country code with an instance; None for none."""
    settings: Mapping[str, Any] = instance.settings
    region = settings.get("defaultRegion")
    return region if isinstance(region, str) and is_region(region) else None


def check_times(body: ScheduledBody, now: datetime) -> None:
    """Check when a message is to go.

    Raises:
        ProblemError: it makes no sense.
    """
    for name, value in (("sendAt", body.send_at), ("expiresAt", body.expires_at)):
        if value is not None and value > now + _FURTHEST:
            raise wrong(name, "is more than a year ahead")
    if body.expires_at is not None and body.expires_at <= max(now, body.send_at or now):
        raise wrong("expiresAt", "is over, or before sendAt")


def _typing_seconds(typing: int | bool, text: str | None) -> float:
    if typing is False:
        return 0.0
    if typing is not True:
        return typing / 1000
    if not text:
        return _TYPING_SECONDS
    return min(_MOST_TYPING, max(_LEAST_TYPING, len(text) / _CHARACTERS_PER_SECOND))


async def _quoted(call: Call[Any, Any], message_id: str | None) -> MessageRecord | None:
    if message_id is None:
        return None
    message = await message_of(call, message_id)
    if message is None or message.instance_id != call.instance.id:
        raise wrong("quoted", "is no message of this instance")
    if message.whatsapp_id is None:
        raise wrong("quoted", "is a message that WhatsApp does not know (yet)")
    return message
