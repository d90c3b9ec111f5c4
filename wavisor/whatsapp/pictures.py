"""Pictures of accounts and groups, made into what WhatsApp takes. Runs in session processes.

Pillow is loaded there anyway; the gateway does without it.
"""

from __future__ import annotations

import base64
import io
import warnings

from PIL import Image, ImageOps

__all__ = ["EDGE", "PictureError", "decoded", "square_jpeg"]

EDGE = 640
"""Pixels of the edge of the picture that WhatsApp's own clients send."""
_MOST_PIXELS = 50_000_000
_FORMATS = ("JPEG", "PNG", "WEBP")


class PictureError(Exception):
    """Not a picture that can be used; says why."""


def decoded(image: str) -> bytes:
    """Return the content of a picture that came as base64.

    Raises:
        PictureError: it is no base64.
    """
    try:
        return base64.b64decode(image, validate=True)
    except ValueError as error:  # binascii's own, and what is not ASCII
        raise PictureError("the picture is not base64") from error


def square_jpeg(content: bytes) -> bytes:
    """Return the middle of a picture as a square JPEG, without its metadata.

    Args:
        content: a JPEG, PNG or WebP file.

    Raises:
        PictureError: it is none, or too large.
    """
    try:
        with warnings.catch_warnings():
            # About pictures so large that they may be an attack; they are refused below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=_FORMATS)
        if picture.width * picture.height > _MOST_PIXELS:
            raise PictureError(f"the picture has more than {_MOST_PIXELS} pixels")
        upright = ImageOps.exif_transpose(picture)
        edge = min(EDGE, upright.width, upright.height)
        square = ImageOps.fit(upright.convert("RGB"), (edge, edge))
        output = io.BytesIO()
        square.save(output, "JPEG", quality=85)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError("the picture is no readable JPEG, PNG or WebP") from error
    return output.getvalue()
