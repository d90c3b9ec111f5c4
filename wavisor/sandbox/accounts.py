"""Accounts and their devices: addresses, keys, and what is on its way to them.

Real clients are devices with a :class:`Connection`, simulated phones and contacts devices with a
:class:`Peer`. They belong to a ``directory.World``.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from wavisor.sandbox.app_state import AppStateStore
from wavisor.sandbox.codec import LID_SERVER, PHONE_SERVER, Jid, Node
from wavisor.sandbox.profiles import BusinessProfile, Picture

__all__ = [
    "Account",
    "Connection",
    "Device",
    "DeviceKeys",
    "InboxKey",
    "Peer",
    "PreKey",
    "PreKeyBundle",
    "inbox_key",
]

log = structlog.get_logger(__name__)

INBOX_LIMIT = 10_000
"""Stanzas kept for one device that does not fetch them; beyond it the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class PreKey:
    """A public pre-key: its number (below 2^24), the 32-byte key, a signature if it is signed."""

    id: int
    public: bytes
    signature: bytes | None = None


@dataclass(frozen=True, slots=True)
class PreKeyBundle:
    """What somebody needs to open a Signal session with a device.

    ``identity`` is the 32-byte public identity key without type byte.
    """

    registration_id: int
    identity: bytes
    signed: PreKey
    one_time: PreKey | None = None


@dataclass(slots=True)
class DeviceKeys:
    """The pre-keys that a real client uploaded; each one-time key is handed out once."""

    registration_id: int
    identity: bytes
    signed: PreKey
    one_time: deque[PreKey] = field(default_factory=deque)

    def take_bundle(self) -> PreKeyBundle:
        """Return a bundle, using up a one-time key if one is left."""
        one_time = self.one_time.popleft() if self.one_time else None
        return PreKeyBundle(self.registration_id, self.identity, self.signed, one_time)


class Peer(Protocol):
    """A simulated device. Its hooks run one after another, in a task of their own.

    Stanzas look exactly as they would to a real client (``from``, ``id``, ``t`` are set). A peer
    sends by ``routing.submit(world, device, stanza)``.
    """

    async def on_message(self, stanza: Node) -> None:
        """Take a ``<message>``: its ``<enc>`` children are for this device."""
        ...

    async def on_receipt(self, stanza: Node) -> None:
        """Take a ``<receipt>``: delivery (no type), read, played, retry, …"""
        ...

    async def on_signal(self, stanza: Node) -> None:
        """Take anything else: ``<presence>``, ``<chatstate>``, ``<notification>``."""
        ...

    def prekey_bundle(self) -> PreKeyBundle:
        """Return keys for a new session with this device."""
        ...


class Connection(Protocol):
    """A real client's open connection, as the rest of the server sees it."""

    @property
    def device(self) -> Device | None:
        """The device that logged in, None before that and while pairing."""
        ...

    @property
    def label(self) -> str | None:
        """The user name that the client gave to the proxy, if any."""
        ...

    @property
    def active(self) -> bool:
        """Whether the client asked for its stanzas (it does right after login)."""
        ...

    async def send(self, stanza: Node) -> None:
        """Encrypt and send; does nothing once the connection is closed or while it is mute."""
        ...

    async def dismiss(self, last: Node) -> None:
        """End the stream by a stanza that says why; close when the client has taken it in."""
        ...

    async def close(self, *, abruptly: bool = False) -> None:
        """Close the websocket, or just the TCP connection without a word."""
        ...


InboxKey = tuple[str, str, str, str, str]


def inbox_key(stanza: Node) -> InboxKey:
    """Return what an acknowledgement names: tag, id, sender, a receipt's type, a group's member."""
    kind = "" if stanza.tag == "message" else stanza.text("type")
    return stanza.tag, stanza.text("id"), stanza.text("from"), kind, stanza.text("participant")


