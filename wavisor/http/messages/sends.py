"""Sending messages of every kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from wavisor.config import Settings
from wavisor.http.messages.intake import MEDIA_PROBLEMS
from wavisor.http.messages.kinds import KINDS, compose
from wavisor.http.messages.requests import (
    SendAudio,
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
from wavisor.http.messages.schemas import MessageModel
from wavisor.http.messages.sending import SEND_HEADERS, SEND_PROBLEMS, accept
from wavisor.http.permissions import Permission
from wavisor.http.routing import Call, InstanceFrom, Reply, Router, UploadRule
from wavisor.media import source_limit_of
from wavisor.whatsapp.content import MediaKind

__all__ = ["router", "uploads"]

router = Router("sending", "Sending messages of every kind.")

HandlerT = TypeVar("HandlerT", bound=Callable[..., Awaitable[Reply]])


def uploads(kind: MediaKind) -> UploadRule:
    """Return how large the file of a kind may be, in JSON and in a form."""

    def json_limit(settings: Settings) -> int:
        inline = min(source_limit_of(kind, settings), settings.media_inline_limit_bytes)
        return settings.body_limit_bytes + 4 * (inline // 3 + 1)

    return UploadRule(json_limit, lambda settings: source_limit_of(kind, settings))


def _route(kind: str, summary: str, **more: Any) -> Callable[[HandlerT], HandlerT]:
    return router.route(
        "POST",
        f"/api/messages/{kind}",
        operation=f"send{kind.capitalize()}",
        summary=summary,
        access=Permission.MESSAGES_SEND,
        instance=InstanceFrom.HEADER,
        body=KINDS[kind].body,
        responses={HTTPStatus.ACCEPTED: MessageModel},
        headers=SEND_HEADERS,
        **{"problems": SEND_PROBLEMS, **more},
    )


def _media_route(kind: MediaKind, summary: str) -> Callable[[HandlerT], HandlerT]:
    problems = (*SEND_PROBLEMS, *MEDIA_PROBLEMS)
    return _route(kind, summary, uploads=uploads(kind), problems=problems)


@_route("text", "Send a text")
async def send_text(call: Call[SendText, None]) -> Reply:
    """Accepts a text to be sent.

    The message is stored before the answer, and is sent as soon as its instance is connected and
    its pace allows. Its `status` tells how far it is: `queued`, `sending`, `sent`, `delivered`,
    `read`, `played`; or `failed`, or `cancelled`; or `uncertain` when the connection ended before
    WhatsApp had answered, so that sending it again might send it twice.
    """
    return await _send(call, "text")


@_media_route("image", "Send a picture")
async def send_image(call: Call[SendImage, None]) -> Reply:
    """Accepts a picture (JPEG, PNG or WebP) to be sent, with a small preview of it."""
    return await _send(call, "image")


@_media_route("video", "Send a film")
async def send_video(call: Call[SendVideo, None]) -> Reply:
    """Accepts a film (MP4, 3GP or QuickTime) to be sent, with a small preview of it."""
    return await _send(call, "video")


@_media_route("audio", "Send a sound file")
async def send_audio(call: Call[SendAudio, None]) -> Reply:
    """Accepts a sound file (MP3, M4A, AAC, AMR or Ogg) to be sent."""
    return await _send(call, "audio")


@_media_route("voice", "Send a voice note")
async def send_voice(call: Call[SendVoice, None]) -> Reply:
    """Accepts a recording to be sent as a voice note: Opus with a waveform, made by ffmpeg."""
    return await _send(call, "voice")


@_media_route("document", "Send a document")
async def send_document(call: Call[SendDocument, None]) -> Reply:
    """Accepts any file to be sent as it is."""
    return await _send(call, "document")


@_media_route("sticker", "Send a sticker")
async def send_sticker(call: Call[SendSticker, None]) -> Reply:
    """Accepts a picture or animated GIF to be sent as a sticker: WebP of 512 by 512 pixels."""
    return await _send(call, "sticker")


@_route("location", "Send a place")
async def send_location(call: Call[SendLocation, None]) -> Reply:
    """Accepts a place to be sent."""
    return await _send(call, "location")


@_route("contact", "Send contacts")
async def send_contact(call: Call[SendContact, None]) -> Reply:
    """Accepts one or several people's cards to be sent."""
    return await _send(call, "contact")


@_route("poll", "Send a poll")
async def send_poll(call: Call[SendPoll, None]) -> Reply:
    """Accepts a poll to be sent; votes come as events `poll:vote`."""
    return await _send(call, "poll")


@_route("reaction", "React to a message")
async def send_reaction(call: Call[SendReaction, None]) -> Reply:
    """Accepts a reaction to a message of either direction, or takes an earlier one back."""
    return await _send(call, "reaction")


async def _send(call: Call[Any, None], kind: str) -> Reply:
    return await accept(call, call.instance, partial(compose, call, kind, call.body, call.upload))
