"""Posting a status: what the account's contacts see for 24 hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Literal

from wavisor.http.messages.composing import Draft, Keepsake, check_times, media_content
from wavisor.http.messages.intake import MEDIA_PROBLEMS
from wavisor.http.messages.requests import PostImage, PostText, PostVideo, ScheduledBody
from wavisor.http.messages.schemas import MessageModel
from wavisor.http.messages.sending import SEND_HEADERS, SEND_PROBLEMS, accept
from wavisor.http.messages.sends import uploads
from wavisor.http.permissions import Permission
from wavisor.http.routing import Call, HandlerT, InstanceFrom, Reply, Router
from wavisor.http.schemas import ApiModel
from wavisor.whatsapp.content import Content, Text

__all__ = ["router"]

router = Router("status", "Posting a status: what contacts see for 24 hours.")

_CHAT = "status@broadcast"
_NO_CONTENT = Text(text="")
"""Stands for a file until it is there."""


def _route(
    kind: str, summary: str, body: type[ApiModel], **more: Any
) -> Callable[[HandlerT], HandlerT]:
    return router.route(
        "POST",
        f"/api/status/{kind}",
        operation=f"post{kind.capitalize()}Status",
        summary=summary,
        access=Permission.MESSAGES_SEND,
        instance=InstanceFrom.HEADER,
        body=body,
        responses={HTTPStatus.ACCEPTED: MessageModel},
        headers=SEND_HEADERS,
        **{"problems": SEND_PROBLEMS, **more},
    )


@_route("text", "Post a text as a status", PostText)
async def post_text(call: Call[PostText, None]) -> Reply:
    """Accepts a text to be posted as a status.

    It is a message to `status@broadcast`, with the same life as any other. Those see it whom the
    phone's privacy settings of the status name, as far as its address book is known here.
    """
    body = call.body
    content = Text(text=body.text, background=body.background, font=body.font)

    async def compose() -> Draft:
        return _draft(call, body, "text", content, body.text)

    return await accept(call, call.instance, compose)


@_route(
    "image",
    "Post a picture as a status",
    PostImage,
    uploads=uploads("image"),
    problems=(*SEND_PROBLEMS, *MEDIA_PROBLEMS),
)
async def post_image(call: Call[PostImage, None]) -> Reply:
    """Accepts a picture (JPEG, PNG or WebP) to be posted as a status."""
    return await _post(call, "image")


@_route(
    "video",
    "Post a film as a status",
    PostVideo,
    uploads=uploads("video"),
    problems=(*SEND_PROBLEMS, *MEDIA_PROBLEMS),
)
async def post_video(call: Call[PostVideo, None]) -> Reply:
    """Accepts a film (MP4, 3GP or QuickTime) to be posted as a status."""
    return await _post(call, "video")


async def _post(call: Call[Any, None], kind: Literal["image", "video"]) -> Reply:
    async def compose() -> Draft:
        body = call.body
        # Cheap checks first: no file is fetched or converted for a status that cannot be posted.
        draft = _draft(call, body, kind, _NO_CONTENT, body.caption or None)
        prepared = await call.application.intake.prepare(kind, body, call.upload)
        keepsake = Keepsake(prepared.stored, prepared.file.mime_type, prepared.file.file_name)
        return replace(draft, content=media_content(kind, body, prepared), keepsake=keepsake)

    return await accept(call, call.instance, compose)


def _draft(
    call: Call[Any, None], body: ScheduledBody, kind: str, content: Content, text: str | None
) -> Draft:
    check_times(body, call.services.clock.now())
    return Draft(
        chat=_CHAT,
        kind=kind,
        content=content,
        text=text,
        priority=body.priority,
        send_at=body.send_at,
        expires_at=body.expires_at,
    )
