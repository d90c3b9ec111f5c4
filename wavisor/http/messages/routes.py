"""Looking at messages and at what became of them."""

from __future__ import annotations

from typing import Any

from wavisor.http.messages.schemas import (
    MessageLifeModel,
    MessageModel,
    MessageQuery,
    life_model,
    message_model,
)
from wavisor.http.permissions import Permission
from wavisor.http.positions import decode_position, encode_position
from wavisor.http.problems import NOT_FOUND, ProblemError
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Page
from wavisor.ids import Kind, normalise_id
from wavisor.storage import MessageFilter, Scope, messages

__all__ = ["instance_of_header", "router"]

router = Router("messages", "Messages of both directions, and what became of them.")


@router.route(
    "GET",
    "/api/messages",
    operation="listMessages",
    summary="List messages",
    access=Permission.MESSAGES_READ,
    query=MessageQuery,
    responses={200: Page[MessageModel]},
    problems=[NOT_FOUND],
    confined=True,
    headers={"X-Instance-Id": "Only messages of this instance."},
)
async def list_messages(call: Call[None, MessageQuery]) -> Reply:
    """Lists messages of both directions, newest first."""
    query = call.query
    where = MessageFilter(
        instance_id=await instance_of_header(call),
        chat=query.chat,
        direction=query.direction,
        status=None if query.status is None else frozenset({query.status}),
        kind=query.kind,
        since=query.since,
        until=query.until,
        text=query.text,
        starred=query.starred,
    )
    page = await call.services.database.fetch(
        messages.list_page,
        _scope(call),
        limit=query.limit,
        cursor=decode_position(query.cursor, in_time=True),
        where=where,
    )
    items = [message_model(record) for record in page.items]
    return Reply(Page[MessageModel](items=items, next_cursor=encode_position(page.next_cursor)))


@router.route(
    "GET",
    "/api/messages/{id}",
    operation="getMessage",
    summary="Read a message",
    access=Permission.MESSAGES_READ,
    parameters={"id": Kind.MESSAGE},
    responses={200: MessageLifeModel},
    confined=True,
)
async def get_message(call: Call[None, None]) -> Reply:
    """Returns a message and all that became of it: receipts, reactions, votes."""
    life = await call.services.database.fetch(messages.get_life, _scope(call), call.path["id"])
    if life is None:
        raise ProblemError(NOT_FOUND)
    call.confine(life.message.instance_id)
    return Reply(life_model(life))


async def instance_of_header(call: Call[Any, Any]) -> str | None:
    """Return the id of the instance that a list is limited to; None for all of the tenant.

    Raises:
        ProblemError: the tenant has no such instance (404).
    """
    given = call.headers.get("X-Instance-Id")
    if given is None:
        return call.principal.instance_id
    identifier = normalise_id(given, Kind.INSTANCE)
    if identifier is None:
        raise ProblemError(NOT_FOUND)
    record = await call.application.load_instance(call.principal, identifier)
    return record.id


def _scope(call: Call[Any, Any]) -> Scope:
    return Scope(call.principal.subscription_id)
