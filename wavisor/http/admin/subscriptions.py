"""Tenants and their users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from http import HTTPStatus
from typing import Any

from pydantic.alias_generators import to_camel

from wavisor.http.admin.schemas import (
    AdminSubscription,
    AdminUser,
    SubscriptionQuery,
    UpdateSubscription,
    UserQuery,
)
from wavisor.http.auditing import audit_entry
from wavisor.http.failures import as_problem
from wavisor.http.pagination import decode_cursor, encode_cursor
from wavisor.http.permissions import Permission
from wavisor.http.problems import NOT_FOUND, ProblemError, ProblemKind
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Empty, Page
from wavisor.http.subscription.schemas import LimitsModel
from wavisor.ids import Kind
from wavisor.limits import limits_of
from wavisor.storage import (
    BeingDeleted,
    HasOperator,
    NewAudit,
    PlatformSubscription,
    Scope,
    SubscriptionFilter,
    SubscriptionRecord,
    accounts,
    audit,
    deletions,
    platform,
    quotas,
)

__all__ = ["router"]

router = Router("administration", "The platform's own administration: tenants and users.")

OWN_SUBSCRIPTION = ProblemKind(
    "own-subscription",
    409,
    "You cannot do this to the subscription that you belong to",
    "Nobody would be left to undo it, or to go on.",
)
HAS_OPERATOR = ProblemKind(
    "has-operator",
    409,
    "An operator of the platform belongs to the subscription",
    "`wavisor admin delete` deletes it all the same, as long as there is another operator.",
)
BEING_DELETED = ProblemKind(
    "being-deleted",
    409,
    "The subscription is being deleted",
    "This cannot be taken back.",
)

_ID = {"id": Kind.SUBSCRIPTION}


@router.route(
    "GET",
    "/api/admin/subscriptions",
    operation="listSubscriptions",
    summary="List subscriptions",
    access=Permission.OPERATOR,
    query=SubscriptionQuery,
    responses={200: Page[AdminSubscription]},
)
async def list_subscriptions(call: Call[None, SubscriptionQuery]) -> Reply:
    """Lists all subscriptions, oldest first."""
    query = call.query
    page = await call.services.database.fetch(
        platform.list_subscriptions,
        SubscriptionFilter(query.name, query.tier, query.suspended),
        limit=query.limit,
        cursor=decode_cursor(query.cursor, Kind.SUBSCRIPTION),
    )
    items = [_model(record) for record in page.items]
    return Reply(Page[AdminSubscription](items=items, next_cursor=encode_cursor(page.next_cursor)))


@router.route(
    "GET",
    "/api/admin/subscriptions/{id}",
    operation="getAnySubscription",
    summary="Read a subscription",
    access=Permission.OPERATOR,
    parameters=_ID,
    responses={200: AdminSubscription},
)
async def get_subscription(call: Call[None, None]) -> Reply:
    """Returns a subscription with its limits, and how large it is."""
    return Reply(_model(await _load(call)))


@router.route(
    "PATCH",
    "/api/admin/subscriptions/{id}",
    operation="updateSubscription",
    summary="Change a subscription",
    access=Permission.OPERATOR,
    parameters=_ID,
    body=UpdateSubscription,
    responses={200: AdminSubscription},
)
async def update_subscription(call: Call[UpdateSubscription, None]) -> Reply:
    """Changes name, tier or limits. Nothing is deleted by a limit that becomes lower."""
    identifier = call.path["id"]
    entry = audit_entry(call, "subscription.update", identifier, as_operator=True)
    await call.services.database.commit(_update, identifier, call.body, entry)
    return Reply(_model(await _load(call)))


@router.route(
    "POST",
    "/api/admin/subscriptions/{id}/suspend",
    operation="suspendSubscription",
    summary="Suspend a subscription",
    access=Permission.OPERATOR,
    parameters=_ID,
    body=Empty,
    responses={200: AdminSubscription},
    problems=[OWN_SUBSCRIPTION],
)
async def suspend_subscription(call: Call[Empty, None]) -> Reply:
    """Stops its instances and refuses its users and keys. Everything it has is kept.

    What the instances were wanted to be stays noted, for when it may go on. Nobody can suspend
    their own subscription.
    """
    if call.path["id"] == call.principal.subscription_id:
        raise ProblemError(OWN_SUBSCRIPTION)
    return await _suspend(call, suspended=True)


@router.route(
    "POST",
    "/api/admin/subscriptions/{id}/resume",
    operation="resumeSubscription",
    summary="Let a suspended subscription go on",
    access=Permission.OPERATOR,
    parameters=_ID,
    body=Empty,
    responses={200: AdminSubscription},
    problems=[BEING_DELETED],
)
async def resume_subscription(call: Call[Empty, None]) -> Reply:
    """Lets users and keys in again, and connects the instances that were wanted connected."""
    return await _suspend(call, suspended=False)


@router.route(
    "DELETE",
    "/api/admin/subscriptions/{id}",
    operation="deleteSubscription",
    summary="Delete a subscription",
    access=Permission.OPERATOR,
    parameters=_ID,
    responses={202: AdminSubscription},
    problems=[OWN_SUBSCRIPTION, HAS_OPERATOR],
)
async def delete_subscription(call: Call[None, None]) -> Reply:
    """Removes a subscription for good, with everything that it has; the audit trail stays.

    It is suspended at once and cannot be resumed. Its webhooks, instances, messages and files then
    go bit by bit, also after a crash; when all is gone the answer to `GET` is 404. Asking again
    does no harm.
    """
    identifier = call.path["id"]
    if identifier == call.principal.subscription_id:
        raise ProblemError(OWN_SUBSCRIPTION)
    entry = audit_entry(call, "subscription.delete", identifier, as_operator=True)
    await call.services.database.commit(_begin_deletion, identifier, entry)
    call.application.access_changes.announce(identifier)
    call.services.instances.suspensions_changed()
    # Before it is begun: what is gone in this moment could not be told of any more.
    reply = Reply(_model(await _load(call)), HTTPStatus.ACCEPTED)
    call.services.removals_wanted()
    return reply


@router.route(
    "GET",
    "/api/admin/users",
    operation="listUsers",
    summary="List users",
    access=Permission.OPERATOR,
    query=UserQuery,
    responses={200: Page[AdminUser]},
)
async def list_users(call: Call[None, UserQuery]) -> Reply:
    """Lists the users of all subscriptions, oldest first."""
    query = call.query
    page = await call.services.database.fetch(
        platform.list_users,
        subscription_id=query.subscription,
        email=query.email,
        limit=query.limit,
        cursor=decode_cursor(query.cursor, Kind.USER),
    )
    items = [AdminUser(**asdict(record)) for record in page.items]
    return Reply(Page[AdminUser](items=items, next_cursor=encode_cursor(page.next_cursor)))


async def _load(call: Call[Any, Any]) -> PlatformSubscription:
    record = await call.services.database.fetch(platform.get_subscription, call.path["id"])
    if record is None:
        raise ProblemError(NOT_FOUND)
    return record


async def _suspend(call: Call[Empty, None], *, suspended: bool) -> Reply:
    action = "subscription.suspend" if suspended else "subscription.resume"
    entry = audit_entry(call, action, call.path["id"], as_operator=True)
    await call.services.database.commit(_set_suspended, call.path["id"], suspended, entry)
    call.application.access_changes.announce(call.path["id"])
    call.services.instances.suspensions_changed()
    return Reply(_model(await _load(call)), HTTPStatus.OK)


def _set_suspended(subscription_id: str, suspended: bool, entry: NewAudit) -> None:
    if platform.set_suspended(subscription_id, suspended=suspended):
        audit.append(subscription_id, entry)


def _begin_deletion(subscription_id: str, entry: NewAudit) -> None:
    marked = deletions.begin(subscription_id)
    if marked is not None:
        before = {"name": marked.name, "tier": marked.tier.value}
        audit.append(subscription_id, replace(entry, before=before))


@as_problem.register
def _(_error: BeingDeleted) -> ProblemError:
    return ProblemError(BEING_DELETED)


@as_problem.register
def _(_error: HasOperator) -> ProblemError:
    return ProblemError(HAS_OPERATOR)


def _update(subscription_id: str, body: UpdateSubscription, entry: NewAudit) -> None:
    steps: dict[str, Callable[[], object]] = {
        "name": lambda: platform.rename_subscription(subscription_id, body.name or ""),
        "tier": lambda: accounts.set_tier(subscription_id, body.tier),  # type: ignore[arg-type]  # checked with the body
        "overrides": lambda: accounts.set_overrides(subscription_id, body.overrides),
    }
    before = quotas.lock_subscription(Scope(subscription_id))
    for name in body.model_fields_set:
        steps[name]()
    after = quotas.get(Scope(subscription_id))
    told = replace(entry, before=_trail(before, body), after=_trail(after, body))
    audit.append(subscription_id, told)


def _trail(record: SubscriptionRecord, body: UpdateSubscription) -> dict[str, Any]:
    """Return what the audit trail tells of a subscription: what was asked to change."""
    told = {"name": record.name, "tier": record.tier.value, "overrides": _overrides(record)}
    return {name: value for name, value in told.items() if name in body.model_fields_set}


def _overrides(record: SubscriptionRecord) -> dict[str, int | None]:
    return {to_camel(name): value for name, value in (record.overrides or {}).items()}


def _model(record: PlatformSubscription) -> AdminSubscription:
    stored = record.subscription
    return AdminSubscription(
        id=stored.id,
        name=stored.name,
        tier=stored.tier,
        limits=LimitsModel(**asdict(limits_of(stored))),
        overrides=_overrides(stored),
        suspended_at=stored.suspended_at,
        deleted_at=stored.deleted_at,
        created_at=stored.created_at,
        users=record.users,
        instances=record.instances,
    )
