"""The instances of a tenant: list, create, read, rename, delete; and their events."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

import structlog

from wavisor.actors.instance.qr import QrCounter
from wavisor.actors.instance.state import state_of
from wavisor.actors.instances import InstanceUnavailableError
from wavisor.actors.removals import remove_instance
from wavisor.http.auditing import audit_entry
from wavisor.http.idempotency import (
    IDEMPOTENCY_HEADER,
    IDEMPOTENCY_PROBLEMS,
    ClaimedKey,
    once,
)
from wavisor.http.instances.schemas import (
    CreateInstance,
    EventModel,
    EventsQuery,
    InstanceDetail,
    InstanceQuery,
    InstanceSummary,
    UpdateInstance,
)
from wavisor.http.instances.views import detail_of, event_model, shown_settings, summary_of
from wavisor.http.pagination import decode_cursor, encode_cursor
from wavisor.http.permissions import Permission
from wavisor.http.positions import decode_position, encode_position
from wavisor.http.problems import TIER_LIMIT_REACHED, VALIDATION_FAILED, FieldProblem, ProblemError
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.http.schemas import Page
from wavisor.ids import Kind
from wavisor.netguard import ForbiddenTargetError, TargetRule
from wavisor.storage import InstanceRecord, NewAudit, Scope, audit, events, instances
from wavisor.whatsapp.proxy import ProxyUrl

__all__ = ["router"]

log = structlog.get_logger(__name__)

router = Router("instances", "The WhatsApp numbers of a subscription.")


@router.route(
    "GET",
    "/api/instances",
    operation="listInstances",
    summary="List instances",
    access=Permission.INSTANCES_READ,
    query=InstanceQuery,
    responses={200: Page[InstanceSummary]},
    confined=True,
)
async def list_instances(call: Call[None, InstanceQuery]) -> Reply:
    """Lists the subscription's instances, oldest first, each with its last written status."""
    query = call.query
    page = await call.services.database.fetch(
        instances.list_page,
        _scope(call),
        limit=query.limit,
        cursor=decode_cursor(query.cursor, Kind.INSTANCE),
        status=None if query.status is None else [query.status],
        only=call.principal.instance_id,
    )
    items = [summary_of(record) for record in page.items]
    return Reply(Page[InstanceSummary](items=items, next_cursor=encode_cursor(page.next_cursor)))


@router.route(
    "POST",
    "/api/instances",
    operation="createInstance",
    summary="Create an instance",
    access=Permission.INSTANCES_MANAGE,
    body=CreateInstance,
    responses={201: InstanceDetail, 202: InstanceDetail},
    problems=[TIER_LIMIT_REACHED, *IDEMPOTENCY_PROBLEMS],
    headers=IDEMPOTENCY_HEADER,
)
async def create_instance(call: Call[CreateInstance, None]) -> Reply:
    """Creates an instance, disconnected.

    The answer is 202 instead of 201 when the instance is stored but not ready to take commands
    yet; it will be shortly. How many instances there may be depends on the subscription's tier.
    """
    entry = audit_entry(call, "instance.create", None, after={"name": call.body.name})
    async with once(call, "", InstanceDetail) as request:
        if (earlier := request.replay(_location)) is not None:
            return earlier
        record, stored = await call.services.database.commit(
            _create, _scope(call), call.body.name, entry, request.key, call.services.clock.now()
        )
    headers = {"Location": _location(record)}
    try:
        snapshot = await call.services.instances.start(record.id)
    except InstanceUnavailableError as error:
        log.warning("the actor of a new instance has not started", error=str(error))
        return Reply(stored, HTTPStatus.ACCEPTED, headers)
    return Reply(detail_of(record, snapshot), HTTPStatus.CREATED, headers)


@router.route(
    "GET",
    "/api/instances/{id}",
    operation="getInstance",
    summary="Read an instance",
    access=Permission.INSTANCES_READ,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    responses={200: InstanceDetail},
)
async def get_instance(call: Call[None, None]) -> Reply:
    """Returns an instance with its state at this moment."""
    snapshot = await call.services.instances.snapshot(call.instance.id)
    return Reply(detail_of(call.instance, snapshot))


