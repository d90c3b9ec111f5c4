"""The user's own phone: links and unlinks companions, and writes as the user.

A :class:`Phone` is the primary device of an account whose companions are the real clients under
test. What is typed on it reaches them as messages from themselves (``IsFromMe``).
"""

from __future__ import annotations

import asyncio
import time

import structlog

from wavisor.sandbox import routing
from wavisor.sandbox.codec import Node
from wavisor.sandbox.directory import Account, Device, World
from wavisor.sandbox.history import history_of
from wavisor.sandbox.identity import AccountIdentity, CodePairing, QrCode, QrCodeError
from wavisor.sandbox.pairing import PendingPairing
from wavisor.sandbox.person import Person
from wavisor.sandbox.shared_settings import SharedSettings, requests_key

__all__ = ["NoSuchPairingError", "Phone", "UnknownDeviceError"]

log = structlog.get_logger(__name__)

WELCOME_TIMEOUT = 120.0
"""Seconds within which a companion that was just linked must have logged in to be welcomed."""


class NoSuchPairingError(LookupError):
    """No client is waiting that fits the scanned code, or that asked for this number's code."""


class UnknownDeviceError(LookupError):
    """The account has no such companion."""


class Phone(Person):
    """The primary device of a user's account.

    Args:
        world: where it lives.
        account: the user's account.
        reads: whether the user reads what arrives, so that its senders see it read.
    """

    def __init__(self, world: World, account: Account, *, reads: bool = False) -> None:
        super().__init__(world, account, reads=reads)
        self.identity = AccountIdentity(self.signal.identity)
        self._settings = SharedSettings(account)
        self._settings.put_name(account.name)

    @property
    def companions(self) -> list[Device]:
        """The linked devices, oldest first."""
        return [device for device in self.world.devices_of(self.account) if device.id]

    async def scan(self, qr_text: str) -> Device:
        """Scan a QR code and link the client that shows it; return the new device.

        Raises:
            QrCodeError: the text is no pairing code, or not that of the client with its ref.
            NoSuchPairingError: no client that waits for a phone was given this ref.
            PairingRefusedError: the client did not accept, or went away.
        """
        code = QrCode.parse(qr_text)
        pairing = self.world.pairing_by_ref(code.ref)
        if pairing is None:
            raise NoSuchPairingError("no client is waiting with this code; it may have expired")
        if (code.noise_key, code.identity_key) != (pairing.noise_key, pairing.identity_key):
            raise QrCodeError("the keys in the code are not those of the client that shows it")
        return await self._link(pairing, code.adv_secret)

    async def enter_code(self, code: str) -> Device:
        """Type the eight-character code that a client shows, and link it; return the new device.

        Raises:
            CodePairingError: the code is malformed or wrong.
            NoSuchPairingError: no client asked to be linked to this number.
            PairingRefusedError: the client did not accept, or went away.
        """
        pairing = self.world.pairing_by_phone(self.account.phone)
        hello = pairing.link_code if pairing else None
        if pairing is None or hello is None:
            raise NoSuchPairingError("no client asked to be linked to this number by a code")
        exchange = CodePairing(code, hello.wrapped_companion_ephemeral, self.signal.identity)
        # Deriving keys from the code takes long enough to be felt by everybody else.
        wrapped = await asyncio.to_thread(exchange.unwrap)
        answer = await pairing.exchange_link_code(
            Node(
                "link_code_companion_reg",
                {"stage": "primary_hello"},
                (
                    Node("link_code_pairing_ref", {}, hello.ref),
                    Node("link_code_pairing_wrapped_primary_ephemeral_pub", {}, wrapped),
                    Node("primary_identity_pub", {}, self.signal.identity.public),
                ),
            )
        )
        bundle = answer.child("link_code_pairing_wrapped_key_bundle")
        identity = answer.child("companion_identity_public")
        secret = exchange.finish(bundle.data if bundle else b"", identity.data if identity else b"")
        return await self._link(pairing, secret)

    async def unlink(self, device_id: int | None = None) -> list[int]:
        """Unlink one companion, or all; return their numbers.

        Raises UnknownDeviceError when there is no companion with this number.
        """
        chosen = [d for d in self.companions if device_id is None or d.id == device_id]
        if device_id is not None and not chosen:
            raise UnknownDeviceError(f"no companion with number {device_id}")
        for device in chosen:
            self.signal.forget(str(device.lid))
            await routing.unlink(self.world, device)
        return [device.id for device in chosen]

    async def rename(self, name: str) -> None:
        """Change the user's name, as in the phone's settings; companions learn it."""
        self.account.name = name
        await self.set(("setting_pushName",), name)

    @property
    def shared_settings(self) -> list[tuple[tuple[str, ...], bool | str]]:
        """What the phone and its companions agree on: archived, muted, pinned, starred, …"""
        return self._settings.known()

    async def set(self, index: tuple[str, ...], value: bool | str) -> None:
        """Change a synchronised setting on the phone; arguments as in ``SharedSettings.put``."""
        collection = self._settings.put(index, value)
        await routing.announce_app_state(self.world, self.account, collection, author=self.device)

    async def on_signal(self, stanza: Node) -> None:
        """Adopt the name that a companion gave the user."""
        await super().on_signal(stanza)
        if stanza.text("type") == "server_sync":
            self.account.name = self._settings.read_name() or self.account.name

    async def on_protocol(self, sender: Device, content: bytes) -> None:
        """Share the key of the synchronised settings with a companion that asks for it."""
        if sender.account is self.account and requests_key(content):
            await self.send_to_companion(sender, self._settings.key_share())

    async def _welcome(self, device: Device) -> None:
        """Share the settings' key and the past with a new companion, once it has keys."""
        try:
            async with asyncio.timeout(WELCOME_TIMEOUT):
                await device.keys_uploaded.wait()
        except TimeoutError:
            log.info("companion never uploaded keys", device=device.id)
            return
        await self.send_to_companion(device, self._settings.key_share())
        for content in history_of(self, self.world.settings.history_messages):
            await self.send_to_companion(device, content)

    async def _link(self, pairing: PendingPairing, adv_secret: bytes) -> Device:
        """Certify a client's identity and let the server make it a device of this account."""
        number = self.world.allocate_device_id(self.account)
        certificate = self.identity.certify(pairing.identity_key, adv_secret, int(time.time()))
        success = Node(
            "pair-success",
            {},
            (
                Node("device-identity", {}, certificate),
                Node(
                    "device",
                    {
                        "jid": self.account.pn.with_device(number),
                        "lid": self.account.lid.with_device(number),
                    },
                ),
                Node("platform", {"name": "android"}),
            ),
        )
        device = await pairing.complete(success)
        self.world.spawn(self._welcome(device))
        log.info("companion linked", device=device.id)
        return device
