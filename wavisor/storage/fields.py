"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import peewee

__all__ = ["FIELD_TYPES_SQLITE", "JsonField", "PositionField", "TextField", "TimeField", "storable"]

if TYPE_CHECKING:
    _TextField = peewee.TextField[Any]
    _Field = peewee.Field[Any]
    _BigAutoField = peewee.BigAutoField[Any]
else:  # generic in peewee's stubs only
    _TextField = peewee.TextField
    _Field = peewee.Field
    _BigAutoField = peewee.BigAutoField

FIELD_TYPES_SQLITE = {"TIMESTAMPTZ": "TEXT"}
"""What SQLite calls the column types of this module."""


# PostgreSQL's text takes no U+0000, and nobody's UTF-8 takes half a surrogate pair. People send
# both, and a name is not worth a failed transition.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: Any) -> Any:
    """Return what the drivers of both engines take for a value, by its type.

    Raises:
        ValueError: It is a time without a zone, or no JSON.
    """
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, str):
        return _storable_text(value)
    if isinstance(value, datetime):
        return _storable_time(value)
    return _storable_json(value)


def _storable_text(value: Any) -> str:
    return _UNSTORABLE.sub("\ufffd", str(value))


def _storable_time(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("a time without a zone cannot be stored")
    return value.astimezone(UTC).isoformat(sep=" ", timespec="microseconds")


def _storable_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


class TextField(_TextField):
    """Text as people write it; the few characters that cannot be stored become U+FFFD.

    That holds for values to be compared with as well, which then match nothing or the same.
    """

    def adapt(self, value: Any) -> str:
        """Return plain, storable text."""
        return _storable_text(value)


class TimeField(_Field):
    """An aware datetime in UTC, exact to the microsecond.

    Both engines are handed ISO 8601 text of fixed width, which SQLite sorts as text and
    PostgreSQL reads into a ``timestamptz``.
    """

    field_type = "TIMESTAMPTZ"

    def db_value(self, value: datetime | None) -> str | None:
        """Return the text that both engines sort and read."""
        return None if value is None else _storable_time(value)

    def python_value(self, value: str | datetime | None) -> datetime | None:
        """Return an aware datetime in UTC."""
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


class JsonField(_Field):
    """A JSON value as text.

    Not ``jsonb``, because nothing queries inside it, and because ``jsonb`` refuses U+0000, which
    people on WhatsApp may well send.
    """

    field_type = "TEXT"

    def db_value(self, value: Any) -> str | None:
        """Return the value as compact JSON; None is SQL's NULL."""
        return None if value is None else _storable_json(value)

    def python_value(self, value: str | None) -> Any:
        """Return what was stored."""
        return None if value is None else json.loads(value)


class PositionField(_BigAutoField):
    """A growing 64-bit key that is never given out twice.

    SQLite reuses the keys of deleted last rows unless it is told AUTOINCREMENT.
    """

    def ddl(self, ctx: Any) -> Any:
        """Return the column's definition for the engine of its model."""
        definition = super().ddl(ctx)
        if isinstance(self.model._meta.database, peewee.SqliteDatabase):
            return peewee.NodeList((definition, peewee.SQL("AUTOINCREMENT")))
        return definition
