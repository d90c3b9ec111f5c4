"""Logging in, and what waits for a client that was away.

Source: whatsmeow ``connectionevents.go`` (``success``, ``failure``, ``stream:error``, ``ib``) and
``store/clientpayload.go``.
"""

from __future__ import annotations

import time
from typing import Any

import structlog

from wavisor.sandbox.codec import SERVER_JID, Node
from wavisor.sandbox.connection import ClientConnection
from wavisor.sandbox.directory import Device
from wavisor.sandbox.faults import Fault, FaultKind
from wavisor.sandbox.stanzas.answers import result
from wavisor.sandbox.statistics import Outcome

__all__ = ["log_in", "on_passive"]

log = structlog.get_logger(__name__)

LOGGED_OUT = 401


async def log_in(connection: ClientConnection, payload: Any) -> None:
    """Let the client in, or say why not."""
    world = connection.world
    phone, number = str(payload.username), int(payload.device)
    connection.attempt.phone, connection.attempt.device = phone, number
    who: dict[str, Any] = {"phone": phone, "device": number, "label": connection.label}
    if world.faults.strike(FaultKind.REFUSE, **who):
        connection.note(Outcome.REFUSED)
        await connection.close(abruptly=True)
        return
    if fault := world.faults.strike(FaultKind.LOGIN_FAILURE, **who):
        await _reject(connection, _failure(fault))
        return
    account = world.account_by_phone(phone)
    device = account.devices.get(number) if account else None
    if device is None or device.noise_key != connection.client_static:
        await _reject(connection, Node("failure", {"reason": str(LOGGED_OUT), "location": "lla"}))
        return
    if world.faults.strike(FaultKind.SILENT_LOGIN, **who):
        return
    await _admit(connection, device)


async def _admit(connection: ClientConnection, device: Device) -> None:
    previous, device.connection = device.connection, connection
    connection.device = device
    connection.note(Outcome.LOGGED_IN)
    if previous is not None:
        conflict = Node("conflict", {"type": "replaced"})
        # Beside: how long that client takes for it is not to hold up this one.
        connection.world.spawn(previous.dismiss(Node("stream:error", {}, (conflict,))))
    await connection.send(
        Node("success", {"t": str(int(time.time())), "lid": device.lid, "location": "lla"})
    )


async def _reject(connection: ClientConnection, failure: Node) -> None:
    connection.note(Outcome.REJECTED)
    # Beside: it waits for a stanza of the client, and the one being handled comes first.
    connection.spawn(connection.dismiss(failure))


def _failure(fault: Fault) -> Node:
    attrs = {"reason": str(fault.code), "location": "lla"}
    if fault.code == 402:  # the only failure that says until when
        attrs |= {"code": str(fault.ban_code), "expire": str(fault.ban_seconds)}
    return Node("failure", attrs)


async def on_passive(connection: ClientConnection, device: Device, query: Node) -> Node | None:
    """Answer the switch to active, then send what waited, in order, and how much it was."""
    await connection.send(result(query))
    if query.child("active") is None:
        connection.active = False
        return None
    waiting = list(device.inbox.values())
    connection.active = True
    for stanza in waiting:
        await connection.send(stanza.with_attrs(offline="0"))
    offline = Node("offline", {"count": str(len(waiting))})
    await connection.send(Node("ib", {"from": SERVER_JID}, (offline,)))
    return None
