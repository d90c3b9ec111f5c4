"""What an instance does of its own accord, by its settings: marks read, is online, rejects calls.

Part of the instance actor. Changed settings hold at once; no connection is touched for them.
"""

from __future__ import annotations

from typing import Any

from wavisor.actors.instance.admission import Admission
from wavisor.actors.instance.call_screening import CallScreening
from wavisor.actors.instance.online_presence import PRESENCE_DUE, OnlinePresence
from wavisor.actors.instance.read_receipts import READ_DUE, ReadReceipts
from wavisor.actors.instance.settings import CallSettings, PresenceSettings, ReceivingSettings
from wavisor.whatsapp.events import CallOffered, MessageReceived

__all__ = ["Habits"]


class Habits:
    """The habits of one instance; used only in its actor's thread.

    Args:
        admission: what is taken in at all.
        receipts: tells authors that their messages were read.
        presence: keeps the account online.
        calls: rejects calls.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        receipts: ReadReceipts,
        presence: OnlinePresence,
        calls: CallScreening,
    ) -> None:
        self._admission = admission
        self._receipts = receipts
        self._presence = presence
        self._calls = calls

    def apply(self, settings: dict[str, Any]) -> None:
        """Go by the instance's settings, at the start and whenever they change."""
        receiving = ReceivingSettings.of(settings)
        self._admission.apply(receiving)
        self._receipts.apply(enabled=receiving.auto_read)
        self._presence.apply(wanted=PresenceSettings.of(settings).always_online)
        self._calls.apply(CallSettings.of(settings))

    def on_connected(self) -> None:
        """Take up what a new connection needs."""
        self._presence.on_connected()
        self._receipts.on_connected()

    def on_stored(self, event: MessageReceived) -> None:
        """Act on a message that is on disk."""
        self._receipts.on_stored(event)

    def on_call(self, event: CallOffered) -> None:
        """Act on a call, and tell of it."""
        self._calls.on_offered(event)

    def on_tick(self, name: str) -> bool:
        """Act on a timer; False when it is another's."""
        if name == READ_DUE:
            self._receipts.on_due()
        elif name == PRESENCE_DUE:
            self._presence.show()
        else:
            return False
        return True
