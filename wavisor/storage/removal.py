"""Messages that go: deleted by their tenant, or after their time. Their chats stay right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import peewee

from wavisor.domain import MessageDirection, MessageStatus
from wavisor.storage.chats import SILENT_KINDS
from wavisor.storage.models import Chat, Event, Message, WebhookDelivery
from wavisor.storage.queue import leave_place
from wavisor.storage.scope import Scope

__all__ = ["delete", "purge", "shed"]

_UNDER_WAY = (MessageStatus.QUEUED.value, MessageStatus.SENDING.value)
_TOLD = (
    Message.instance,
    Message.position,
    Message.chat,
    Message.direction,
    Message.from_me,
    Message.read_at,
)


def delete(scope: Scope, message_id: str) -> bool:
    """Forget the tenant's message, unless it is queued or being sent. A write.

    Returns:
        Whether it is gone.
    """
    query = scope.delete(Message).where(Message.id == message_id, Message.status.not_in(_UNDER_WAY))
    gone = list(query.returning(*_TOLD).execute())
    _mend_chats(gone)
    return bool(gone)


def purge(instance_id: str, before: datetime, *, limit: int = 1000) -> int:
    """Delete up to ``limit`` of an instance's messages made before a time. A write.

    What waits to be sent stays, however old it is. To be repeated while it returns ``limit``:
    small portions let other writes in between.
    """
    oldest = (
        Message.select(Message.position)
        .where(
            Message.instance == instance_id,
            Message.created_at < before,
            Message.status.not_in(_UNDER_WAY),
        )
        .order_by(Message.created_at)
        .limit(limit)
    )
    # Looked at again: one may have been queued anew by a transaction that this one waited for.
    query = Message.delete().where(Message.position.in_(oldest), Message.status.not_in(_UNDER_WAY))
    gone = list(query.returning(*_TOLD).execute())
    _mend_chats(gone)
    return len(gone)


def shed(scope: Scope, instance_id: str, *, limit: int = 1000) -> int:
    """Delete some of what the tenant's instance has most of, before it goes itself. A write.

    To be repeated while it returns anything: small portions let other writes in between, whereas
    all at once would hold up everybody for as long as it takes, or never come to an end in time.

    Returns:
        How many rows are gone, up to ``limit`` of each kind.
    """
    count = 0
    for model in (WebhookDelivery, Event, Message):
        some = scope.select_by(model, model.position).where(model.instance == instance_id)
        query = model.delete().where(model.position.in_(some.limit(limit)))
        if model is Message:
            statuses = [row.status for row in query.returning(Message.status).execute()]
            leave_place(instance_id, by=statuses.count(MessageStatus.QUEUED.value))
            count += len(statuses)
        else:
            count += query.execute()
    return count


def _mend_chats(gone: Iterable[Any]) -> None:
    """Take deleted messages off the unread counts, and from where they were the last ones."""
    by_chat: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in gone:
        by_chat[row.instance_id, row.chat].append(row)
    for (instance_id, jid), rows in sorted(by_chat.items()):
        mine = (Chat.instance == instance_id) & (Chat.jid == jid)
        unread = sum(map(_was_unread, rows))
        if unread:
            left = peewee.Case(None, [(Chat.unread > unread, Chat.unread - unread)], 0)
            Chat.update(unread=left).where(mine).execute()
        positions = [row.position for row in rows]
        if Chat.select().where(mine, Chat.last_position.in_(positions)).exists():
            _find_last(instance_id, jid)


def _was_unread(row: Any) -> bool:
    inbound = row.direction == MessageDirection.INBOUND.value
    return inbound and not row.from_me and row.read_at is None


def _find_last(instance_id: str, jid: str) -> None:
    """Let the latest message that is left be the chat's last; without one it keeps its place."""
    last = (
        Message.select(Message.position, Message.created_at)
        .where(
            Message.instance == instance_id,
            Message.chat == jid,
            Message.kind.not_in(SILENT_KINDS),
        )
        .order_by(Message.created_at.desc(), Message.position.desc())
        .first()
    )
    if last is not None:
        Chat.update(last_position=last.position, last_at=last.created_at).where(
            Chat.instance == instance_id, Chat.jid == jid
        ).execute()
