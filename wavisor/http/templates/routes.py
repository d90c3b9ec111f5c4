"""Keeping templates."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from wavisor.http.auditing import audit_entry
from wavisor.http.idempotency import (
    IDEMPOTENCY_HEADER,
    IDEMPOTENCY_PROBLEMS,
    ClaimedKey,
    once,
)
from wavisor.http.pagination import decode_cursor, encode_cursor
from wavisor.http.permissions import Permission
from wavisor.http.positions import decode_position, encode_position
from wavisor.http.problems import (
    LIMIT_REACHED,
    NOT_FOUND,
    ProblemError,
    ProblemKind,
)
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Page, PageQuery
from wavisor.http.templates.rendering import check_template, content_with
from wavisor.http.templates.schemas import (
    CreateTemplate,
    PreviewTemplate,
    RenderedTemplate,
    TemplateModel,
    UpdateTemplate,
    VersionQuery,
    template_model,
)
from wavisor.ids import Kind
from wavisor.storage import (
    Conflict,
    NewAudit,
    NewTemplateVersion,
    Scope,
    TemplateRecord,
    audit,
    templates,
)
from wavisor.templating import Variable

__all__ = ["load_template", "router"]

router = Router("templates", "Messages with places for values.")

NAME_TAKEN = ProblemKind("name-taken", 409, "Another one has this name, or changed meanwhile")

_ID = {"id": Kind.TEMPLATE}


@router.route(
    "GET",
    "/api/templates",
    operation="listTemplates",
    summary="List templates",
    access=Permission.TEMPLATES_READ,
    query=PageQuery,
    responses={200: Page[TemplateModel]},
    shared=True,
)
async def list_templates(call: Call[None, PageQuery]) -> Reply:
    """Lists the subscription's templates in their newest versions, oldest first."""
    page = await call.services.database.fetch(
        templates.list_page,
        _scope(call),
        limit=call.query.limit,
        cursor=decode_cursor(call.query.cursor, Kind.TEMPLATE),
    )
    items = [template_model(record) for record in page.items]
    return Reply(Page[TemplateModel](items=items, next_cursor=encode_cursor(page.next_cursor)))


@router.route(
    "POST",
    "/api/templates",
    operation="createTemplate",
    summary="Create a template",
    access=Permission.TEMPLATES_MANAGE,
    body=CreateTemplate,
    responses={201: TemplateModel},
    problems=[NAME_TAKEN, LIMIT_REACHED, *IDEMPOTENCY_PROBLEMS],
    headers=IDEMPOTENCY_HEADER,
)
async def create_template(call: Call[CreateTemplate, None]) -> Reply:
    """Creates a template with its first version.

    Placeholders are `{{name}}`, in any text of the content; a value is put in literally. The
    content is checked as if it were sent, with an example for every variable.
    """
    body = call.body
    check_template(body.kind, body.content, body.variables)
    entry = audit_entry(call, "template.create", None, after={"name": body.name, "version": 1})
    async with once(call, "", TemplateModel) as request:
        if (earlier := request.replay(_location)) is not None:
            return earlier
        record = await _commit(
            call,
            _create,
            _scope(call),
            body.name,
            body.description,
            _version(body.kind, body.content, body.variables),
            entry,
            request.key,
        )
    headers = {"Location": _location(record)}
    return Reply(template_model(record), HTTPStatus.CREATED, headers)


@router.route(
    "GET",
    "/api/templates/{id}",
    operation="getTemplate",
    summary="Read a template",
    access=Permission.TEMPLATES_READ,
    parameters=_ID,
    query=VersionQuery,
    responses={200: TemplateModel},
    shared=True,
)
async def get_template(call: Call[None, VersionQuery]) -> Reply:
    """Returns a template in its newest version, or in the one that is asked for."""
    return Reply(template_model(await load_template(call, call.path["id"], call.query.version)))


@router.route(
    "GET",
    "/api/templates/{id}/versions",
    operation="listTemplateVersions",
    summary="List a template's versions",
    access=Permission.TEMPLATES_READ,
    parameters=_ID,
    query=PageQuery,
    responses={200: Page[TemplateModel]},
    shared=True,
)
async def list_versions(call: Call[None, PageQuery]) -> Reply:
    """Lists what a template said in each of its versions, newest first."""
    limit, below = call.query.limit, decode_position(call.query.cursor)
    await load_template(call, call.path["id"], None)
    found = await call.services.database.fetch(
        templates.versions,
        _scope(call),
        call.path["id"],
        limit=limit + 1,
        before=None if below is None else int(below),
    )
    after = encode_position(str(found[limit - 1].version)) if len(found) > limit else None
    items = [template_model(record) for record in found[:limit]]
    return Reply(Page[TemplateModel](items=items, next_cursor=after))


