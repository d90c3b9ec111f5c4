"""Accepting messages: stored once, even when asked for twice, before the answer says so."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

from wavisor.http.auditing import author_of
from wavisor.http.failures import as_problem
from wavisor.http.idempotency import (
    IDEMPOTENCY_HEADER,
    IDEMPOTENCY_PROBLEMS,
    ClaimedKey,
    once,
)
from wavisor.http.messages.composing import Draft
from wavisor.http.messages.preferences import WAIT_LIMIT_SECONDS, preferred_wait
from wavisor.http.messages.schemas import MessageModel, message_model
from wavisor.http.messages.waiting import is_held_back, is_settled
from wavisor.http.problems import (
    DAILY_LIMIT_REACHED,
    ProblemError,
    ProblemKind,
)
from wavisor.http.routing import Call, Reply
from wavisor.storage import (
    InstanceRecord,
    MediaRecord,
    MessageRecord,
    NewMessage,
    QueueFull,
    QueueLimits,
    Scope,
    chats,
    media,
    messages,
)
from wavisor.whatsapp.content import CONTENT

__all__ = ["SEND_HEADERS", "SEND_PROBLEMS", "accept", "queue_drafts"]

QUEUE_FULL = ProblemKind("queue-full", 429, "Too many messages wait to be sent")
QUEUE_PAUSED = ProblemKind("queue-paused", 429, "WhatsApp lets this number write to nobody new")

SEND_PROBLEMS = (QUEUE_FULL, QUEUE_PAUSED, DAILY_LIMIT_REACHED, *IDEMPOTENCY_PROBLEMS)
SEND_HEADERS = {
    "Prefer": "`wait=N` holds the answer until the message is sent, for up to N seconds "
    f"({WAIT_LIMIT_SECONDS} at most).",
    **IDEMPOTENCY_HEADER,
}

_RETRY_FULL = {"Retry-After": "10"}

Compose = Callable[[], Awaitable[Draft]]


class HeldBackError(Exception):
    """The instance writes to nobody new until ``until``, and the client wanted to wait."""

    def __init__(self, until: datetime, seconds: float) -> None:
        super().__init__("the queue is paused for new contacts")
        self.until = until
        self.seconds = seconds


@as_problem.register
def _(error: QueueFull) -> ProblemError:
    return ProblemError(
        QUEUE_FULL,
        f"The {error.of} has {error.limit} messages waiting already.",
        headers=_RETRY_FULL,
        extensions={"limit": error.limit, "limitOf": error.of},
    )


@as_problem.register
def _(error: HeldBackError) -> ProblemError:
    return ProblemError(
        QUEUE_PAUSED,
        "The message was not stored. Without `Prefer: wait` it is queued until then.",
        headers=_retry_after(error.seconds),
    )


async def accept(call: Call[Any, Any], instance: InstanceRecord, compose: Compose) -> Reply:
    """Put a message together, store it, and answer with it.

    Args:
        call: the request.
        instance: which of the tenant's instances sends.
        compose: puts the message together; not called for a request that was done already.

    Raises:
        ProblemError: the request, or its key, cannot be used.
    """
    wait = preferred_wait(call.headers.get_list("Prefer"))
    async with once(call, instance.id, MessageModel) as request:
        if (earlier := request.replay(_location)) is not None:
            return earlier
        draft = replace(await compose(), created_by=author_of(call))
        if wait:
            await call.application.events.ready()
        record = await call.services.database.commit(
            _store,
            Scope(call.principal.subscription_id),
            instance,
            draft,
            request.key,
            call.services.queue_limits,
            None if not wait else call.services.clock.now(),
        )
    call.services.instances.deliver(record.instance_id)
    return await _answer(call, record, wait)


def _location(one: MessageRecord | MessageModel) -> str:
    return f"/api/messages/{one.id}"


async def _answer(call: Call[Any, Any], record: MessageRecord, wait: int) -> Reply:
    headers = {"Location": _location(record)}
    if wait:
        headers["Preference-Applied"] = f"wait={wait}"
        record = await _wait_until_settled(call, record, wait)
        if is_held_back(record.status, record.failure):
            headers |= await _until_released(call, record)
    return Reply(message_model(record), HTTPStatus.ACCEPTED, headers)


def _store(
    scope: Scope,
    instance: InstanceRecord,
    draft: Draft,
    key: ClaimedKey | None,
    limits: QueueLimits,
    waiting_since: datetime | None,
) -> MessageRecord:
    """Queue a message, note its file and finish its key: all or nothing. A write."""
    until = instance.queue_paused_until
    if (
        waiting_since is not None
        and until is not None
        and until > waiting_since
        and chats.is_new_contact(instance.id, draft.chat)
    ):
        raise HeldBackError(until, (until - waiting_since).total_seconds())
    [record] = queue_drafts(scope, instance, [draft], limits)
    if key is not None:
        key.finish(scope, HTTPStatus.ACCEPTED, message_model(record))
    return record


def queue_drafts(
    scope: Scope, instance: InstanceRecord, drafts: Sequence[Draft], limits: QueueLimits
) -> list[MessageRecord]:
    """Queue messages and note their files; all of them, or none when it raises. A write.

    Raises:
        StorageError: as ``messages.enqueue_all`` does.
    """
    files = _note_files(scope, drafts)
    new = [
        _new_message(draft, draft.media_id if file is None else file.id)
        for draft, file in zip(drafts, files, strict=True)
    ]
    records = messages.enqueue_all(scope, instance, new, limits=limits)
    return [replace(record, file=file) for record, file in zip(records, files, strict=True)]


def _note_files(scope: Scope, drafts: Sequence[Draft]) -> list[MediaRecord | None]:
    """Note the files of messages, in the order in which files are locked."""

    def content(index: int) -> str:
        draft = drafts[index]
        if draft.keepsake is not None:
            return draft.keepsake.stored.sha256
        return "" if draft.file is None else draft.file.sha256 or ""

    files = {
        index: _note_file(scope, drafts[index]) for index in sorted(range(len(drafts)), key=content)
    }
    return [files[index] for index in range(len(drafts))]


def _note_file(scope: Scope, draft: Draft) -> MediaRecord | None:
    if draft.keepsake is not None:
        stored = draft.keepsake.stored
        return media.put(
            scope,
            sha256=stored.sha256,
            size=stored.size,
            mime_type=draft.keepsake.mime_type,
            path=stored.relative,
            file_name=draft.keepsake.file_name,
        )
    if draft.media_id is not None:
        media.touch(scope, draft.media_id)
    return draft.file


def _new_message(draft: Draft, media_id: str | None) -> NewMessage:
    return NewMessage(
        chat=draft.chat,
        kind=draft.kind,
        text=draft.text,
        content=CONTENT.dump_python(draft.content, mode="json"),
        options=draft.options.model_dump(mode="json", exclude_defaults=True) or None,
        media_id=media_id,
        quoted_id=draft.quoted_id,
        priority=draft.priority,
        send_at=draft.send_at,
        expires_at=draft.expires_at,
        created_by=draft.created_by,
    )


async def _wait_until_settled(
    call: Call[Any, Any], record: MessageRecord, seconds: int
) -> MessageRecord:
    """Return the message as it is when it is settled, the time is up or the client has left."""
    with call.application.message_waits.settled(record.id) as settled:
        # It may have been sent before anybody listened for it.
        record = await _load(call, record)
        if is_settled(record.status, record.failure):
            return record
        waits = [asyncio.ensure_future(settled.wait()), asyncio.ensure_future(call.gone.wait())]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
    return await _load(call, record)


async def _until_released(call: Call[Any, Any], record: MessageRecord) -> dict[str, str]:
    """Return the header that tells when a message that was held back goes at the earliest."""
    instance = await call.application.load_instance(call.principal, record.instance_id)
    until = instance.queue_paused_until
    left = 0.0 if until is None else (until - call.services.clock.now()).total_seconds()
    return _retry_after(left) if left > 0 else {}


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


async def _load(call: Call[Any, Any], record: MessageRecord) -> MessageRecord:
    scope = Scope(call.principal.subscription_id)
    return await call.services.database.fetch(messages.get, scope, record.id) or record
