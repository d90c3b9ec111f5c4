"""From a file that was received to one that can be sent: examined, converted, stored."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from wavisor.config.groups import MediaSettings
from wavisor.media.errors import MediaError, MediaReason
from wavisor.media.films import FilmTools
from wavisor.media.pictures import describe_picture, make_sticker
from wavisor.media.sniff import checked_type, limit_of
from wavisor.media.store import Incoming, MediaStore, StoredFile
from wavisor.media.tools import Workshop
from wavisor.whatsapp.content import MediaFile, MediaKind

__all__ = ["Prepared", "Preparer"]

_VOICE_TYPE = "audio/ogg"
_STICKER_TYPE = "image/webp"
_SCRATCH_LIMIT = 512 * 1024**2


@dataclass(frozen=True)
class Prepared:
    """A file that can be sent."""

    stored: StoredFile
    file: MediaFile
    """The same, as a session is told of it."""


class Preparer:
    """Examines and converts files.

    Args:
        store: where they are kept.
        settings: limits and programs.
    """

    def __init__(self, store: MediaStore, settings: MediaSettings) -> None:
        self._store = store
        self._settings = settings
        self._workshop = Workshop(settings.media_jobs, settings.media_job_timeout_seconds)
        self._films = FilmTools(self._workshop, settings.ffmpeg, settings.ffprobe)

    @property
    def workshop(self) -> Workshop:
        """What runs the programs."""
        return self._workshop

    async def prepare(
        self, kind: MediaKind, source: Incoming, file_name: str | None = None
    ) -> Prepared:
        """Make of a file that was received whole one that can be sent as ``kind``.

        Args:
            kind: of the message.
            source: the file; it may be moved into the store.
            file_name: what it is called.

        Raises:
            MediaError: it cannot.
        """
        media_type = checked_type(kind, source.head, file_name)
        if kind == "image":
            return await self._image(source, media_type, file_name)
        if kind == "sticker":
            return await self._sticker(source)
        if kind == "video":
            return await self._video(source, media_type, file_name)
        if kind == "audio":
            return await self._audio(source, media_type, file_name)
        if kind == "voice":
            return await self._voice(source, media_type)
        stored = await self._store.keep(source.path)
        return _prepared(stored, media_type, file_name=file_name)

    async def with_preview(self, kind: MediaKind, path: Path, media_type: str) -> StoredFile:
        """Return a file of the store with a preview, where one can be made of it.

        Args:
            kind: of the message that is to show it.
            path: in the store.
            media_type: as its content tells.

        Raises:
            OSError: it is not there.
        """
        async with self._store.incoming(_SCRATCH_LIMIT, ".jpg") as preview:
            made = None
            with suppress(MediaError):  # it is shown without one then
                if kind == "image":
                    await describe_picture(self._workshop, path, preview.path)
                    made = preview.path
                elif kind == "video":
                    film = await self._films.examine(path, media_type)
                    await self._films.preview(path, media_type, film, preview.path)
                    made = preview.path
            return await self._store.keep(path, preview=made)

    async def _image(self, source: Incoming, media_type: str, name: str | None) -> Prepared:
        async with self._store.incoming(_SCRATCH_LIMIT, ".jpg") as preview:
            picture = await describe_picture(self._workshop, source.path, preview.path)
            stored = await self._store.keep(source.path, preview=preview.path)
        return _prepared(
            stored, media_type, file_name=name, width=picture.width, height=picture.height
        )

    async def _sticker(self, source: Incoming) -> Prepared:
        limit = limit_of("sticker", self._settings)
        async with self._store.incoming(limit, ".webp") as target:
            picture = await make_sticker(self._workshop, source.path, target.path, limit)
            stored = await self._store.keep(target.path)
        return _prepared(
            stored,
            _STICKER_TYPE,
            width=picture.width,
            height=picture.height,
            animated=picture.animated,
        )

    async def _video(self, source: Incoming, media_type: str, name: str | None) -> Prepared:
        film = await self._films.examine(source.path, media_type)
        if not film.has_pictures:
            raise MediaError(MediaReason.UNSUPPORTED, "holds no moving pictures; send it as audio")
        async with self._store.incoming(_SCRATCH_LIMIT, ".jpg") as preview:
            await self._films.preview(source.path, media_type, film, preview.path)
            stored = await self._store.keep(source.path, preview=preview.path)
        return _prepared(
            stored,
            media_type,
            file_name=name,
            width=film.width,
            height=film.height,
            seconds=film.seconds,
        )

    async def _audio(self, source: Incoming, media_type: str, name: str | None) -> Prepared:
        film = await self._films.examine(source.path, media_type)
        if not film.has_sound:
            raise MediaError(MediaReason.UNSUPPORTED, "holds no sound")
        stored = await self._store.keep(source.path)
        return _prepared(stored, media_type, file_name=name, seconds=film.seconds)

    async def _voice(self, source: Incoming, media_type: str) -> Prepared:
        limit = limit_of("voice", self._settings)
        film = await self._films.examine(source.path, media_type)
        if not film.has_sound:
            raise MediaError(MediaReason.UNSUPPORTED, "holds no sound")
        async with AsyncExitStack() as files:
            target = await files.enter_async_context(self._store.incoming(limit, ".ogg"))
            loudness = await files.enter_async_context(self._store.incoming(_SCRATCH_LIMIT, ".u8"))
            voice = await self._films.make_voice(
                source.path, media_type, film, target.path, loudness.path, limit
            )
            stored = await self._store.keep(target.path)
        return _prepared(stored, _VOICE_TYPE, seconds=voice.seconds, waveform=voice.waveform)


def _prepared(
    stored: StoredFile,
    media_type: str,
    *,
    file_name: str | None = None,
    width: int | None = None,
    height: int | None = None,
    seconds: int | None = None,
    waveform: str | None = None,
    animated: bool = False,
) -> Prepared:
    preview: Path | None = stored.preview
    file = MediaFile(
        path=str(stored.path),
        mime_type=media_type,
        size=stored.size,
        file_name=file_name,
        width=width,
        height=height,
        seconds=seconds,
        thumbnail_path=None if preview is None else str(preview),
        waveform=waveform,
        animated=animated,
    )
    return Prepared(stored, file)
