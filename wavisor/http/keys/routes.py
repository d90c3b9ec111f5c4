"""Managing API keys: those of an instance, and those to a whole subscription."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from wavisor.http.auditing import audit_entry
from wavisor.http.failures import as_problem
from wavisor.http.keys.form import key_text, make_prefix, make_secret
from wavisor.http.keys.schemas import ApiKey, ChangeKey, CreateKey, NewApiKey, RotateKey
from wavisor.http.pagination import decode_cursor, encode_cursor
from wavisor.http.permissions import Permission
from wavisor.http.problems import (
    TIER_LIMIT_REACHED,
    VALIDATION_FAILED,
    FieldProblem,
    ProblemError,
    ProblemKind,
)
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.http.schemas import Page, PageQuery
from wavisor.ids import Kind
from wavisor.storage import (
    KeyChanges,
    KeyLimitReached,
    KeyRecord,
    KeyRevoked,
    NewAudit,
    NewKey,
    Scope,
    audit,
    keys,
)

__all__ = ["router"]

router = Router("keys", "API keys, for programs.")

KEY_LIMIT_REACHED = ProblemKind("key-limit-reached", 409, "There are as many keys as there may be")
KEY_REVOKED = ProblemKind("key-revoked", 409, "The key was revoked", "It stays so; make a new one.")

_LONGEST_LIFE = timedelta(days=3653)
_MANAGED: Mapping[str, Any] = {"access": Permission.KEYS_MANAGE}
_OF_INSTANCE: Mapping[str, Any] = {
    **_MANAGED,
    "parameters": {"id": Kind.INSTANCE},
    "instance": InstanceFrom.PATH,
}
_ONE_OF_INSTANCE: Mapping[str, Any] = {
    **_OF_INSTANCE,
    "parameters": {"id": Kind.INSTANCE, "keyId": Kind.API_KEY},
}
_ONE: Mapping[str, Any] = {**_MANAGED, "parameters": {"keyId": Kind.API_KEY}}

_LIST: Mapping[str, Any] = {"query": PageQuery, "responses": {200: Page[ApiKey]}}
_CREATE: Mapping[str, Any] = {
    "body": CreateKey,
    "responses": {201: NewApiKey},
    "problems": [KEY_LIMIT_REACHED, TIER_LIMIT_REACHED],
}
_CHANGE: Mapping[str, Any] = {
    "body": ChangeKey,
    "responses": {200: ApiKey},
    "problems": [KEY_REVOKED],
}
_ROTATE: Mapping[str, Any] = {
    "body": RotateKey,
    "responses": {200: NewApiKey},
    "problems": [KEY_REVOKED],
}
_REVOKE: Mapping[str, Any] = {"responses": {204: None}}


@router.route(
    "GET",
    "/api/instances/{id}/keys",
    operation="listInstanceKeys",
    summary="List an instance's API keys",
    **_OF_INSTANCE,
    **_LIST,
)
@router.route(
    "GET",
    "/api/keys",
    operation="listKeys",
    summary="List the API keys to the whole subscription",
    **_MANAGED,
    **_LIST,
)
async def list_keys(call: Call[None, PageQuery]) -> Reply:
    """Lists keys, newest first, for 30 days also those that were revoked. Secrets are not kept."""
    page = await call.services.database.fetch(
        keys.list_page,
        *_place(call),
        limit=call.query.limit,
        cursor=decode_cursor(call.query.cursor, Kind.API_KEY),
    )
    items = [ApiKey(**_fields(record)) for record in page.items]
    return Reply(Page[ApiKey](items=items, next_cursor=encode_cursor(page.next_cursor)))


@router.route(
    "POST",
    "/api/instances/{id}/keys",
    operation="createInstanceKey",
    summary="Make an API key for an instance",
    **_OF_INSTANCE,
    **_CREATE,
)
@router.route(
    "POST",
    "/api/keys",
    operation="createKey",
    summary="Make an API key for the whole subscription",
    **_MANAGED,
    **_CREATE,
)
async def create_key(call: Call[CreateKey, None]) -> Reply:
    """Makes a key. The answer holds it, and nothing else ever will.

    A key of an instance stands for that instance: requests need no `X-Instance-Id`, and no other
    instance exists for it. A key to the whole subscription names the instance as people do.
    """
    body = call.body
    _check_own(call, body.permissions)
    _check_expiry(body.expires_at, call.services.clock.now())
    secret, digest = make_secret()
    new = NewKey(
        name=body.name,
        prefix=make_prefix(),
        digest=digest,
        permissions=[one.value for one in body.permissions],
        addresses=body.addresses,
        expires_at=body.expires_at,
    )
    scope, instance_id = _place(call)
    limit = call.services.settings.api_keys_per_instance
    record = await call.services.database.commit(
        _create,
        scope,
        new,
        instance_id,
        call.principal.user_id,
        limit,
        audit_entry(call, "key.create", None),
    )
    path = f"/api/instances/{instance_id}/keys" if instance_id else "/api/keys"
    headers = {"Location": f"{path}/{record.id}"}
    return Reply(_with_secret(record, secret), HTTPStatus.CREATED, headers)


@router.route(
    "PATCH",
    "/api/instances/{id}/keys/{keyId}",
    operation="changeInstanceKey",
    summary="Change an instance's API key",
    **_ONE_OF_INSTANCE,
    **_CHANGE,
)
@router.route(
    "PATCH",
    "/api/keys/{keyId}",
    operation="changeKey",
    summary="Change an API key to the whole subscription",
    **_ONE,
    **_CHANGE,
)
async def change_key(call: Call[ChangeKey, None]) -> Reply:
    """Changes what is named, at once. The secret stays; `rotate` makes another one."""
    body = call.body
    if body.permissions is not None:
        _check_own(call, body.permissions)
    _check_expiry(body.expires_at, call.services.clock.now())
    changes = _changes(body)
    entry = audit_entry(call, "key.update", call.path["keyId"])
    record = await call.services.database.commit(
        _change, *_place(call), call.path["keyId"], changes, entry
    )
    call.application.access_changes.announce(record.id)
    return Reply(ApiKey(**_fields(record)))


@router.route(
    "POST",
    "/api/instances/{id}/keys/{keyId}/rotate",
    operation="rotateInstanceKey",
    summary="Give an instance's API key another secret",
    **_ONE_OF_INSTANCE,
    **_ROTATE,
)
@router.route(
    "POST",
    "/api/keys/{keyId}/rotate",
    operation="rotateKey",
    summary="Give an API key to the whole subscription another secret",
    **_ONE,
    **_ROTATE,
)
async def rotate_key(call: Call[RotateKey, None]) -> Reply:
    """Makes another secret for a key. The one it has now stays good for `graceSeconds`.

    The answer holds the new key, and nothing else ever will. At most two secrets are good at a
    time: what an earlier rotation left good is void at once.
    """
    until = call.services.clock.now() + timedelta(seconds=call.body.grace_seconds)
    entry = audit_entry(call, "key.rotate", call.path["keyId"])
    secret, digest = make_secret()
    record = await call.services.database.commit(
        _rotate, *_place(call), call.path["keyId"], digest, until, entry
    )
    call.application.access_changes.announce(record.id)
    return Reply(_with_secret(record, secret))


@router.route(
    "DELETE",
    "/api/instances/{id}/keys/{keyId}",
    operation="revokeInstanceKey",
    summary="Revoke an instance's API key",
    **_ONE_OF_INSTANCE,
    **_REVOKE,
)
@router.route(
    "DELETE",
    "/api/keys/{keyId}",
    operation="revokeKey",
    summary="Revoke an API key to the whole subscription",
    **_ONE,
    **_REVOKE,
)
async def revoke_key(call: Call[None, None]) -> Reply:
    """Refuses the key from now on, and closes its websockets. It cannot be taken back."""
    identifier = call.path["keyId"]
    entry = audit_entry(call, "key.revoke", identifier)
    await call.services.database.commit(_revoke, *_place(call), identifier, entry)
    call.application.access_changes.announce(identifier)
    return Reply(status=HTTPStatus.NO_CONTENT)


def _changes(body: ChangeKey) -> KeyChanges:
    changes = KeyChanges()
    if body.name is not None:
        changes["name"] = body.name
    if body.permissions is not None:
        changes["permissions"] = [one.value for one in body.permissions]
    if body.addresses is not None:
        changes["addresses"] = body.addresses
    if "expires_at" in body.model_fields_set:
        changes["expires_at"] = body.expires_at
    return changes


def _place(call: Call[Any, Any]) -> tuple[Scope, str | None]:
    loaded = call.loaded_instance
    return Scope(call.principal.subscription_id), None if loaded is None else loaded.id


def _check_own(call: Call[Any, Any], wanted: Sequence[Permission]) -> None:
    """Refuse to give what the caller does not have."""
    foreign = [one.value for one in wanted if one not in call.principal.permissions]
    if foreign:
        detail = f"cannot hold what you may not do yourself: {', '.join(foreign)}"
        problem = FieldProblem(detail=detail, pointer="#/permissions")
        raise ProblemError(VALIDATION_FAILED, errors=[problem])


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is None:
        return
    detail = None
    if expires_at <= now:
        detail = "is in the past"
    elif expires_at - now > _LONGEST_LIFE:
        detail = "is more than 10 years away"
    if detail is not None:
        problem = FieldProblem(detail=detail, pointer="#/expiresAt")
        raise ProblemError(VALIDATION_FAILED, errors=[problem])


def _with_secret(record: KeyRecord, secret: str) -> NewApiKey:
    return NewApiKey(key=key_text(record.prefix, secret), **_fields(record))


def _fields(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "instance_id": record.instance_id,
        "name": record.name,
        "prefix": record.prefix,
        "permissions": list(record.permissions),
        "addresses": list(record.addresses),
        "created_by": record.creator_id,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "last_used_at": record.last_used_at,
        "last_used_address": record.last_used_address,
        "previous_until": record.previous_until,
        "revoked_at": record.revoked_at,
    }


# What follows runs on the database's threads, each function in one transaction.


def _create(
    scope: Scope,
    new: NewKey,
    instance_id: str | None,
    creator_id: str,
    limit: int,
    entry: NewAudit,
) -> KeyRecord:
    record = keys.create(scope, new, instance_id=instance_id, creator_id=creator_id, limit=limit)
    after = _trail(record) | {"instance": instance_id, "prefix": record.prefix}
    audit.append(scope.subscription_id, replace(entry, target=record.id, after=after))
    return record


def _change(
    scope: Scope, instance_id: str | None, key_id: str, changes: KeyChanges, entry: NewAudit
) -> KeyRecord:
    before, after = keys.update(scope, instance_id, key_id, changes)
    was, now = _trail(before), _trail(after)
    changed = [name for name in now if now[name] != was[name]]
    if changed:
        told = replace(
            entry,
            before={name: was[name] for name in changed},
            after={name: now[name] for name in changed},
        )
        audit.append(scope.subscription_id, told)
    return after


def _rotate(
    scope: Scope,
    instance_id: str | None,
    key_id: str,
    digest: str,
    until: datetime,
    entry: NewAudit,
) -> KeyRecord:
    record = keys.rotate(scope, instance_id, key_id, digest=digest, previous_until=until)
    after = {"previousUntil": until.isoformat()}
    audit.append(scope.subscription_id, replace(entry, after=after))
    return record


def _revoke(scope: Scope, instance_id: str | None, key_id: str, entry: NewAudit) -> None:
    revoked = keys.revoke(scope, instance_id, key_id)
    if revoked is not None:
        before = {"name": revoked.name, "prefix": revoked.prefix}
        audit.append(scope.subscription_id, replace(entry, before=before))


def _trail(record: KeyRecord) -> dict[str, Any]:
    """What the audit trail tells of a key; never a secret or a digest."""
    expires = record.expires_at
    return {
        "name": record.name,
        "permissions": list(record.permissions),
        "addresses": list(record.addresses),
        "expiresAt": None if expires is None else expires.isoformat(),
    }


@as_problem.register
def _(error: KeyLimitReached) -> ProblemError:
    detail = f"At most {error.limit} keys may be good at a time; revoke one."
    return ProblemError(KEY_LIMIT_REACHED, detail, extensions={"limit": error.limit})


@as_problem.register
def _(_error: KeyRevoked) -> ProblemError:
    return ProblemError(KEY_REVOKED)
