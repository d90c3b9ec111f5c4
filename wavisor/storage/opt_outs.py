"""Who wants no campaign of a tenant."""

from __future__ import annotations

from wavisor.storage import current
from wavisor.storage.campaign_records import OptOutRecord
from wavisor.storage.errors import NotFound
from wavisor.storage.models import OptOut
from wavisor.storage.records import Page
from wavisor.storage.scope import Scope

__all__ = ["add", "list_page", "remove"]


def add(scope: Scope, chat: str, source: str) -> tuple[OptOutRecord, bool]:
    """Note that somebody wants no campaign; once, however often it is said. A write.

    Args:
        scope: The tenant.
        chat: JID of the person.
        source: ``api``, or ``keyword`` when they wrote it themselves.

    Returns:
        Since when they are on the list, and whether that is news.
    """
    added = (
        OptOut.insert(
            subscription=scope.subscription_id, chat=chat, source=source, at=current.now()
        )
        .on_conflict_ignore()
        .returning(OptOut)
        .execute()
    )
    fresh = next(iter(added), None)
    row = fresh or scope.select(OptOut).where(OptOut.chat == chat).get()
    return _record(row), fresh is not None


def remove(scope: Scope, chat: str) -> OptOutRecord:
    """Let somebody get campaigns again; return what was on the list. A write.

    Raises:
        NotFound: They are not on the list.
    """
    gone = scope.delete(OptOut).where(OptOut.chat == chat).returning(OptOut).execute()
    row = next(iter(gone), None)
    if row is None:
        raise NotFound("not on the list")
    return _record(row)


def list_page(scope: Scope, *, limit: int, after: int | None = None) -> Page[OptOutRecord]:
    """Return who wants no campaign, in the order in which they said so.

    Args:
        scope: The tenant.
        limit: How many at most.
        after: ``next_cursor`` of the page before, as a number.
    """
    query = scope.select(OptOut).where(OptOut.id > (after or 0)).order_by(OptOut.id)
    rows = list(query.limit(limit + 1))
    items = tuple(_record(row) for row in rows[:limit])
    return Page(items, str(items[-1].id) if len(rows) > limit else None)


def _record(row: OptOut) -> OptOutRecord:
    return OptOutRecord(id=row.id, chat=row.chat, source=row.source, at=row.at)
