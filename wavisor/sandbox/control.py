"""The control API of the local WhatsApp: HTTP on loopback, for demos, tests and the curious.

It scans codes, types on phones, writes as contacts, injects faults and tells what happened. The
Python clients for it are in ``client.py``; bodies are described in ``control_models.py``.
"""

from __future__ import annotations

from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from wavisor.sandbox import control_groups, control_people, control_server, control_talk
from wavisor.sandbox.control_handlers import NotFoundHandler
from wavisor.sandbox.control_models import EndpointsInfo
from wavisor.sandbox.people import People
from wavisor.sandbox.redirect import Endpoints

__all__ = ["ControlServer", "make_application"]

MAX_BODY = 32 * 1024 * 1024
"""Largest body accepted, in bytes: files come in base64."""

LOOPBACK = "127.0.0.1"
"""The only address that the API is offered on."""


def make_application(people: People, endpoints: Endpoints) -> Application:
    """Return the API over a world's people; ``endpoints`` is what ``GET /endpoints`` answers."""
    shared: dict[str, Any] = {
        "people": people,
        "endpoints": EndpointsInfo(
            proxy_url=endpoints.proxy_url,
            ca_file=endpoints.ca_file,
            root_public_key=endpoints.root_public_key.hex(),
            control_url=endpoints.control_url,
        ),
    }
    routes = [
        *control_people.ROUTES,
        *control_talk.ROUTES,
        *control_groups.ROUTES,
        *control_server.ROUTES,
    ]
    return Application(
        [(path, handler, shared) for path, handler in routes],
        default_handler_class=NotFoundHandler,
        default_handler_args=shared,
        log_function=_keep_quiet,
    )


def _keep_quiet(_handler: object) -> None:
    """Log no requests: their paths are phone numbers."""


class ControlServer:
    """Listens for the control API.

    The socket is bound at once, so that the address is known before the endpoints are complete.

    Args:
        port: on loopback; 0 chooses a free one. Raises OSError when it is in use.
    """

    def __init__(self, port: int = 0) -> None:
        self._sockets = bind_sockets(port, LOOPBACK)
        self._server: HTTPServer | None = None

    @property
    def url(self) -> str:
        """The API's base URL, without a slash at the end."""
        return f"http://{LOOPBACK}:{self._sockets[0].getsockname()[1]}"

    def start(self, people: People, endpoints: Endpoints) -> None:
        """Begin to answer."""
        application = make_application(people, endpoints)
        self._server = HTTPServer(application, max_body_size=MAX_BODY)
        self._server.add_sockets(self._sockets)

    async def stop(self) -> None:
        """Stop listening and close what is open."""
        if self._server is None:
            for socket in self._sockets:
                socket.close()
            return
        self._server.stop()
        await self._server.close_all_connections()
