"""What a simulated device sends: encrypted for every device that reads it, and again on request."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, OrderedDict
from collections.abc import Iterable
from weakref import WeakSet

import structlog

from wavisor.sandbox import schemas
from wavisor.sandbox.accounts import Account, Device
from wavisor.sandbox.codec import Jid, Node
from wavisor.sandbox.content import device_sent
from wavisor.sandbox.correspondence import STATUS_OF_RECEIPT, SentMessage, receipt_ids
from wavisor.sandbox.delivery import present
from wavisor.sandbox.directory import World
from wavisor.sandbox.group_routing import is_shared
from wavisor.sandbox.recipients import Recipient, resolve
from wavisor.sandbox.retries import bundle_of
from wavisor.sandbox.routing import submit
from wavisor.sandbox.sender_keys import SenderKeys
from wavisor.sandbox.signal_protocol import SignalDevice, pad_message

__all__ = ["MAX_RETRIES", "Outbox", "RefusedMessageError"]

log = structlog.get_logger(__name__)

REMEMBERED = 1000
"""Messages remembered; the oldest are forgotten first."""

MAX_RETRIES = 5
"""How often one message is sent again to one device before giving up."""

KEYS_TIMEOUT = 10.0
"""Seconds that the first message to a device that was just linked waits for its keys."""


class RefusedMessageError(RuntimeError):
    """The server did not take the message; ``code`` is the error in its ack."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the server refused the message with error {code}")
        self.code = code


