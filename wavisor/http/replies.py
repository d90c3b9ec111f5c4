"""From reply to answer: its body, its media type, and files sent as fast as they are taken."""

from __future__ import annotations

import asyncio
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from wavisor.http.routing import Content, FilePart, Reply, Route, RouteError

__all__ = ["render", "send_file"]

_FILE_CHUNK = 256 * 1024
# How long a client may take for one chunk.
_STALLED_SECONDS = 60.0


def render(route: Route, reply: Reply) -> tuple[bytes | FilePart | None, str]:
    """Return body and media type of a reply.

    Raises:
        RouteError: the route does not declare such a reply.
    """
    if reply.status not in route.responses:
        raise RouteError(f"{route.operation} answered {reply.status}, which it does not declare")
    declared, content = route.responses[reply.status], reply.content
    model = declared.model if isinstance(declared, Content) else declared
    if content is None and declared is None:
        return None, ""
    if isinstance(content, bytes | FilePart) and isinstance(declared, Content):
        media_type = reply.media_type
        if media_type and {media_type, "*/*"} & set(declared.media_types):
            return content, media_type
    elif content is not None and model is not None and isinstance(content, model):
        return content.model_dump_json(by_alias=True).encode(), "application/json"
    raise RouteError(f"{route.operation} answered {type(content)}, which it does not declare")


async def send_file(handler: RequestHandler, part: FilePart) -> None:
    """Send a file as fast as the client takes it; one that takes nothing is left."""
    # Opened before anything is said of it, so that a failure can still be told.
    stream = await asyncio.to_thread(part.path.open, "rb")
    try:
        handler.set_header("Content-Length", str(part.length))
        await asyncio.to_thread(stream.seek, part.start)
        await asyncio.wait_for(handler.flush(), _STALLED_SECONDS)
        left = 0 if handler.request.method == "HEAD" else part.length
        while left and (chunk := await asyncio.to_thread(stream.read, min(left, _FILE_CHUNK))):
            left -= len(chunk)
            handler.write(chunk)
            await asyncio.wait_for(handler.flush(), _STALLED_SECONDS)
        whole = left == 0
    except (OSError, TimeoutError, StreamClosedError):
        whole = False
    finally:
        await asyncio.to_thread(stream.close)
    if whole:
        handler.finish()
    else:
        # The header is out: all that can still be told is that this was not everything.
        cast(HTTP1Connection, handler.request.connection).stream.close()
