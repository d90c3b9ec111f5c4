"""Messages of both directions: found, listed, starred, purged; and the whole life of each.

The queue is in :mod:`queue` and :mod:`outcomes`, receipts in :mod:`receipts`, what comes in in
:mod:`inbound`; their functions are offered here as well, for callers to whom it is all about
messages.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from wavisor.domain import MessageStatus
from wavisor.storage import chat_addresses
from wavisor.storage.cursors import cursor_of, following
from wavisor.storage.history import receive_history
from wavisor.storage.inbound import (
    apply_edit,
    apply_revoke,
    apply_sent,
    has_edit,
    has_response,
    has_revoke,
    list_responses,
    receive,
    respond,
)
from wavisor.storage.media import with_files
from wavisor.storage.message_records import MessageFilter, MessageLife, MessageRecord
from wavisor.storage.models import Message
from wavisor.storage.outcomes import (
    cancel,
    expire_due,
    mark_failed,
    mark_sending,
    mark_sent,
    mark_uncertain,
    note_whatsapp_id,
    requeue,
    retry,
)
from wavisor.storage.prepared import Prepared
from wavisor.storage.queue import (
    activity,
    due,
    enqueue,
    enqueue_all,
    list_sending,
    next_queued,
    overview,
)
from wavisor.storage.receipts import apply_receipt, list_receipts
from wavisor.storage.records import Page
from wavisor.storage.removal import delete, purge, shed
from wavisor.storage.rows import message_record
from wavisor.storage.scope import Scope

__all__ = [
    "activity",
    "apply_edit",
    "apply_receipt",
    "apply_revoke",
    "apply_sent",
    "cancel",
    "delete",
    "due",
    "enqueue",
    "enqueue_all",
    "expire_due",
    "get",
    "get_life",
    "get_several",
    "has_edit",
    "has_response",
    "has_revoke",
    "list_page",
    "list_sending",
    "mark_failed",
    "mark_sending",
    "mark_sent",
    "mark_uncertain",
    "next_queued",
    "note_whatsapp_id",
    "overview",
    "purge",
    "receive",
    "receive_history",
    "requeue",
    "respond",
    "retry",
    "set_starred",
    "shed",
]

_GET = Prepared(lambda slot: Scope(slot("scope")).select(Message).where(Message.id == slot("id")))


def get(scope: Scope, message_id: str) -> MessageRecord | None:
    """Return the tenant's message; None when there is none or it is another tenant's."""
    row = _GET.one(scope=scope.subscription_id, id=message_id)
    if row is None:
        return None
    return with_files(scope, [message_record(row)])[0]


def get_several(
    scope: Scope, instance_id: str, message_ids: Sequence[str]
) -> list[MessageRecord | None]:
    """Return messages of the tenant's instance, in the order of their ids; None as in `get`."""
    rows = scope.select(Message).where(
        Message.instance == instance_id, Message.id.in_(list(message_ids))
    )
    found = {one.id: one for one in with_files(scope, [message_record(row) for row in rows])}
    return [found.get(one) for one in message_ids]


def get_life(scope: Scope, message_id: str) -> MessageLife | None:
    """Return the tenant's message with its receipts, reactions and votes; None as in `get`."""
    message = get(scope, message_id)
    if message is None:
        return None
    return MessageLife(message, list_receipts(message.position), list_responses(message.position))


def list_page(
    scope: Scope,
    *,
    limit: int,
    cursor: str | None = None,
    where: MessageFilter | None = None,
    instance_id: str | None = None,
    status: Collection[MessageStatus] | None = None,
) -> Page[MessageRecord]:
    """Return the tenant's messages, newest first: by when they became known here.

    Those from before the link are in the place of their own time.

    Args:
        scope: The tenant.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
        where: Which ones.
        instance_id: Only of this instance; the same as in ``where``.
        status: Only those in one of these; the same as in ``where``.

    Raises:
        ValueError: ``cursor`` is none of ours.
    """
    where = where or MessageFilter(
        instance_id=instance_id, status=None if status is None else frozenset(status)
    )
    select = scope.select if where.instance_id is None else scope.select_by
    query = select(Message).where(*_conditions(scope, where))
    if cursor is not None:
        query = query.where(following(Message.created_at, Message.position, cursor))
    ordered = query.order_by(Message.created_at.desc(), Message.position.desc())
    rows = list(ordered.limit(limit + 1))
    items = tuple(with_files(scope, [message_record(row) for row in rows[:limit]]))
    last = items[-1] if len(rows) > limit else None
    return Page(items, None if last is None else cursor_of(last.created_at, last.position))


def _conditions(scope: Scope, where: MessageFilter) -> list[Any]:
    conditions: list[Any] = [Message.position > 0]
    if where.instance_id is not None:
        conditions.append(Message.instance == where.instance_id)
    if where.chat is not None:
        addresses = chat_addresses.kept_under(scope, where.instance_id, where.chat)
        conditions.append(Message.chat.in_(addresses))
    if where.direction is not None:
        conditions.append(Message.direction == where.direction.value)
    if where.status is not None:
        conditions.append(Message.status.in_([one.value for one in where.status]))
    if where.kind is not None:
        conditions.append(Message.kind == where.kind)
    if where.since is not None:
        conditions.append(Message.created_at >= where.since)
    if where.until is not None:
        conditions.append(Message.created_at < where.until)
    if where.text is not None:
        # peewee escapes what LIKE would take for a pattern.
        conditions.append(Message.text.contains(where.text))
    if where.starred is not None:
        conditions.append(Message.starred == where.starred)
    return conditions


def set_starred(scope: Scope, message_id: str, starred: bool) -> MessageRecord | None:
    """Star the tenant's message or take the star away. A write. None as in `get`."""
    rows = (
        scope.update(Message, starred=starred)
        .where(Message.id == message_id)
        .returning(Message)
        .execute()
    )
    return next((message_record(row) for row in rows), None)
