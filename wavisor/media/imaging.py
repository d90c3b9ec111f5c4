"""Pictures, examined and converted by Pillow: a program of its own, not a part of the gateway.

Started by :mod:`wavisor.media.pictures` for one picture at a time, so that neither a decompression
bomb nor a fault in a decoder reaches the gateway, and so that Pillow is not in its memory.

``imaging.py describe SOURCE PREVIEW`` writes a preview (JPEG, at most 100 by 100 pixels).
``imaging.py sticker SOURCE TARGET LIMIT`` writes a sticker: WebP, 512 by 512, at most LIMIT
bytes.

Both write one JSON object to standard output: ``width``, ``height`` and ``animated`` of the
picture; or ``error``, with status 1.
"""

from __future__ import annotations

import io
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, ImageSequence

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
PIXEL_LIMIT = 50_000_000
"""Of one picture; a photograph of today's best phones has some 50 million when scaled down."""
FRAME_LIMIT = 150
FRAME_PIXEL_LIMIT = 200_000_000
"""Over all frames of an animation."""
PREVIEW = 100
STICKER = 512
QUALITIES = (90, 75, 60, 45, 30, 15)
_DEFAULT_FRAME_MS = 100
_LEAST_FRAME_MS = 20


class BadPictureError(Exception):
    """The picture cannot be used; says why in words for users."""


def main(arguments: list[str]) -> int:
    """Run one command; return the exit status."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = PIXEL_LIMIT
    try:
        if arguments[0] == "describe":
            answer = describe(Path(arguments[1]), Path(arguments[2]))
        else:
            answer = make_sticker(Path(arguments[1]), Path(arguments[2]), int(arguments[3]))
    except BadPictureError as error:
        answer = {"error": str(error)}
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        answer = {"error": f"has more than {PIXEL_LIMIT} pixels"}
    except MemoryError:
        answer = {"error": "needs too much memory to be read"}
    except Exception as error:  # noqa: BLE001 - decoders raise whatever they like
        print(repr(error), file=sys.stderr)  # noqa: T201 - standard error is for the log
        answer = {"error": "is damaged or no picture"}
    json.dump(answer, sys.stdout)
    return 1 if "error" in answer else 0


def describe(source: Path, target: Path) -> dict[str, Any]:
    """Write a preview and return what the picture measures, the way it is to be held."""
    with _open(source) as picture:
        animated = bool(getattr(picture, "is_animated", False))
        width, height = ImageOps.exif_transpose(_measure(picture)).size
        picture.draft("RGB", (4 * PREVIEW, 4 * PREVIEW))  # JPEG is then decoded at a fraction
        preview = ImageOps.exif_transpose(picture)
        preview.thumbnail((PREVIEW, PREVIEW))
        _on_white(preview).save(target, "JPEG", quality=60, optimize=True)
    return {"width": width, "height": height, "animated": animated}


def make_sticker(source: Path, target: Path, limit: int) -> dict[str, Any]:
    """Write a sticker and return what it measures."""
    with _open(source) as picture:
        animated = bool(getattr(picture, "is_animated", False))
        fits = picture.format == "WEBP" and picture.size == (STICKER, STICKER)
        picture.load()
        content = source.read_bytes()
        if not fits or len(content) > limit:
            content = _animation(picture, limit) if animated else _still(picture, limit)
    target.write_bytes(content)
    return {"width": STICKER, "height": STICKER, "animated": animated}


def _open(source: Path) -> Image.Image:
    picture = Image.open(source, formats=FORMATS)
    width, height = picture.size
    if width * height > PIXEL_LIMIT:
        raise BadPictureError(f"has more than {PIXEL_LIMIT} pixels")
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and width * height * frames > FRAME_PIXEL_LIMIT:
        raise BadPictureError("has too many frames for its size")
    return picture


def _measure(picture: Image.Image) -> Image.Image:
    """Return an empty picture of the same size and orientation, to find out how it is held."""
    empty = Image.new("1", picture.size)
    empty.getexif().update(picture.getexif())
    return empty


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    layers = picture.convert("RGBA")
    white = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(white, layers).convert("RGB")


def _fitted(picture: Image.Image) -> Image.Image:
    """Return the picture on a transparent square, as large as it fits."""
    layers = ImageOps.contain(ImageOps.exif_transpose(picture).convert("RGBA"), (STICKER, STICKER))
    square = Image.new("RGBA", (STICKER, STICKER), (0, 0, 0, 0))
    square.paste(layers, ((STICKER - layers.width) // 2, (STICKER - layers.height) // 2))
    return square


def _still(picture: Image.Image, limit: int) -> bytes:
    square = _fitted(picture)
    for quality in QUALITIES:
        buffer = io.BytesIO()
        square.save(buffer, "WEBP", quality=quality)
        if buffer.tell() <= limit:
            return buffer.getvalue()
    raise BadPictureError(f"cannot be made a sticker of at most {limit} bytes")


def _animation(picture: Image.Image, limit: int) -> bytes:
    frames, durations = [], []
    for frame, milliseconds in _frames(picture):
        frames.append(frame)
        durations.append(milliseconds)
    # Each attempt takes long: only three.
    for quality in QUALITIES[1::2]:
        buffer = io.BytesIO()
        frames[0].save(
            buffer,
            "WEBP",
            save_all=True,
            append_images=frames[1:],
            duration=durations,
            loop=0,
            quality=quality,
            method=2,
        )
        if buffer.tell() <= limit:
            return buffer.getvalue()
    raise BadPictureError(f"cannot be made an animated sticker of at most {limit} bytes")


def _frames(picture: Image.Image) -> Iterator[tuple[Image.Image, int]]:
    for number, frame in enumerate(ImageSequence.Iterator(picture)):
        if number == FRAME_LIMIT:
            return
        milliseconds = int(frame.info.get("duration") or _DEFAULT_FRAME_MS)
        yield _fitted(frame), max(milliseconds, _LEAST_FRAME_MS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
