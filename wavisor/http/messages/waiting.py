"""Waiting for a message to be sent, for those who asked by ``Prefer: wait``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from wavisor.domain import EventType, MessageStatus
from wavisor.http.feed.stream import EventStream, StreamedEvent

__all__ = ["SETTLED", "MessageWaits"]

SETTLED = frozenset(MessageStatus) - {MessageStatus.QUEUED, MessageStatus.SENDING}
"""The statuses in which waiting any longer tells a sender nothing new."""


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
        if record.data.get("status") not in SETTLED:
            return
        for one in self._waits.get(str(record.data.get("messageId")), ()):
            one.set()
