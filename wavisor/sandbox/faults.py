"""What can go wrong on demand.

Two sorts: a :class:`Fault` lasts until its time is over, its uses are spent, or it is cleared, and
is looked up by the code that it disturbs; the functions of ``incidents.py`` happen once (drop,
stream replaced, logged out). Both can be aimed at everybody or at one client.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["EVERYBODY", "Fault", "FaultBoard", "FaultKind", "Target"]


class FaultKind(StrEnum):
    """The lasting faults."""

    REFUSE = "refuse"
    """Connections to the chat server are closed at once, at the earliest point where the
    client is known: at the proxy for everybody or by label, after the Noise handshake for one
    account or device."""
    SILENT_DIAL = "silent_dial"
    """The proxy accepts the TCP connection and never answers CONNECT. By account: not possible
    before the client is known, so use a label or everybody."""
    SILENT_UPGRADE = "silent_upgrade"
    """TLS works, the websocket upgrade is never answered (everybody or by label)."""
    SILENT_HANDSHAKE = "silent_handshake"
    """The websocket opens, the Noise ClientHello is never answered (everybody or by label)."""
    SILENT_LOGIN = "silent_login"
    """The handshake succeeds, then neither ``success`` nor ``failure`` comes."""
    MUTE = "mute"
    """Open connections stay open, but nothing is answered, not even keep-alives. New
    connections log in and are mute from then on. It does not count uses, but what it left
    unanswered."""
    LOGIN_FAILURE = "login_failure"
    """Login is answered by ``<failure reason=code>``: 401 logged out, 402 temporary ban (with
    ``ban_code`` and ``ban_seconds``), 403, 405 client outdated, 406 banned, 500, 503."""
    DELAY_ACKS = "delay_acks"
    """The server's acks of messages that clients send come ``delay`` seconds late."""
    DELAY_RECEIPTS = "delay_receipts"
    """Receipts reach a device ``delay`` seconds late; one use is one receipt for one device."""
    REJECT_MESSAGES = "reject_messages"
    """Messages are not delivered and their ack carries ``error=code`` (479, 404 …). With 463, the
    reach-out timelock, the client is also told that it ends after ``seconds``."""
    REFUSE_UPLOADS = "refuse_uploads"
    """Media uploads are answered with the HTTP status ``code``."""
    SLOW_UPLOADS = "slow_uploads"
    """Media uploads are answered ``delay`` seconds late."""
    REFUSE_DOWNLOADS = "refuse_downloads"
    """Media downloads are answered with the HTTP status ``code`` (403, 404 and 410: the file has
    expired; 503: the client tries again). This and the next three: everybody or by label, for a
    download does not say whose it is."""
    SPOIL_DOWNLOADS = "spoil_downloads"
    """A downloaded file has one byte changed, so that its hash is wrong."""
    SLOW_DOWNLOADS = "slow_downloads"
    """Downloads trickle: a sixteenth of the file at a time, with ``delay`` seconds between."""
    ENDLESS_DOWNLOADS = "endless_downloads"
    """A download never ends: zeros follow the file, 1 MB every ``delay`` seconds."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a fault hits. An empty target is everybody.

    ``label`` is the user name in the client's proxy URL; it is the only thing known of a client
    before its login.
    """

    phone: str | None = None
    device: int | None = None
    label: str | None = None

    def matches(self, *, phone: str | None, device: int | None, label: str | None) -> bool:
        """Tell whether a client with these properties (None: not known yet) is meant."""
        return (
            (self.phone is None or self.phone == phone)
            and (self.device is None or self.device == device)
            and (self.label is None or self.label == label)
        )


EVERYBODY = Target()


@dataclass(slots=True)
class Fault:
    """A lasting fault.

    Attributes:
        kind: what goes wrong.
        target: for whom.
        seconds: how long from its injection; None until cleared.
        uses: how many times; None without limit.
        delay: seconds of delay, for the ``DELAY_*`` kinds.
        code: reason of a login failure or error of a message's ack.
        ban_code: why banned, 101 to 106 (whatsmeow ``types/events/events.go``).
        ban_seconds: how long the ban lasts.
        unheard: how many stanzas of clients a ``MUTE`` has left unanswered.
    """

    kind: FaultKind
    target: Target = EVERYBODY
    seconds: float | None = None
    uses: int | None = None
    delay: float = 0.0
    code: int = 0
    ban_code: int = 101
    ban_seconds: int = 3600
    id: int = field(default=0, init=False)
    until: float | None = field(default=None, init=False)
    unheard: int = field(default=0, init=False)


class FaultBoard:
    """The lasting faults that are in force."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._faults: dict[int, Fault] = {}
        self._ids = itertools.count(1)

    def inject(self, fault: Fault) -> int:
        """Put a fault in force and return its number."""
        fault.id = next(self._ids)
        fault.until = None if fault.seconds is None else self._monotonic() + fault.seconds
        self._faults[fault.id] = fault
        return fault.id

    def clear(self, fault_id: int | None = None) -> int:
        """End one fault, or all; return how many were ended."""
        if fault_id is None:
            count = len(self._faults)
            self._faults.clear()
            return count
        return 1 if self._faults.pop(fault_id, None) else 0

    def active(self) -> list[Fault]:
        """Return the faults in force, oldest first."""
        now = self._monotonic()
        for fault in list(self._faults.values()):
            if fault.until is not None and fault.until <= now:
                del self._faults[fault.id]
        return list(self._faults.values())

    def find(
        self,
        kind: FaultKind,
        *,
        phone: str | None = None,
        device: int | None = None,
        label: str | None = None,
    ) -> Fault | None:
        """Return the newest fault of this kind that hits this client, without using it up."""
        for fault in reversed(self.active()):
            if fault.kind is kind and fault.target.matches(phone=phone, device=device, label=label):
                return fault
        return None

    def strike(
        self,
        kind: FaultKind,
        *,
        phone: str | None = None,
        device: int | None = None,
        label: str | None = None,
    ) -> Fault | None:
        """Like :meth:`find`, and count one use."""
        fault = self.find(kind, phone=phone, device=device, label=label)
        if fault is not None and fault.uses is not None:
            fault.uses -= 1
            if fault.uses <= 0:
                self._faults.pop(fault.id, None)
        return fault
