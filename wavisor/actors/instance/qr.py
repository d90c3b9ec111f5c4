"""Counts the QR codes of one connection attempt; exactly three are shown."""

from __future__ import annotations

from datetime import datetime, timedelta

from wavisor.actors.instance.messages import QrState

__all__ = ["FIRST_CODE_SECONDS", "NEXT_CODE_SECONDS", "QR_LIMIT", "QrCounter"]

QR_LIMIT = 3

# How long the client shows each code when the server sends six refs (whatsmeow, qrchan.go).
FIRST_CODE_SECONDS = 60.0
NEXT_CODE_SECONDS = 20.0


class QrCounter:
    """The codes shown in one connection attempt, and the one to be scanned now."""

    def __init__(self) -> None:
        self.shown = 0
        self.current: QrState | None = None

    def show(self, text: str, now: datetime) -> QrState | None:
        """Count a new code and return it, or None when the limit is already reached."""
        if self.shown >= QR_LIMIT:
            self.current = None
            return None
        self.shown += 1
        seconds = FIRST_CODE_SECONDS if self.shown == 1 else NEXT_CODE_SECONDS
        self.current = QrState(
            text=text,
            attempt=self.shown,
            limit=QR_LIMIT,
            expires_at=now + timedelta(seconds=seconds),
        )
        return self.current

    @property
    def exhausted(self) -> bool:
        """Whether the last code that may be shown has been shown."""
        return self.shown >= QR_LIMIT

    def ends_at(self, now: datetime) -> datetime:
        """Return when the last code of the attempt runs out, and the session is ended."""
        present = now if self.current is None else self.current.expires_at
        return present + timedelta(seconds=NEXT_CODE_SECONDS * (QR_LIMIT - self.shown))

    def expire(self) -> None:
        """Forget the current code: it can no longer be scanned."""
        self.current = None

    def reset(self) -> None:
        """Start over, for a new connection attempt."""
        self.shown = 0
        self.current = None
