"""The queue of messages to be sent, one per instance: what waits there, and what goes next.

Within a chat messages go in the order of their priority and then in that of their acceptance. One
that is to be tried again holds back those after it in its chat and no others; one that is
scheduled holds back nothing before its time. What became of a message is in :mod:`outcomes`.

The order of locks is that of :mod:`wavisor.storage.current`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import peewee

from wavisor.domain import ChatKind, MessageDirection, MessageStatus
from wavisor.ids import Kind, new_id
from wavisor.storage import chat_addresses, chats, current, quotas
from wavisor.storage.errors import NotFound, QueueFull
from wavisor.storage.message_records import (
    MessageRecord,
    NewMessage,
    Party,
    QueueDue,
    QueueLimits,
    QueueState,
)
from wavisor.storage.models import Chat, Instance, Message
from wavisor.storage.prepared import Prepared, insert
from wavisor.storage.records import InstanceRecord
from wavisor.storage.rows import history_line, message_record
from wavisor.storage.scope import Scope
from wavisor.storage.statistics import counted

__all__ = [
    "QUEUED",
    "SENDING",
    "activity",
    "due",
    "enqueue",
    "enqueue_all",
    "enqueue_to_several",
    "leave_place",
    "list_sending",
    "next_queued",
    "overview",
    "room",
    "take_place",
]

# The partial indexes of the queue are used only for this very text.
QUEUED = peewee.SQL("'queued'")
SENDING = peewee.SQL("'sending'")

_TAKE_PLACE = Prepared(
    lambda slot: (
        Scope(slot("scope"))
        .update(Instance, queued=Instance.queued + slot("by"))
        .where(Instance.id == slot("id"))
        .returning(Instance.queued)
    )
)
_PLACES = Prepared(
    lambda slot: Scope(slot("scope")).select(
        Instance, peewee.fn.SUM(Instance.queued).alias("queued")
    )
)
_LEAVE = Prepared(
    lambda slot: Instance.update(queued=Instance.queued - slot("by")).where(
        Instance.id == slot("id")
    )
)


def _waiting(slot: Any) -> Any:
    """Return the SELECT of an instance's messages that may be sent now, the first one first."""
    earlier = Message.alias()
    now = slot("now")
    held = earlier.select(peewee.SQL("1")).where(
        earlier.instance == slot("instance"),
        earlier.status == QUEUED,
        earlier.retry_at > now,
        # Concatenated, so that no engine looks for it by the chat's whole past.
        earlier.chat.concat("") == Message.chat,
        (earlier.priority > Message.priority)
        | ((earlier.priority == Message.priority) & (earlier.position < Message.position)),
    )
    return (
        Message.select()
        .where(
            Message.instance == slot("instance"),
            Message.status == QUEUED,
            Message.send_at.is_null() | (Message.send_at <= now),
            Message.retry_at.is_null() | (Message.retry_at <= now),
            Message.expires_at.is_null() | (Message.expires_at > now),
            ~peewee.fn.EXISTS(held),
        )
        .order_by(Message.priority.desc(), Message.position)
        .limit(1)
    )


def _to_known(slot: Any) -> Any:
    stranger = Chat.select(peewee.SQL("1")).where(
        Chat.instance == slot("instance"),
        Chat.jid == Message.chat,
        Chat.kind == ChatKind.PERSON.value,
        Chat.known_since.is_null(),
    )
    return _waiting(slot).where(~peewee.fn.EXISTS(stranger))


_NEXT = Prepared(_waiting)
_NEXT_KNOWN = Prepared(_to_known)


def _soonest(column: Any) -> Prepared:
    return Prepared(
        lambda slot: (
            Message.select(column)
            .where(
                Message.instance == slot("instance"),
                Message.status == QUEUED,
                column > slot("after"),
            )
            .order_by(column)
            .limit(1)
        )
    )


_SCHEDULED, _RETRIED, _EXPIRING = map(
    _soonest, (Message.send_at, Message.retry_at, Message.expires_at)
)


