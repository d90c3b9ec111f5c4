"""Managing webhooks: those of an instance, and those for all instances of a subscription."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

from wavisor.http.auditing import audit_entry
from wavisor.http.pagination import decode_cursor, encode_cursor
from wavisor.http.permissions import Permission
from wavisor.http.problems import LIMIT_REACHED, NOT_FOUND, TIER_LIMIT_REACHED, ProblemError
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.http.schemas import Empty, Page, PageQuery
from wavisor.http.webhooks.schemas import (
    CreateWebhook,
    NewWebhook,
    RotateSecret,
    UpdateWebhook,
    Webhook,
    webhook_fields,
)
from wavisor.ids import Kind
from wavisor.storage import (
    EndpointChanges,
    EndpointRecord,
    NewAudit,
    NewEndpoint,
    Scope,
    audit,
    webhooks,
)
from wavisor.webhooks import new_secret

__all__ = ["load_webhook", "place_of", "router"]

router = Router("webhooks", "Servers that are told of events.")

READ: Mapping[str, Any] = {"access": Permission.WEBHOOKS_READ}
MANAGED: Mapping[str, Any] = {"access": Permission.WEBHOOKS_MANAGE}
OF_INSTANCE: Mapping[str, Any] = {
    "parameters": {"id": Kind.INSTANCE},
    "instance": InstanceFrom.PATH,
}
ONE_OF_INSTANCE: Mapping[str, Any] = {
    "parameters": {"id": Kind.INSTANCE, "webhookId": Kind.WEBHOOK},
    "instance": InstanceFrom.PATH,
}
ONE: Mapping[str, Any] = {"parameters": {"webhookId": Kind.WEBHOOK}}

_LIST: Mapping[str, Any] = {**READ, "query": PageQuery, "responses": {200: Page[Webhook]}}
_CREATE: Mapping[str, Any] = {
    **MANAGED,
    "body": CreateWebhook,
    "responses": {201: NewWebhook},
    "problems": [TIER_LIMIT_REACHED, LIMIT_REACHED],
}
_GET: Mapping[str, Any] = {**READ, "responses": {200: Webhook}}
_UPDATE: Mapping[str, Any] = {**MANAGED, "body": UpdateWebhook, "responses": {200: Webhook}}
_DELETE: Mapping[str, Any] = {**MANAGED, "responses": {204: None}}
_ROTATE: Mapping[str, Any] = {**MANAGED, "body": RotateSecret, "responses": {200: NewWebhook}}
_ENABLE: Mapping[str, Any] = {**MANAGED, "body": Empty, "responses": {200: Webhook}}


@router.route(
    "GET",
    "/api/instances/{id}/webhooks",
    operation="listInstanceWebhooks",
    summary="List an instance's webhooks",
    **OF_INSTANCE,
    **_LIST,
)
@router.route(
    "GET",
    "/api/webhooks",
    operation="listWebhooks",
    summary="List the webhooks for all instances",
    **_LIST,
)
async def list_webhooks(call: Call[None, PageQuery]) -> Reply:
    """Lists webhooks, oldest first. Secrets and the values of headers are not shown."""
    page = await call.services.database.fetch(
        webhooks.list_page,
        *place_of(call),
        limit=call.query.limit,
        cursor=decode_cursor(call.query.cursor, Kind.WEBHOOK),
    )
    items = [_model(call, record) for record in page.items]
    return Reply(Page[Webhook](items=items, next_cursor=encode_cursor(page.next_cursor)))


@router.route(
    "POST",
    "/api/instances/{id}/webhooks",
    operation="createInstanceWebhook",
    summary="Register a webhook for an instance",
    **OF_INSTANCE,
    **_CREATE,
)
@router.route(
    "POST",
    "/api/webhooks",
    operation="createWebhook",
    summary="Register a webhook for all instances",
    **_CREATE,
)
async def create_webhook(call: Call[CreateWebhook, None]) -> Reply:
    """Registers a webhook. The answer holds its secret, which is shown this once.

    From now on every event that fits is delivered as Standard Webhooks 1.0 has it, at least once.
    """
    body = call.body
    await call.application.webhook_targets.require(body.url)
    scope, instance_id = place_of(call)
    new = NewEndpoint(
        url=body.url,
        secret=new_secret(),
        events=body.events,
        headers=body.headers,
        description=body.description,
        enabled=body.enabled,
        strict_order=body.strict_order,
        instance_id=instance_id,
    )
    after = {"origin": _origin(body.url), "events": list(body.events), "enabled": body.enabled}
    entry = audit_entry(call, "webhook.create", None, after=after)
    record = await call.services.database.commit(_create, scope, new, entry)
    where = "/api/webhooks" if instance_id is None else f"/api/instances/{instance_id}/webhooks"
    headers = {"Location": f"{where}/{record.id}"}
    return Reply(_with_secret(call, record), HTTPStatus.CREATED, headers)


@router.route(
    "GET",
    "/api/instances/{id}/webhooks/{webhookId}",
    operation="getInstanceWebhook",
    summary="Read an instance's webhook",
    **ONE_OF_INSTANCE,
    **_GET,
)
@router.route(
    "GET",
    "/api/webhooks/{webhookId}",
    operation="getWebhook",
    summary="Read a webhook for all instances",
    **ONE,
    **_GET,
)
async def get_webhook(call: Call[None, None]) -> Reply:
    """Returns a webhook and how it fares."""
    return Reply(_model(call, await load_webhook(call)))


@router.route(
    "PATCH",
    "/api/instances/{id}/webhooks/{webhookId}",
    operation="updateInstanceWebhook",
    summary="Change an instance's webhook",
    **ONE_OF_INSTANCE,
    **_UPDATE,
)
@router.route(
    "PATCH",
    "/api/webhooks/{webhookId}",
    operation="updateWebhook",
    summary="Change a webhook for all instances",
    **ONE,
    **_UPDATE,
)
async def update_webhook(call: Call[UpdateWebhook, None]) -> Reply:
    """Changes a webhook. What waits for it is delivered as it is then.

    While it is switched off, nothing is attempted and no event is noted for it; a replay of that
    time delivers them later.
    """
    before = await load_webhook(call)
    changes = call.body.model_dump(include=call.body.model_fields_set)
    if "events" in changes:
        changes["events"] = list(changes["events"])
    if "url" in changes:
        await call.application.webhook_targets.require(changes["url"])
    return await _change(call, before, cast(EndpointChanges, changes), "webhook.update")


@router.route(
    "POST",
    "/api/instances/{id}/webhooks/{webhookId}/enable",
    operation="enableInstanceWebhook",
    summary="Switch an instance's webhook on",
    **ONE_OF_INSTANCE,
    **_ENABLE,
)
@router.route(
    "POST",
    "/api/webhooks/{webhookId}/enable",
    operation="enableWebhook",
    summary="Switch on a webhook for all instances",
    **ONE,
    **_ENABLE,
)
async def enable_webhook(call: Call[Empty, None]) -> Reply:
    """Switches a webhook on, also one that was switched off for failing. What waited is sent."""
    return await _change(call, await load_webhook(call), {"enabled": True}, "webhook.enable")


@router.route(
    "DELETE",
    "/api/instances/{id}/webhooks/{webhookId}",
    operation="deleteInstanceWebhook",
    summary="Delete an instance's webhook",
    **ONE_OF_INSTANCE,
    **_DELETE,
)
@router.route(
    "DELETE",
    "/api/webhooks/{webhookId}",
    operation="deleteWebhook",
    summary="Delete a webhook for all instances",
    **ONE,
    **_DELETE,
)
async def delete_webhook(call: Call[None, None]) -> Reply:
    """Deletes a webhook with its deliveries, those that still wait included."""
    scope, instance_id = place_of(call)
    record = await load_webhook(call)
    before = {"origin": _origin(record.url), "events": list(record.events)}
    entry = audit_entry(call, "webhook.delete", record.id, before=before)
    database = call.services.database
    while await database.commit(webhooks.shed, scope, instance_id, record.id):
        pass
    await database.commit(_delete, scope, instance_id, record.id, entry)
    call.services.webhooks_changed(record.id)
    return Reply(status=HTTPStatus.NO_CONTENT)


@router.route(
    "POST",
    "/api/instances/{id}/webhooks/{webhookId}/rotate-secret",
    operation="rotateInstanceWebhookSecret",
    summary="Give an instance's webhook a new secret",
    **ONE_OF_INSTANCE,
    **_ROTATE,
)
@router.route(
    "POST",
    "/api/webhooks/{webhookId}/rotate-secret",
    operation="rotateWebhookSecret",
    summary="Give a webhook for all instances a new secret",
    **ONE,
    **_ROTATE,
)
async def rotate_secret(call: Call[RotateSecret, None]) -> Reply:
    """Makes a new secret, which is shown this once. For a while the old one signs as well."""
    scope, instance_id = place_of(call)
    record = await load_webhook(call)
    until = call.services.clock.now() + timedelta(seconds=call.body.grace_seconds)
    after = {"graceSeconds": call.body.grace_seconds}
    entry = audit_entry(call, "webhook.rotate-secret", record.id, after=after)
    rotated = await call.services.database.commit(
        _rotate, scope, instance_id, record.id, until, entry
    )
    call.services.webhooks_changed(record.id)
    return Reply(_with_secret(call, rotated))


def place_of(call: Call[Any, Any]) -> tuple[Scope, str | None]:
    """Return the tenant, and the instance where the path names one."""
    instance = call.loaded_instance
    return Scope(call.principal.subscription_id), None if instance is None else instance.id


async def load_webhook(call: Call[Any, Any]) -> EndpointRecord:
    """Return the webhook that the path names.

    Raises:
        ProblemError: there is none there (404).
    """
    record = await call.services.database.fetch(
        webhooks.get, *place_of(call), call.path["webhookId"]
    )
    if record is None:
        raise ProblemError(NOT_FOUND)
    return record


async def _change(
    call: Call[Any, Any], before: EndpointRecord, changes: EndpointChanges, action: str
) -> Reply:
    scope, instance_id = place_of(call)
    entry = audit_entry(
        call,
        action,
        before.id,
        before={name: _shown(name, getattr(before, name)) for name in changes},
        after={name: _shown(name, value) for name, value in changes.items()},
    )
    record = await call.services.database.commit(
        _update, scope, instance_id, before.id, changes, entry
    )
    call.services.webhooks_changed(record.id)
    return Reply(_model(call, record))


def _shown(name: str, value: Any) -> Any:
    """Return what the audit trail may say: neither values of headers nor tokens in URLs."""
    if name == "headers":
        return sorted(value)
    if name == "url":
        return _origin(value)
    return list(value) if isinstance(value, tuple) else value


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _model(call: Call[Any, Any], record: EndpointRecord) -> Webhook:
    return Webhook(**webhook_fields(record, call.services.clock.now()))


def _with_secret(call: Call[Any, Any], record: EndpointRecord) -> NewWebhook:
    return NewWebhook(**webhook_fields(record, call.services.clock.now()), secret=record.secret)


def _create(scope: Scope, new: NewEndpoint, entry: NewAudit) -> EndpointRecord:
    record = webhooks.create(scope, new)
    audit.append(scope.subscription_id, replace(entry, target=record.id))
    return record


def _update(
    scope: Scope,
    instance_id: str | None,
    webhook_id: str,
    changes: EndpointChanges,
    entry: NewAudit,
) -> EndpointRecord:
    record = webhooks.update(scope, instance_id, webhook_id, changes)
    audit.append(scope.subscription_id, entry)
    return record


def _rotate(
    scope: Scope, instance_id: str | None, webhook_id: str, until: Any, entry: NewAudit
) -> EndpointRecord:
    record = webhooks.rotate_secret(
        scope, instance_id, webhook_id, secret=new_secret(), previous_until=until
    )
    audit.append(scope.subscription_id, entry)
    return record


def _delete(scope: Scope, instance_id: str | None, webhook_id: str, entry: NewAudit) -> None:
    webhooks.delete(scope, instance_id, webhook_id)
    audit.append(scope.subscription_id, entry)
