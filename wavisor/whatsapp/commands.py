"""What the gateway tells a session process, as a tagged union of frozen models.

The answer to every command that carries an ``id`` is one :class:`~wavisor.whatsapp.events.Answer`
with that id, or the end of the process.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from wavisor.whatsapp.content import Content, SendOptions
from wavisor.whatsapp.queries import AnyQuery

__all__ = [
    "COMMANDS",
    "PROTOCOL_VERSION",
    "Command",
    "DownloadMedia",
    "Logout",
    "Open",
    "Ping",
    "Probe",
    "Query",
    "RequestPairingCode",
    "SendMessage",
    "Stop",
]

PROTOCOL_VERSION = 1


class _Command(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    instance: str
    """Id of the instance meant; in every frame, so that a process can host several."""


class Open(_Command):
    """The first frame: open the key store and connect. Not answered, but by :class:`Ready`."""

    type: Literal["open"] = "open"
    version: int = PROTOCOL_VERSION
    store: str
    """Path of the SQLite key store, or a ``postgres://`` URL."""
    jid: str | None
    """The device to resume, as AD-JID text such as ``15550100:3@s.whatsapp.net``. None makes a
    new device: the first one of the store is never resumed by accident."""
    incarnation: str
    """Unique per process; names the client inside the native library."""
    device_name: str = "Wavisor"
    """What the phone shows under linked devices."""
    proxy: str | None = Field(default=None, repr=False)
    """URL of the proxy that all connections go through, with its credentials."""
    history_per_chat: int = Field(default=0, ge=0)
    """How many of a chat's old messages are told after linking; with 0 none are."""
    history_total: int = Field(default=0, ge=0)
    """The same over all chats, while this process lives."""


class RequestPairingCode(_Command):
    """Ask for a code to be typed on the phone instead of scanning. Only in the QR phase."""

    type: Literal["request_pairing_code"] = "request_pairing_code"
    id: str
    phone: str
    """Digits of the international number, without ``+``."""


class SendMessage(_Command):
    """Send a message, or change, take back, pin or react to an earlier one."""

    type: Literal["send_message"] = "send_message"
    id: str
    to: str
    """JID of the chat, e.g. ``15550100@s.whatsapp.net``; ``status@broadcast`` for a status, which
    reaches those whom the phone's address book names (whatsmeow ``broadcast.go``)."""
    content: Content
    options: SendOptions = SendOptions()
    secret: str | None = None
    """32 bytes as base64 that go along as the message's secret; random if None.

    The client chooses a message's id and tells it only with WhatsApp's answer. Before the message
    leaves it notes id and secret in the key store, though: so whoever knows the secret finds the
    id of a message whose answer was lost (``SessionDriver.find_message``), and receipts for that
    id prove that the message arrived. Never use one twice."""
    hand_over_within: float = Field(default=600.0, gt=0)
    """In seconds from when the session got this: a message that is still waiting, uploading or
    typing then is not sent any more but fails for certain. Whoever waits for the answer must wait
    for so long and the 75 s that the client gives WhatsApp."""


class DownloadMedia(_Command):
    """Fetch and decrypt a file that came with a message. Answered when it is there, or failed."""

    type: Literal["download_media"] = "download_media"
    id: str
    source: str
    """What :class:`~wavisor.whatsapp.inbound.MediaDescriptor` carries for this purpose."""
    path: str
    """Where to put it: an absolute path in an existing directory. Written under another name
    beside it and renamed when whole, so that it is there entirely or not at all."""
    max_size: int = Field(default=128 * 1024 * 1024, gt=0)
    """In bytes; what claims to be larger is not fetched."""
    timeout: float = Field(default=120.0, gt=0)
    """In seconds."""


class Query(_Command):
    """Ask WhatsApp or the key store something, or change what is no message.

    ``Answer.result`` is the query's result as JSON.
    """

    type: Literal["query"] = "query"
    id: str
    query: AnyQuery
    timeout: float = Field(default=30.0, gt=0)
    """In seconds. A query that waited longer for its turn is not asked; one that is under way
    cannot be taken back."""


class Ping(_Command):
    """Ask whether the process itself still answers; touches no network."""

    type: Literal["ping"] = "ping"
    id: str


class Probe(_Command):
    """Ask WhatsApp something harmless and wait for its answer: is the connection alive?"""

    type: Literal["probe"] = "probe"
    id: str


class Logout(_Command):
    """Unlink this device at WhatsApp and discard its keys."""

    type: Literal["logout"] = "logout"
    id: str


class Stop(_Command):
    """End politely: close the socket, then the process. Not answered."""

    type: Literal["stop"] = "stop"


Command = Annotated[
    Open | RequestPairingCode | SendMessage | DownloadMedia | Query | Ping | Probe | Logout | Stop,
    Field(discriminator="type"),
]
COMMANDS: TypeAdapter[Command] = TypeAdapter(Command, config=ConfigDict(defer_build=True))
"""Built when it is first used, by one thread: only session processes need it."""
