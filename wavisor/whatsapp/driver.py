"""The session driver for the real WhatsApp client: one process per session, from a forkserver.

All input and output happens on the event loop that the driver is given; its methods may be called
from any thread. The gateway's process never imports neonize.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

import structlog

from wavisor.whatsapp.commands import Open
from wavisor.whatsapp.events import ConnectFailed, Event
from wavisor.whatsapp.keystore import KeyStoreError, KeyStores
from wavisor.whatsapp.network import NetworkCheck, first_hop, tunnel_request
from wavisor.whatsapp.nursery import Nursery, session_environment, without_proxies
from wavisor.whatsapp.port import Session, SessionError, SessionSpec
from wavisor.whatsapp.proxy import AddressRule, ProxyError, ProxyWay
from wavisor.whatsapp.session import ProcessSession

__all__ = ["NeonizeDriver", "Redirect"]

log = structlog.get_logger(__name__)

_LAST_EXITS_SECONDS = 3.0


class Redirect(Protocol):
    """Where a local WhatsApp is; ``wavisor.sandbox.redirect.Endpoints`` is one.

    A protocol, because a normal gateway must not import the sandbox.
    """

    @property
    def proxy_url(self) -> str:
        """The HTTP proxy that stands for the internet."""
        ...

    @property
    def ca_file(self) -> str:
        """The certificate authority to trust, as a PEM file."""
        ...

    @property
    def root_public_key(self) -> bytes:
        """The key that signs the local WhatsApp's Noise certificates."""
        ...


class _NoProxies:
    def objection(self, address: str) -> str:
        return "must not be used here"


