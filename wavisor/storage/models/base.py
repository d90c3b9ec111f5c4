"""What all models share: their database is that of the thread."""

# ruff: noqa: D106 - Meta is where peewee looks for options

from __future__ import annotations

from typing import Any

import peewee

from wavisor.storage.current import current_database, is_bound

__all__ = [
    "BaseModel",
]


class _ThreadMetadata(peewee.Metadata):
    """Metadata whose database is that of the thread, not of the process."""

    @property
    def database(self) -> peewee.Database | None:
        return current_database() if is_bound() else None

    @database.setter
    def database(self, value: Any) -> None:
        if value is not None:
            raise TypeError("the models belong to no single database")


class BaseModel(peewee.Model):
    """A table; its name is given, its database is bound by the thread that uses it."""

    class Meta:
        model_metadata_class = _ThreadMetadata
        legacy_table_names = False
