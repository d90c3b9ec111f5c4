"""Faults that happen once: connections dropped, streams ended, devices unlinked.

Each returns how many clients it hit. Source of the stanzas: whatsmeow ``connectionevents.go``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from wavisor.sandbox.codec import Node
from wavisor.sandbox.directory import Connection, World
from wavisor.sandbox.faults import EVERYBODY, Target
from wavisor.sandbox.routing import unlink

__all__ = ["drop", "log_out", "replace_stream", "stream_error"]


def _hit(world: World, target: Target) -> Iterator[Connection]:
    for connection in list(world.connections):
        device = connection.device
        phone = device.account.phone if device else None
        number = device.id if device else None
        if target.matches(phone=phone, device=number, label=connection.label):
            yield connection


async def drop(world: World, target: Target = EVERYBODY, *, abruptly: bool = True) -> int:
    """Cut connections: the TCP connection (RST), or the websocket with close code 1000."""
    connections = list(_hit(world, target))
    await asyncio.gather(*(connection.close(abruptly=abruptly) for connection in connections))
    return len(connections)


async def stream_error(world: World, target: Target = EVERYBODY, *, code: int = 503) -> int:
    """End streams with ``<stream:error code>`` and close (503: server restarts, 515)."""
    return await _end(world, target, Node("stream:error", {"code": str(code)}))


async def replace_stream(world: World, target: Target = EVERYBODY) -> int:
    """Tell clients that another one took over their session, and close."""
    conflict = Node("conflict", {"type": "replaced"})
    return await _end(world, target, Node("stream:error", {}, (conflict,)))


async def log_out(world: World, target: Target = EVERYBODY) -> int:
    """Unlink devices as their phone would: those online hear it now, the others at login."""
    devices = [
        device
        for device in world.real_devices()
        if target.matches(
            phone=device.account.phone,
            device=device.id,
            label=device.connection.label if device.connection else None,
        )
    ]
    await asyncio.gather(*(unlink(world, device) for device in devices))
    return len(devices)


async def _end(world: World, target: Target, error: Node) -> int:
    connections = [c for c in _hit(world, target) if c.device is not None]
    await asyncio.gather(*(connection.dismiss(error) for connection in connections))
    return len(connections)
