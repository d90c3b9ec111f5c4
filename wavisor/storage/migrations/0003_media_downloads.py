"""What fetching the files of received messages needs: attempts, and when to try again."""

from __future__ import annotations

from typing import Any

import peewee


def up(migrator: Any, db: peewee.Database) -> None:
    """Widen the table of files."""
    time = "TEXT" if isinstance(db, peewee.SqliteDatabase) else "TIMESTAMPTZ"
    db.execute_sql("ALTER TABLE media ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0")
    db.execute_sql(f"ALTER TABLE media ADD COLUMN retry_at {time}")
    db.execute_sql(
        "CREATE INDEX media_subscription_id_created_at ON media (subscription_id, created_at) "
        "WHERE state = 'pending'"
    )
