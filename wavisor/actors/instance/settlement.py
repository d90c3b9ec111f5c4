"""Writes what becomes of an instance's messages: each change together with its event, then told.

The send loop (:mod:`outbox`) decides; nothing here talks to a session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from wavisor.actors.instance import payloads
from wavisor.actors.instance.journal import Journal
from wavisor.actors.instance.observer import InstanceObserver
from wavisor.domain import EventType, MessageDirection, MessageStatus
from wavisor.storage import (
    EventRecord,
    MessageRecord,
    NewEvent,
    Party,
    QueueLimits,
    Scope,
    events,
    instances,
    messages,
)
from wavisor.whatsapp.events import Answer, Failure, ReceiptReceived

__all__ = ["Settlement", "failure_json"]

_EARLY_RECEIPTS = 100

_RECEIPT_STATUS = {
    "delivered": MessageStatus.DELIVERED,
    "read": MessageStatus.READ,
    "played": MessageStatus.PLAYED,
}


class Settlement:
    """The rows of one instance's messages; used only in its actor's thread.

    Args:
        instance_id: whose messages they are.
        journal: reads and writes the rows.
        observer: counts messages.
    """

    def __init__(self, instance_id: str, journal: Journal, observer: InstanceObserver) -> None:
        self._instance_id = instance_id
        self._journal = journal
        self._observer = observer
        # Receipts that came while a send was unanswered: they may be for the very message whose
        # WhatsApp id the answer will tell. Bounded by the receipts of one round trip.
        self._early: deque[ReceiptReceived] = deque(maxlen=_EARLY_RECEIPTS)

    def expire(self) -> None:
        """Fail what was not sent before its time was over."""
        while self._change(lambda: messages.expire_due(self._instance_id)):
            pass

    def begin(self, message_id: str, secret: str) -> MessageRecord | None:
        """Note that a message is being handed over; None when it is no longer queued."""
        return _first(self._change(lambda: _one(messages.mark_sending(message_id, secret=secret))))

    def put_back(self, message_id: str) -> None:
        """Queue a message again that surely never left; that was no attempt."""
        self._early.clear()
        self._change(lambda: _one(messages.requeue(message_id)))

    def try_later(self, message_id: str, failure: Failure, at: datetime) -> None:
        """Queue a message again that WhatsApp surely did not take."""
        data = failure_json(failure)
        self._change(lambda: _one(messages.requeue(message_id, retry_at=at, failure=data)))

    def finish(self, message_id: str, answer: Answer) -> None:
        """Write down an answer that is final, and the receipts that overtook it."""
        self._change(lambda: _finish(message_id, answer))
        self._apply_early()

    def leave_open(self, message_id: str, detail: str, whatsapp_id: str | None) -> None:
        """Note that nobody can tell whether a message was sent, but receipts.

        Args:
            message_id: which message.
            detail: why nobody can.
            whatsapp_id: by which receipts name it; None when that is not known.
        """
        failure = _uncertainty(detail)
        self._change(lambda: _one(messages.mark_uncertain(message_id, failure)))
        if whatsapp_id is not None:
            self._change(lambda: _one(messages.note_whatsapp_id(message_id, whatsapp_id)))
        self._apply_early()

    def _apply_early(self) -> None:
        early = list(self._early)
        self._early.clear()
        for receipt in early:
            self.on_receipt(receipt, waiting=False)

    def on_receipt(self, event: ReceiptReceived, *, waiting: bool) -> None:
        """Move the messages of a receipt forward.

        Args:
            event: the receipt.
            waiting: whether a send is unanswered that it may be about.
        """
        status, sender = _RECEIPT_STATUS[event.kind], event.sender
        changed = self._change(
            lambda: messages.apply_receipt(
                self._instance_id,
                event.message_ids,
                status,
                event.timestamp,
                recipient=Party(sender.jid, sender.lid, sender.phone),
            )
        )
        if not changed and waiting:
            self._early.append(event)

    def cancel(self, scope: Scope, message_id: str) -> MessageRecord | None:
        """Take a message back; None when it is no longer queued."""
        return _first(self._change(lambda: _one(messages.cancel(scope, message_id))))

    def retry(
        self, scope: Scope, message_id: str, *, uncertain: bool, limits: QueueLimits
    ) -> MessageRecord | None:
        """Queue a failed message again; None when it did not fail."""
        return _first(
            self._change(
                lambda: _one(messages.retry(scope, message_id, uncertain=uncertain, limits=limits))
            )
        )

    def hold_queue(self, until: datetime | None, reason: str | None) -> None:
        """Write down, and tell, that strangers are written to only from some time on."""
        data = payloads.queue_changed(until, reason)
        records = self._journal.write(
            None,
            instances.record_transition,
            self._instance_id,
            {"queue_paused_until": until, "queue_pause_reason": reason},
            [NewEvent(type=EventType.INSTANCE_QUEUE_CHANGED.value, data=data)],
        )
        self._journal.tell(tuple(records))

    def _change(self, move: Callable[[], list[MessageRecord]]) -> list[MessageRecord]:
        """Change rows and store the events about it in one transaction, then tell them."""
        changed, records = self._journal.write(None, _change_and_tell, self._instance_id, move)
        self._journal.tell(tuple(records))
        for message in changed:
            self._observer.on_message(message.kind, MessageDirection.OUTBOUND, message.status)
            self._count_send(message)
        return changed

    def _count_send(self, message: MessageRecord) -> None:
        status, reason, seconds = message.status, None, None
        if status is MessageStatus.SENT:
            due = message.send_at or message.created_at
            seconds = max(0.0, (message.history[-1].at - due).total_seconds())
        elif message.failure is not None:
            reason = message.failure["reason"]
        elif status is not MessageStatus.CANCELLED:
            return
        self._observer.on_send(status, reason, seconds)


def _change_and_tell(
    instance_id: str, move: Callable[[], list[MessageRecord]]
) -> tuple[list[MessageRecord], list[EventRecord]]:
    """Run in a write transaction: move messages and append an event for each that moved."""
    changed = move()
    if not changed:
        return [], []
    new_events = [
        NewEvent(type=kind.value, data=payloads.message_changed(message))
        for message in changed
        for kind in _told_by(message)
    ]
    return changed, events.append(instance_id, new_events)


def _told_by(message: MessageRecord) -> tuple[EventType, ...]:
    """Return the events that tell of a message's new status, for those who want all or some."""
    if message.status is MessageStatus.FAILED:
        return EventType.MESSAGE_STATUS_CHANGED, EventType.MESSAGE_FAILED
    if message.status is MessageStatus.SENT or _was_proved_sent(message):
        return EventType.MESSAGE_STATUS_CHANGED, EventType.MESSAGE_SENT
    return (EventType.MESSAGE_STATUS_CHANGED,)


