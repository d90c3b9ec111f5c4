"""Downloading the file of a message."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pydantic import Field

from wavisor.domain import MediaState
from wavisor.http.media.links import LINK_INVALID, SignedLink
from wavisor.http.media.ranges import RangeNotSatisfiableError, is_named, part_of
from wavisor.http.permissions import Permission
from wavisor.http.problems import NOT_FOUND, TOO_MANY_ATTEMPTS, ProblemError, ProblemKind
from wavisor.http.routing import Call, Content, FilePart, Reply, Router
from wavisor.http.schemas import ApiModel, Time
from wavisor.ids import Kind
from wavisor.storage import MediaRecord, Scope, media

__all__ = ["router"]

router = Router("media", "The files of messages.")

RANGE_NOT_SATISFIABLE = ProblemKind("range-not-satisfiable", 416, "The file is not that long")
MEDIA_UNAVAILABLE = ProblemKind("media-unavailable", 409, "The file is not here (yet)")

_TYPE = re.compile(r"\A[a-z0-9][a-z0-9.+-]{0,63}/[a-z0-9][a-z0-9.+-]{0,126}\Z")
_WHY_NOT = {
    MediaState.FAILED: "It could not be fetched.",
    MediaState.SKIPPED: "It is fetched only when asked for.",
    MediaState.PENDING: "It is being fetched.",
    MediaState.STORED: "It is not here.",
}
# What a browser may show on our origin: nothing that can carry a script.
_SHOWN = frozenset(
    {
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "video/mp4",
        "video/3gpp",
        "video/webm",
        "audio/aac",
        "audio/amr",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
    }
)
_ANY_FILE = Content(("application/octet-stream", "*/*"))


class CreateLink(ApiModel):
    """How long a link is good."""

    expires_in: int = Field(
        default=3600, ge=60, le=7 * 86_400, description="Seconds, of a week at most."
    )


class LinkModel(ApiModel):
    """A link to a file."""

    url: str = Field(description="Whole where the gateway knows its address, else from `/api` on.")
    expires_at: Time


@router.route(
    "GET",
    "/api/media/{id}",
    operation="getMedia",
    summary="Download a file",
    access=Permission.MESSAGES_READ,
    parameters={"id": Kind.MEDIA},
    query=SignedLink,
    linked=True,
    responses={200: _ANY_FILE, 206: _ANY_FILE, 304: None},
    problems=[
        NOT_FOUND,
        MEDIA_UNAVAILABLE,
        RANGE_NOT_SATISFIABLE,
        LINK_INVALID,
        TOO_MANY_ATTEMPTS,
    ],
    confined=True,
    headers={
        "Range": "A part of the file, such as `bytes=0-65535`; of several parts all is sent.",
        "If-Range": "The `ETag` that the range is about; all is sent when the file is another.",
        "If-None-Match": "An `ETag`; 304 when the file is still the same.",
    },
)
async def get_media(call: Call[None, SignedLink]) -> Reply:
    """Returns the content of a file, or a part of it.

    Pictures, films and sound are sent to be shown; everything else, such as HTML and SVG, to be
    saved only. A link with `expires` and `signature` needs no token.
    """
    record = await _load(call)
    if record.state is not MediaState.STORED or record.path is None:
        raise ProblemError(
            MEDIA_UNAVAILABLE,
            _WHY_NOT[record.state],
            extensions={"state": record.state.value},
        )
    path = call.services.media.root / record.path
    try:
        size = (await asyncio.to_thread(path.stat)).st_size
    except FileNotFoundError:
        raise ProblemError(NOT_FOUND, "The file is gone.") from None
    # A file never changes under its path, which is made of its hash.
    etag = f'"{record.path.replace("/", "")}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
    if is_named(call.headers.get("If-None-Match"), etag):
        return Reply(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    asked = call.headers.get("Range")
    if call.headers.get("If-Range", etag) != etag:
        asked = None
    try:
        part = part_of(asked, size)
    except RangeNotSatisfiableError:
        raise ProblemError(
            RANGE_NOT_SATISFIABLE,
            f"It has {size} bytes.",
            headers={"Content-Range": f"bytes */{size}"},
        ) from None
    start, length = part or (0, size)
    media_type, headers["Content-Disposition"] = _presentation(record)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    return Reply(
        FilePart(path, start, length),
        status=HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT,
        headers=headers,
        media_type=media_type,
    )


@router.route(
    "POST",
    "/api/media/{id}/link",
    operation="linkMedia",
    summary="Make a link to a file",
    access=Permission.MESSAGES_READ,
    parameters={"id": Kind.MEDIA},
    body=CreateLink,
    confined=True,
    responses={200: LinkModel},
)
async def link_media(call: Call[CreateLink, None]) -> Reply:
    """Returns a link by which anybody downloads the file until it expires, without a token.

    It cannot be taken back before. Parts of the file can be asked for by it as well.
    """
    record = await _load(call)
    url, expires_at = call.application.media_links.make(
        call.subscription_id, record.id, call.body.expires_in
    )
    return Reply(LinkModel(url=url, expires_at=expires_at))


async def _load(call: Call[Any, Any]) -> MediaRecord:
    record = await call.services.database.fetch(
        media.get,
        Scope(call.subscription_id),
        call.path["id"],
        instance_id=None if call.caller is None else call.caller.instance_id,
    )
    if record is None:
        raise ProblemError(NOT_FOUND)
    return record


def _presentation(record: MediaRecord) -> tuple[str, str]:
    """Return a file's media type and how it is to be treated; its sender may have lied on it."""
    media_type = record.mime_type.partition(";")[0].strip().lower()
    if not _TYPE.match(media_type):
        media_type = "application/octet-stream"
    disposition = "inline" if media_type in _SHOWN else "attachment"
    if record.file_name is not None:
        disposition += f"; filename*=UTF-8''{quote(record.file_name, safe='', errors='replace')}"
    return media_type, disposition
