"""What all that operators do from the shell has in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wavisor import metrics
from wavisor.clock import SystemClock
from wavisor.config import Settings
from wavisor.storage import Database

__all__ = ["AdminError", "opened"]


class AdminError(Exception):
    """What was asked for cannot be done; says why in one sentence."""


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """Open the database of an installation for a while."""
    database = Database(
        settings.effective_database_url,
        clock=SystemClock(),
        busy_timeout=settings.database_busy_timeout_seconds,
        on_query=metrics.observe_database,
    )
    database.open()
    try:
        yield database
    finally:
        database.close()
