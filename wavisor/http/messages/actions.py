"""What can be done to a message that is queued, failed, sent or received."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from pydantic import Field

from wavisor.domain import MediaState
from wavisor.http.auditing import audit_entry
from wavisor.http.messages.composing import Draft, key_of, message_of, wrong
from wavisor.http.messages.requests import CAPTION_LIMIT, EditMessage, PinMessage
from wavisor.http.messages.schemas import MessageModel, message_model
from wavisor.http.messages.sending import SEND_HEADERS, SEND_PROBLEMS, accept
from wavisor.http.permissions import Permission
from wavisor.http.problems import NOT_FOUND, ProblemError, ProblemKind
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import ApiModel, Empty
from wavisor.ids import Kind
from wavisor.storage import InstanceRecord, MessageRecord, Scope, audit, media
from wavisor.whatsapp.content import (
    Edit,
    MediaKind,
    MessageKey,
    Pin,
    Revoke,
)

__all__ = ["ACTION", "MESSAGE_STATE", "instance_of", "load_message", "router"]

router = Router("messageActions", "What can be done to a message.")

MESSAGE_STATE = ProblemKind("message-state", 409, "The message is not in a state for this")

_EDITABLE: dict[str, MediaKind | None] = {
    "text": None,
    "image": "image",
    "video": "video",
    "document": "document",
}

ACTION: Mapping[str, Any] = {
    "confined": True,
    "access": Permission.MESSAGES_SEND,
    "parameters": {"id": Kind.MESSAGE},
    "responses": {HTTPStatus.ACCEPTED: MessageModel},
    "problems": (MESSAGE_STATE, *SEND_PROBLEMS),
    "headers": SEND_HEADERS,
}
"""What every route declares that makes a new message of an old one."""
_QUEUE: Mapping[str, Any] = {
    "confined": True,
    "access": Permission.MESSAGES_SEND,
    "parameters": {"id": Kind.MESSAGE},
    "responses": {HTTPStatus.OK: MessageModel},
}


class RetryMessage(ApiModel):
    """How to retry."""

    uncertain: bool = Field(
        default=False,
        description="Also a message that may have been sent; it may then be sent twice.",
    )


@router.route(
    "POST",
    "/api/messages/{id}/cancel",
    operation="cancelMessage",
    summary="Cancel a queued message",
    body=Empty,
    problems=[MESSAGE_STATE],
    **_QUEUE,
)
async def cancel_message(call: Call[Empty, None]) -> Reply:
    """Takes a message back while it is queued; 409 when it is being sent already, or was."""
    message = await load_message(call)
    scope = Scope(call.principal.subscription_id)
    await _note(call, "message.cancel", message)
    cancelled = await call.services.instances.cancel_message(scope, message.instance_id, message.id)
    if cancelled is None:
        raise await _not_in_state(call, "Only a queued message can be cancelled")
    return Reply(message_model(replace(cancelled, file=message.file)))


@router.route(
    "POST",
    "/api/messages/{id}/retry",
    operation="retryMessage",
    summary="Queue a failed message again",
    body=RetryMessage,
    problems=[MESSAGE_STATE, SEND_PROBLEMS[0]],
    **_QUEUE,
)
async def retry_message(call: Call[RetryMessage, None]) -> Reply:
    """Queues a message again that has failed; 409 when it has not."""
    message = await load_message(call)
    scope = Scope(call.principal.subscription_id)
    await _note(call, "message.retry", message)
    again = await call.services.instances.retry_message(
        scope, message.instance_id, message.id, uncertain=call.body.uncertain
    )
    if again is None:
        raise await _not_in_state(call, "Only a failed message can be retried")
    return Reply(message_model(replace(again, file=message.file)))


@router.route(
    "POST",
    "/api/messages/{id}/media/retry",
    operation="fetchMessageMedia",
    confined=True,
    summary="Fetch the file of a message",
    access=Permission.MESSAGES_SEND,
    parameters={"id": Kind.MESSAGE},
    responses={HTTPStatus.ACCEPTED: MessageModel},
    body=Empty,
    problems=[MESSAGE_STATE],
)
async def fetch_message_media(call: Call[Empty, None]) -> Reply:
    """Accepts that the file of a received message is fetched: one that failed or was skipped.

    It is fetched as soon as the instance is connected, whatever its rules say; the event
    `message:media:changed` tells what became of it. A file that is here, or is being fetched,
    stays as it is. WhatsApp keeps files for some weeks only.
    """
    message = await load_message(call)
    file, services = message.file, call.services
    gone = False
    if file is not None and file.state is MediaState.STORED and file.path is not None:
        gone = not await asyncio.to_thread((services.media.root / file.path).exists)
    scope = Scope(call.principal.subscription_id)
    wanted = await services.database.commit(media.request, scope, message.id, gone=gone)
    if wanted is None:
        raise ProblemError(MESSAGE_STATE, "The message has no file that could be fetched.")
    services.instances.fetch_files(message.instance_id)
    headers = {"Location": f"/api/messages/{message.id}"}
    shown = message_model(replace(message, media_id=wanted.id, file=wanted))
    return Reply(shown, HTTPStatus.ACCEPTED, headers)


@router.route(
    "POST",
    "/api/messages/{id}/edit",
    operation="editMessage",
    summary="Edit a message that was sent",
    body=EditMessage,
    **ACTION,
)
async def edit_message(call: Call[EditMessage, None]) -> Reply:
    """Accepts a new text, or caption, for an own message; WhatsApp allows it for some 15 minutes.

    The answer is a message of its own, of kind `edit`, that says what became of the edit.
    """
    message, key = await _sent(call)
    status = message.chat.endswith("@broadcast")
    if message.kind not in _EDITABLE or not message.from_me or status:
        raise ProblemError(MESSAGE_STATE, "Only own texts and captions can be edited.")
    caption_of = _EDITABLE[message.kind]
    if caption_of is not None and len(call.body.text) > CAPTION_LIMIT:
        raise wrong("text", f"is a caption, which has {CAPTION_LIMIT} characters at most")
    content = Edit(target=key, text=call.body.text, of=caption_of)
    draft = Draft(chat=message.chat, kind="edit", content=content, text=call.body.text)
    return await _accept(call, message, draft)


@router.route(
    "POST",
    "/api/messages/{id}/revoke",
    operation="revokeMessage",
    summary="Take a sent message back",
    body=Empty,
    **ACTION,
)
async def revoke_message(call: Call[Empty, None]) -> Reply:
    """Accepts that a message is taken back for everyone: an own one, or another's as admin.

    The answer is a message of its own, of kind `revoke`, that says what became of it.
    """
    message, key = await _sent(call)
    if not message.from_me and not message.chat.endswith("@g.us"):
        raise ProblemError(MESSAGE_STATE, "Others' messages can be taken back in groups only.")
    return await _accept(
        call, message, Draft(chat=message.chat, kind="revoke", content=Revoke(target=key))
    )


@router.route(
    "POST",
    "/api/messages/{id}/pin",
    operation="pinMessage",
    summary="Pin a message for everyone",
    body=PinMessage,
    **ACTION,
)
async def pin_message(call: Call[PinMessage, None]) -> Reply:
    """Accepts that a message is pinned for everyone in its chat, or let go with 0 seconds.

    The answer is a message of its own, of kind `pin`, that says what became of it.
    """
    message, key = await _sent(call)
    if message.chat.endswith(("@newsletter", "@broadcast")):
        raise ProblemError(MESSAGE_STATE, "Only messages to people and groups can be pinned.")
    content = Pin(target=key, seconds=call.body.seconds)
    return await _accept(call, message, Draft(chat=message.chat, kind="pin", content=content))


async def _note(call: Call[Any, Any], action: str, message: MessageRecord) -> None:
    """Put on the audit trail what is asked for, before it is done."""
    entry = audit_entry(call, action, message.id, before={"status": message.status.value})
    await call.services.database.commit(audit.append, message.subscription_id, entry)


async def load_message(call: Call[Any, Any]) -> MessageRecord:
    """Return the tenant's message that the path names.

    Raises:
        ProblemError: there is none (404).
    """
    message = await message_of(call, call.path["id"])
    if message is None:
        raise ProblemError(NOT_FOUND)
    return message


async def _sent(call: Call[Any, Any]) -> tuple[MessageRecord, MessageKey]:
    message = await load_message(call)
    key = key_of(message)
    if key is None:
        raise ProblemError(
            MESSAGE_STATE, f"The message is {message.status.value}; WhatsApp does not know it."
        )
    return message, key


async def instance_of(call: Call[Any, Any], message: MessageRecord) -> InstanceRecord:
    """Return the instance that a message belongs to."""
    return await call.application.load_instance(call.principal, message.instance_id)


async def _accept(call: Call[Any, Any], message: MessageRecord, draft: Draft) -> Reply:
    async def compose() -> Draft:
        return draft

    return await accept(call, await instance_of(call, message), compose)


async def _not_in_state(call: Call[Any, Any], rule: str) -> ProblemError:
    """Return the problem; the status is looked up again, because it may just have changed."""
    message = await load_message(call)
    return ProblemError(
        MESSAGE_STATE,
        f"{rule}; this one is {message.status.value}.",
        extensions={"messageStatus": message.status.value},
    )
