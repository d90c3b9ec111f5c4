"""What the control API is sent and answers: one model per body, shared by server and client.

JSON is camelCase; unknown fields are errors. Phone numbers are accepted with ``+``, spaces and
dashes, and returned as digits only.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from wavisor.sandbox.contacts import ContactKind
from wavisor.sandbox.faults import FaultKind
from wavisor.sandbox.people import normalize_number
from wavisor.sandbox.statistics import Outcome

__all__ = [
    "AccountInfo",
    "ActiveFault",
    "Attempt",
    "Client",
    "Companion",
    "ContactInfo",
    "EndpointsInfo",
    "EnterCode",
    "FaultReport",
    "Incident",
    "MediaInfo",
    "Message",
    "Model",
    "Name",
    "NewContact",
    "NewFault",
    "NewPhone",
    "Pairing",
    "PhoneNumber",
    "Problem",
    "ProblemItem",
    "Rename",
    "Scan",
    "Sent",
    "SettingsChange",
    "SettingsInfo",
    "Stats",
    "Text",
    "Unlink",
    "Unlinked",
    "WaitForMessages",
    "WaitForSent",
    "Write",
]

PhoneNumber = Annotated[str, Field(max_length=32), AfterValidator(normalize_number)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Text = Annotated[str, Field(min_length=1, max_length=65_536)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class Model(BaseModel):
    """Base of all bodies: camelCase outside, strict about unknown fields."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )


class EndpointsInfo(Model):
    """Where the local WhatsApp is. ``root_public_key`` is in hexadecimal."""

    proxy_url: str
    ca_file: str
    root_public_key: str
    control_url: str


class NewPhone(Model):
    """A user's phone to be simulated. ``reads``: whether the user reads what arrives."""

    phone: PhoneNumber
    name: Name
    reads: bool = False


class NewContact(Model):
    """A contact to be simulated. ``lines`` are what a scripted one says."""

    phone: PhoneNumber
    name: Name
    kind: ContactKind
    lines: list[Text] = Field(default_factory=list, max_length=1000)


class Rename(Model):
    """A user's new name."""

    name: Name


class Scan(Model):
    """The text of a QR code."""

    qr: Annotated[str, Field(min_length=1, max_length=4096)]


class EnterCode(Model):
    """A pairing code, with or without its dash."""

    code: Annotated[str, Field(min_length=1, max_length=32)]


class Unlink(Model):
    """Which companion to unlink; all of them if none is named."""

    device: Annotated[int, Field(ge=1, le=255)] | None = None


class Write(Model):
    """A text to somebody."""

    to: PhoneNumber
    text: Text


class WaitForMessages(Model):
    """Query of a message list: wait up to ``wait`` seconds for ``count`` messages.

    ``sender`` and ``text`` restrict the list (and the count) to matching ones.
    """

    count: Annotated[int, Field(ge=0, le=1000)] = 0
    wait: Annotated[float, Field(ge=0, le=60)] = 0
    sender: PhoneNumber | None = None
    text: str | None = None


class WaitForSent(Model):
    """Query of a sent message: wait up to ``wait`` seconds until it is in ``status`` or beyond."""

    status: Literal["sent", "delivered", "read", "played"] = "sent"
    wait: Annotated[float, Field(ge=0, le=60)] = 0


class Companion(Model):
    """A linked device of an account. ``keys`` is the number of its one-time keys left."""

    device: int
    online: bool
    waiting: int
    keys: int


class AccountInfo(Model):
    """A user's account. ``lid`` is its hidden identity, without a server."""

    phone: str
    lid: str
    name: str
    companions: list[Companion]


class ContactInfo(Model):
    """A simulated contact."""

    phone: str
    lid: str
    name: str
    kind: ContactKind
    received: int
    undecryptable: int


class Pairing(Model):
    """A client that waits for a phone: the refs in its QR codes, or the number it wants."""

    refs: list[str]
    label: str | None
    code_for: str | None
    registration_id: int


class Unlinked(Model):
    """The numbers of the devices that were unlinked."""

    devices: list[int]


class MediaInfo(Model):
    """The file in a message, as its sender describes it; ``sha256`` is in hexadecimal."""

    mime_type: str
    size: int
    sha256: str
    file_name: str | None
    seconds: int | None


