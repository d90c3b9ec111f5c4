"""Small real files of every type, made by ffmpeg and Pillow once for a whole run."""

from __future__ import annotations

import io
import shutil
import subprocess
from functools import cache

import pytest
from PIL import Image

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None,
    reason="ffmpeg is not installed",
)


@cache
def picture(
    kind: str = "PNG", width: int = 64, height: int = 48, orientation: int | None = None
) -> bytes:
    """A picture with a gradient, so that it does not compress to nothing."""
    made = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    buffer = io.BytesIO()
    if orientation is None:
        made.save(buffer, kind)
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        made.save(buffer, kind, exif=exif)
    return buffer.getvalue()


@cache
def animation(frames: int = 3, width: int = 64, height: int = 48) -> bytes:
    """An animated GIF."""
    made = [
        Image.linear_gradient("L").resize((width, height)).rotate(90 * number)
        for number in range(frames)
    ]
    buffer = io.BytesIO()
    made[0].save(buffer, "GIF", save_all=True, append_images=made[1:], duration=80, loop=0)
    return buffer.getvalue()


_SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:duration=3")
_FILM = ("-f", "lavfi", "-i", "testsrc=duration=2:size=320x240:rate=10")
_RECIPES: dict[str, tuple[str, ...]] = {
    "mp4": (*_FILM, *_SOUND, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"),
    "mov": (*_FILM, "-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "3gp": (*_FILM, "-c:v", "h263", "-s", "176x144"),
    "mkv": (*_FILM, "-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "webm": (*_SOUND, "-c:a", "libopus"),
    "mp3": _SOUND,
    "m4a": (*_SOUND, "-c:a", "aac"),
    "aac": (*_SOUND, "-c:a", "aac"),
    "ogg": (*_SOUND, "-c:a", "libopus", "-ac", "1"),
    "wav": _SOUND,
    "flac": _SOUND,
}


@cache
def recording(suffix: str) -> bytes:
    """A film or sound file of some 3 seconds, by the ending of its name."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"sample.{suffix}"
        subprocess.run(
            ["ffmpeg", "-nostdin", "-v", "error", "-y", *_RECIPES[suffix], str(target)],
            check=True,
            timeout=60,
        )
        return target.read_bytes()
