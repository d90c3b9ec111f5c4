"""Bodies of ``multipart/form-data`` with a file in them (RFC 7578), taken in as they come.

The file goes to the disk part by part and is never in memory; the other fields are few and small.
"""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack
from dataclasses import dataclass

from multipart import (  # type: ignore[import-untyped]  # it has no stubs
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from wavisor.http.problems import (
    BODY_TOO_LARGE,
    MALFORMED_REQUEST,
    VALIDATION_FAILED,
    FieldProblem,
    ProblemError,
)
from wavisor.media import Incoming, MediaStore, plain_name

__all__ = ["FILE_FIELD", "Upload", "UploadForm", "boundary_of"]

FILE_FIELD = "file"
_PARTS = 100
_FIELD_BYTES = 256 * 1024
"""Of all fields but the file together; a text has 64 KiB at most."""


def boundary_of(content_type: str | None) -> str | None:
    """Return the boundary of a form; None when the body is none.

    Raises:
        ProblemError: it says that it is a form, but names no boundary (400).
    """
    media_type, options = parse_options_header(content_type or "")
    if media_type.lower() != "multipart/form-data":
        return None
    boundary: str = options.get("boundary", "")
    if not 1 <= len(boundary) <= 200 or not boundary.isascii():
        raise ProblemError(MALFORMED_REQUEST, "The form has no usable boundary.")
    return boundary


@dataclass(frozen=True)
class Upload:
    """A file that came with a request; gone when the request is answered, unless it was kept."""

    received: Incoming
    name: str | None
    """As the client calls it, without a path."""


class UploadForm:
    """Takes in one form.

    Args:
        boundary: between its parts.
        store: where the file goes.
        file_limit: how large the file may be, in bytes.
    """

    def __init__(self, boundary: str, store: MediaStore, file_limit: int) -> None:
        self._parser = PushMultipartParser(
            boundary, max_header_count=8, max_segment_count=_PARTS, strict=True
        )
        self._store = store
        self._file_limit = file_limit
        self._files = AsyncExitStack()
        self._part: MultipartSegment | None = None
        self._value = bytearray()
        self._size = 0
        self.fields: list[tuple[str, str]] = []
        """The other fields, in their order; a name may come more than once."""
        self.upload: Upload | None = None

    async def feed(self, chunk: bytes) -> None:
        """Take in a part of the body.

        Raises:
            ProblemError: it is no form, or holds what it must not.
            MediaError: the file is too large, or the disk is full.
        """
        try:
            for event in self._parser.parse(chunk):
                if event is None:
                    await self._on_end()
                elif isinstance(event, MultipartSegment):
                    await self._on_begin(event)
                else:
                    await self._on_data(bytes(event))
        except MultipartError as error:
            # Some say more than this, such as the exception that they came of.
            detail = f"The form cannot be read: {error.args[0]}."
            raise ProblemError(MALFORMED_REQUEST, detail) from None

    def finish(self) -> None:
        """Check that the form is whole.

        Raises:
            ProblemError: it breaks off.
        """
        try:
            self._parser.close()
        except MultipartError:
            raise ProblemError(MALFORMED_REQUEST, "The form breaks off.") from None

    def fingerprint(self) -> str:
        """Return what tells this form from others, whatever its boundary: a SHA-256 in hex."""
        digest = hashlib.sha256()
        for part in sorted(f"{name}={value}" for name, value in self.fields):
            digest.update(hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest())
        if self.upload is not None:
            name = self.upload.name or ""
            digest.update(self.upload.received.sha256.encode() + name.encode())
        return digest.hexdigest()

    async def close(self) -> None:
        """Remove the file unless it was kept. May be called twice."""
        await self._files.aclose()

    async def _on_begin(self, part: MultipartSegment) -> None:
        self._part, self._value = part, bytearray()
        if part.name == FILE_FIELD:
            if self.upload is not None:
                raise _wrong(FILE_FIELD, "is given more than once")
            received = await self._files.enter_async_context(self._store.incoming(self._file_limit))
            self.upload = Upload(received, plain_name(part.filename))
        elif part.filename is not None:
            raise _wrong(part.name or "", f"is a file; the only one is called {FILE_FIELD}")

    async def _on_data(self, content: bytes) -> None:
        if self._part is not None and self._part.name == FILE_FIELD and self.upload is not None:
            await self.upload.received.write(content)
            return
        self._size += len(content)
        if self._size > _FIELD_BYTES:
            raise ProblemError(
                BODY_TOO_LARGE, f"The fields beside the file hold more than {_FIELD_BYTES} bytes."
            )
        self._value += content

    async def _on_end(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        if part.name == FILE_FIELD and self.upload is not None:
            await self.upload.received.finish()
            return
        name = part.name or ""
        try:
            self.fields.append((name, self._value.decode("utf-8")))
        except UnicodeDecodeError:
            raise _wrong(name, "is not valid UTF-8") from None


def _wrong(name: str, detail: str) -> ProblemError:
    return ProblemError(
        VALIDATION_FAILED, errors=[FieldProblem(detail=detail, pointer=f"#/{name[:100]}")]
    )
