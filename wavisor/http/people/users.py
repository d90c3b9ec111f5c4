"""The users of a subscription."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from wavisor.domain import Role
from wavisor.http.auditing import audit_entry
from wavisor.http.pagination import decode_cursor, encode_cursor
from wavisor.http.people.failures import ABOVE_OWN_ROLE, LAST_OWNER
from wavisor.http.people.schemas import ChangeRole, SubscriptionUser
from wavisor.http.permissions import Permission, permissions_of
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Page, PageQuery
from wavisor.ids import Kind
from wavisor.storage import NewAudit, Scope, UserRecord, audit, people

__all__ = ["router"]

router = Router("users", "The people of a subscription.")

_MAY_INVITE = tuple(
    role for role in Role if Permission.USERS_MANAGE in permissions_of(role, is_operator=False)
)


@router.route(
    "GET",
    "/api/users",
    operation="listSubscriptionUsers",
    summary="List users",
    access=Permission.USERS_MANAGE,
    query=PageQuery,
    responses={200: Page[SubscriptionUser]},
)
async def list_users(call: Call[None, PageQuery]) -> Reply:
    """Lists the people of the subscription, oldest first."""
    page = await call.services.database.fetch(
        people.list_page,
        _scope(call),
        limit=call.query.limit,
        cursor=decode_cursor(call.query.cursor, Kind.USER),
    )
    items = [_model(record) for record in page.items]
    return Reply(Page[SubscriptionUser](items=items, next_cursor=encode_cursor(page.next_cursor)))


@router.route(
    "PATCH",
    "/api/users/{id}",
    operation="changeUserRole",
    summary="Give a user another role",
    access=Permission.USERS_MANAGE,
    parameters={"id": Kind.USER},
    body=ChangeRole,
    responses={200: SubscriptionUser},
    problems=[ABOVE_OWN_ROLE, LAST_OWNER],
)
async def change_user_role(call: Call[ChangeRole, None]) -> Reply:
    """Gives somebody another role, which holds at once, for their API keys and websockets too.

    Nobody gives a role above their own, or changes somebody who is above them. The last OWNER
    stays one. Invitations that the user could not send any more are void.
    """
    identifier = call.path["id"]
    entry = audit_entry(call, "user.change_role", identifier)
    record = await call.services.database.commit(
        _set_role, _scope(call), identifier, call.body.role, call.principal.user_id, entry
    )
    call.application.access_changes.announce(identifier)
    return Reply(_model(record))


@router.route(
    "DELETE",
    "/api/users/{id}",
    operation="removeUser",
    summary="Remove a user",
    access=Permission.USERS_MANAGE,
    parameters={"id": Kind.USER},
    responses={204: None},
    problems=[ABOVE_OWN_ROLE, LAST_OWNER],
)
async def remove_user(call: Call[None, None]) -> Reply:
    """Deletes somebody's account. Their sessions, API keys and open invitations are void at once.

    Nobody removes somebody who is above them, and nobody the last OWNER. Operators of the
    platform can be removed by themselves only.
    """
    identifier = call.path["id"]
    entry = audit_entry(call, "user.remove", identifier)
    await call.services.database.commit(
        _remove, _scope(call), identifier, call.principal.user_id, entry
    )
    call.application.access_changes.announce(identifier)
    return Reply(status=HTTPStatus.NO_CONTENT)


def _scope(call: Call[Any, Any]) -> Scope:
    return Scope(call.principal.subscription_id)


def _model(record: UserRecord) -> SubscriptionUser:
    return SubscriptionUser(
        id=record.id,
        email=record.email,
        role=record.role,
        created_at=record.created_at,
        last_login_at=record.last_login_at,
    )


def _set_role(scope: Scope, user_id: str, role: Role, by: str, entry: NewAudit) -> UserRecord:
    before, after = people.set_role(scope, user_id, role, by=by, may_invite=_MAY_INVITE)
    if before.role is not after.role:
        told = replace(entry, before={"role": before.role.value}, after={"role": after.role.value})
        audit.append(scope.subscription_id, told)
    return after


def _remove(scope: Scope, user_id: str, by: str, entry: NewAudit) -> None:
    removed, revoked = people.remove(scope, user_id, by=by)
    told = replace(entry, before={"role": removed.role.value}, after={"revokedKeys": revoked})
    audit.append(scope.subscription_id, told)
