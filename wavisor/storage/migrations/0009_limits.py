"""Limits of a subscription's own, and the count of what it sends in a day."""

from __future__ import annotations

from typing import Any

import peewee


def up(migrator: Any, db: peewee.Database) -> None:
    """Widen the table of subscriptions."""
    for column in (
        "overrides TEXT",
        "messages_day TEXT",
        "messages_today INTEGER NOT NULL DEFAULT 0",
    ):
        db.execute_sql(f"ALTER TABLE subscriptions ADD COLUMN {column}")
