"""Many messages in one request: each is accepted, or refused, for itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from pydantic import Field, JsonValue, ValidationError

from wavisor.http.auditing import author_of
from wavisor.http.bodies import problems_of
from wavisor.http.failures import as_problem
from wavisor.http.idempotency import ClaimedKey, once
from wavisor.http.messages.composing import Draft
from wavisor.http.messages.kinds import KINDS, MEDIA_KINDS, Prepare, compose
from wavisor.http.messages.requests import MediaBody, SendText
from wavisor.http.messages.schemas import MessageModel, message_model
from wavisor.http.messages.sending import SEND_HEADERS, SEND_PROBLEMS, queue_drafts
from wavisor.http.permissions import Permission
from wavisor.http.problems import (
    VALIDATION_FAILED,
    FieldProblem,
    ProblemError,
)
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.http.schemas import ApiModel
from wavisor.http.templates.rendering import body_of
from wavisor.http.templates.schemas import SendTemplate
from wavisor.http.templates.sends import template_named
from wavisor.media import Prepared
from wavisor.storage import (
    InstanceRecord,
    MessageRecord,
    QueueLimits,
    Scope,
    StorageError,
    TemplateRecord,
    savepoint,
)
from wavisor.whatsapp.content import MediaKind

__all__ = ["BULK_LIMIT", "SendBulk", "router"]

router = Router("bulk", "Many messages in one request.")

BULK_LIMIT = 1000
"""Messages in one request."""
FILE_LIMIT = 20
"""Files in one request: each has to be fetched before it is answered."""
PREVIEW_LIMIT = 20
"""Links whose pages are looked at in one request; the texts after them go without a preview."""
_AT_A_TIME = 20
"""Messages that are put together before others get their turn on the event loop."""

_MODELS: Mapping[str, type[ApiModel]] = {
    **{name: kind.body for name, kind in KINDS.items()},
    "template": SendTemplate,
}


class SendBulk(ApiModel):
    """Messages to be sent."""

    messages: tuple[dict[str, JsonValue], ...] = Field(
        min_length=1,
        max_length=BULK_LIMIT,
        description="Each says its `kind` (`text`, `image`, `template`, …) and otherwise what "
        "`POST /api/messages/{kind}` takes.",
        examples=[[{"kind": "text", "to": "+4915112345678", "text": "Good morning"}]],
    )


class ItemProblem(ApiModel):
    """Why a message was refused: the problem document that it would have got alone."""

    type: str
    title: str
    status: int
    detail: str | None
    errors: list[FieldProblem] = Field(description="Pointers lead into the message.")


class BulkItem(ApiModel):
    """What became of one message of the request."""

    index: int = Field(description="Its place in the request, from 0.")
    message: MessageModel | None = Field(default=None, description="Null when it was refused.")
    problem: ItemProblem | None = Field(default=None, description="Why it was refused.")


class BulkResult(ApiModel):
    """What became of every message, in the order of the request."""

    accepted: int
    refused: int
    items: list[BulkItem]


@router.route(
    "POST",
    "/api/messages/bulk",
    operation="sendBulk",
    summary="Send many messages",
    access=Permission.MESSAGES_SEND,
    instance=InstanceFrom.HEADER,
    body=SendBulk,
    responses={HTTPStatus.ACCEPTED: BulkResult},
    problems=SEND_PROBLEMS,
    headers={"Idempotency-Key": SEND_HEADERS["Idempotency-Key"]},
)
async def send_bulk(call: Call[SendBulk, None]) -> Reply:
    """Accepts up to 1,000 messages, each for itself.

    A message that cannot be sent is refused with the problem that it would have got alone; the
    others are stored, all in one transaction. Files go by URL, 20 different ones at most; of the
    texts with `linkPreview` the first 20 get a preview.
    """
    async with once(call, call.instance.id, BulkResult) as request:
        if (earlier := request.replay()) is not None:
            return earlier
        drafts = await _compose_all(call)
        result = await call.services.database.commit(
            _store_all,
            Scope(call.principal.subscription_id),
            call.instance,
            drafts,
            call.services.queue_limits,
            request.key,
        )
    if result.accepted:
        call.services.instances.deliver(call.instance.id)
    return Reply(result, HTTPStatus.ACCEPTED)


async def _compose_all(call: Call[SendBulk, None]) -> list[Draft | ProblemError]:
    _check_files(call.body.messages)
    drafts: list[Draft | ProblemError] = []
    prepare, author = _each_file_once(call), author_of(call)
    template_of = _each_template_once(call)
    previews = 0
    for index, item in enumerate(call.body.messages):
        if index % _AT_A_TIME == _AT_A_TIME - 1:
            await asyncio.sleep(0)
        try:
            kind, body = _read(item)
            if isinstance(body, SendTemplate):
                template = await template_of(body.template, body.version)
                kind, body = template.kind, body_of(template, body.variables, body)
            if isinstance(body, SendText) and body.link_preview:
                previews += 1
                if previews > PREVIEW_LIMIT:
                    body = body.model_copy(update={"link_preview": False})
            draft = await compose(call, kind, body, prepare=prepare)
            drafts.append(replace(draft, created_by=author))
        except ProblemError as error:
            drafts.append(error)
    return drafts


def _each_template_once(
    call: Call[Any, Any],
) -> Callable[[str, int | None], Awaitable[TemplateRecord]]:
    found: dict[tuple[str, int | None], TemplateRecord] = {}

    async def template_of(name: str, version: int | None) -> TemplateRecord:
        known = found.get((name, version))
        if known is None:
            known = found[name, version] = await template_named(call, name, version)
        return known

    return template_of


def _each_file_once(call: Call[Any, Any]) -> Prepare:
    """Return what takes in the file of a message, or shares that of an earlier one."""
    done: dict[tuple[str, str | None, str | None], Prepared | ProblemError] = {}

    async def prepare(kind: MediaKind, body: MediaBody) -> Prepared:
        name = (kind, body.url, body.file_name)
        if name not in done:
            # Templates may have their files by variables: those show only here.
            if len(done) >= FILE_LIMIT:
                detail = f"names one more file; there may be {FILE_LIMIT} different ones"
                raise ProblemError(
                    VALIDATION_FAILED, errors=[FieldProblem(detail=detail, pointer="#/url")]
                )
            try:
                done[name] = await call.application.intake.prepare(kind, body, None)
            except ProblemError as error:
                done[name] = error
        prepared = done[name]
        if isinstance(prepared, ProblemError):
            raise prepared
        return prepared

    return prepare


def _check_files(items: Sequence[Mapping[str, JsonValue]]) -> None:
    files = {
        (str(item.get("kind")), str(item.get("url")), str(item.get("fileName")))
        for item in items
        if "url" in item
    }
    if len(files) > FILE_LIMIT:
        problem = FieldProblem(
            detail=f"have {len(files)} different files, more than {FILE_LIMIT}",
            pointer="#/messages",
        )
        raise ProblemError(VALIDATION_FAILED, errors=[problem])


def _read(item: Mapping[str, JsonValue]) -> tuple[str, ApiModel]:
    """Return the kind of a message and its body.

    Raises:
        ProblemError: it is none.
    """
    kind = item.get("kind")
    if not isinstance(kind, str) or kind not in _MODELS:
        detail = f"must be one of {', '.join(_MODELS)}"
        raise ProblemError(
            VALIDATION_FAILED, errors=[FieldProblem(detail=detail, pointer="#/kind")]
        )
    if kind in MEDIA_KINDS and "base64" in item:
        problem = FieldProblem(detail="is too much for many at once", pointer="#/base64")
        raise ProblemError(VALIDATION_FAILED, errors=[problem])
    said = {name: value for name, value in item.items() if name != "kind"}
    try:
        # As text, so that it is read by the same strict rules as alone.
        return kind, _MODELS[kind].model_validate_json(
            json.dumps(said), strict=True, by_alias=True, by_name=False
        )
    except ValidationError as error:
        raise ProblemError(VALIDATION_FAILED, errors=problems_of(error)) from None


def _store_all(
    scope: Scope,
    instance: InstanceRecord,
    drafts: Sequence[Draft | ProblemError],
    limits: QueueLimits,
    key: ClaimedKey | None,
) -> BulkResult:
    """Queue what can be queued, and keep what is to be answered. A write."""
    outcomes = _queue(scope, instance, drafts, limits)
    items = [
        BulkItem(index=index, problem=_item_problem(one))
        if isinstance(one, ProblemError)
        else BulkItem(index=index, message=message_model(one))
        for index, one in enumerate(outcomes)
    ]
    accepted = sum(item.message is not None for item in items)
    result = BulkResult(accepted=accepted, refused=len(items) - accepted, items=items)
    if key is not None:
        key.finish(scope, HTTPStatus.ACCEPTED, result)
    return result


def _queue(
    scope: Scope,
    instance: InstanceRecord,
    drafts: Sequence[Draft | ProblemError],
    limits: QueueLimits,
) -> list[MessageRecord | ProblemError]:
    """Queue all of them together, which is several times quicker, or else each for itself."""
    good = [draft for draft in drafts if not isinstance(draft, ProblemError)]
    try:
        with savepoint():
            records = iter(queue_drafts(scope, instance, good, limits) if good else ())
    except StorageError:
        return [_queue_one(scope, instance, draft, limits) for draft in drafts]
    return [draft if isinstance(draft, ProblemError) else next(records) for draft in drafts]


def _queue_one(
    scope: Scope, instance: InstanceRecord, draft: Draft | ProblemError, limits: QueueLimits
) -> MessageRecord | ProblemError:
    if isinstance(draft, ProblemError):
        return draft
    try:
        with savepoint():
            [record] = queue_drafts(scope, instance, [draft], limits)
    except StorageError as error:
        problem = as_problem(error)
        if problem is None or problem.kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise  # nothing is stored then: the whole request is to be repeated
        return problem
    return record


def _item_problem(error: ProblemError) -> ItemProblem:
    kind = error.kind
    return ItemProblem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=error.detail,
        errors=list(error.errors),
    )
