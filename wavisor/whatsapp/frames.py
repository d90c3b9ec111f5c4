"""Framing between the gateway and a session process: a version, a length, and JSON.

A frame is five bytes (protocol version, big-endian length of the body) and the body. Both ends
check the version of every frame, so that a process left over from another release is noticed at
its first word, and the length, so that a broken or hostile peer cannot make the other allocate
without bound.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from wavisor.whatsapp.commands import PROTOCOL_VERSION

__all__ = ["MAX_FRAME", "FrameDecoder", "FrameError", "encode_frame"]

MAX_FRAME = 1 << 20
"""The largest body, in bytes. Media never travel in frames, so text is the largest there is."""

_HEADER = struct.Struct("!BI")


class FrameError(ValueError):
    """The peer does not speak this protocol; nothing it sends from here on can be understood."""


def encode_frame(body: bytes) -> bytes:
    """Return ``body`` as a frame.

    Raises:
        FrameError: the body is larger than :data:`MAX_FRAME`.
    """
    if len(body) > MAX_FRAME:
        raise FrameError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return _HEADER.pack(PROTOCOL_VERSION, len(body)) + body


class FrameDecoder:
    """Cuts a stream of bytes into bodies, whatever pieces it arrives in."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take in ``data`` and yield every body that is complete.

        Raises:
            FrameError: wrong version, or a frame over the limit.
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            version, size = _HEADER.unpack_from(self._buffer)
            if version != PROTOCOL_VERSION:
                raise FrameError(f"the peer speaks version {version}, not {PROTOCOL_VERSION}")
            if size > MAX_FRAME:
                raise FrameError(f"a frame of {size} bytes is over the limit of {MAX_FRAME}")
            end = _HEADER.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield body

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame are waiting for the rest."""
        return len(self._buffer)
