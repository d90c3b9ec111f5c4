"""Templates of a tenant. A change of what one says adds a version; earlier ones stay readable."""

from __future__ import annotations

from typing import Any

import peewee

from wavisor.ids import Kind, new_id
from wavisor.storage import current, quotas
from wavisor.storage.errors import Conflict, NotFound, TooMany
from wavisor.storage.models import Template, TemplateVersion
from wavisor.storage.records import Page
from wavisor.storage.scope import Scope
from wavisor.storage.template_records import NewTemplateVersion, TemplateRecord

__all__ = ["TEMPLATE_LIMIT", "create", "delete", "find", "get", "list_page", "update", "versions"]

TEMPLATE_LIMIT = 1000
"""How many templates a subscription may have."""


def create(
    scope: Scope, *, name: str, description: str | None, version: NewTemplateVersion
) -> TemplateRecord:
    """Create a template with its first version. A write.

    Raises:
        Conflict: The tenant has one of that name.
        TooMany: It has :data:`TEMPLATE_LIMIT` already.
        NotFound: The subscription is gone.
    """
    quotas.lock_subscription(scope)
    if scope.select(Template, Template.id).count() >= TEMPLATE_LIMIT:
        raise TooMany("templates", TEMPLATE_LIMIT)
    _check_name(scope, name)
    now = current.now()
    row = Template.create(
        id=new_id(Kind.TEMPLATE),
        subscription=scope.subscription_id,
        name=name,
        description=description,
        version=1,
        created_at=now,
        updated_at=now,
    )
    _add_version(row.id, 1, version)
    return _load(scope, Template.id == row.id)


def get(scope: Scope, template_id: str, version: int | None = None) -> TemplateRecord | None:
    """Return the tenant's template in a version, the newest one by default; None if there is none.

    Args:
        scope: The tenant.
        template_id: Which template.
        version: Which version.
    """
    return _find(scope, Template.id == template_id, version)


def find(scope: Scope, name: str, version: int | None = None) -> TemplateRecord | None:
    """Return the tenant's template of this name; see :func:`get`."""
    return _find(scope, Template.name == name, version)


def list_page(scope: Scope, *, limit: int, cursor: str | None = None) -> Page[TemplateRecord]:
    """Return the tenant's templates in their newest version, oldest first.

    Args:
        scope: The tenant.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
    """
    query = _select(scope, None).where(Template.id > (cursor or ""))
    rows = list(query.order_by(Template.id).limit(limit + 1).namedtuples())
    items = tuple(_record(row) for row in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)


def versions(
    scope: Scope, template_id: str, *, limit: int, before: int | None = None
) -> tuple[TemplateRecord, ...]:
    """Return versions of the tenant's template, newest first.

    Args:
        scope: The tenant.
        template_id: Which template.
        limit: How many at most.
        before: Only versions below this one; None for all.
    """
    query = _joined(scope).where(Template.id == template_id)
    if before is not None:
        query = query.where(TemplateVersion.version < before)
    rows = query.order_by(TemplateVersion.version.desc()).limit(limit).namedtuples()
    return tuple(_record(row) for row in rows)


def update(
    scope: Scope,
    template_id: str,
    *,
    changes: dict[str, str | None],
    version: NewTemplateVersion | None,
    based_on: int,
) -> TemplateRecord:
    """Rename a template, describe it anew or add a version. A write.

    Args:
        scope: The tenant.
        template_id: Which template.
        changes: New values of ``name`` and ``description``.
        version: What it says from now on; None for the same as before.
        based_on: The version that the caller looked at.

    Raises:
        NotFound: The tenant has no such template.
        Conflict: Another one has that name, or it was changed since.
    """
    row = current.lock_rows(scope.select(Template).where(Template.id == template_id)).get_or_none()
    if row is None:
        raise NotFound("no such template")
    if version is not None and row.version != based_on:
        raise Conflict("the template was changed at the same moment")
    name = changes.get("name")
    if name is not None and name != row.name:
        _check_name(scope, name)
    values: dict[str, Any] = {**changes, "updated_at": current.now()}
    if version is not None:
        values["version"] = row.version + 1
        _add_version(template_id, row.version + 1, version)
    scope.update(Template, **values).where(Template.id == template_id).execute()
    return _load(scope, Template.id == template_id)


def delete(scope: Scope, template_id: str) -> TemplateRecord:
    """Delete a template with all its versions. A write.

    Messages that were made of it stay.

    Raises:
        NotFound: The tenant has no such template.
    """
    record = _load(scope, Template.id == template_id)
    scope.delete(Template).where(Template.id == template_id).execute()
    return record


def _check_name(scope: Scope, name: str) -> None:
    if scope.select(Template, Template.id).where(Template.name == name).exists():
        raise Conflict("another template has this name")


def _add_version(template_id: str, number: int, version: NewTemplateVersion) -> None:
    TemplateVersion.create(
        template=template_id,
        version=number,
        kind=version.kind,
        content=version.content,
        variables=version.variables,
        created_at=current.now(),
    )


def _joined(scope: Scope) -> Any:
    return (
        scope.select(
            Template,
            Template.id,
            Template.subscription,
            Template.name,
            Template.description,
            Template.version.alias("latest_version"),
            Template.created_at,
            Template.updated_at,
            TemplateVersion.version.alias("shown_version"),
            TemplateVersion.kind,
            TemplateVersion.content,
            TemplateVersion.variables,
            TemplateVersion.created_at.alias("version_created_at"),
        )
        .join(TemplateVersion, on=(TemplateVersion.template == Template.id))
        .switch(Template)
    )


def _select(scope: Scope, version: int | None) -> Any:
    wanted: Any = Template.version if version is None else version
    return _joined(scope).where(TemplateVersion.version == wanted)


def _find(scope: Scope, where: peewee.Expression, version: int | None) -> TemplateRecord | None:
    row = next(iter(_select(scope, version).where(where).limit(1).namedtuples()), None)
    return None if row is None else _record(row)


def _load(scope: Scope, where: peewee.Expression) -> TemplateRecord:
    record = _find(scope, where, None)
    if record is None:
        raise NotFound("no such template")
    return record


def _record(row: Any) -> TemplateRecord:
    return TemplateRecord(
        id=row.id,
        subscription_id=row.subscription,
        name=row.name,
        description=row.description,
        latest_version=row.latest_version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.shown_version,
        kind=row.kind,
        content=row.content,
        variables=row.variables,
        version_created_at=row.version_created_at,
    )
