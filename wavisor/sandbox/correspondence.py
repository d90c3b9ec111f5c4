"""What a simulated device sent and received, and how far it came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from wavisor.sandbox.codec import Node
from wavisor.sandbox.content import Content

__all__ = ["STATUS_OF_RECEIPT", "ReceivedMessage", "SentMessage", "receipt_ids"]

STATUS_OF_RECEIPT: Final = {
    "": "delivered",
    "inactive": "delivered",
    "read": "read",
    "played": "played",
}
"""What a receipt's type says of a message; other types say nothing (whatsmeow ``receipt.go``)."""

_STATUS_ORDER = ("pending", "sent", "delivered", "read", "played")


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message that this device decrypted.

    Attributes:
        id: its id.
        sender: phone number of the account that sent it.
        sender_device: which of the sender's devices did.
        chat: phone number of the chat's other side, or the JID of a group or a status; differs
            from ``sender`` for a copy of what an own companion sent.
        content: what it says.
        encryption: ``pkmsg`` for the first ones of a session, ``msg`` for the others, ``skmsg``
            where many read it.
        timestamp: the server's time of it, Unix seconds.
        raw: the decrypted content.
    """

    id: str
    sender: str
    sender_device: int
    chat: str
    content: Content
    encryption: str
    timestamp: int
    raw: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class SentMessage:
    """A message that this device sent, and how far it came.

    Attributes:
        id: its id.
        to: phone number of the recipient, or the JID of a group or a status.
        kind: the stanza's type, ``text`` for texts.
        content: what was encrypted.
        peer: whether it is one from the phone's app to the own companion's, which nobody sees.
        edit: the stanza's ``edit`` attribute, for edits and revocations.
        status: ``pending``, ``sent``, ``delivered``, ``read``, ``played`` or ``failed``; in a
            group what all have reached.
        timestamp: the server's time of it, Unix seconds; 0 until it is sent.
        receipts: how far it came with each recipient, by phone number.
    """

    id: str
    to: str
    kind: str
    content: bytes = field(repr=False)
    peer: bool = False
    edit: str | None = None
    status: str = "pending"
    timestamp: int = 0
    receipts: dict[str, str] = field(default_factory=dict)

    def reached(self, status: str) -> bool:
        """Tell whether the message is in a status or beyond it."""
        return _at_least(self.status, status)

    def note(self, phone: str, status: str) -> None:
        """Take a recipient's receipt; what was known to be further stays."""
        if self.status == "failed":
            return
        if phone in self.receipts and not _at_least(self.receipts[phone], status):
            self.receipts[phone] = status
        reached = min(self.receipts.values(), key=_STATUS_ORDER.index, default=status)
        if not self.reached(reached):
            self.status = reached


def _at_least(status: str, wanted: str) -> bool:
    if status not in _STATUS_ORDER:
        return False
    return _STATUS_ORDER.index(status) >= _STATUS_ORDER.index(wanted)


def receipt_ids(stanza: Node) -> list[str]:
    """Return the ids of the messages that a receipt is about."""
    more = stanza.child("list")
    return [stanza.text("id"), *(item.text("id") for item in (more.all("item") if more else ()))]
