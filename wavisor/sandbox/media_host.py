"""The media host: where clients upload encrypted files and download them.

Source: whatsmeow ``upload.go``, ``download.go``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tornado import iostream, web

from wavisor.sandbox.directory import World
from wavisor.sandbox.faults import FaultKind
from wavisor.sandbox.media_store import MediaError
from wavisor.sandbox.statistics import Attempt

__all__ = ["media_routes"]

PIECE = 1024 * 1024
"""Bytes sent at a time, so that a file larger than the connection's buffer is sent too."""
SLOW_PIECES = 16
"""Into how many pieces a slow download is cut."""

Tell = Callable[[iostream.IOStream], Attempt]
"""Tells whose connection a stream is."""


class _MediaHandler(web.RequestHandler):
    """What uploads and downloads share: the store, and faults that may hit them."""

    def initialize(self, world: World, tell: Tell) -> None:
        """Take the store's world, and who can tell the label of a connection."""
        self._world = world
        self._tell = tell

    def _strike(self, kind: FaultKind) -> Any:
        stream = self.request.connection.stream  # type: ignore[union-attr] # HTTP/1 connections have one
        return self._world.faults.strike(kind, label=self._tell(stream).label)


class UploadHandler(_MediaHandler):
    """``https://mmg.whatsapp.net/mms/<kind>/<token>``, and ``/newsletter/…`` for channels."""

    async def post(self, kind: str, name: str) -> None:
        """Keep an upload."""
        if fault := self._strike(FaultKind.REFUSE_UPLOADS):
            raise web.HTTPError(fault.code or 500)
        if fault := self._strike(FaultKind.SLOW_UPLOADS):
            await asyncio.sleep(fault.delay)
        media = self._world.media
        try:
            path = media.upload(name, self.request.body, self.get_query_argument("auth", ""))
        except MediaError as error:
            raise web.HTTPError(403, str(error)) from error
        handle = name if kind.startswith("newsletter-") else ""
        self.write({"url": media.url(path), "direct_path": path, "handle": handle, "object_id": ""})

    def delete(self, kind: str, name: str) -> None:
        """Accept a deletion: files go when room is needed."""
        self.set_status(204)


class DownloadHandler(_MediaHandler):
    """``https://mmg.whatsapp.net/v/…``."""

    async def get(self, name: str) -> None:
        """Send a file, or what a fault makes of it."""
        if fault := self._strike(FaultKind.REFUSE_DOWNLOADS):
            raise web.HTTPError(fault.code or 404)
        content = self._world.media.get(name)
        if content is None:
            raise web.HTTPError(404)
        self.set_header("Content-Type", "application/octet-stream")
        if self._strike(FaultKind.SPOIL_DOWNLOADS):
            content = bytes([content[0] ^ 1]) + content[1:]
        try:
            if fault := self._strike(FaultKind.ENDLESS_DOWNLOADS):
                await self._send_for_ever(content, fault.delay)
            elif fault := self._strike(FaultKind.SLOW_DOWNLOADS):
                await self._send(content, -(-len(content) // SLOW_PIECES), fault.delay)
            else:
                await self._send(content, PIECE)
        except iostream.StreamClosedError:
            return  # the client gave up

    async def _send(self, content: bytes, size: int, delay: float = 0.0) -> None:
        """Send a file in pieces of some size, waiting for the client to read each."""
        self.set_header("Content-Length", str(len(content)))
        for start in range(0, len(content), max(size, 1)):
            self.write(content[start : start + size])
            await self.flush()
            if delay:
                await asyncio.sleep(delay)

    async def _send_for_ever(self, content: bytes, delay: float) -> None:
        self.write(content)
        while True:
            # Without a length tornado sends chunks; flushing waits until the client has read them.
            await self.flush()
            await asyncio.sleep(delay)
            self.write(bytes(PIECE))


def media_routes(world: World, tell: Tell) -> list[tuple[str, type[web.RequestHandler], Any]]:
    """Return the media host's routes; ``tell`` tells whose connection a stream is."""
    shared = {"world": world, "tell": tell}
    return [
        (r"/(?:mms|newsletter)/([\w-]+)/([\w=-]+)", UploadHandler, shared),
        (r"/v/[^/]+/(\w+)", DownloadHandler, shared),
    ]
