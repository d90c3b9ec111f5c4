"""A tornado server that does nothing: what the gateway's figures are to be compared with.

On a machine that others use too, only the ratio of two measurements of the same minute says much.
``python -m bench.bare`` prints its port and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import TracebackType

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

__all__ = ["BareProcess"]

_ANSWER = b"x" * 2400  # as long as a list of five instances


class _Handler(RequestHandler):
    async def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(_ANSWER)


async def _serve() -> None:
    sockets = bind_sockets(0, "127.0.0.1", backlog=1024)
    application = Application([("/api/instances", _Handler)], log_function=lambda _: None)
    HTTPServer(application).add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


class BareProcess:
    """A context manager: the server as a process of its own."""

    def __enter__(self) -> BareProcess:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.bare"], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.address = ("127.0.0.1", int(self._process.stdout.readline()))
        self.pid = self._process.pid
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve())
    else:
        uvloop.run(_serve())
