"""What is done to a message here alone: starred, deleted. Phones are not told."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from wavisor.http.auditing import audit_entry
from wavisor.http.messages.actions import MESSAGE_STATE
from wavisor.http.messages.composing import message_of
from wavisor.http.messages.schemas import MessageModel, message_model
from wavisor.http.permissions import Permission
from wavisor.http.problems import NOT_FOUND, ProblemError
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Empty
from wavisor.ids import Kind
from wavisor.storage import NewAudit, Scope, audit, messages

__all__ = ["router"]

router = Router("messageKeeping", "What is done to a message here alone.")

_HERE: Mapping[str, Any] = {
    "access": Permission.MESSAGES_SEND,
    "parameters": {"id": Kind.MESSAGE},
    "confined": True,
}


@router.route(
    "POST",
    "/api/messages/{id}/star",
    operation="starMessage",
    summary="Star a message",
    body=Empty,
    responses={HTTPStatus.OK: MessageModel},
    **_HERE,
)
async def star_message(call: Call[Empty, None]) -> Reply:
    """Stars a message here; `GET /api/messages?starred=true` finds it. The phone is not told."""
    return await _star(call, starred=True)


@router.route(
    "POST",
    "/api/messages/{id}/unstar",
    operation="unstarMessage",
    summary="Take the star off a message",
    body=Empty,
    responses={HTTPStatus.OK: MessageModel},
    **_HERE,
)
async def unstar_message(call: Call[Empty, None]) -> Reply:
    """Takes the star off a message here. The phone is not told."""
    return await _star(call, starred=False)


@router.route(
    "DELETE",
    "/api/messages/{id}",
    operation="deleteMessage",
    summary="Delete a message here",
    responses={HTTPStatus.NO_CONTENT: None},
    problems=[MESSAGE_STATE],
    **_HERE,
)
async def delete_message(call: Call[None, None]) -> Reply:
    """Deletes a message with its receipts and reactions from the gateway, and nowhere else.

    The account's phones and the other side keep it; `revoke` takes it back for everyone. 409 while
    it is queued or being sent.
    """
    scope, database = Scope(call.principal.subscription_id), call.services.database
    found = await database.fetch(messages.get, scope, call.path["id"])
    if found is None:
        raise ProblemError(NOT_FOUND)
    call.confine(found.instance_id)
    entry = audit_entry(call, "message.delete", found.id, before={"instance": found.instance_id})
    if not await database.commit(_delete, scope, found.id, entry):
        raise ProblemError(MESSAGE_STATE, "It waits to be sent; cancel it first.")
    return Reply(status=HTTPStatus.NO_CONTENT)


async def _star(call: Call[Empty, None], *, starred: bool) -> Reply:
    scope = Scope(call.principal.subscription_id)
    database = call.services.database
    if call.principal.instance_id is not None:
        await _confine(call)
    if await database.commit(messages.set_starred, scope, call.path["id"], starred) is None:
        raise ProblemError(NOT_FOUND)
    found = await database.fetch(messages.get, scope, call.path["id"])
    if found is None:
        raise ProblemError(NOT_FOUND)
    return Reply(message_model(found))


async def _confine(call: Call[Any, Any]) -> None:
    if await message_of(call, call.path["id"]) is None:
        raise ProblemError(NOT_FOUND)


def _delete(scope: Scope, message_id: str, entry: NewAudit) -> bool:
    deleted = messages.delete(scope, message_id)
    if deleted:
        audit.append(scope.subscription_id, entry)
    return deleted