@router.route(
    "PATCH",
    "/api/instances/{id}",
    operation="updateInstance",
    summary="Change an instance",
    access=Permission.INSTANCES_MANAGE,
    parameters={"id": Kind.INSTANCE},
    body=UpdateInstance,
    responses={200: InstanceDetail},
    confined=True,
)
async def update_instance(call: Call[UpdateInstance, None]) -> Reply:
    """Changes the name or settings. They hold at once.

    The connection is not touched, but for another proxy, through which the instance connects anew.
    """
    # Not loaded by the framework: the update itself finds the row, or does not.
    identifier, body = call.path["id"], call.body
    call.confine(identifier)
    changes = None
    if body.settings is not None:
        changes = body.settings.model_dump(mode="json", by_alias=True, exclude_unset=True)
        _check_proxy(call, body.settings.proxy)
    entry = audit_entry(call, "instance.update", identifier)
    record = await call.services.database.commit(
        _update, _scope(call), identifier, body.name, changes, entry
    )
    if changes is not None:
        call.services.instances.settings_changed(record.id, record.settings)
    snapshot = await call.services.instances.snapshot(record.id)
    return Reply(detail_of(record, snapshot))


@router.route(
    "DELETE",
    "/api/instances/{id}",
    operation="deleteInstance",
    summary="Delete an instance",
    access=Permission.INSTANCES_MANAGE,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    responses={204: None},
)
async def delete_instance(call: Call[None, None]) -> Reply:
    """Ends the session and deletes the instance with its keys, messages and events.

    The device stays listed on the phone unless it was unlinked before, by the command `logout`.
    """
    instance, database = call.instance, call.services.database
    entry = audit_entry(call, "instance.delete", instance.id, before={"name": instance.name})
    await database.commit(audit.append, instance.subscription_id, entry)
    await remove_instance(
        _scope(call),
        instance.id,
        database=database,
        sessions=call.services.instances,
        media=call.services.media,
    )
    call.application.access_changes.announce(instance.id)
    return Reply(status=HTTPStatus.NO_CONTENT)


@router.route(
    "GET",
    "/api/instances/{id}/events",
    operation="listInstanceEvents",
    summary="List an instance's events",
    access=Permission.EVENTS_READ,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    query=EventsQuery,
    responses={200: Page[EventModel]},
)
async def list_events(call: Call[None, EventsQuery]) -> Reply:
    """Lists what happened to an instance, newest first, as far back as events are kept."""
    query = call.query
    page = await call.services.database.fetch(
        events.list_for_instance,
        _scope(call),
        call.instance.id,
        limit=query.limit,
        cursor=decode_position(query.cursor),
        types=query.wanted,
    )
    items = [event_model(record) for record in page.items]
    return Reply(Page[EventModel](items=items, next_cursor=encode_position(page.next_cursor)))


def _location(one: InstanceRecord | InstanceDetail) -> str:
    return f"/api/instances/{one.id}"


def _scope(call: Call[Any, Any]) -> Scope:
    return Scope(call.principal.subscription_id)


def _create(
    scope: Scope, name: str, entry: NewAudit, key: ClaimedKey | None, now: datetime
) -> tuple[InstanceRecord, InstanceDetail]:
    """Run in a write transaction: store an instance; return how it is before its actor is up."""
    record = instances.create(scope, name=name)
    audit.append(scope.subscription_id, replace(entry, target=record.id))
    detail = detail_of(record, state_of(record).snapshot(QrCounter(), now))
    if key is not None:
        key.finish(scope, HTTPStatus.CREATED, detail)
    return record, detail


def _check_proxy(call: Call[Any, Any], proxy: str | None) -> None:
    """Refuse a proxy that nobody may have the gateway connect to; names are resolved later."""
    if proxy is None:
        return
    rule = TargetRule(allow_private=call.services.settings.proxy_allow_private)
    try:
        rule.check_url(f"http://{ProxyUrl.parse(proxy).authority}/")
    except ForbiddenTargetError as error:
        problem = FieldProblem(detail=str(error), pointer="#/settings/proxy")
        raise ProblemError(VALIDATION_FAILED, errors=[problem]) from None


def _update(
    scope: Scope,
    instance_id: str,
    name: str | None,
    settings: dict[str, Any] | None,
    entry: NewAudit,
) -> InstanceRecord:
    before, record = instances.update(scope, instance_id, name=name, settings=settings)
    changed = {"name": name, "settings": settings}
    told = replace(entry, before=_trail(before, changed), after=_trail(record, changed))
    audit.append(scope.subscription_id, told)
    return record


def _trail(record: InstanceRecord, changed: dict[str, Any]) -> dict[str, Any]:
    """Return what the audit trail tells of an instance: what was asked to change, no secrets."""
    told: dict[str, Any] = {}
    if changed["name"] is not None:
        told["name"] = record.name
    if changed["settings"] is not None:
        shown = shown_settings(record.settings)
        told["settings"] = {name: shown.get(name) for name in changed["settings"]}
    return told
