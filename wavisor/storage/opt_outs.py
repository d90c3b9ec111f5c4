"""Who wants no campaign of a tenant."""

from __future__ import annotations

from wavisor.storage import current
from wavisor.storage.campaign_records import OptOutRecord
from wavisor.storage.errors import NotFound
from wavisor.storage.models import OptOut
from wavisor.storage.records import Page
from wavisor.storage.scope import Scope

__all__ = ["add", "list_page", "remove"]


def add(scope: Scope, chat: str, source: str) -> OptOutRecord:
    """Note that somebody wants no campaign; once, however often it is said. A write.

    Args:
        scope: The tenant.
        chat: JID of the person.
        source: ``api``, or ``keyword`` when they wrote it themselves.
    """
    OptOut.insert(
        subscription=scope.subscription_id, chat=chat, source=source, at=current.now()
    ).on_conflict_ignore().execute()
    row = scope.select(OptOut).where(OptOut.chat == chat).get()
    return _record(row)


def remove(scope: Scope, chat: str) -> None:
    """Let somebody get campaigns again. A write.

    Raises:
        NotFound: They are not on the list.
    """
    if not scope.delete(OptOut).where(OptOut.chat == chat).execute():
        raise NotFound("not on the list")


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
