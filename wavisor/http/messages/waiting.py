"""Waiting for a message to be sent, for those who asked by ``Prefer: wait``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from wavisor.domain import EventType, MessageStatus
from wavisor.http.feed.stream import EventStream, StreamedEvent

__all__ = ["MessageWaits", "is_held_back", "is_settled"]

_SETTLED = frozenset(MessageStatus) - {MessageStatus.QUEUED, MessageStatus.SENDING}
_HOURS_AWAY = "reach_out_timelock"


def is_settled(status: str, failure: Mapping[str, Any] | None) -> bool:
    """Tell whether waiting any longer tells the sender of a message nothing new.

    Args:
        status: the message's.
        failure: why it failed, or is to be tried again.
    """
    return status in _SETTLED or is_held_back(status, failure)


def is_held_back(status: str, failure: Mapping[str, Any] | None) -> bool:
    """Tell whether a message waits for WhatsApp to let the number begin conversations again."""
    return status == MessageStatus.QUEUED and (failure or {}).get("reason") == _HOURS_AWAY


class MessageWaits:
    """Who waits for which message. Used on the event loop only.

    Args:
        stream: the events that tell of messages.
    """

    def __init__(self, stream: EventStream) -> None:
        self._waits: dict[str, set[asyncio.Event]] = {}
        stream.add(self._on_event)

    @property
    def count(self) -> int:
        """How many wait."""
        return sum(len(waiting) for waiting in self._waits.values())

    @contextmanager
    def settled(self, message_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set when the message is sent, or will not be.

        The stream must be ready. What happened before is not noticed: look at the row first.
        """
        event = asyncio.Event()
        waiting = self._waits.setdefault(message_id, set())
        waiting.add(event)
        try:
            yield event
        finally:
            waiting.discard(event)
            if not waiting:
                self._waits.pop(message_id, None)

    def close_for_shutdown(self) -> None:
        """Let nobody wait any longer: the server stops, and has answers to give before that."""
        for waiting in self._waits.values():
            for one in waiting:
                one.set()

    def _on_event(self, event: StreamedEvent) -> None:
        record = event.record
        if record.type != EventType.MESSAGE_STATUS_CHANGED or not self._waits:
            return
        if not is_settled(str(record.data.get("status")), record.data.get("failure")):
            return
        for one in self._waits.get(str(record.data.get("messageId")), ()):
            one.set()
