"""Who asked for a message to be sent."""

from __future__ import annotations

from typing import Any

import peewee


def up(migrator: Any, db: peewee.Database) -> None:
    """Add the column; of earlier messages it is not known."""
    db.execute_sql("ALTER TABLE messages ADD COLUMN created_by TEXT")
