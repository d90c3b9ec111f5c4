"""``python -m wavisor.sandbox``: run the local WhatsApp until SIGTERM or SIGINT.

Prints one line on standard output when it is ready, a JSON document with its endpoints; everything
else goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import importlib.util
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from wavisor.sandbox.control import ControlServer
from wavisor.sandbox.directory import World
from wavisor.sandbox.people import People
from wavisor.sandbox.redirect import Endpoints
from wavisor.sandbox.server import SandboxServer
from wavisor.sandbox.tokens import TokenError, load_tokens

LAST_RESORT = 5.0
"""Seconds after the parent's end until the process ends even if its loop does not."""

ENDPOINTS_FILE = "endpoints.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit code."""
    options = _parse(arguments)
    ready_line = _claim_stdout()
    _configure_logging(options.log_level)
    try:
        load_client_library()
    except OSError as error:
        sys.stderr.write(f"the native WhatsApp client cannot be loaded: {error}\n")
        return 1
    try:
        asyncio.run(_serve(options, ready_line))
    except (OSError, TokenError) as error:
        sys.stderr.write(f"the local WhatsApp cannot start: {error}\n")
        return 1
    return 0


def load_client_library() -> None:
    """Load neonize's native library, for its token dictionary, without importing neonize.

    Raises OSError when it is not installed or does not fit this machine.
    """
    package = importlib.util.find_spec("neonize")
    folders = list(package.submodule_search_locations or ()) if package else []
    libraries = [file for folder in folders for file in sorted(Path(folder).glob("neonize-*.so"))]
    if not libraries:
        raise OSError("neonize is not installed, or has no library for this machine")
    ctypes.CDLL(str(libraries[0]))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m wavisor.sandbox",
        description="A local WhatsApp on loopback, for demos and tests.",
    )
    parser.add_argument("--port", type=int, default=0, help="port of the proxy; 0: a free one")
    parser.add_argument(
        "--control-port", type=int, default=0, help="port of the control API; 0: a free one"
    )
    parser.add_argument(
        "--state-dir", type=Path, help=f"where the CA file and {ENDPOINTS_FILE} are written"
    )
    parser.add_argument(
        "--no-default-contacts", action="store_true", help="start with nobody but who is added"
    )
    parser.add_argument(
        "--stop-with-stdin", action="store_true", help="stop when standard input is closed"
    )
    parser.add_argument(
        "--log-level", default="warning", choices=("debug", "info", "warning", "error")
    )
    return parser.parse_args(arguments)


def _claim_stdout() -> int:
    """Return a descriptor of standard output, which itself becomes standard error from now on.

    The native library writes where it likes, and the ready line must stand alone.
    """
    ready_line = os.dup(1)
    os.dup2(2, 1)
    return ready_line


def _configure_logging(level: str) -> None:
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=number, stream=sys.stderr)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


async def _serve(options: argparse.Namespace, ready_line: int) -> None:
    stopping = _stop_requests(watch_stdin=options.stop_with_stdin)
    world = World()
    people = People(world)
    if not options.no_default_contacts:
        people.add_default_contacts()
    control = ControlServer(options.control_port)
    server = SandboxServer(load_tokens(), world)
    try:
        endpoints = await server.start(port=options.port)
        endpoints = replace(endpoints, control_url=control.url)
        with _published(endpoints, options.state_dir) as published:
            control.start(people, published)
            with os.fdopen(ready_line, "w") as output:
                output.write(published.to_json() + "\n")
            await stopping.wait()
    finally:
        await control.stop()
        await server.stop()


def _stop_requests(*, watch_stdin: bool) -> asyncio.Event:
    """Return an event that SIGTERM, SIGINT and, if wanted, the end of standard input set."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def on_signal(_number: int, _frame: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stopping.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        # Not a handler of the loop's: those end with the loop, and a signal that comes while the
        # interpreter shuts down would then kill it.
        signal.signal(number, on_signal)
    if watch_stdin:
        threading.Thread(
            target=_watch_stdin, args=(loop, stopping), name="parent-watch", daemon=True
        ).start()
    return stopping


def _watch_stdin(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    """Ask the loop to stop when the parent is gone, and make sure of it."""
    while os.read(0, 4096):
        continue
    with contextlib.suppress(RuntimeError):  # the loop has ended by itself
        loop.call_soon_threadsafe(stopping.set)
    threading.Event().wait(LAST_RESORT)
    os._exit(1)


@contextlib.contextmanager
def _published(endpoints: Endpoints, state_dir: Path | None) -> Iterator[Endpoints]:
    """Keep the CA file and the endpoints in the state directory while it runs."""
    if state_dir is None:
        yield endpoints
        return
    state_dir.mkdir(parents=True, exist_ok=True)
    ca_file, description = state_dir / "ca.pem", state_dir / ENDPOINTS_FILE
    shutil.copyfile(endpoints.ca_file, ca_file)
    published = replace(endpoints, ca_file=str(ca_file.resolve()))
    description.write_text(published.to_json() + "\n")
    try:
        yield published
    finally:
        description.unlink(missing_ok=True)
        ca_file.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