def enqueue(
    scope: Scope,
    instance: str | InstanceRecord,
    message: NewMessage,
    *,
    limits: QueueLimits | None = None,
) -> MessageRecord:
    """Accept a message to be sent. A write.

    Args:
        scope: The tenant.
        instance: Which of its instances sends.
        message: The message.
        limits: How many may wait. That of the subscription may be overstepped by as many as are
            accepted at the very same time on PostgreSQL.

    Raises:
        NotFound: The tenant has no such instance.
        QueueFull: Too many wait already.
        LimitReached: The subscription's messages of the day are used up.
    """
    return enqueue_all(scope, instance, [message], limits=limits)[0]


def enqueue_all(
    scope: Scope,
    instance: str | InstanceRecord,
    new: Sequence[NewMessage],
    *,
    limits: QueueLimits | None = None,
) -> list[MessageRecord]:
    """Accept messages to be sent, in their order; all of them, or none when it raises. A write.

    Args:
        scope: The tenant.
        instance: Which of its instances sends.
        new: The messages; at least one.
        limits: As for :func:`enqueue`.

    Raises:
        StorageError: As :func:`enqueue` does; what was written is to be rolled back.
    """
    instance_id = instance.id if isinstance(instance, InstanceRecord) else instance
    if isinstance(instance, InstanceRecord) and instance.subscription_id != scope.subscription_id:
        raise NotFound("no such instance")
    return enqueue_to_several(scope, {instance_id: new}, limits=limits)[instance_id]


def enqueue_to_several(
    scope: Scope,
    by_instance: Mapping[str, Sequence[NewMessage]],
    *,
    limits: QueueLimits | None = None,
    also_hold: str | None = None,
) -> dict[str, list[MessageRecord]]:
    """Accept messages to be sent by several instances; all, or none when it raises. A write.

    Args:
        scope: The tenant.
        by_instance: The messages of each of its instances, in their order.
        limits: As for :func:`enqueue`.
        also_hold: An instance whose row the transaction is to change afterwards.

    Raises:
        StorageError: As :func:`enqueue` does; what was written is to be rolled back.
    """
    ids = sorted(by_instance)
    try:
        rows = {one: [_insert(scope, one, message) for message in by_instance[one]] for one in ids}
        for one in ids:
            _touch_chats(scope, one, rows[one])
    except peewee.IntegrityError:
        # A foreign key: the instance, or the file, was deleted meanwhile.
        raise NotFound("no such instance or file") from None
    for one in sorted({*ids, *([] if also_hold is None else [also_hold])}):
        if one in rows:
            take_place(scope, one, limits or QueueLimits(), by=len(rows[one]))
        else:
            mine = scope.select(Instance, Instance.id).where(Instance.id == one)
            list(current.lock_rows(mine, referable=True))
    quotas.count_messages(scope, sum(map(len, rows.values())))
    return {one: [counted(message_record(row)) for row in rows[one]] for one in ids}


def room(scope: Scope, limits: QueueLimits) -> int:
    """Return how many more messages may wait in the tenant's queues, as of now."""
    return limits.subscription - (_PLACES.one(scope=scope.subscription_id).queued or 0)


def _insert(scope: Scope, instance_id: str, message: NewMessage) -> Any:
    now = current.now()
    chat = chat_addresses.resolve(instance_id, Party(message.chat))
    return insert(
        Message,
        id=new_id(Kind.MESSAGE),
        subscription_id=scope.subscription_id,
        instance_id=instance_id,
        direction=MessageDirection.OUTBOUND.value,
        chat=chat,
        from_me=True,
        kind=message.kind,
        text=message.text,
        content=message.content,
        options=message.options,
        media_id=message.media_id,
        status=MessageStatus.QUEUED.value,
        history=history_line(MessageStatus.QUEUED, now),
        quoted_id=message.quoted_id,
        priority=message.priority,
        send_at=message.send_at,
        expires_at=message.expires_at,
        created_at=now,
        created_by=message.created_by,
    )


def _touch_chats(scope: Scope, instance_id: str, rows: Iterable[Any]) -> None:
    """Let the last of the messages be the last one of its chat, for each chat.

    In the order of their addresses, so that two that write to the same chats do not lock them
    crosswise.
    """
    last = {(row.chat, row.kind in chats.SILENT_KINDS): row for row in rows}
    for (chat, _), row in sorted(last.items()):
        chats.touch(
            scope,
            instance_id,
            chat,
            Party(chat),
            position=row.position,
            at=row.created_at,
            kind=row.kind,
        )


