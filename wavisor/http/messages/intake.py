"""How the file of a message comes in: by URL, as base64, or uploaded; and what is made of it."""

from __future__ import annotations

import asyncio
import base64
import binascii
from contextlib import AsyncExitStack
from http import HTTPStatus

from wavisor.config import MediaSettings
from wavisor.http.failures import as_problem
from wavisor.http.forms import FILE_FIELD, Upload
from wavisor.http.messages.requests import FileBody
from wavisor.http.problems import (
    BODY_TOO_LARGE,
    BUSY,
    VALIDATION_FAILED,
    FieldProblem,
    ProblemError,
    ProblemKind,
)
from wavisor.media import (
    Fetcher,
    Incoming,
    LinkPreview,
    LinkPreviewer,
    MediaError,
    MediaReason,
    MediaStore,
    Patience,
    Prepared,
    Preparer,
    StoredFile,
    plain_name,
    source_limit_of,
)
from wavisor.netguard import TargetRule
from wavisor.storage import MediaRecord
from wavisor.whatsapp.content import MediaKind

__all__ = ["MEDIA_PROBLEMS", "MEDIA_UNUSABLE", "STORAGE_FULL", "MediaIntake"]

MEDIA_UNUSABLE = ProblemKind("media-unusable", 422, "The file cannot be sent")
STORAGE_FULL = ProblemKind(
    "storage-full",
    HTTPStatus.INSUFFICIENT_STORAGE,
    "The disk is full",
    "Whoever runs the gateway has to make room; nothing was sent.",
)
MEDIA_PROBLEMS = (MEDIA_UNUSABLE, STORAGE_FULL)

_CHUNK = 1024 * 1024


class MediaIntake:
    """Takes in files of messages. Used on the event loop only.

    Args:
        store: where files are kept.
        settings: limits and programs.
    """

    def __init__(self, store: MediaStore, settings: MediaSettings) -> None:
        self._store = store
        self._settings = settings
        self._fetcher = Fetcher(TargetRule(allow_private=settings.media_allow_private))
        self._preparer = Preparer(store, settings)
        self._previewer = LinkPreviewer(self._fetcher, store, self._preparer.workshop)

    async def prepare(self, kind: MediaKind, body: FileBody, upload: Upload | None) -> Prepared:
        """Return the file that a request is about, ready to be sent.

        Raises:
            ProblemError: there is none, or more than one, or it cannot be sent.
        """
        field = _source_of(body, upload)
        try:
            async with AsyncExitStack() as files:
                received, name = await self._receive(files, kind, body, upload)
                return await self._preparer.prepare(
                    kind, received, plain_name(body.file_name) or name
                )
        except MediaError as error:
            raise media_problem(error, field) from None

    async def again(self, kind: MediaKind, file: MediaRecord) -> StoredFile | None:
        """Return a file that is stored already, to be sent once more; None when it is gone.

        Args:
            kind: of the message that is to show it.
            file: which one.

        Raises:
            ProblemError: the disk is full.
        """
        if file.path is None:
            return None
        path = self._store.root / file.path
        try:
            return await self._preparer.with_preview(kind, path, file.mime_type)
        except FileNotFoundError:
            return None
        except MediaError as error:
            raise media_problem(error, "media") from None

    async def preview(self, text: str) -> LinkPreview | None:
        """Return the preview of the first link in a text; None when there is none to be had."""
        return await self._previewer.preview(text)

    def close(self) -> None:
        """Give back the threads."""
        self._fetcher.close()

    async def _receive(
        self, files: AsyncExitStack, kind: MediaKind, body: FileBody, upload: Upload | None
    ) -> tuple[Incoming, str | None]:
        if upload is not None:
            return upload.received, upload.name
        limit = source_limit_of(kind, self._settings)
        if body.base64 is not None:
            limit = min(limit, self._settings.media_inline_limit_bytes)
        received = await files.enter_async_context(self._store.incoming(limit))
        if body.base64 is not None:
            await _write_decoded(body.base64, received)
            name = None
        else:
            patience = Patience(
                self._settings.media_fetch_timeout_seconds, self._settings.media_fetch_idle_seconds
            )
            fetched = await self._fetcher.fetch(
                body.url or "", received.write, limit=limit, patience=patience
            )
            name = fetched.file_name
        await received.finish()
        return received, name


def media_problem(error: MediaError, field: str) -> ProblemError:
    """Return the problem that a failure with a file is answered with.

    Args:
        error: what went wrong.
        field: the field that the file came by.
    """
    if error.reason is MediaReason.DISK_FULL:
        return ProblemError(STORAGE_FULL)
    if error.reason is MediaReason.BUSY:
        return ProblemError(
            BUSY, "Too many files wait to be converted.", headers={"Retry-After": "5"}
        )
    problem = FieldProblem(detail=error.detail, pointer=f"#/{field}")
    uploaded = field == FILE_FIELD
    too_large = error.reason is MediaReason.TOO_LARGE and uploaded
    return ProblemError(
        BODY_TOO_LARGE if too_large else MEDIA_UNUSABLE,
        f"The file {error.detail}.",
        errors=[problem],
        extensions={"reason": error.reason.value},
    )


@as_problem.register
def _(error: MediaError) -> ProblemError:
    # Only files of forms fail outside of a handler, while they come in.
    return media_problem(error, FILE_FIELD)


def _source_of(body: FileBody, upload: Upload | None) -> str:
    given = {"url": body.url, "base64": body.base64, FILE_FIELD: upload}
    present = [name for name, value in given.items() if value is not None]
    if len(present) == 1:
        return present[0]
    if not present:
        detail, pointer = "is needed, or base64, or the field file of a form", "#/url"
    else:
        detail, pointer = f"cannot be combined with {present[0]}", f"#/{present[1]}"
    raise ProblemError(VALIDATION_FAILED, errors=[FieldProblem(detail=detail, pointer=pointer)])


async def _write_decoded(text: str, received: Incoming) -> None:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    if len(text) * 3 // 4 - 2 > received.limit:
        raise MediaError(MediaReason.TOO_LARGE, f"is larger than {received.limit} bytes")
    try:
        content = await asyncio.to_thread(base64.b64decode, text, None, validate=True)
    except (binascii.Error, ValueError):
        raise MediaError(MediaReason.UNREADABLE, "is no base64, or is cut off") from None
    for start in range(0, len(content), _CHUNK):
        await received.write(content[start : start + _CHUNK])
