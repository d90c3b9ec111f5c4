"""A client without account: QR refs, the pairing itself, linking by code, and unlinking.

Source: whatsmeow ``pair.go``, ``pair-code.go`` and ``client.go`` (``Logout``).
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from typing import Any

from wavisor.sandbox.codec import SERVER_JID, Jid, Node
from wavisor.sandbox.connection import ClientConnection, refused
from wavisor.sandbox.directory import Device, DeviceKeys, PreKey
from wavisor.sandbox.faults import FaultKind
from wavisor.sandbox.pairing import LinkCodeHello, PairingRefusedError, PendingPairing
from wavisor.sandbox.routing import announce_devices, unlink
from wavisor.sandbox.stanzas.answers import error, result
from wavisor.sandbox.statistics import Outcome

__all__ = ["begin", "on_companion_query", "on_query"]

ANSWER_TIMEOUT = 20.0
"""Seconds that a client gets to answer a step of its pairing."""
LINGER = 10.0
"""Seconds between a stream restart and the server's closing, should the client not close."""


class _Channel:
    """Carries out a pairing on a connection (``pairing.PairingChannel``)."""

    def __init__(self, connection: ClientConnection, keys: DeviceKeys) -> None:
        self._connection = connection
        self._keys = keys
        self._finish: asyncio.Future[Node] | None = None

    async def complete(self, pair_success: Node) -> Device:
        connection = self._connection
        description = pair_success.child("device")
        jid = description.jid("jid") if description else None
        account = connection.world.account_of(jid) if jid else None
        if jid is None or account is None or not jid.device:
            raise ValueError("the pairing names no companion of a known account")
        query = Node("iq", {"type": "set", "t": str(int(time.time()))}, (pair_success,))
        try:
            answer = await connection.request(query, within=ANSWER_TIMEOUT)
        except (TimeoutError, ConnectionError) as failure:
            raise refused(failure) from failure
        if answer.text("type") != "result" or answer.child("pair-device-sign") is None:
            reason = answer.child("error") or Node("error", {"text": "not signed"})
            raise PairingRefusedError(int(reason.text("code") or 0), reason.text("text"))
        device = connection.world.add_device(account, jid.device)
        device.noise_key = connection.client_static
        # Good for sessions before the client has uploaded any one-time keys.
        device.keys = self._keys
        if connection.pairing is not None:
            connection.world.remove_pairing(connection.pairing)
        connection.attempt.phone, connection.attempt.device = account.phone, device.id
        await announce_devices(connection.world, account)
        await connection.send(Node("stream:error", {"code": "515"}))
        connection.spawn(_close_later(connection, LINGER))
        return device

    async def exchange_link_code(self, registration: Node) -> Node:
        connection = self._connection
        self._finish = asyncio.get_running_loop().create_future()
        notification = Node(
            "notification",
            {
                "from": SERVER_JID,
                "type": "link_code_companion_reg",
                "id": connection.next_id(),
                "t": str(int(time.time())),
            },
            (registration,),
        )
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await connection.send(notification)
                return await self._finish
        except TimeoutError as failure:
            raise refused(failure) from failure

    def on_finish(self, registration: Node) -> None:
        if self._finish is not None and not self._finish.done():
            self._finish.set_result(registration)


async def begin(connection: ClientConnection, data: Any) -> None:
    """Offer QR refs to a client that wants to be paired and make it known to phones."""
    world = connection.world
    if world.faults.strike(FaultKind.SILENT_LOGIN, **connection.identity()):
        return
    refs = tuple(_new_ref() for _ in range(world.settings.qr_refs))
    signed = PreKey(int.from_bytes(data.eSkeyID, "big"), data.eSkeyVal, data.eSkeySig)
    keys = DeviceKeys(int.from_bytes(data.eRegid, "big"), data.eIdent, signed)
    pairing = PendingPairing(
        _Channel(connection, keys),
        refs,
        noise_key=connection.client_static,
        identity_key=keys.identity,
        registration_id=keys.registration_id,
        device_props=data.deviceProps,
        label=connection.label,
    )
    connection.pairing = pairing
    connection.note(Outcome.PAIRING)
    world.add_pairing(pairing)
    connection.spawn(_offer(connection, refs))
    connection.spawn(_close_later(connection, world.settings.pairing_lifetime()))


async def _offer(connection: ClientConnection, refs: tuple[str, ...]) -> None:
    content = tuple(Node("ref", {}, ref.encode()) for ref in refs)
    query = Node("iq", {"type": "set", "xmlns": "md"}, (Node("pair-device", {}, content),))
    try:
        await connection.request(query, within=ANSWER_TIMEOUT)
    except (TimeoutError, ConnectionError):
        await connection.close()


async def _close_later(connection: ClientConnection, delay: float) -> None:
    await asyncio.sleep(delay)
    await connection.close()


def _new_ref() -> str:
    # Clients join ref and keys by commas, and phones split at them.
    return "2@" + base64.b64encode(secrets.token_bytes(96)).decode()


async def on_query(connection: ClientConnection, query: Node) -> Node | None:
    """Answer the steps of linking by code of a client that is not paired yet."""
    pairing = connection.pairing
    registration = query.child("link_code_companion_reg")
    if pairing is None or registration is None:
        return result(query)
    stage = registration.text("stage")
    if stage == "companion_hello":
        return _on_companion_hello(connection, pairing, query, registration)
    if stage == "companion_finish":
        channel = pairing.channel
        if isinstance(channel, _Channel):
            channel.on_finish(registration)
        return result(query)
    return error(query, 400, "bad-request")


def _on_companion_hello(
    connection: ClientConnection, pairing: PendingPairing, query: Node, registration: Node
) -> Node:
    jid = registration.jid("jid")
    account = connection.world.account_of(jid) if jid else None
    if jid is None or account is None or not account.on_whatsapp:
        return error(query, 404, "item-not-found")
    ref = base64.b64encode(secrets.token_bytes(24))
    pairing.link_code = LinkCodeHello(
        phone=jid.user,
        ref=ref,
        wrapped_companion_ephemeral=_data(
            registration, "link_code_pairing_wrapped_companion_ephemeral_pub"
        ),
        companion_noise_key=_data(registration, "companion_server_auth_key_pub"),
        platform_id=_data(registration, "companion_platform_id").decode(),
        platform_display=_data(registration, "companion_platform_display").decode(),
    )
    answer = Node("link_code_pairing_ref", {}, ref)
    return result(query, Node("link_code_companion_reg", {}, (answer,)))


def _data(node: Node, tag: str) -> bytes:
    child = node.child(tag)
    return child.data if child else b""


async def on_companion_query(
    connection: ClientConnection, device: Device, query: Node
) -> Node | None:
    """Let a paired client unlink itself."""
    removal = query.child("remove-companion-device")
    if removal is None:
        return result(query)
    jid: Jid | None = removal.jid("jid")
    target = connection.world.device_of(jid) if jid else None
    if target is not device:
        return error(query, 403, "forbidden")
    await connection.send(result(query))
    await unlink(connection.world, device, announced=False)
    return None