class NeonizeDriver:
    """Implements :class:`~wavisor.whatsapp.port.SessionDriver`.

    Args:
        loop: the running event loop to work on; its thread must outlive the driver.
        directory: where the key stores lie, ``<data_dir>/sessions``.
        store_url: a ``postgres://`` URL to keep device keys there instead.
        device_name: what phones show under linked devices.
        redirect: talk to this local WhatsApp instead of the real one.
        proxy_rule: where instances' own proxies may be; none may be used without it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        directory: Path,
        *,
        store_url: str | None = None,
        device_name: str = "Wavisor",
        redirect: Redirect | None = None,
        proxy_rule: AddressRule | None = None,
    ) -> None:
        self._loop = loop
        self._stores = KeyStores(directory, store_url)
        self._device_name = device_name
        self._redirect = redirect
        proxy_url = redirect.proxy_url if redirect else None
        self._network = NetworkCheck(
            loop,
            first_hop(os.environ, proxy_url),
            request=tunnel_request(os.environ, proxy_url),
        )
        self._proxies = ProxyWay(proxy_rule or _NoProxies())
        self._lock = threading.Lock()
        self._sessions: set[ProcessSession] = set()
        self._closed = False
        # On the loop only:
        self._nurseries: dict[bool, Nursery] = {}  # by whether it is for own proxies
        self._running: dict[str, ProcessSession] = {}
        self._waiting: dict[str, ProcessSession] = {}
        self._idle: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # The port

    def open(self, spec: SessionSpec, on_event: Callable[[str, Event], None]) -> ProcessSession:
        """Start a session process; see the port.

        An earlier session of the same instance that still lives is killed first, and the new one
        waits for its end: two processes on one key store would destroy it.
        """
        session = ProcessSession(self._loop, spec, on_event, self._on_end)
        with self._lock:
            if self._closed:
                raise SessionError("the session driver is closed")
            self._sessions.add(session)
        try:
            self._loop.call_soon_threadsafe(self._admit, session)
        except RuntimeError as error:
            self._sessions.discard(session)
            raise SessionError("the session driver's event loop is closed") from error
        return session

    def check_network(self, on_answer: Callable[[bool], None], proxy: str | None = None) -> None:
        """Find out whether WhatsApp can be reached; see the port."""
        if proxy is None:
            self._network.ask(on_answer)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._spawn, self._ask_proxy, on_answer, proxy)

    def lives(self, instance_id: str, *, besides: Session | None = None) -> bool:
        """Tell whether an instance has a session that is not known to be gone; see the port."""
        with self._lock:
            return self._lives(instance_id, besides)

    def _lives(self, instance_id: str, besides: Session | None = None) -> bool:
        return any(
            session.spec.instance_id == instance_id and session is not besides and not session.ended
            for session in self._sessions
        )

    def discard_keys(self, instance_id: str, jid: str | None = None) -> None:
        """Delete the key store of an instance; see the port."""
        with self._lock:
            if self._lives(instance_id):
                raise SessionError("the instance still has a session process")
            try:
                self._stores.discard(instance_id, jid)
            except KeyStoreError as error:
                raise SessionError(str(error)) from error

    def find_message(self, instance_id: str, secret: str) -> str | None:
        """Return the id of the message that was sent with a secret; see the port."""
        try:
            return self._stores.find_message(instance_id, base64.b64decode(secret))
        except KeyStoreError as error:
            raise SessionError(str(error)) from error

    # Lifecycle

    async def start(self) -> None:
        """Start the forkserver ahead of the first session, which is quicker then."""
        self._require_nursery(own_proxy=False)

    async def close(self, grace: float = 5.0) -> None:
        """End all sessions at once: asked politely, killed after ``grace`` seconds.

        Returns when all of them and the forkserver are gone, some seconds after the grace at
        the latest. Every session has had its ``Exited`` by then.
        """
        with self._lock:
            self._closed = True
            sessions = list(self._sessions)
        await self._network.close()
        for task in list(self._tasks):
            task.cancel()
        self._idle = asyncio.Event()
        self._tell_idle()
        for session in sessions:
            session.stop(grace)
        try:
            async with asyncio.timeout(grace + 2.0):
                await self._idle.wait()
        except TimeoutError:
            log.critical("sessions did not end in time", count=len(self._sessions))
        for nursery in self._nurseries.values():
            nursery.close()
        for nursery in self._nurseries.values():
            await nursery.ended()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_EXITS_SECONDS):
                await self._idle.wait()

    @property
    def forkserver_pid(self) -> int | None:
        """The forkserver's process id while it lives."""
        nursery = self._nurseries.get(False)
        return nursery.pid if nursery is not None and nursery.alive else None

    # On the loop

    def _admit(self, session: ProcessSession) -> None:
        instance = session.spec.instance_id
        earlier = self._running.get(instance)
        if earlier is None:
            self._start(session)
            return
        log.warning("an earlier session of the instance is killed", instance=instance)
        superseded = self._waiting.get(instance)
        self._waiting[instance] = session
        if superseded is not None:
            superseded.refuse(None, "superseded by a newer session")
        earlier.kill()

    def _start(self, session: ProcessSession) -> None:
        self._running[session.spec.instance_id] = session
        if session.spec.proxy is None:
            self._launch(session, None)
        else:
            self._spawn(self._start_by_proxy, session, session.spec.proxy)

    def _spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        task = self._loop.create_task(work(*arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_proxy(self, on_answer: Callable[[bool], None], proxy: str) -> None:
        try:
            await self._proxies.check(proxy)
        except ProxyError as error:
            log.info("a proxy cannot be used", error=str(error))
            on_answer(False)
        else:
            on_answer(True)

    async def _start_by_proxy(self, session: ProcessSession, proxy: str) -> None:
        """Start a session once its proxy was checked: no process is started for one that is dead.

        The session has its place meanwhile, so that none other of the instance starts beside it.
        """
        try:
            checked = await self._proxies.check(proxy)
        except ProxyError as error:
            if not session.ended:
                instance, detail = session.spec.instance_id, str(error)
                failure = ConnectFailed(instance=instance, cause="proxy", detail=detail)
                session.refuse(failure, detail)
        else:
            if not session.ended:
                self._launch(session, checked)

    def _launch(self, session: ProcessSession, proxy: str | None) -> None:
        instance = session.spec.instance_id
        try:
            store = self._stores.prepare(instance)
        except KeyStoreError as error:
            failure = ConnectFailed(
                instance=instance,
                cause="key_store",
                detail=str(error),
                permanent=error.permanent,
            )
            session.refuse(failure, str(error))
            return
        try:
            nursery = self._require_nursery(own_proxy=proxy is not None)
        except OSError as error:
            session.refuse(None, f"the forkserver cannot be started: {error.strerror}")
            return
        opening = Open(
            instance=instance,
            store=store,
            jid=session.spec.jid,
            incarnation=session.incarnation,
            device_name=self._device_name,
            proxy=proxy,
            history_per_chat=session.spec.history_per_chat,
            history_total=session.spec.history_total,
        )
        session.start(nursery, opening, self._redirection(instance))

    def _redirection(self, instance: str) -> dict[str, str] | None:
        if self._redirect is None:
            return None
        scheme, separator, rest = self._redirect.proxy_url.partition("://")
        # The user name labels the client in the local WhatsApp's faults and statistics.
        labelled = rest if "@" in rest else f"{instance}@{rest}"
        return {
            "proxy_url": f"{scheme}{separator}{labelled}",
            "root_public_key": self._redirect.root_public_key.hex(),
        }

    def _require_nursery(self, *, own_proxy: bool) -> Nursery:
        """Return the forkserver, or that for instances with proxies of their own.

        Go goes by the proxy of the environment even to a SOCKS proxy that it was told to use
        (whatsmeow ``client.go``, ``SetSOCKSProxy``), and reads the environment of the exec. So
        where there is such a proxy, instances with their own need another forkserver.
        """
        common = self._environment(own_proxy=False)
        environment = self._environment(own_proxy=own_proxy)
        own_proxy = environment != common
        nursery = self._nurseries.get(own_proxy)
        if nursery is None or not nursery.alive:
            nursery = Nursery(self._loop, environment, self._on_lost)
            self._nurseries[own_proxy] = nursery
        return nursery

    def _environment(self, *, own_proxy: bool) -> dict[str, str]:
        redirect = self._redirect
        return session_environment(
            without_proxies(os.environ) if own_proxy else os.environ,
            proxy_url=redirect.proxy_url if redirect and not own_proxy else None,
            ca_file=redirect.ca_file if redirect else None,
        )

    def _on_lost(self, nursery: Nursery) -> None:
        if self._closed:
            return
        log.error("the forkserver is gone, and all sessions with it", pid=nursery.pid)
        # Its zombie is collected off the loop, which must not wait for it.
        self._loop.run_in_executor(None, nursery.reap)

    def _on_end(self, session: ProcessSession) -> None:
        instance = session.spec.instance_id
        with self._lock:
            self._sessions.discard(session)
        if self._waiting.get(instance) is session:
            del self._waiting[instance]
        if self._running.get(instance) is session:
            del self._running[instance]
            successor = self._waiting.pop(instance, None)
            if successor is not None:
                self._start(successor)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self._idle is not None and not self._sessions:
            self._idle.set()
