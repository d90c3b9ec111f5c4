"""The kinds of messages: what a body of each holds, and what is made of it.

Every way to send goes through :func:`compose`: the routes of single kinds, templates, bulk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from wavisor.http.forms import Upload
from wavisor.http.messages.composing import (
    Draft,
    Keepsake,
    contacts_content,
    draft_of,
    key_of,
    location_content,
    media_content,
    message_of,
    poll_content,
    text_content,
    wrong,
)
from wavisor.http.messages.requests import (
    MediaBody,
    SendAudio,
    SendBody,
    SendContact,
    SendDocument,
    SendImage,
    SendLocation,
    SendPoll,
    SendReaction,
    SendSticker,
    SendText,
    SendVideo,
    SendVoice,
)
from wavisor.http.routing import Call
from wavisor.http.schemas import ApiModel
from wavisor.media import Prepared
from wavisor.storage import InstanceRecord
from wavisor.whatsapp.content import Content, MediaKind, Reaction, Text

__all__ = ["KINDS", "MEDIA_KINDS", "MessageKind", "Prepare", "compose", "plain_content"]

Prepare = Callable[[MediaKind, MediaBody], Awaitable[Prepared]]
"""Gets the file of a message, ready to be sent."""
Compose = Callable[[Call[Any, Any], Any, Prepare], Awaitable[Draft]]

_PREVIEW_TYPE = "image/jpeg"
_NO_CONTENT = Text(text="")
"""Stands for a file until it is there."""


@dataclass(frozen=True)
class MessageKind:
    """A kind of message that can be sent."""

    body: type[ApiModel]
    """What is said of it."""
    compose: Compose


async def compose(
    call: Call[Any, Any],
    kind: str,
    body: ApiModel,
    upload: Upload | None = None,
    *,
    prepare: Prepare | None = None,
) -> Draft:
    """Put together a message of the instance that the request means.

    Args:
        call: the request.
        kind: one of :data:`KINDS`.
        body: an instance of that kind's model.
        upload: its file, if it was uploaded.
        prepare: gets its file, where it is not simply taken in.

    Raises:
        ProblemError: it cannot be sent.
    """

    async def take_in(kind: MediaKind, body: MediaBody) -> Prepared:
        return await call.application.intake.prepare(kind, body, upload)

    return await KINDS[kind].compose(call, body, prepare or take_in)


async def _text(call: Call[Any, Any], body: SendText, _: Prepare) -> Draft:
    # Cheap checks first: nothing is fetched for a message that cannot be sent.
    draft = await draft_of(call, body, "text", text_content(body, None), body.text)
    preview = await call.application.intake.preview(body.text) if body.link_preview else None
    if preview is None:
        return draft
    picture = preview.picture
    keepsake = None if picture is None else Keepsake(picture, _PREVIEW_TYPE)
    return replace(draft, content=text_content(body, preview), keepsake=keepsake)


def plain_content(
    kind: str, body: ApiModel, instance: InstanceRecord
) -> tuple[Content, str | None] | None:
    """Return the content of a message that needs nothing fetched, and its text for the search.

    Args:
        kind: one of :data:`KINDS`.
        body: an instance of that kind's model.
        instance: which of the tenant's instances sends.

    Returns:
        Content and text; None for a kind of message that is more than what its body says.

    Raises:
        ProblemError: a number in it is none.
    """
    match body:
        case SendText():
            return text_content(body, None), body.text
        case SendLocation():
            return location_content(body), body.name or body.address
        case SendContact():
            names = ", ".join(one.name for one in body.contacts)
            return contacts_content(body, instance), names
        case SendPoll():
            return poll_content(body), body.question
    return None


def _plain(kind: str) -> Compose:
    async def compose_plain(call: Call[Any, Any], body: SendBody, _: Prepare) -> Draft:
        found = plain_content(kind, body, call.instance)
        assert found is not None  # noqa: S101 - what the table below says
        return await draft_of(call, body, kind, *found)

    return compose_plain


async def _reaction(call: Call[Any, Any], body: SendReaction, _: Prepare) -> Draft:
    target = await message_of(call, body.message_id)
    if target is None or target.instance_id != call.instance.id:
        raise wrong("messageId", "is no message of this instance")
    if target.chat.endswith("@newsletter"):
        raise wrong("messageId", "is in a channel; POST /api/channels/{jid}/reactions reacts there")
    if target.chat.endswith("@broadcast"):
        raise wrong("messageId", "is a status, or went to a list; there are no reactions to these")
    key = key_of(target)
    if key is None:
        raise wrong("messageId", "is a message that WhatsApp does not know (yet)")
    return Draft(
        chat=target.chat,
        kind="reaction",
        content=Reaction(target=key, emoji=body.emoji),
        text=body.emoji or None,
    )


def _media(kind: MediaKind) -> Compose:
    async def compose_media(call: Call[Any, Any], body: MediaBody, prepare: Prepare) -> Draft:
        caption = getattr(body, "caption", None) or None
        # Cheap checks first: no file is fetched or converted for a message that cannot be sent.
        draft = await draft_of(call, body, kind, _NO_CONTENT, caption)
        prepared = await prepare(kind, body)
        content = media_content(kind, body, prepared)
        keepsake = Keepsake(prepared.stored, prepared.file.mime_type, prepared.file.file_name)
        return replace(draft, content=content, keepsake=keepsake)

    return compose_media


MEDIA_KINDS: Mapping[MediaKind, type[MediaBody]] = {
    "image": SendImage,
    "video": SendVideo,
    "audio": SendAudio,
    "voice": SendVoice,
    "document": SendDocument,
    "sticker": SendSticker,
}
"""The kinds that are files."""

KINDS: Mapping[str, MessageKind] = {
    "text": MessageKind(SendText, _text),
    **{kind: MessageKind(body, _media(kind)) for kind, body in MEDIA_KINDS.items()},
    "location": MessageKind(SendLocation, _plain("location")),
    "contact": MessageKind(SendContact, _plain("contact")),
    "poll": MessageKind(SendPoll, _plain("poll")),
    "reaction": MessageKind(SendReaction, _reaction),
}
"""Every kind by its name, which is also the last part of its route."""
