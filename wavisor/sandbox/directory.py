"""Who exists in the local WhatsApp, and what is going on: the server's shared state.

Everything runs in one event loop, so nothing here is locked. Accounts and devices are in
``accounts.py``; how stanzas travel between them is in ``routing.py``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from wavisor.sandbox.accounts import (
    Account,
    Connection,
    Device,
    DeviceKeys,
    Peer,
    PreKey,
    PreKeyBundle,
)
from wavisor.sandbox.channels import Channels
from wavisor.sandbox.codec import LID_SERVER, PHONE_SERVER, Jid
from wavisor.sandbox.faults import FaultBoard
from wavisor.sandbox.groups import Group
from wavisor.sandbox.media_store import MediaStore
from wavisor.sandbox.pairing import PendingPairing
from wavisor.sandbox.statistics import Attempts

__all__ = [
    "Account",
    "Connection",
    "Device",
    "DeviceKeys",
    "Peer",
    "PreKey",
    "PreKeyBundle",
    "Settings",
    "World",
]

MAX_DEVICE_ID = 99
"""WhatsApp numbers companion devices from 1 upwards; the encoding ends at 255."""


@dataclass(slots=True)
class Settings:
    """What can be changed while the server runs."""

    qr_refs: int = 6
    """Codes offered to a client that wants to pair. With six the client shows the first for 60 s
    and the others for 20 s each, with any other number each for 20 s (whatsmeow ``qrchan.go``)."""
    qr_lifetime: float | None = None
    """Seconds until the server closes the connection of a client nobody paired; None: a little
    after the last code expires, so that it is the client's own timer that ends the phase."""
    presence_echo: bool = True
    """Whether presence changes are passed on to those who subscribed."""
    history_messages: int = 100
    """How many of its last messages a phone tells a new companion; 0 for none."""

    def pairing_lifetime(self) -> float:
        """Return the seconds that a client may wait for being scanned."""
        if self.qr_lifetime is not None:
            return self.qr_lifetime
        return 20.0 * self.qr_refs + (40.0 if self.qr_refs == 6 else 0.0) + 10.0


class World:
    """Everybody in the local WhatsApp, and what is going on there."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.accounts: dict[str, Account] = {}
        self.connections: set[Connection] = set()
        self.pending_pairings: list[PendingPairing] = []
        self.faults = FaultBoard()
        self.attempts = Attempts()
        self.media = MediaStore()
        self.groups: dict[str, Group] = {}
        """Groups by the user part of their JIDs."""
        self.channels = Channels()
        self.messages_routed = 0
        """Messages accepted for somebody, not counting repeated and refused ones."""
        self._by_lid: dict[str, Account] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add_account(
        self,
        phone: str,
        *,
        name: str,
        on_whatsapp: bool = True,
        lid: str | None = None,
        peer: Peer | None = None,
    ) -> Account:
        """Add an account with its phone (device 0), simulated by ``peer`` (may be set later).

        Args:
            phone: international number, digits only.
            name: push name that others see.
            on_whatsapp: False for a number that exists but answers "not on WhatsApp".
            lid: the LID's digits; a free one is chosen if not given.
            peer: the simulated phone.

        Raises:
            ValueError: the number is not made of digits, or is already taken.
        """
        if not phone.isdecimal():
            raise ValueError("a phone number is given in digits only")
        if phone in self.accounts:
            raise ValueError("this phone number already has an account")
        lid_user = lid or self._free_lid()
        account = Account(phone, lid_user, name, on_whatsapp=on_whatsapp)
        account.primary.peer = peer
        self.accounts[phone] = account
        self._by_lid[lid_user] = account
        return account

    def account_by_phone(self, phone: str) -> Account | None:
        """Return the account with this number (digits only)."""
        return self.accounts.get(phone)

    def account_by_lid(self, lid_user: str) -> Account | None:
        """Return the account with this LID (its user part)."""
        return self._by_lid.get(lid_user)

    def account_of(self, jid: Jid) -> Account | None:
        """Return the account that a phone-number JID or LID belongs to."""
        if jid.server == LID_SERVER:
            return self.account_by_lid(jid.user)
        return self.account_by_phone(jid.user) if jid.server == PHONE_SERVER else None

    def device_of(self, jid: Jid) -> Device | None:
        """Return the device with this JID."""
        account = self.account_of(jid)
        return account.devices.get(jid.device) if account else None

    def devices_of(self, account: Account) -> list[Device]:
        """Return the account's devices, the phone first."""
        return [account.devices[number] for number in sorted(account.devices)]

    def real_devices(self) -> Iterator[Device]:
        """Yield every companion device, online or not."""
        for account in self.accounts.values():
            yield from (device for number, device in account.devices.items() if number)

    def allocate_device_id(self, account: Account) -> int:
        """Return a number for the account's next companion; numbers are not used twice.

        Raises:
            ValueError: the account has used up its numbers.
        """
        if account.next_device_id > MAX_DEVICE_ID:
            raise ValueError("this account has no device numbers left")
        account.next_device_id += 1
        return account.next_device_id - 1

    def add_device(self, account: Account, device_id: int) -> Device:
        """Link a companion device; the caller announces it (``routing.announce_devices``)."""
        device = Device(account, device_id)
        account.devices[device_id] = device
        return device

    def drop_device(self, device: Device) -> bool:
        """Unlink a device without telling anybody; False if it was gone already."""
        return device.account.devices.pop(device.id, None) is not None

    def add_pairing(self, pairing: PendingPairing) -> None:
        """Register a client that shows QR codes."""
        self.pending_pairings.append(pairing)

    def remove_pairing(self, pairing: PendingPairing) -> None:
        """Forget a client that was paired or went away."""
        if pairing in self.pending_pairings:
            self.pending_pairings.remove(pairing)

    def pairing_by_ref(self, ref: str) -> PendingPairing | None:
        """Return the client that was given this ref."""
        return next((p for p in self.pending_pairings if ref in p.refs), None)

    def pairing_by_phone(self, phone: str) -> PendingPairing | None:
        """Return the client that asked to be linked to this number by a code, the latest first."""
        return next(
            (
                p
                for p in reversed(self.pending_pairings)
                if p.link_code and p.link_code.phone == phone
            ),
            None,
        )

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something later or beside; it ends with the event loop."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _free_lid(self) -> str:
        while True:
            lid = str(10**14 + secrets.randbelow(9 * 10**14))
            if lid not in self._by_lid:
                return lid