def take_place(scope: Scope, instance_id: str, limits: QueueLimits, *, by: int = 1) -> None:
    """Count more messages that wait; part of a write that may not be kept when this raises.

    Args:
        scope: The tenant.
        instance_id: Whose queue.
        limits: How many may wait.
        by: How many more there are.

    Raises:
        NotFound: The tenant has no such instance.
        QueueFull: Too many wait already.
    """
    place = _TAKE_PLACE.one(scope=scope.subscription_id, id=instance_id, by=by)
    if place is None:
        raise NotFound("no such instance")
    if place.queued > limits.instance:
        raise QueueFull("instance", limits.instance)
    if _PLACES.one(scope=scope.subscription_id).queued > limits.subscription:
        raise QueueFull("subscription", limits.subscription)


def leave_place(instance_id: str, *, by: int = 1) -> None:
    """Count messages that do not wait any more; part of a write.

    Args:
        instance_id: Whose queue.
        by: How many; negative for those that are back.
    """
    _LEAVE.change(id=instance_id, by=by)


def next_queued(instance_id: str, *, new_contacts: bool = True) -> MessageRecord | None:
    """Return the instance's message that goes next; None when none may go now.

    Args:
        instance_id: Whose queue.
        new_contacts: False leaves out those that would be the first to somebody.
    """
    query = _NEXT if new_contacts else _NEXT_KNOWN
    row = query.one(instance=instance_id, now=current.now())
    return None if row is None else message_record(row)


def due(instance_id: str, *, new_contacts: bool = True) -> QueueDue:
    """Return what goes next and, when that is nothing, when to look again.

    Args:
        instance_id: Whose queue.
        new_contacts: False leaves out those that would be the first to somebody.
    """
    now = current.now()
    message = next_queued(instance_id, new_contacts=new_contacts)
    expiring = _EXPIRING.one(instance=instance_id, after=datetime.min.replace(tzinfo=now.tzinfo))
    times = [] if expiring is None else [expiring.expires_at]
    if message is None:
        for query, column in ((_SCHEDULED, "send_at"), (_RETRIED, "retry_at")):
            row = query.one(instance=instance_id, after=now)
            if row is not None:
                times.append(getattr(row, column))
    return QueueDue(
        message=message,
        new_contact=message is not None and chats.is_new_contact(instance_id, message.chat),
        next_at=min(times, default=None),
        expired=expiring is not None and expiring.expires_at <= now,
    )


def overview() -> list[QueueState]:
    """Return the queues of all instances in which something waits, or which are paused.

    One statement: of each queue it looks at the count that is kept and at the first message.
    """
    now = current.now()
    head = Message.alias()
    due_since = (
        head.select(peewee.fn.COALESCE(head.send_at, head.created_at))
        .where(
            head.instance == Instance.id,
            head.status == QUEUED,
            head.send_at.is_null() | (head.send_at <= now),
        )
        .order_by(head.priority.desc(), head.position)
        .limit(1)
    )
    rows: Any = Instance.select(
        Instance.id,
        Instance.queued,
        Instance.queue_paused_until,
        Instance.queue_pause_reason,
        due_since.alias("due_since"),
    ).where((Instance.queued > 0) | (Instance.queue_paused_until > now))
    return [
        QueueState(
            instance_id=row.id,
            waiting=row.queued,
            # It comes out of an expression, which peewee does not convert.
            due_since=Message.created_at.python_value(row.due_since),
            paused=row.queue_pause_reason
            if row.queue_paused_until is not None and row.queue_paused_until > now
            else None,
        )
        for row in rows.namedtuples()
    ]


def activity(instance_id: str, since: datetime) -> tuple[int, int]:
    """Return how many messages were sent since a time, and to how many for the first time."""
    sent = Message.select().where(
        Message.instance == instance_id,
        # Spelled out for the partial index.
        Message.sent_at.is_null(False),
        Message.sent_at >= since,
    )
    reached = Chat.select().where(Chat.instance == instance_id, Chat.reached_at >= since)
    return int(sent.count()), int(reached.count())


def list_sending(instance_id: str) -> list[MessageRecord]:
    """Return an instance's messages that were handed over and not settled, oldest first."""
    rows = (
        Message.select()
        .where(Message.instance == instance_id, Message.status == SENDING)
        .order_by(Message.position)
    )
    return [message_record(row) for row in rows]
