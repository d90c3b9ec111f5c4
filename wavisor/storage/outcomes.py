"""What becomes of messages in the queue: handed over, sent, failed, cancelled, tried again.

Statuses change here and in :mod:`receipts` only, each by one UPDATE that names the status before:
whoever comes second finds nothing to change.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from wavisor.domain import MessageDirection, MessageStatus
from wavisor.storage import chats, current
from wavisor.storage.message_records import MessageRecord, QueueLimits
from wavisor.storage.models import Message
from wavisor.storage.prepared import Prepared
from wavisor.storage.queue import QUEUED, leave_place, take_place
from wavisor.storage.rows import history_line, message_record
from wavisor.storage.scope import Scope
from wavisor.storage.statistics import counted

__all__ = [
    "cancel",
    "expire_due",
    "mark_failed",
    "mark_sending",
    "mark_sent",
    "mark_uncertain",
    "note_whatsapp_id",
    "requeue",
    "retry",
]

S = MessageStatus


@cache
def _change(columns: frozenset[str], before: MessageStatus, tries: int) -> Prepared:
    """Return the UPDATE of just these columns of a message in the status ``before``."""
    return Prepared(
        lambda slot: (
            Message.update(
                history=Message.history.concat(slot("line")),
                attempts=Message.attempts + tries,
                **{column: slot(column) for column in columns},
            )
            .where(Message.id == slot("id"), Message.status == before.value)
            .returning(Message)
        )
    )


def mark_sending(
    message_id: str, *, whatsapp_id: str | None = None, secret: str | None = None
) -> MessageRecord | None:
    """Note, before handing it over, that a queued message is being sent. A write.

    Args:
        message_id: Which message.
        whatsapp_id: WhatsApp's id of it when it is chosen beforehand.
        secret: By which the session finds it again in its store.

    Returns:
        The message, or None when it is no longer queued and must not be sent.
    """
    values: dict[str, Any] = {"retry_at": None, "failure": None, "secret": secret}
    if whatsapp_id is not None:
        values["whatsapp_id"] = whatsapp_id
    return _move(message_id, S.QUEUED, S.SENDING, values, tries=1)


def mark_sent(
    message_id: str,
    *,
    whatsapp_id: str | None,
    sent_at: datetime | None = None,
    recipients: int | None = None,
) -> MessageRecord | None:
    """Note that WhatsApp took the message. A write.

    Args:
        message_id: Which message.
        whatsapp_id: WhatsApp's id of it, by which receipts find it; None when it told none.
        sent_at: The server's time of it; None for now.
        recipients: To how many a group's message went, where that is known.

    Returns:
        The message; None when it was not being sent. A receipt that overtook the answer is
        kept: then only ``whatsapp_id`` and ``sent_at`` are filled in.
    """
    values: dict[str, Any] = {
        "whatsapp_id": whatsapp_id or None,
        "sent_at": sent_at or current.now(),
        "recipients": recipients,
    }
    moved = None
    for before in (S.SENDING, S.UNCERTAIN):
        moved = moved or _move(message_id, before, S.SENT, {**values, "failure": None})
    if moved is None:
        rows = (
            Message.update(**values)
            .where(
                Message.id == message_id,
                Message.status.in_([S.DELIVERED.value, S.READ.value, S.PLAYED.value]),
                Message.sent_at.is_null(),
            )
            .returning(Message)
            .execute()
        )
        moved = next((message_record(row) for row in rows), None)
    if moved is not None:
        # By our clock, not the server's: the day's new contacts are counted by it.
        chats.note_contact(moved.instance_id, moved.chat, current.now(), by_us=True)
    return moved


def mark_failed(message_id: str, failure: dict[str, Any]) -> MessageRecord | None:
    """Note that the message will not be sent, and why. A write.

    Returns:
        The message; None when it was neither queued nor being sent.
    """
    values = {"failure": failure, "retry_at": None}
    for before in (S.SENDING, S.QUEUED):
        moved = _move(message_id, before, S.FAILED, values)
        if moved is not None:
            return moved
    return None


def mark_uncertain(message_id: str, failure: dict[str, Any]) -> MessageRecord | None:
    """Note that nobody can tell whether WhatsApp got the message. A write.

    Returns:
        The message; None when it was not being sent.
    """
    return _move(message_id, S.SENDING, S.UNCERTAIN, {"failure": failure})


def note_whatsapp_id(message_id: str, whatsapp_id: str) -> MessageRecord | None:
    """Fill in the id of a message whose answer was lost, so that receipts find it. A write.

    Returns:
        The message; None when it is not uncertain or has an id already.
    """
    rows = (
        Message.update(whatsapp_id=whatsapp_id)
        .where(
            Message.id == message_id,
            Message.status == S.UNCERTAIN.value,
            Message.whatsapp_id.is_null(),
        )
        .returning(Message)
        .execute()
    )
    return next((message_record(row) for row in rows), None)


def requeue(
    message_id: str,
    *,
    retry_at: datetime | None = None,
    failure: dict[str, Any] | None = None,
) -> MessageRecord | None:
    """Put back a message that surely did not reach WhatsApp, at its old place. A write.

    Args:
        message_id: Which message.
        retry_at: Not again before this time; None when it was not even tried, which then does
            not count as an attempt.
        failure: Why it is to be tried again.

    Returns:
        The message; None when it was not being sent.
    """
    values = {"whatsapp_id": None, "secret": None, "retry_at": retry_at, "failure": failure}
    tries = -1 if retry_at is None else 0
    return _move(message_id, S.SENDING, S.QUEUED, values, tries=tries)


def cancel(scope: Scope, message_id: str) -> MessageRecord | None:
    """Take back the tenant's message while it is queued. A write.

    Returns:
        The message; None when it is not queued (any more), or not the tenant's.
    """
    if _owned(scope, message_id) is None:
        return None
    return _move(message_id, S.QUEUED, S.CANCELLED, {"retry_at": None, "failure": None})


def retry(
    scope: Scope,
    message_id: str,
    *,
    uncertain: bool = False,
    limits: QueueLimits | None = None,
) -> MessageRecord | None:
    """Queue the tenant's failed message again, at its old place. A write.

    Args:
        scope: The tenant.
        message_id: Which message.
        uncertain: Also one that may have been sent, which then may be sent twice.
        limits: How many may wait.

    Returns:
        The message; None when it did not fail, or is not the tenant's.

    Raises:
        QueueFull: Too many wait already.
    """
    owned = _owned(scope, message_id)
    if owned is None:
        return None
    now = current.now()
    values: dict[str, Any] = {
        **dict.fromkeys(("failure", "retry_at", "whatsapp_id", "secret", "sent_at")),
        # It would only expire again.
        "expires_at": owned.expires_at if owned.expires_at and owned.expires_at > now else None,
    }
    for before in (S.FAILED, S.UNCERTAIN) if uncertain else (S.FAILED,):
        moved = _move(message_id, before, S.QUEUED, values, tries=-owned.attempts, place=False)
        if moved is not None:
            take_place(scope, moved.instance_id, limits or QueueLimits())
            return moved
    return None


def _owned(scope: Scope, message_id: str) -> MessageRecord | None:
    row = scope.select(Message).where(Message.id == message_id).get_or_none()
    if row is None or row.direction != MessageDirection.OUTBOUND.value:
        return None
    return message_record(row)


def expire_due(instance_id: str, *, limit: int = 200) -> list[MessageRecord]:
    """Fail queued messages whose time is over, up to ``limit`` of them. A write."""
    now = current.now()
    late = (
        Message.select(Message.position)
        .where(
            Message.instance == instance_id,
            Message.status == QUEUED,
            Message.expires_at <= now,
        )
        .order_by(Message.expires_at)
        .limit(limit)
    )
    failure = {"reason": "expired", "detail": "it was not sent before it expired", "code": None}
    rows = (
        Message.update(
            status=S.FAILED.value,
            failure=failure,
            retry_at=None,
            history=Message.history.concat(history_line(S.FAILED, now, failure["reason"])),
        )
        .where(Message.position.in_([row.position for row in late]), Message.status == QUEUED)
        .returning(Message)
        .execute()
    )
    moved = [counted(message_record(row)) for row in rows]
    moved.sort(key=lambda record: record.position)
    leave_place(instance_id, by=len(moved))
    return moved


def _move(
    message_id: str,
    before: MessageStatus,
    after: MessageStatus,
    values: dict[str, Any],
    *,
    tries: int = 0,
    place: bool = True,
) -> MessageRecord | None:
    """Change a message's status; None when it has another one than ``before``.

    ``place`` false leaves taking a place in the queue to the caller.
    """
    failure = values.get("failure")
    line = history_line(after, current.now(), failure.get("reason") if failure else None)
    changes = {"status": after.value, **values}
    row = _change(frozenset(changes), before, tries).one(id=message_id, line=line, **changes)
    if row is None:
        return None
    if before is S.QUEUED:
        leave_place(row.instance_id)
    elif after is S.QUEUED and place:
        leave_place(row.instance_id, by=-1)
    return counted(message_record(row))
