"""The audit trail: who did what. Entries are only ever appended."""

from __future__ import annotations

from datetime import datetime

import peewee

from wavisor.ids import Kind, new_id
from wavisor.storage import current
from wavisor.storage.fields import storable
from wavisor.storage.models import AuditLog
from wavisor.storage.prepared import insert
from wavisor.storage.records import AuditFilter, AuditRecord, NewAudit, Page
from wavisor.storage.rows import audit_record

__all__ = ["append", "list_page", "purge"]


def append(subscription_id: str | None, entry: NewAudit) -> AuditRecord:
    """Append an entry; ``subscription_id`` is None for an act of the platform. A write."""
    row = insert(
        AuditLog,
        id=new_id(Kind.AUDIT),
        subscription_id=subscription_id,
        actor_kind=entry.actor_kind,
        actor_id=entry.actor_id,
        action=entry.action,
        target=entry.target,
        before=entry.before,
        after=entry.after,
        address=entry.address,
        request_id=entry.request_id,
        at=current.now(),
    )
    return audit_record(row)


def list_page(where: AuditFilter, *, limit: int, cursor: str | None = None) -> Page[AuditRecord]:
    """Return entries, newest first.

    Args:
        where: Which ones. Without a subscription those of all, which is for operators.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
    """
    query = AuditLog.select()
    wanted = {
        AuditLog.subscription_id: where.subscription_id,
        AuditLog.target: where.target,
        AuditLog.actor_id: where.actor_id,
    }
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column == value)
    if where.action is not None and where.action.endswith("*"):
        query = query.where(AuditLog.action.startswith(where.action[:-1]))
    elif where.action is not None:
        query = query.where(AuditLog.action == where.action)
    if where.since is not None:
        query = query.where(AuditLog.at >= where.since)
    if where.until is not None:
        query = query.where(AuditLog.at < where.until)
    if cursor is not None:
        query = query.where(AuditLog.id < cursor)
    rows = list(query.order_by(AuditLog.id.desc()).limit(limit + 1))
    items = tuple(audit_record(row) for row in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)


def purge(before: datetime, *, limit: int = 1000) -> int:
    """Delete up to ``limit`` entries older than ``before``; return how many. A write.

    The only way by which entries ever go, and only by age.
    """
    # Of the first so many, those that are old: to look for old ones among all would read all of
    # them when there are none.
    first = AuditLog.select(AuditLog.id, AuditLog.at).order_by(AuditLog.id).limit(limit)
    first = first.alias("first")
    oldest = peewee.Select([first], [first.c.id]).where(first.c.at < storable(before))
    return int(AuditLog.delete().where(AuditLog.id.in_(oldest)).execute())
