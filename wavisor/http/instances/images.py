"""QR codes as images.

Drawing takes 20 to 70 ms of pure Python, so it belongs into a thread, never onto the event loop.
The library is imported where it is used: with the Pillow that it brings along it takes 5 MB and
more, which a gateway has only once somebody has asked for an image.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from wavisor.http.instances.schemas import QrFormat

if TYPE_CHECKING:
    from qrcode.image.base import BaseImage

__all__ = ["draw_qr"]

_QUIET_ZONE = 4  # modules; what the standard (ISO/IEC 18004) asks for around the code
_PIXELS_PER_MODULE = 8


@lru_cache(maxsize=64)  # a code is asked for again and again while it waits to be scanned
def draw_qr(code: str, image: QrFormat) -> bytes:
    """Return a QR code as PNG, SVG, or lines of block characters for a terminal.

    Args:
        code: what the QR code is to say.
        image: the form; JSON is none.
    """
    import qrcode
    from qrcode.constants import ERROR_CORRECT_L

    drawing = qrcode.QRCode(
        error_correction=ERROR_CORRECT_L, box_size=_PIXELS_PER_MODULE, border=_QUIET_ZONE
    )
    drawing.add_data(code)
    drawing.make()
    if image is QrFormat.TEXT:
        lines = io.StringIO()
        # Inverted, because terminals are mostly dark: their blocks are then the light modules.
        drawing.print_ascii(out=lines, invert=True)
        return lines.getvalue().encode()
    written = io.BytesIO()
    drawing.make_image(image_factory=_factory(image)).save(written)
    return written.getvalue()


def _factory(image: QrFormat) -> type[BaseImage]:
    if image is QrFormat.SVG:
        from qrcode.image.svg import SvgPathImage

        return SvgPathImage
    from qrcode.image.pil import PilImage

    return PilImage
