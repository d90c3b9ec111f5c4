"""Since when a subscription is being deleted."""

from __future__ import annotations

from typing import Any

import peewee


def up(migrator: Any, db: peewee.Database) -> None:
    """Widen the table of subscriptions."""
    # Text in SQLite, as every time is there.
    kind = "TEXT" if isinstance(db, peewee.SqliteDatabase) else "TIMESTAMPTZ"
    db.execute_sql(f"ALTER TABLE subscriptions ADD COLUMN deleted_at {kind}")
