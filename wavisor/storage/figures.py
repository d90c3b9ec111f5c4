"""What a message's history adds to the statistics: the one rule of counting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from wavisor.domain import MessageDirection, MessageStatus
from wavisor.storage.message_records import MessageRecord, StatusChange

__all__ = ["Figure", "Happening", "happenings", "latest_happenings"]

S = MessageStatus


class Figure(StrEnum):
    """What is counted."""

    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"
    RECEIVED = "received"


# A message that was read was delivered, and one that was delivered was sent, whether anybody
# told of it or not.
_STAGES = (Figure.SENT, Figure.DELIVERED, Figure.READ, Figure.PLAYED)
_STAGE_OF = {S(figure.value): number for number, figure in enumerate(_STAGES, 1)}
_ENDS = {S.FAILED: Figure.FAILED, S.UNCERTAIN: Figure.UNCERTAIN, S.CANCELLED: Figure.CANCELLED}
_NO_REASON = "unknown"


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that is counted once."""

    line: int
    """Which line of the history tells of it."""
    figure: Figure
    at: datetime
    reason: str = ""
    took: timedelta | None = None
    """Of a delivery: how long after it was sent, where both are known."""


def happenings(direction: MessageDirection, history: Sequence[StatusChange]) -> Iterator[Happening]:
    """Yield everything that is counted about a message, from its history."""
    if direction is MessageDirection.INBOUND:
        for line, change in enumerate(history):
            if change.status is S.RECEIVED:
                yield Happening(line, Figure.RECEIVED, change.at)
        return
    reached = 0
    sent_at: datetime | None = None
    for line, change in enumerate(history):
        stage = _STAGE_OF.get(change.status)
        if stage is not None:
            for figure in _STAGES[reached:stage]:
                took = None
                if figure is Figure.DELIVERED and sent_at is not None:
                    # The server's clock against ours: it may be a little behind.
                    took = max(change.at - sent_at, timedelta())
                yield Happening(line, figure, change.at, took=took)
            reached = max(reached, stage)
            if change.status is S.SENT:
                sent_at = change.at
        elif change.status is S.QUEUED:
            if line == 0:
                yield Happening(line, Figure.ACCEPTED, change.at)
        elif change.status in _ENDS:
            reason = (change.reason or _NO_REASON) if change.status is S.FAILED else ""
            yield Happening(line, _ENDS[change.status], change.at, reason)


def latest_happenings(record: MessageRecord) -> list[Happening]:
    """Return what the last line of a message's history adds to the statistics.

    What the phone told of the past, after linking, adds nothing: it did not happen here.
    """
    last = len(record.history) - 1
    if last < 0 or record.from_history or record.history[last].status is S.SENDING:
        return []
    return [one for one in happenings(record.direction, record.history) if one.line == last]