def _was_proved_sent(message: MessageRecord) -> bool:
    """Tell whether a receipt has just shown that a message was sent of which no answer came."""
    before = message.history[-2].status if len(message.history) > 1 else None
    return (
        before in (MessageStatus.SENDING, MessageStatus.UNCERTAIN)
        and message.status in _RECEIPT_STATUS.values()
        and message.sent_at is None
    )


def _finish(message_id: str, answer: Answer) -> list[MessageRecord]:
    failure = answer.failure
    if failure is not None:
        mark = messages.mark_uncertain if failure.uncertain else messages.mark_failed
        return _one(mark(message_id, failure_json(failure)))
    sent = messages.mark_sent(
        message_id,
        whatsapp_id=answer.message_id or "",
        sent_at=answer.timestamp,
        recipients=answer.recipients,
    )
    if sent is not None:
        messages.apply_sent(sent)
    return _one(sent)


def failure_json(failure: Failure) -> dict[str, Any]:
    """Return why a send failed, as it stands in the row and on the wire."""
    return {"reason": failure.reason, "detail": failure.detail, "code": failure.code}


def _uncertainty(detail: str) -> dict[str, Any]:
    return {"reason": "unanswered", "detail": detail, "code": None}


def _one(message: MessageRecord | None) -> list[MessageRecord]:
    return [] if message is None else [message]


def _first(changed: list[MessageRecord]) -> MessageRecord | None:
    return changed[0] if changed else None
