"""Sorts a client's stanzas: by tag, and queries by namespace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from wavisor.sandbox.codec import Node
from wavisor.sandbox.connection import ClientConnection
from wavisor.sandbox.directory import Device
from wavisor.sandbox.faults import FaultKind
from wavisor.sandbox.routing import presence_changed, submit
from wavisor.sandbox.stanzas import (
    app_state,
    channels,
    groups,
    keys,
    linking,
    login,
    media,
    profile,
    usync,
)
from wavisor.sandbox.stanzas.answers import result

__all__ = ["Stanzas"]

log = structlog.get_logger(__name__)

Query = Callable[[ClientConnection, Device, Node], Awaitable[Node | None]]

_QUERIES: dict[str, Query] = {
    "encrypt": keys.on_query,
    "usync": usync.on_query,
    "passive": login.on_passive,
    "md": linking.on_companion_query,
    "w:m": media.on_query,
    "w:sync:app:state": app_state.on_query,
    "privacy": profile.on_privacy,
    "blocklist": profile.on_blocklist,
    "w:profile:picture": profile.on_picture,
    "w:biz": profile.on_business,
    "w:g2": groups.on_query,
    "status": profile.on_status,
    "w:mex": channels.on_mex,
    "newsletter": channels.on_query,
}


class Stanzas:
    """The handler of every connection."""

    async def on_open(self, connection: ClientConnection, payload: Any) -> None:
        """Begin pairing or log in, whichever the client came for."""
        if payload.HasField("devicePairingData"):
            await linking.begin(connection, payload.devicePairingData)
        else:
            await login.log_in(connection, payload)

    async def on_stanza(self, connection: ClientConnection, stanza: Node) -> None:
        """Answer a query, or carry out what the client sends to others."""
        if stanza.tag == "iq":
            await self._on_query(connection, stanza)
        elif connection.device is None:
            log.debug("stanza before login", tag=stanza.tag)
        elif stanza.tag == "ack":
            connection.device.acknowledge(
                (
                    stanza.text("class"),
                    stanza.text("id"),
                    stanza.text("to"),
                    "" if stanza.text("class") == "message" else stanza.text("type"),
                    stanza.text("participant"),
                )
            )
        elif stanza.tag in ("message", "receipt", "presence", "chatstate", "call"):
            await self._on_submission(connection, connection.device, stanza)
        else:
            log.debug("stanza ignored", tag=stanza.tag)

    async def on_close(self, connection: ClientConnection) -> None:
        """Forget the connection; those who watch the account see it go offline."""
        if connection.pairing is not None:
            connection.world.remove_pairing(connection.pairing)
        device = connection.device
        if device is not None and device.connection is connection:
            device.connection = None
            if device.available:
                device.available = False
                device.account.last_seen = int(time.time())
                await presence_changed(connection.world, device.account)

    async def _on_query(self, connection: ClientConnection, query: Node) -> None:
        namespace = query.text("xmlns")
        answer: Node | None
        if connection.device is None:
            # Until it is paired, a client may only ask for linking and keep itself alive.
            answer = (
                await linking.on_query(connection, query) if namespace == "md" else result(query)
            )
        else:
            handler = _QUERIES.get(namespace)
            if handler is None:
                log.debug("query without special answer", namespace=namespace)
            answer = (
                await handler(connection, connection.device, query) if handler else result(query)
            )
        if answer is not None:
            await connection.send(answer)

    async def _on_submission(
        self, connection: ClientConnection, device: Device, stanza: Node
    ) -> None:
        ack = await submit(connection.world, device, stanza)
        if ack is None:
            return
        fault = (
            connection.world.faults.strike(FaultKind.DELAY_ACKS, **connection.identity())
            if stanza.tag == "message"
            else None
        )
        if fault is None:
            await connection.send(ack)
        else:
            connection.spawn(_send_later(connection, ack, fault.delay))


async def _send_later(connection: ClientConnection, stanza: Node, delay: float) -> None:
    await asyncio.sleep(delay)
    await connection.send(stanza)