class Outbox:
    """Sends for the primary device of an account.

    Args:
        world: where it lives.
        account: whose device it is.
        signal: its keys and sessions.
        sender_keys: its chains in groups.
    """

    def __init__(
        self, world: World, account: Account, signal: SignalDevice, sender_keys: SenderKeys
    ) -> None:
        self.world = world
        self.account = account
        self.sent: OrderedDict[str, SentMessage] = OrderedDict()
        self._signal = signal
        self._sender_keys = sender_keys
        self._told: dict[str, set[str]] = {}
        self._retries: Counter[tuple[str, str]] = Counter()
        self._sending = asyncio.Lock()
        self._keyless: WeakSet[Device] = WeakSet()

    async def send(
        self, to: str, content: bytes, *, kind: str = "text", edit: str | None = None
    ) -> SentMessage:
        """Encrypt content for all who read it and for the own other devices, and send it.

        Args:
            to: a number (digits only), the JID of a group, or ``status@broadcast``.
            content: a serialised message.
            kind: the stanza's type: ``text``, ``media``, ``reaction``, ``poll``.
            edit: the stanza's ``edit`` attribute: 1 an edit, 7 a revocation, 8 by an admin.

        Raises NotOnWhatsAppError and RefusedMessageError.
        """
        recipient = resolve(self.world, self.account, to)
        message = self._remember(SentMessage(_message_id(), to, kind, content, edit=edit))
        message.receipts = {account.phone: "sent" for account in recipient.accounts}
        # One at a time, so that texts arrive in the order in which they were written.
        async with self._sending:
            devices = recipient.devices(self.world, self.account.primary)
            await self._keys_of(devices)
            ack = await submit(
                self.world, self.account.primary, self._compose(recipient, devices, message)
            )
        error = ack.text("error") if ack is not None else ""
        if error:
            message.status = "failed"
            raise RefusedMessageError(error)
        if message.status == "pending":
            message.status = "sent"
        message.timestamp = int(ack.text("t") or 0) if ack is not None else 0
        return message

    async def send_to_companion(self, device: Device, content: bytes) -> None:
        """Send protocol content to one own companion, which has uploaded its keys."""
        message = self._remember(
            SentMessage(_message_id(), self.account.phone, "text", content, peer=True)
        )
        async with self._sending:
            enc = self._encrypt(device, content)
            if enc is None:
                return
            attrs: dict[str, str | Jid] = {
                "to": device.lid,
                "id": message.id,
                "type": message.kind,
                "category": "peer",
            }
            await submit(self.world, self.account.primary, Node("message", attrs, (enc,)))

    async def on_receipt(self, stanza: Node) -> None:
        """Note how far sent messages came; send again what the other side could not read."""
        if stanza.text("type") == "retry":
            await self._resend(stanza)
            return
        status = STATUS_OF_RECEIPT.get(stanza.text("type"))
        jid = stanza.jid("participant") or stanza.jid("from")
        reader = self.world.account_of(jid) if jid else None
        if status is None or reader is None:
            return
        for message_id in receipt_ids(stanza):
            message = self.sent.get(message_id)
            if message is not None:
                message.note(reader.phone, status)

    def _remember(self, message: SentMessage) -> SentMessage:
        self.sent[message.id] = message
        while len(self.sent) > REMEMBERED:
            self.sent.popitem(last=False)
        return message

    def _compose(
        self, recipient: Recipient, devices: Iterable[Device], message: SentMessage
    ) -> Node:
        attrs: dict[str, str | Jid | None] = {
            "to": recipient.jid,
            "id": message.id,
            "type": message.kind,
            "edit": message.edit,
        }
        shared: tuple[Node, ...] = ()
        if recipient.shared:
            attrs["addressing_mode"] = "lid"
            copies = self._tell_key(str(recipient.jid), list(devices))
            encrypted = self._sender_keys.encrypt(str(recipient.jid), pad_message(message.content))
            shared = (Node("enc", {"v": "2", "type": "skmsg"}, encrypted),)
        else:
            attrs["peer_recipient_pn"] = recipient.accounts[0].pn
            copies = self._copies(
                (device, self._content_for(device, message)) for device in devices
            )
        return Node("message", present(attrs), (Node("participants", {}, copies), *shared))

    def _copies(self, contents: Iterable[tuple[Device, bytes]]) -> tuple[Node, ...]:
        return tuple(
            Node("to", {"jid": device.lid}, (enc,))
            for device, content in contents
            if (enc := self._encrypt(device, content)) is not None
        )

    def _tell_key(self, group: str, devices: list[Device]) -> tuple[Node, ...]:
        """Encrypt the key to a group's messages for devices that were not told yet.

        When somebody has gone, a new one is made that he does not know, as phones do.
        """
        present_now = {str(device.lid) for device in devices}
        told = self._told.setdefault(group, set())
        if told - present_now:
            self._sender_keys.renew(group)
            told.clear()
        new = [device for device in devices if str(device.lid) not in told]
        content = _with_key(b"", group, self._sender_keys.distribution(group))
        copies = self._copies((device, content) for device in new)
        told.update(node.text("jid") for node in copies)
        return copies

    async def _keys_of(self, devices: Iterable[Device]) -> None:
        """Give devices that were just linked the time to upload their keys, once.

        Whoever writes right after a scan would otherwise write past the new device.
        """
        waiting = [
            device
            for device in devices
            if device.peer is None
            and not device.keys_uploaded.is_set()
            and device not in self._keyless
        ]
        try:
            async with asyncio.timeout(KEYS_TIMEOUT):
                for device in waiting:
                    await device.keys_uploaded.wait()
        except TimeoutError:
            self._keyless.update(waiting)

    def _content_for(self, device: Device, message: SentMessage) -> bytes:
        if message.peer or device.account is not self.account:
            return message.content
        return device_sent(self.world.accounts[message.to].lid, message.content)

    def _encrypt(self, device: Device, content: bytes) -> Node | None:
        """Return ``<enc>`` for one device; None if it has no keys yet, just after pairing."""
        address = str(device.lid)
        identity = device.keys.identity if device.keys else None
        if not self._signal.has_session(address, identity):
            bundle = device.bundle()
            if bundle is None:
                log.info("device has no keys yet", device=device.id)
                return None
            self._signal.begin(address, bundle)
        encrypted = self._signal.encrypt(address, pad_message(content))
        return Node("enc", {"v": "2", "type": encrypted.kind}, encrypted.data)

    async def _resend(self, stanza: Node) -> None:
        """Answer a retry receipt: a new session, and the message in it, for that device alone."""
        chat = stanza.jid("from")
        requester_jid = stanza.jid("participant") or chat
        requester = self.world.device_of(requester_jid) if requester_jid else None
        retry = stanza.child("retry")
        message = self.sent.get(retry.text("id") if retry else "")
        if requester is None or chat is None or retry is None or message is None:
            return
        key = (str(requester.lid), message.id)
        self._retries[key] += 1
        bundle = bundle_of(stanza) or requester.bundle()
        if self._retries[key] > MAX_RETRIES or bundle is None:
            return
        self._signal.begin(str(requester.lid), bundle)
        enc = self._encrypt(requester, self._content_again(chat, requester, message))
        if enc is None:
            return
        attrs: dict[str, str | Jid | None] = {
            "to": chat,
            "id": message.id,
            "type": message.kind,
            "edit": message.edit,
            "participant": stanza.attrs.get("participant"),
            "recipient": stanza.attrs.get("recipient"),
            "device_fanout": None if is_shared(chat) else "false",
            "category": "peer" if message.peer else None,
        }
        enc = enc.with_attrs(count=retry.text("count"))
        await submit(self.world, self.account.primary, Node("message", present(attrs), (enc,)))

    def _content_again(self, chat: Jid, requester: Device, message: SentMessage) -> bytes:
        if not is_shared(chat):
            return self._content_for(requester, message)
        distribution = self._sender_keys.distribution(str(chat))
        return _with_key(message.content, str(chat), distribution)


def _with_key(content: bytes, group: str, distribution: bytes) -> bytes:
    """Return content that carries the key to a group's messages besides."""
    message = schemas.MESSAGE()
    message.ParseFromString(content)
    message.senderKeyDistributionMessage.groupID = group
    message.senderKeyDistributionMessage.axolotlSenderKeyDistributionMessage = distribution
    data: bytes = message.SerializeToString()
    return data


def _message_id() -> str:
    return secrets.token_hex(16).upper()
