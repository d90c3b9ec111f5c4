"""Chats, and telling people that what they wrote there was read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wavisor.domain import MessageDirection
from wavisor.http.auditing import audit_entry
from wavisor.http.chats.reading import mark_read
from wavisor.http.chats.schemas import (
    MAX_READ,
    ChatModel,
    ChatQuery,
    MessagesRead,
    ReadChat,
    ReadMessages,
    UpdateChat,
    chat_model,
)
from wavisor.http.messages.recipients import chat_jid
from wavisor.http.messages.routes import instance_of_header
from wavisor.http.messages.schemas import message_model
from wavisor.http.paths import PathText
from wavisor.http.permissions import Permission
from wavisor.http.positions import decode_position, encode_position
from wavisor.http.problems import NOT_FOUND, VALIDATION_FAILED, FieldProblem, ProblemError
from wavisor.http.queries.failures import QUERY_PROBLEMS
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.http.schemas import Page
from wavisor.ids import Kind, normalise_id
from wavisor.storage import (
    ChatChanges,
    ChatRecord,
    MessageRecord,
    NewAudit,
    NotFound,
    Scope,
    audit,
    chats,
    messages,
)

__all__ = ["router"]

router = Router("chats", "Conversations: the last message, what is unread.")

CHAT = PathText(
    chat_jid, "The JID of a chat, or a person's phone number.", "4915112345678@s.whatsapp.net"
)


@router.route(
    "GET",
    "/api/chats",
    operation="listChats",
    summary="List chats",
    access=Permission.MESSAGES_READ,
    query=ChatQuery,
    responses={200: Page[ChatModel]},
    problems=[NOT_FOUND],
    confined=True,
    headers={"X-Instance-Id": "Only chats of this instance."},
)
async def list_chats(call: Call[None, ChatQuery]) -> Reply:
    """Lists chats with their last messages, the most recent one first."""
    query = call.query
    page = await call.services.database.fetch(
        chats.list_page,
        _scope(call),
        limit=query.limit,
        cursor=decode_position(query.cursor, in_time=True),
        instance_id=await instance_of_header(call),
        archived=query.archived,
        pinned=query.pinned,
        unread=query.unread,
        kind=query.kind,
    )
    items = [chat_model(record) for record in page.items]
    return Reply(Page[ChatModel](items=items, next_cursor=encode_position(page.next_cursor)))


@router.route(
    "GET",
    "/api/chats/{jid}",
    operation="getChat",
    summary="Read a chat",
    access=Permission.MESSAGES_READ,
    parameters={"jid": CHAT},
    instance=InstanceFrom.HEADER,
    responses={200: ChatModel},
    problems=[NOT_FOUND],
)
async def get_chat(call: Call[None, None]) -> Reply:
    """Returns a chat by any of its addresses. Its messages: `GET /api/messages?chat=`."""
    return Reply(await _chat(call))


@router.route(
    "PATCH",
    "/api/chats/{jid}",
    operation="updateChat",
    summary="Archive, pin or mute a chat",
    access=Permission.MESSAGES_SEND,
    parameters={"jid": CHAT},
    instance=InstanceFrom.HEADER,
    body=UpdateChat,
    responses={200: ChatModel},
    problems=[NOT_FOUND],
)
async def update_chat(call: Call[UpdateChat, None]) -> Reply:
    """Archives, pins or mutes a chat in this gateway, or takes that back.

    The account's phones are not told, and what is changed on them is not seen here: the client
    library cannot change such settings. Programs that show chats get it with each chat.
    """
    until = call.body.muted_until
    if until is not None and until <= call.services.clock.now():
        past = FieldProblem(detail="is over", pointer="#/mutedUntil")
        raise ProblemError(VALIDATION_FAILED, errors=[past])
    changed = call.body.model_dump(mode="json", by_alias=True, exclude_unset=True)
    entry = audit_entry(
        call, "chat.update", call.path["jid"], after={"instance": call.instance.id, **changed}
    )
    try:
        record = await call.services.database.commit(
            _update, _scope(call), call.instance.id, call.path["jid"], call.body.changes, entry
        )
    except NotFound:
        raise ProblemError(NOT_FOUND) from None
    return Reply(chat_model(record))


@router.route(
    "POST",
    "/api/chats/{jid}/read",
    operation="readChat",
    summary="Mark a chat as read",
    access=Permission.MESSAGES_SEND,
    parameters={"jid": CHAT},
    instance=InstanceFrom.HEADER,
    body=ReadChat,
    responses={200: ChatModel},
    problems=QUERY_PROBLEMS,
)
async def read_chat(call: Call[ReadChat, None]) -> Reply:
    """Tells the authors of the newest 200 unread messages that they were read, and counts them so.

    Repeat it while `unread` is not 0. Nobody is told of messages to broadcast lists.
    """
    database, scope = call.services.database, _scope(call)
    try:
        unread = await database.fetch(
            chats.list_unread, scope, call.instance.id, call.path["jid"], limit=MAX_READ
        )
    except NotFound:
        raise ProblemError(NOT_FOUND) from None
    if unread:
        await mark_read(call, unread, played=call.body.played)
    else:
        # What was deleted unread is no longer unread.
        await database.commit(chats.mark_read, scope, call.instance.id, call.path["jid"])
    return Reply(await _chat(call))


@router.route(
    "POST",
    "/api/messages/read",
    operation="readMessages",
    summary="Mark messages as read",
    access=Permission.MESSAGES_SEND,
    instance=InstanceFrom.HEADER,
    body=ReadMessages,
    responses={200: MessagesRead},
    problems=QUERY_PROBLEMS,
)
async def read_messages(call: Call[ReadMessages, None]) -> Reply:
    """Tells the authors of up to 100 messages that these were read, and counts them so.

    All are received messages of one instance. Those that were read before are told to nobody
    again. Nobody is told of messages to broadcast lists.
    """
    received = await _named(call)
    unread = {one.id: one for one in received if one.read_at is None}
    await mark_read(call, unread.values(), played=call.body.played)
    # Read anew, unless one was deleted meanwhile.
    ids = [one.id for one in received]
    found = await call.services.database.fetch(
        messages.get_several, _scope(call), call.instance.id, ids
    )
    return Reply(MessagesRead(items=[message_model(one) for one in found if one is not None]))


async def _named(call: Call[ReadMessages, Any]) -> list[MessageRecord]:
    """Return the messages that a request names.

    Raises:
        ProblemError: some are none of the instance, or not received ones (422).
    """
    ids = [normalise_id(one, Kind.MESSAGE) or "" for one in call.body.messages]
    found = await call.services.database.fetch(
        messages.get_several, _scope(call), call.instance.id, ids
    )
    received, wrong = [], []
    for index, message in enumerate(found):
        if message is None:
            detail = "is no message of this instance"
        elif message.from_me or message.direction is not MessageDirection.INBOUND:
            detail = "is no received message"
        else:
            received.append(message)
            continue
        wrong.append(FieldProblem(detail=detail, pointer=f"#/messages/{index}"))
    if wrong:
        raise ProblemError(VALIDATION_FAILED, errors=wrong)
    return received


async def _chat(call: Call[Any, Any]) -> ChatModel:
    record = await call.services.database.fetch(
        chats.get, _scope(call), call.instance.id, call.path["jid"]
    )
    if record is None:
        raise ProblemError(NOT_FOUND)
    return chat_model(record)


def _update(
    scope: Scope, instance_id: str, jid: str, changes: ChatChanges, entry: NewAudit
) -> ChatRecord:
    record = chats.update(scope, instance_id, jid, changes)
    audit.append(scope.subscription_id, replace(entry, target=record.jid))
    return record


def _scope(call: Call[Any, Any]) -> Scope:
    return Scope(call.principal.subscription_id)
