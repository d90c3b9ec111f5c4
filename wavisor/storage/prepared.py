"""Queries whose text is generated once, because generating it costs more than running them.

peewee builds the text of a statement anew each time, which takes about 0.5 ms of the interpreter
on a small machine; with it, a page of 40 instances takes 4 ms. The statements that every request
and every event needs are therefore built once per engine, with slots for their values::

    _GET = Prepared(lambda slot: Scope(slot("scope")).select(Instance).where(...))
    row = _GET.one(scope=scope.subscription_id, id=instance_id)
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

import peewee

from wavisor.storage.current import current_database
from wavisor.storage.fields import storable

__all__ = ["Prepared", "insert", "insert_new"]


class _Name(str):
    """Stands in a statement's parameters for the value of this name."""

    __slots__ = ()


class _Slot(peewee.Node):
    def __init__(self, name: str) -> None:
        self._name = _Name(name)

    def __sql__(self, ctx: Any) -> Any:
        # False: the value is converted on each run, not the name once.
        return ctx.value(self._name, converter=False)


class _Statement:
    """One engine's text of a query, its parameters in order, and how to read its rows."""

    def __init__(self, query: Any, database: peewee.Database) -> None:
        self.sql, self._parameters = database.get_sql_context().sql(query).query()
        columns = [_column(node) for node in query._returning or ()]
        names = [name for name, _ in columns]
        self._make = namedtuple("Row", names)._make  # type: ignore[attr-defined]  # made at run time
        self._readers = [(at, read) for at, (_, read) in enumerate(columns) if read is not None]

    def parameters(self, values: Mapping[str, Any]) -> list[Any]:
        return [
            storable(values[one]) if isinstance(one, _Name) else one for one in self._parameters
        ]

    def row(self, found: tuple[Any, ...]) -> Any:
        values = list(found)
        for at, read in self._readers:
            if values[at] is not None:
                values[at] = read(values[at])
        return self._make(values)


def _column(node: Any) -> tuple[str, Callable[[Any], Any] | None]:
    if isinstance(node, peewee.Alias):
        return node.name, _reader(node.node)
    return node.column_name, _reader(node)


def _reader(field: Any) -> Callable[[Any], Any] | None:
    """Return the field's conversion, or None for those of which the driver needs none."""
    if not isinstance(field, peewee.Field):
        return None  # a function's result
    if isinstance(field, (peewee.TextField, peewee.IntegerField, peewee.ForeignKeyField)):
        return None
    read: Callable[[Any], Any] = field.python_value
    return read


class Prepared:
    """A query that is generated on first use, once per engine.

    Args:
        build: Given a function from names to slots, returns the query. A value that is compared
            with or assigned to a column goes into a slot.
    """

    def __init__(self, build: Callable[[Callable[[str], Any]], Any]) -> None:
        self._build = build
        self._statements: dict[type[peewee.Database], _Statement] = {}

    def rows(self, **values: Any) -> list[Any]:
        """Run it; return its rows as objects with the attributes of the model's rows."""
        statement, cursor = self._run(values)
        try:
            found = cursor.fetchall()
        finally:
            cursor.close()
        return [statement.row(one) for one in found]

    def one(self, **values: Any) -> Any:
        """Run it; return its first row or None."""
        found = self.rows(**values)
        return found[0] if found else None

    def change(self, **values: Any) -> int:
        """Run it; return how many rows it changed."""
        _, cursor = self._run(values)
        count: int = cursor.rowcount
        cursor.close()
        return count

    def _run(self, values: Mapping[str, Any]) -> tuple[_Statement, Any]:
        database = current_database()
        statement = self._statements.get(type(database))
        if statement is None:
            statement = _Statement(self._build(_Slot), database)
            self._statements[type(database)] = statement
        return statement, database.execute_sql(statement.sql, statement.parameters(values))


def insert(model: type[peewee.Model], **values: Any) -> Any:
    """Insert a row; return it as an object with the attributes of the model's rows.

    Args:
        model: The table.
        values: By column name; columns that are not named get the model's default or NULL.
    """
    stored = {**_defaults(model), **values}
    [made] = _insertion(model).rows(**stored)
    return SimpleNamespace(**{**stored, **made._asdict()})


def insert_new(model: type[peewee.Model], **values: Any) -> Any:
    """Insert a row as :func:`insert` does, unless it would repeat a unique one; None then."""
    stored = {**_defaults(model), **values}
    made = _insertion_of_new(model).one(**stored)
    return None if made is None else SimpleNamespace(**{**stored, **made._asdict()})


@cache
def _defaults(model: type[peewee.Model]) -> dict[str, Any]:
    return {
        field.column_name: field.default
        for field in model._meta.sorted_fields
        if not isinstance(field, peewee.AutoField)
    }


@cache
def _insertion(model: type[peewee.Model]) -> Prepared:
    return Prepared(lambda slot: _insert_into(model, slot))


@cache
def _insertion_of_new(model: type[peewee.Model]) -> Prepared:
    return Prepared(lambda slot: _insert_into(model, slot).on_conflict_ignore())


def _insert_into(model: type[peewee.Model], slot: Callable[[str], Any]) -> Any:
    fields = [one for one in model._meta.sorted_fields if not isinstance(one, peewee.AutoField)]
    query = model.insert({one: slot(one.column_name) for one in fields})
    return query.returning(model._meta.primary_key)
