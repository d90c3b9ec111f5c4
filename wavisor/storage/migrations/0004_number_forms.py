"""What chats remember of numbers that are written in two ways: the other form, and since when."""

from __future__ import annotations

from typing import Any

import peewee


def up(migrator: Any, db: peewee.Database) -> None:
    """Widen the table of chats."""
    time = "TEXT" if isinstance(db, peewee.SqliteDatabase) else "TIMESTAMPTZ"
    db.execute_sql("ALTER TABLE chats ADD COLUMN alias TEXT")
    db.execute_sql(f"ALTER TABLE chats ADD COLUMN checked_at {time}")
    db.execute_sql("CREATE INDEX chats_instance_id_alias ON chats (instance_id, alias)")