@router.route(
    "PATCH",
    "/api/templates/{id}",
    operation="updateTemplate",
    summary="Change a template",
    access=Permission.TEMPLATES_MANAGE,
    parameters=_ID,
    body=UpdateTemplate,
    responses={200: TemplateModel},
    problems=[NAME_TAKEN],
)
async def update_template(call: Call[UpdateTemplate, None]) -> Reply:
    """Renames a template, or makes a new version of what it says."""
    body = call.body
    stored = await load_template(call, call.path["id"], None)
    version = None
    if body.changes_version:
        kind = body.kind or stored.kind
        content = stored.content if body.content is None else body.content
        variables = _variables(stored) if body.variables is None else body.variables
        check_template(kind, content, variables)
        version = _version(kind, content, variables)
    changes = {
        name: getattr(body, name) for name in body.model_fields_set & {"name", "description"}
    }
    entry = audit_entry(
        call,
        "template.update",
        stored.id,
        before={name: getattr(stored, name) for name in ("version", *changes)},
        after={**changes, "version": stored.version + (version is not None)},
    )
    record = await _commit(
        call, _update, _scope(call), stored.id, changes, version, stored.version, entry
    )
    return Reply(template_model(record))


@router.route(
    "DELETE",
    "/api/templates/{id}",
    operation="deleteTemplate",
    summary="Delete a template",
    access=Permission.TEMPLATES_MANAGE,
    parameters=_ID,
    responses={204: None},
)
async def delete_template(call: Call[None, None]) -> Reply:
    """Deletes a template with all its versions. Messages that were made of it stay."""
    entry = audit_entry(call, "template.delete", call.path["id"])
    await call.services.database.commit(_delete, _scope(call), call.path["id"], entry)
    return Reply(status=HTTPStatus.NO_CONTENT)


@router.route(
    "POST",
    "/api/templates/{id}/preview",
    operation="previewTemplate",
    summary="Try a template",
    access=Permission.TEMPLATES_READ,
    parameters=_ID,
    body=PreviewTemplate,
    responses={200: RenderedTemplate},
    shared=True,
)
async def preview_template(call: Call[PreviewTemplate, None]) -> Reply:
    """Returns what a template says with the values given. Nothing is sent, nothing fetched."""
    record = await load_template(call, call.path["id"], call.body.version)
    content = content_with(record, call.body.variables)
    return Reply(
        RenderedTemplate(kind=record.kind, version=record.version, content=content)  # type: ignore[arg-type]  # only such are stored
    )


async def load_template(
    call: Call[Any, Any], template_id: str, version: int | None
) -> TemplateRecord:
    """Return the tenant's template.

    Raises:
        ProblemError: there is no such template, or no such version.
    """
    record = await call.services.database.fetch(templates.get, _scope(call), template_id, version)
    if record is None:
        raise ProblemError(NOT_FOUND)
    return record


async def _commit(call: Call[Any, Any], function: Any, *arguments: Any) -> TemplateRecord:
    try:
        record: TemplateRecord = await call.services.database.commit(function, *arguments)
    except Conflict as error:
        raise ProblemError(NAME_TAKEN, f"It cannot be stored: {error}.") from None
    return record


def _create(
    scope: Scope,
    name: str,
    description: str | None,
    version: NewTemplateVersion,
    entry: NewAudit,
    key: ClaimedKey | None,
) -> TemplateRecord:
    record = templates.create(scope, name=name, description=description, version=version)
    audit.append(scope.subscription_id, replace(entry, target=record.id))
    if key is not None:
        key.finish(scope, HTTPStatus.CREATED, template_model(record))
    return record


def _update(
    scope: Scope,
    template_id: str,
    changes: dict[str, str | None],
    version: NewTemplateVersion | None,
    based_on: int,
    entry: NewAudit,
) -> TemplateRecord:
    record = templates.update(
        scope, template_id, changes=changes, version=version, based_on=based_on
    )
    audit.append(scope.subscription_id, entry)
    return record


def _delete(scope: Scope, template_id: str, entry: NewAudit) -> None:
    record = templates.delete(scope, template_id)
    audit.append(
        scope.subscription_id,
        replace(entry, before={"name": record.name, "version": record.version}),
    )


def _version(kind: str, content: Any, variables: tuple[Variable, ...]) -> NewTemplateVersion:
    return NewTemplateVersion(
        kind=kind,
        content=dict(content),
        variables=[one.model_dump(mode="json", by_alias=True) for one in variables],
    )


def _variables(record: TemplateRecord) -> tuple[Variable, ...]:
    return tuple(Variable.model_validate(one) for one in record.variables)


def _location(one: TemplateRecord | TemplateModel) -> str:
    return f"/api/templates/{one.id}"


def _scope(call: Call[Any, Any]) -> Scope:
    return Scope(call.principal.subscription_id)
