"""What all routes of stanzas share: acknowledgements, and receipts that a fault may delay."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from wavisor.sandbox.accounts import Device
from wavisor.sandbox.codec import Jid, Node
from wavisor.sandbox.directory import World
from wavisor.sandbox.faults import FaultKind

__all__ = [
    "FORBIDDEN",
    "NOT_FOUND",
    "ack_of",
    "deliver_receipt",
    "identity_of",
    "now",
    "present",
    "remember_ack",
]

NOT_FOUND = 404
FORBIDDEN = 403
RECENT_IDS = 1000
"""Ids remembered per sending device, to recognise what a client repeats."""


def now() -> str:
    """Return the time as stanzas have it: whole Unix seconds."""
    return str(int(time.time()))


def present(attrs: dict[str, str | Jid | None]) -> dict[str, str | Jid]:
    """Return the attributes that have a value."""
    return {name: value for name, value in attrs.items() if value is not None}


def identity_of(device: Device) -> dict[str, Any]:
    """Return what faults may be aimed at: phone, device and label."""
    label = device.connection.label if device.connection else None
    return {"phone": device.account.phone, "device": device.id, "label": label}


def ack_of(stanza: Node, error: int = 0, **attrs: str) -> Node:
    """Return the server's answer to a message; ``error`` 0 says that it was taken."""
    known = present(
        {
            "class": "message",
            "id": stanza.text("id"),
            "from": stanza.attrs.get("to"),
            "t": now(),
            "error": str(error) if error else None,
        }
    )
    return Node("ack", known | attrs)


def remember_ack(sender: Device, stanza: Node, ack: Node) -> Node:
    """Keep the ack of a message that the client may repeat, and return it."""
    sender.recent_ids[stanza.text("to"), stanza.text("id")] = ack
    while len(sender.recent_ids) > RECENT_IDS:
        sender.recent_ids.popitem(last=False)
    return ack


async def deliver_receipt(world: World, device: Device, receipt: Node) -> None:
    """Hand a receipt to a device, later if a fault wants that."""
    fault = world.faults.strike(FaultKind.DELAY_RECEIPTS, **identity_of(device))
    if fault is None:
        await device.deliver(receipt)
    else:
        world.spawn(_deliver_later(device, receipt, fault.delay))


async def _deliver_later(device: Device, stanza: Node, delay: float) -> None:
    await asyncio.sleep(delay)
    await device.deliver(stanza)