class Device:
    """One device of an account: the phone (id 0) or a companion.

    What is delivered to a real client stays in ``inbox`` until the client acknowledges it, so
    that a client which was away, or went away in between, gets it at its next login.
    """

    def __init__(self, account: Account, device_id: int, peer: Peer | None = None) -> None:
        self.account = account
        self.id = device_id
        self.connection: Connection | None = None
        self.keys: DeviceKeys | None = None
        self.keys_uploaded = asyncio.Event()
        """Set once others can write to the device."""
        self.noise_key: bytes | None = None
        """The public Noise key that the client was paired with; it must log in with the same."""
        self.recent_ids: OrderedDict[tuple[str, str], Node] = OrderedDict()
        """Acks of the last messages sent, by recipient and id: clients repeat what was in flight
        when their connection broke (whatsmeow ``request.go``); it must not be delivered twice."""
        self.inbox: OrderedDict[InboxKey, Node] = OrderedDict()
        self.available = False
        self.dropped = 0
        self._peer: Peer | None = None
        self._peer_inbox: asyncio.Queue[Node] = asyncio.Queue(INBOX_LIMIT)
        self._peer_task: asyncio.Task[None] | None = None
        self.peer = peer

    def __repr__(self) -> str:
        return f"<device {self.id} of an account>"

    @property
    def jid(self) -> Jid:
        """The device's phone-number JID."""
        return self.account.pn.with_device(self.id)

    @property
    def lid(self) -> Jid:
        """The device's LID."""
        return self.account.lid.with_device(self.id)

    @property
    def peer(self) -> Peer | None:
        """The simulated device behind this one, if it is simulated."""
        return self._peer

    @peer.setter
    def peer(self, peer: Peer | None) -> None:
        self._peer = peer

    @property
    def online(self) -> bool:
        """Whether stanzas reach the device at once."""
        return self.peer is not None or self.connection is not None

    def bundle(self) -> PreKeyBundle | None:
        """Return keys for a new session with this device; None if it never uploaded any."""
        if self.peer is not None:
            return self.peer.prekey_bundle()
        return self.keys.take_bundle() if self.keys else None

    async def deliver(self, stanza: Node) -> None:
        """Hand a stanza to the device: now if it is there, at its next login otherwise."""
        if self.peer is not None:
            await self._peer_inbox.put(stanza)
            if self._peer_task is None or self._peer_task.done():
                self._peer_task = asyncio.create_task(self._run_peer())
            return
        self.inbox[inbox_key(stanza)] = stanza
        while len(self.inbox) > INBOX_LIMIT:
            self.inbox.popitem(last=False)
            self.dropped += 1
        if self.connection is not None and self.connection.active:
            await self.connection.send(stanza)

    async def signal(self, stanza: Node) -> None:
        """Hand over a stanza that nobody keeps (presence, typing): now or never."""
        if self.peer is not None:
            await self.deliver(stanza)
        elif self.connection is not None and self.connection.active:
            await self.connection.send(stanza)

    def acknowledge(self, key: InboxKey) -> bool:
        """Forget a stanza that the client confirmed; False if it was not waiting."""
        return self.inbox.pop(key, None) is not None

    async def _run_peer(self) -> None:
        while not self._peer_inbox.empty():
            stanza = self._peer_inbox.get_nowait()
            peer = self.peer
            if peer is None:
                return
            hook: Callable[[Node], Awaitable[None]] = {
                "message": peer.on_message,
                "receipt": peer.on_receipt,
            }.get(stanza.tag, peer.on_signal)
            try:
                await hook(stanza)
            except Exception:
                log.exception("simulated device failed", stanza=stanza.tag)


class Account:
    """A WhatsApp account: a phone number, a LID, a phone, and linked companions."""

    def __init__(self, phone: str, lid_user: str, name: str, *, on_whatsapp: bool) -> None:
        self.phone = phone
        self.lid_user = lid_user
        self.name = name
        self.on_whatsapp = on_whatsapp
        self.devices: dict[int, Device] = {0: Device(self, 0)}
        self.next_device_id = 1
        self.contacts: set[str] = set()
        """Phone numbers of accounts that know this one's devices and hear of changes."""
        self.presence_subscribers: dict[str, Jid] = {}
        """Who asked for this one's presence: phone number -> the JID that it asked about."""
        self.status = ""
        """The "about" text, in clear."""
        self.picture: Picture | None = None
        """What others see beside the name."""
        self.business: BusinessProfile | None = None
        """What a shop tells about itself; None for ordinary people."""
        self.privacy: dict[str, str] = {}
        """Privacy settings that were changed, by category."""
        self.blocked: dict[Jid, None] = {}
        """Whom the account blocks, in the order of blocking."""
        self.last_seen: int | None = None
        """When it was last available, seconds since the epoch."""
        self.app_state = AppStateStore()
        """Settings that its devices share, encrypted."""

    def __repr__(self) -> str:
        return f"<account with {len(self.devices)} devices>"

    @property
    def pn(self) -> Jid:
        """The account's phone-number JID."""
        return Jid(self.phone, PHONE_SERVER)

    @property
    def lid(self) -> Jid:
        """The account's hidden identity."""
        return Jid(self.lid_user, LID_SERVER)

    @property
    def primary(self) -> Device:
        """The phone."""
        return self.devices[0]
