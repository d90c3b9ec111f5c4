"""Telling that a write waits for another one's lock, on PostgreSQL."""

from __future__ import annotations

import time

from wavisor.storage import Database
from wavisor.storage.current import current_database

_WAITING = (
    "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock')"
)


def until_somebody_waits(database: Database, timeout: float = 10.0) -> None:
    """Return when a write waits for the lock of another one."""
    deadline = time.monotonic() + timeout
    while not database.read_wait(lambda: current_database().execute_sql(_WAITING).fetchone()[0]):
        assert time.monotonic() < deadline, "nobody waits"
