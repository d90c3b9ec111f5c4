"""Pictures and stickers, by a helper program of our own (:mod:`wavisor.media.imaging`)."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog

from wavisor.media.errors import MediaError, MediaReason
from wavisor.media.tools import Workshop

__all__ = ["Picture", "describe_picture", "make_sticker"]

log = structlog.get_logger(__name__)

_PROGRAM = Path(__file__).with_name("imaging.py")
_MEMORY_BYTES = 1536 * 1024**2
_PREVIEW_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Picture:
    """What a picture measures, in pixels."""

    width: int
    height: int
    animated: bool


async def describe_picture(workshop: Workshop, source: Path, preview: Path) -> Picture:
    """Measure a picture and write a small JPEG of it to ``preview``.

    Raises:
        MediaError: it cannot be decoded, or is too large when it is.
    """
    return await _run(workshop, ["describe", source, preview], _PREVIEW_LIMIT)


async def make_sticker(workshop: Workshop, source: Path, target: Path, limit: int) -> Picture:
    """Write a WebP of 512 by 512 pixels and of at most ``limit`` bytes to ``target``.

    Raises:
        MediaError: it cannot be decoded, or does not become small enough.
    """
    return await _run(workshop, ["sticker", source, target, str(limit)], limit)


async def _run(workshop: Workshop, arguments: list[str | Path], file_limit: int) -> Picture:
    # Isolated: neither the environment nor the current directory may say what is imported. And
    # it compiles nothing to disk: cut off by the limit on files, that would spoil every later use.
    command: list[str | Path] = [sys.executable, "-I", "-B", _PROGRAM, *arguments]
    output = await workshop.run(command, file_limit=file_limit, memory=_MEMORY_BYTES)
    try:
        answer = json.loads(output.out)
    except ValueError:
        answer = {}
    if output.status == 0 and "width" in answer:
        return Picture(answer["width"], answer["height"], answer["animated"])
    log.info("picture refused", status=output.status, errors=output.errors)
    detail = answer.get("error", "cannot be decoded as a picture")
    raise MediaError(MediaReason.UNREADABLE, detail)
