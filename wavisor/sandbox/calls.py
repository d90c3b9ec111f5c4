"""Calls: somebody rings, the other side rejects, the caller hangs up. Nobody ever talks.

Source: whatsmeow ``call.go``.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from wavisor.sandbox.accounts import Account, Device
from wavisor.sandbox.codec import Jid, Node
from wavisor.sandbox.delivery import now
from wavisor.sandbox.directory import World

__all__ = ["Call", "hang_up", "on_call", "ring"]


@dataclass(slots=True)
class Call:
    """A call that somebody made; ``status`` is ``ringing``, ``rejected`` or ``terminated``."""

    id: str
    to: str
    video: bool
    status: str = "ringing"


def _stanza(sender: Device, signal: Node) -> Node:
    attrs: dict[str, str | Jid] = {
        "from": sender.lid,
        "id": secrets.token_hex(16).upper(),
        "t": now(),
        "notify": sender.account.name,
        "platform": "android",
        "version": "2.26.1",
    }
    return Node("call", attrs, (signal,))


async def ring(world: World, caller: Device, callee: Account, *, video: bool) -> Call:
    """Let all devices of somebody ring."""
    call = Call(secrets.token_hex(16).upper(), callee.phone, video)
    attrs: dict[str, str | Jid] = {
        "call-id": call.id,
        "call-creator": caller.lid,
        "caller_pn": caller.account.pn,
    }
    media = (Node("audio", {"enc": "opus", "rate": "16000"}), *([Node("video")] if video else []))
    await _signal(world, caller, callee, Node("offer", attrs, media))
    return call


async def hang_up(world: World, caller: Device, callee: Account, call: Call, reason: str) -> None:
    """Let them stop ringing."""
    call.status = "terminated"
    attrs: dict[str, str | Jid] = {
        "call-id": call.id,
        "call-creator": caller.lid,
        "reason": reason,
    }
    await _signal(world, caller, callee, Node("terminate", attrs))


async def _signal(world: World, sender: Device, receiver: Account, signal: Node) -> None:
    for device in world.devices_of(receiver):
        await device.deliver(_stanza(sender, signal))


async def on_call(world: World, sender: Device, stanza: Node) -> Node:
    """Pass on what a client says about a call, to all devices of the other side; return the ack."""
    to = stanza.jid("to")
    receiver = world.account_of(to) if to else None
    for signal in stanza.children if receiver else ():
        if receiver is not None:
            await _signal(world, sender, receiver, signal)
    attrs = {"class": "call", "id": stanza.text("id"), "t": now()}
    return Node("ack", attrs | ({"from": to} if to else {}))
