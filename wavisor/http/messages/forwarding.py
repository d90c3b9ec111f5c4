"""Forwarding messages of either direction."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from wavisor.domain import MediaState
from wavisor.http.messages.actions import ACTION, MESSAGE_STATE, instance_of, load_message
from wavisor.http.messages.composing import Draft, recipient_of
from wavisor.http.messages.intake import STORAGE_FULL
from wavisor.http.messages.requests import ForwardMessage
from wavisor.http.messages.sending import accept
from wavisor.http.problems import ProblemError
from wavisor.http.routing import Call, Reply, Router
from wavisor.media import StoredFile
from wavisor.storage import MediaRecord, MessageRecord
from wavisor.whatsapp.content import (
    CONTENT,
    Contacts,
    Content,
    Location,
    Media,
    MediaFile,
    Poll,
    SendOptions,
    Text,
)
from wavisor.whatsapp.inbound import InboundContent, MediaDescriptor

__all__ = ["router"]

router = Router("forwarding", "Sending messages on to other chats.")


@router.route(
    "POST",
    "/api/messages/{id}/forward",
    operation="forwardMessage",
    summary="Forward a message",
    body=ForwardMessage,
    **{**ACTION, "problems": (*ACTION["problems"], STORAGE_FULL)},
)
async def forward_message(call: Call[ForwardMessage, None]) -> Reply:
    """Accepts that a message, sent from here or received, is sent to another chat as well.

    Texts, files, places and cards are forwarded, and polls that were sent from here. The file of
    a received message must be stored: 409 with `mediaState` otherwise. What can be viewed once,
    or was taken back, is not forwarded.
    """
    message = await load_message(call)
    instance = await instance_of(call, message)

    async def compose() -> Draft:
        chat = recipient_of(call.body.to, instance, message.kind)
        content, score = await _forwarded(call, message)
        return Draft(
            chat=chat,
            kind=message.kind,
            content=content,
            text=message.text,
            options=SendOptions(forwarded=True, forwarding_score=score),
            media_id=None if message.file is None else message.file.id,
            file=message.file,
        )

    return await accept(call, instance, compose)


async def _forwarded(call: Call[Any, Any], message: MessageRecord) -> tuple[Content, int]:
    """Return what is sent, and how often it was forwarded by then."""
    if message.revoked_at is not None:
        raise ProblemError(MESSAGE_STATE, "The message was taken back.")
    sent = _read_sent(message)
    if sent is not None:
        options = message.options or {}
        score = options.get("forwarding_score", 1) + 1 if options.get("forwarded") else 1
        if options.get("view_once"):
            raise _not_forwardable()
        return await _anew(call, message, sent), score
    try:
        content = InboundContent.model_validate(message.content)
    except ValidationError:
        raise _not_forwardable() from None
    if content.view_once:
        raise _not_forwardable()
    return await _received(call, message, content), content.forwarding_score + 1


def _read_sent(message: MessageRecord) -> Content | None:
    try:
        return CONTENT.validate_python(message.content)
    except ValidationError:
        # Received messages are stored in another form.
        return None


async def _anew(call: Call[Any, Any], message: MessageRecord, content: Content) -> Content:
    """Return a message that was sent from here, as it is sent once more."""
    if isinstance(content, Media):
        stored = await _stored(call, message.file, content)
        file = content.file.model_copy(update=_paths(stored))
        return content.model_copy(update={"file": file})
    if isinstance(content, Text) and message.file is None:
        # The picture of its link is not kept any more.
        return content.model_copy(update={"preview_thumbnail_path": None})
    if isinstance(content, Text | Location | Contacts | Poll):
        return content
    raise _not_forwardable()


async def _received(
    call: Call[Any, Any], message: MessageRecord, content: InboundContent
) -> Content:
    """Return a message that was received, or written on the phone, as it is sent from here."""
    told, place = content.media, content.location
    if told is not None:
        media = Media(kind=told.kind, file=_described(told), caption=content.caption)
        stored = await _stored(call, message.file, media)
        paths = {**_paths(stored), "size": stored.size}
        return media.model_copy(update={"file": media.file.model_copy(update=paths)})
    if content.type == "text" and message.text:
        return Text(text=message.text)
    if place is not None:
        return Location(
            latitude=place.latitude,
            longitude=place.longitude,
            name=place.name,
            address=place.address,
        )
    if content.contacts:
        return Contacts(cards=content.contacts)
    raise _not_forwardable()


def _described(told: MediaDescriptor) -> MediaFile:
    return MediaFile(
        path="",
        mime_type=told.mime_type,
        size=told.size,
        file_name=told.file_name,
        width=told.width,
        height=told.height,
        seconds=told.seconds,
        pages=told.pages,
        waveform=told.waveform,
        animated=told.animated,
    )


async def _stored(call: Call[Any, Any], file: MediaRecord | None, content: Media) -> StoredFile:
    if file is None or file.state is not MediaState.STORED:
        state = None if file is None else file.state.value
        raise ProblemError(
            MESSAGE_STATE,
            "The file of the message is not kept here."
            if state is None
            else f"The file of the message is not stored; it is {state}.",
            extensions={"mediaState": state},
        )
    stored = await call.application.intake.again(content.kind, file)
    if stored is None:
        raise ProblemError(
            MESSAGE_STATE,
            "The file of the message is gone; it can be fetched again.",
            extensions={"mediaState": "gone"},
        )
    return stored


def _paths(stored: StoredFile) -> dict[str, Any]:
    return {"path": stored.relative, "thumbnail_path": stored.relative_preview}


def _not_forwardable() -> ProblemError:
    return ProblemError(MESSAGE_STATE, "Such a message cannot be forwarded.")
