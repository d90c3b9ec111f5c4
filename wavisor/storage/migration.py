"""Brings a database to the schema of this version, once, under a lock."""

from __future__ import annotations

from pathlib import Path

import peewee
import structlog
from playhouse.migrations import MigrationError, Runner

from wavisor.storage.engine import Engine
from wavisor.storage.errors import SchemaTooNew, StorageError

__all__ = ["MIGRATIONS", "migrate"]

MIGRATIONS = Path(__file__).parent / "migrations"
"""Where the numbered migrations lie."""

log = structlog.get_logger(__name__)


def migrate(engine: Engine, *, timeout: float = 60.0, directory: Path = MIGRATIONS) -> list[str]:
    """Apply the migrations that the database lacks; return their names.

    Args:
        engine: The database.
        timeout: Seconds to wait for another process that is migrating.
        directory: Where the migrations lie.

    Raises:
        SchemaTooNew: The database has migrations that this version does not know.
        StorageError: It cannot be reached, or a migration failed; then nothing of that one stays.
    """
    try:
        with engine.migration_lock(timeout) as database:
            return _apply(database, directory)
    except (peewee.PeeweeException, MigrationError) as error:
        failure = engine.translate(error)
        if isinstance(failure, MigrationError):
            failure = StorageError(f"migrating the database failed: {error}")
        raise failure from error


def _apply(database: peewee.Database, directory: Path) -> list[str]:
    runner = Runner(database, str(directory))
    unknown = set(runner.applied()) - {migration.name for migration in runner.migrations()}
    if unknown:
        raise SchemaTooNew(
            f"the database was migrated by a newer version of Wavisor (it has {max(unknown)}); "
            "upgrade Wavisor, or restore the backup from before the upgrade"
        )
    applied: list[str] = runner.up()
    for name in applied:
        log.info("database migrated", migration=name)
    return applied