class Message(Model):
    """A message that a simulated device decrypted.

    ``chat`` differs from ``sender`` in groups (their JID) and for the copy of a message that an own
    companion sent. The rest is as in :class:`wavisor.sandbox.content.Content`.
    """

    id: str
    sender: str
    sender_device: int
    chat: str
    kind: str
    text: str | None
    target: str | None
    encryption: str
    timestamp: int
    quoted: str | None = None
    mentions: list[str] = Field(default_factory=list)
    forwarded: bool = False
    view_once: bool = False
    expiration: int = 0
    names: list[str] = Field(default_factory=list)
    position: tuple[float, float] | None = None
    media: MediaInfo | None = None


class Sent(Model):
    """A message that a simulated device sent; ``status`` is pending, sent, delivered, …

    ``receipts`` is how far it came with each recipient, by phone number.
    """

    id: str
    to: str
    kind: str
    status: str
    timestamp: int
    receipts: dict[str, str] = Field(default_factory=dict)


class Incident(Model):
    """A fault that happens once. ``code`` is for ``stream_error`` (503 or 515)."""

    kind: Literal["drop", "close", "stream_error", "replace_stream", "log_out"]
    phone: PhoneNumber | None = None
    device: Annotated[int, Field(ge=0, le=255)] | None = None
    label: str | None = None
    code: Annotated[int, Field(ge=400, le=599)] = 503


class NewFault(Model):
    """A fault that lasts: until ``seconds`` are over, ``uses`` are spent, or it is deleted.

    ``phone``, ``device`` and ``label`` say whom it hits; without them, everybody. ``delay`` is in
    seconds; ``code`` is the reason of a login failure or the error of a message's ack.
    """

    kind: FaultKind
    phone: PhoneNumber | None = None
    device: Annotated[int, Field(ge=0, le=255)] | None = None
    label: str | None = None
    seconds: Seconds | None = None
    uses: Annotated[int, Field(ge=1)] | None = None
    delay: Seconds = 0
    code: Annotated[int, Field(ge=0, le=999)] = 0
    ban_code: Annotated[int, Field(ge=0, le=999)] = 101
    ban_seconds: Annotated[int, Field(ge=0)] = 3600


class FaultReport(Model):
    """What an injected fault did: its number if it lasts, how many clients it hit otherwise."""

    kind: str
    id: int | None = None
    hit: int | None = None


class ActiveFault(Model):
    """A fault in force; ``seconds_left`` and ``uses_left`` are null where there is no limit.

    ``unheard`` is how many stanzas of clients a ``mute`` has left unanswered.
    """

    id: int
    kind: FaultKind
    phone: str | None
    device: int | None
    label: str | None
    seconds_left: float | None
    uses_left: int | None
    unheard: int = 0


class SettingsInfo(Model):
    """What can be changed while it runs; see :class:`wavisor.sandbox.directory.Settings`."""

    qr_refs: int
    qr_lifetime: float | None
    presence_echo: bool
    history_messages: int


class SettingsChange(Model):
    """Settings to change; those left out stay."""

    qr_refs: Annotated[int, Field(ge=1, le=20)] | None = None
    qr_lifetime: Annotated[float, Field(gt=0, le=3600)] | None = None
    presence_echo: bool | None = None
    history_messages: Annotated[int, Field(ge=0, le=1000)] | None = None


class Attempt(Model):
    """A connection attempt; ``at`` is Unix time in seconds."""

    at: float
    label: str | None
    phone: str | None
    device: int | None
    outcome: Outcome


class Client(Model):
    """A client that is connected; phone and device are null before it has logged in."""

    phone: str | None
    device: int | None
    label: str | None


class Stats(Model):
    """What the server saw. ``peak_per_second`` is the most attempts in any one second."""

    attempts_total: int
    peak_per_second: int
    attempts: list[Attempt]
    clients: list[Client]
    messages_routed: int
    undecryptable: int


class ProblemItem(Model):
    """What is wrong with one field; ``pointer`` is a JSON pointer."""

    detail: str
    pointer: str


class Problem(Model):
    """An error, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: list[ProblemItem] | None = None
