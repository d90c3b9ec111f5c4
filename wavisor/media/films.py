"""Films, sound and voice, examined and converted by ffprobe and ffmpeg.

Both get the container's format from us and may open nothing but the one file: else a playlist
that calls itself a film would have them read other files, or ask other machines.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from wavisor.media.errors import MediaError, MediaReason
from wavisor.media.tools import Output, Workshop

__all__ = ["Film", "FilmTools", "Voice"]

log = structlog.get_logger(__name__)

_PREVIEW = 100
_PREVIEW_LIMIT = 64 * 1024
_DEMUXERS = {
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/3gpp": "mov",
    "audio/mp4": "mov",
    "video/webm": "matroska",
    "audio/mpeg": "mp3",
    "audio/aac": "aac",
    "audio/amr": "amr",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "audio/flac": "flac",
}
_LOUDNESS_RATE = 4000
"""Samples a second from which the loudness of voice is read."""
_WAVEFORM_VALUES = 64
_WINDOW = 4000
# An unsigned 8-bit sample to its distance from silence.
_DISTANCE = bytes(min(abs(value - 128) * 2, 255) for value in range(256))


@dataclass(frozen=True)
class Film:
    """What ffprobe found."""

    seconds: int | None
    width: int | None
    height: int | None
    has_sound: bool
    has_pictures: bool
    is_opus_mono: bool


@dataclass(frozen=True)
class Voice:
    """A voice note that was made."""

    seconds: int
    waveform: str
    """64 values of 0 to 100, as base64."""


class FilmTools:
    """The two programs.

    Args:
        workshop: runs them.
        ffmpeg: name or path.
        ffprobe: name or path.
    """

    def __init__(self, workshop: Workshop, ffmpeg: str, ffprobe: str) -> None:
        self._workshop = workshop
        self._ffmpeg = ffmpeg
        self._ffprobe = ffprobe

    async def examine(self, source: Path, media_type: str) -> Film:
        """Return what the file holds.

        Args:
            source: the file.
            media_type: as its content tells.

        Raises:
            MediaError: it cannot be read, or ffprobe is missing or hangs.
        """
        output = await self._workshop.run(
            [
                self._ffprobe,
                *("-v", "error", "-of", "json"),
                "-show_entries",
                "format=duration:stream=codec_type,codec_name,width,height,channels,duration"
                ":stream_disposition=attached_pic:stream_side_data=rotation",
                *_input(source, media_type),
            ],
            file_limit=0,
        )
        if output.status != 0:
            raise _unreadable(output)
        try:
            return _film(json.loads(output.out))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _unreadable(output) from None

    async def preview(self, source: Path, media_type: str, film: Film, target: Path) -> None:
        """Write a small JPEG of an early moment to ``target``.

        Raises:
            MediaError: no picture can be decoded, or ffmpeg is missing or hangs.
        """
        start = min(1.0, (film.seconds or 0) / 3)
        for seek in (start, 0.0):
            output = await self._workshop.run(
                [
                    *(self._ffmpeg, "-nostdin", "-v", "error", "-y", "-threads", "1"),
                    *("-ss", f"{seek:.3f}"),
                    *_input(source, media_type),
                    *("-an", "-sn", "-dn", "-frames:v", "1"),
                    "-vf",
                    f"scale=w={_PREVIEW}:h={_PREVIEW}:force_original_aspect_ratio=decrease",
                    *("-pix_fmt", "yuvj420p", "-q:v", "6", "-threads", "1"),
                    *("-f", "mjpeg", f"file:{target}"),
                ],
                file_limit=_PREVIEW_LIMIT,
            )
            if output.status == 0 and await asyncio.to_thread(_has_content, target):
                return
        raise _unreadable(output)

    async def make_voice(
        self, source: Path, media_type: str, film: Film, target: Path, loudness: Path, limit: int
    ) -> Voice:
        """Write a voice note (Ogg, Opus, one channel) to ``target``.

        Args:
            source: any recording.
            media_type: as its content tells.
            film: what it holds.
            target: where to write.
            loudness: a second file that may be written, of which nothing is kept.
            limit: of the voice note, in bytes.

        Raises:
            MediaError: it cannot be decoded or becomes too large, or ffmpeg is missing or hangs.
        """
        fits = film.is_opus_mono and media_type == "audio/ogg"
        codec = (
            ("-c:a", "copy")
            if fits
            else ("-ac", "1", "-ar", "48000", "-c:a", "libopus", "-b:a", "32k")
        )
        output = await self._workshop.run(
            [
                *(self._ffmpeg, "-nostdin", "-v", "error", "-y", "-threads", "1"),
                *_input(source, media_type),
                *("-map", "0:a:0", "-map_metadata", "-1", *codec, "-threads", "1"),
                *("-f", "ogg", f"file:{target}"),
                *("-map", "0:a:0", "-ac", "1", "-ar", str(_LOUDNESS_RATE), "-c:a", "pcm_u8"),
                *("-f", "u8", f"file:{loudness}"),
            ],
            file_limit=max(limit, 512 * 1024**2),
        )
        if output.status != 0:
            raise _unreadable(output)
        if await asyncio.to_thread(lambda: target.stat().st_size) > limit:
            raise MediaError(MediaReason.TOO_LARGE, f"is larger than {limit} bytes as a voice note")
        return await asyncio.to_thread(_measure, loudness)


def _input(source: Path, media_type: str) -> list[str]:
    demuxer = _DEMUXERS[media_type]
    return ["-protocol_whitelist", "file", "-f", demuxer, "-i", f"file:{source}"]


def _film(answer: dict[str, Any]) -> Film:
    streams = answer.get("streams", [])
    # The cover of a song is a stream of pictures too.
    pictures = [
        one
        for one in streams
        if one.get("codec_type") == "video" and not one.get("disposition", {}).get("attached_pic")
    ]
    sounds = [one for one in streams if one.get("codec_type") == "audio"]
    main = (pictures or sounds or [{}])[0]
    duration = answer.get("format", {}).get("duration") or main.get("duration")
    width, height = main.get("width"), main.get("height")
    turned = any(
        abs(int(side.get("rotation", 0))) % 180 == 90 for side in main.get("side_data_list", [])
    )
    return Film(
        seconds=None if duration is None else max(1, round(float(duration))),
        width=height if turned else width,
        height=width if turned else height,
        has_sound=bool(sounds),
        has_pictures=bool(pictures),
        is_opus_mono=bool(sounds)
        and sounds[0].get("codec_name") == "opus"
        and sounds[0].get("channels") == 1,
    )


def _unreadable(output: Output) -> MediaError:
    log.info("file refused", status=output.status, errors=output.errors)
    return MediaError(MediaReason.UNREADABLE, "is damaged, or holds nothing that can be decoded")


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _measure(loudness: Path) -> Voice:
    """Read length and waveform from unsigned 8-bit samples."""
    size = loudness.stat().st_size
    if size == 0:
        raise MediaError(MediaReason.UNREADABLE, "holds no sound")
    step = size / _WAVEFORM_VALUES
    means = []
    with loudness.open("rb") as stream:
        for number in range(_WAVEFORM_VALUES):
            stream.seek(int(number * step))
            # Of a long note a part of each section will do.
            window = stream.read(max(1, min(int(step), _WINDOW))).translate(_DISTANCE)
            means.append(sum(window) / len(window) if window else 0.0)
    loudest = max(means) or 1.0
    values = bytes(round(100 * mean / loudest) for mean in means)
    return Voice(
        seconds=max(1, round(size / _LOUDNESS_RATE)), waveform=base64.b64encode(values).decode()
    )
