"""What instance actors tell the metrics; called in actors' threads, must be quick."""

from __future__ import annotations

from typing import Protocol

from wavisor.domain import (
    IgnoredChat,
    InstanceStatus,
    MessageDirection,
    MessageStatus,
    Reason,
    WantedState,
)

__all__ = ["InstanceObserver", "SilentInstanceObserver"]


class InstanceObserver(Protocol):
    """Is told what happens to instances."""

    def on_status(self, instance_id: str, status: InstanceStatus, wanted: WantedState) -> None:
        """Note the status that an instance has from now on, and what the user wants of it."""
        ...

    def on_deleted(self, instance_id: str) -> None:
        """Note that an instance is no more."""
        ...

    def on_drop(self, instance_id: str, reason: Reason) -> None:
        """Note that a connection was lost, or a session process ended, unasked."""
        ...

    def on_reconnected(self, seconds: float) -> None:
        """Note a login after a drop, ``seconds`` after it."""
        ...

    def on_qr_shown(self) -> None:
        """Note that a QR code was shown."""
        ...

    def on_qr_limit(self) -> None:
        """Note that the last QR code ran out unscanned."""
        ...

    def on_paired(self, *, by_code: bool) -> None:
        """Note that a device was linked, by a code typed on the phone or by a scan."""
        ...

    def on_session_started(self, pid: int) -> None:
        """Note that a session process runs."""
        ...

    def on_session_exit(self, pid: int | None, exit_code: int | None) -> None:
        """Note the end of a session process; negative codes are signals."""
        ...

    def on_message(
        self, kind: str, direction: MessageDirection, status: MessageStatus | None
    ) -> None:
        """Note that a message reached a status; received ones have none."""
        ...

    def on_send(self, outcome: MessageStatus, reason: str | None, seconds: float | None) -> None:
        """Note what became of a message in the queue.

        Args:
            outcome: sent, failed, uncertain, cancelled, or queued to be tried again.
            reason: why it was not sent.
            seconds: how long it took until WhatsApp had it, for one that was sent.
        """
        ...

    def on_ignored(self, chat: IgnoredChat) -> None:
        """Note that something was ignored because of where it happened."""
        ...


class SilentInstanceObserver(InstanceObserver):
    """Looks away: it does what the protocol's own methods do, nothing."""
