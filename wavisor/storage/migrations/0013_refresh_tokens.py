"""An index by which expired refresh tokens are found and forgotten."""

from __future__ import annotations

from typing import Any

import peewee


def up(migrator: Any, db: peewee.Database) -> None:
    """Add the index."""
    db.execute_sql("CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at)")
