"""The gateway from its start to its end: settings, storage, actors, HTTP, wait, stop in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator

import structlog

from wavisor import __version__
from wavisor.actors.supervisor import RootHandle
from wavisor.config import Settings
from wavisor.gateway import Gateway
from wavisor.whatsapp.driver import NeonizeDriver, Redirect
from wavisor.whatsapp.preflight import check_client, client_version

__all__ = ["serve"]

log = structlog.get_logger(__name__)

_START_TIMEOUT = 60.0
_DRIVER_GRACE = 1.0
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h of glibc
_LARGE_BLOCK_BYTES = 1024 * 1024
_DATABASE_CLOSE_SECONDS = 2.0


def serve(settings: Settings, on_ready: Callable[[str], None] | None = None) -> int:
    """Run a gateway until a signal or the failure of its root ends it.

    Args:
        settings: as loaded; logging and the data directory are ready.
        on_ready: called with the base URL once the gateway answers.

    Returns:
        The exit code: 0 after an orderly stop, 1 when the supervision tree gave up.

    Raises:
        SessionError: the WhatsApp client cannot work on this machine.
        ListenError: the port is taken.
        StorageError: the database cannot be opened.
    """
    started = time.monotonic()
    check_client()
    _allow_many_descriptors()
    _tame_allocator()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, started, on_ready))


async def _serve(settings: Settings, started: float, on_ready: Callable[[str], None] | None) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    with _signals_set(stop, settings.shutdown_timeout_seconds):
        _warn(settings)
        redirect = await _find_local_whatsapp(settings)
        gateway = Gateway.build(settings, loop, redirect=redirect)
        port = gateway.listen()
        await asyncio.to_thread(gateway.database.open)
        await asyncio.to_thread(gateway.media.open)
        try:
            root = await _start(gateway, loop)
            try:
                url = _url(settings.host, port)
                _announce(url, started)
                if on_ready is not None:
                    on_ready(url)
                await _wait(stop, root, settings.shutdown_timeout_seconds)
            finally:
                await _stop_actors(root)
        finally:
            await _close(gateway)
        return root.exit_code


async def _start(gateway: Gateway, loop: asyncio.AbstractEventLoop) -> RootHandle:
    if isinstance(gateway.driver, NeonizeDriver):
        await gateway.driver.start()
    gateway.lag.start()
    root = gateway.start_actors(loop)
    async with asyncio.timeout(_START_TIMEOUT):
        await asyncio.wrap_future(root.started)
    # What is there by now stays for good. Unfrozen, each full collection would go through all of
    # it, and meanwhile every request would wait. What the start has freed goes back to the system.
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    return root


async def _wait(stop: asyncio.Event, root: RootHandle, seconds: float) -> None:
    """Wait for a signal, or for the end of the tree, whichever is first.

    After the latter the process ends within ``seconds``, so that it is started anew, even if what
    made the tree fail, such as a disk that hangs, holds up the stop as well.
    """
    loop = asyncio.get_running_loop()
    root.finished.add_done_callback(lambda _: loop.call_soon_threadsafe(stop.set))
    await stop.wait()
    if root.finished.done():
        log.critical("the supervision tree gave up", reason=str(root.finished.result()))
        _end_within(seconds)


async def _stop_actors(root: RootHandle) -> None:
    """Stop in reverse: HTTP first, then the instances with their sessions, then the events."""
    log.info("stopping")
    await asyncio.wrap_future(root.stop())


async def _close(gateway: Gateway) -> None:
    """Give back what the actors used, after they are gone."""
    gateway.lag.stop()
    if isinstance(gateway.driver, NeonizeDriver):
        await gateway.driver.close(_DRIVER_GRACE)
    gateway.timers.close()
    gateway.observer.close()
    await asyncio.to_thread(gateway.media.close)
    await asyncio.to_thread(gateway.database.close, _DATABASE_CLOSE_SECONDS)
    log.info("stopped")


def _allow_many_descriptors() -> None:
    """Use the hard limit: a session takes three descriptors, a client of the API one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _tame_allocator() -> None:
    """Keep glibc from holding memory that nobody uses; before there are threads.

    Large blocks are given back to the system, which it would learn to keep: a file sent as base64
    would leave the process some 40 to 70 MB larger for good. And all threads, one for each actor,
    share an arena: of several, each holds what its threads have freed and no other can use. They
    are rarely in each other's way, since Python runs one at a time.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
        libc.mallopt(_M_ARENA_MAX, 1)


def _warn(settings: Settings) -> None:
    for warning in settings.warnings():
        log.warning(warning)


async def _find_local_whatsapp(settings: Settings) -> Redirect | None:
    """Ask the local WhatsApp where it is, in sandbox mode; a normal gateway imports none of it."""
    if settings.sandbox_url is None:
        return None
    from wavisor.sandbox.client import AsyncSandboxControl
    from wavisor.sandbox.redirect import Endpoints

    found = await AsyncSandboxControl(settings.sandbox_url).endpoints()
    return Endpoints(
        proxy_url=found.proxy_url,
        ca_file=found.ca_file,
        root_public_key=bytes.fromhex(found.root_public_key),
        control_url=found.control_url,
    )


def _announce(url: str, started: float) -> None:
    log.info(
        "ready",
        url=url,
        version=__version__,
        neonize=client_version(),
        seconds=round(time.monotonic() - started, 3),
    )


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - only compared
    return f"http://{shown}:{port}"


@contextlib.contextmanager
def _signals_set(stop: asyncio.Event, seconds: float) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop in order, within ``seconds``; a second one ends at once."""
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        log.info("signal received", signal=number.name)
        stop.set()
        _end_within(seconds)

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _end_within(seconds: float) -> None:
    # Not a timer of the loop: it must fire when the loop is what hangs.
    watchdog = threading.Timer(seconds, _give_up_stopping, (seconds,))
    watchdog.daemon = True
    watchdog.start()


def _give_up_stopping(seconds: float) -> None:
    log.critical("did not stop in time; ending at once", seconds=seconds)
    os._exit(1)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
