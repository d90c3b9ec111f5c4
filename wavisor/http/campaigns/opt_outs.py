"""Who wants no campaign."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from wavisor.clock import format_time
from wavisor.http.auditing import audit_entry
from wavisor.http.campaigns.routes import scope_of
from wavisor.http.campaigns.schemas import OptOutModel, OptOutRequest
from wavisor.http.messages.recipients import person_jid
from wavisor.http.paths import PathText
from wavisor.http.permissions import Permission
from wavisor.http.positions import decode_position, encode_position
from wavisor.http.problems import VALIDATION_FAILED, FieldProblem, ProblemError
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Page, PageQuery
from wavisor.storage import NewAudit, OptOutRecord, Scope, audit, opt_outs

__all__ = ["router"]

router = Router("optOuts", "Who wants no campaign; everything else reaches them all the same.")

_PERSON = PathText(person_jid, "A phone number with its country code, or a JID.", "+15550199")


@router.route(
    "GET",
    "/api/opt-outs",
    operation="listOptOuts",
    summary="List who wants no campaign",
    access=Permission.CAMPAIGNS_READ,
    query=PageQuery,
    responses={200: Page[OptOutModel]},
)
async def list_opt_outs(call: Call[None, PageQuery]) -> Reply:
    """Lists the people, in the order in which they said so."""
    after = decode_position(call.query.cursor)
    page = await call.services.database.fetch(
        opt_outs.list_page,
        scope_of(call),
        limit=call.query.limit,
        after=None if after is None else int(after),
    )
    items = [_model(record) for record in page.items]
    return Reply(Page[OptOutModel](items=items, next_cursor=encode_position(page.next_cursor)))


@router.route(
    "POST",
    "/api/opt-outs",
    operation="addOptOut",
    summary="Note that somebody wants no campaign",
    access=Permission.CAMPAIGNS_MANAGE,
    body=OptOutRequest,
    responses={200: OptOutModel},
    shared=True,
)
async def add_opt_out(call: Call[OptOutRequest, None]) -> Reply:
    """Puts somebody on the list; being there already is no error."""
    try:
        chat = person_jid(call.body.person)
    except ValueError as error:
        problem = FieldProblem(detail=str(error), pointer="#/person")
        raise ProblemError(VALIDATION_FAILED, errors=[problem]) from None
    entry = audit_entry(call, "optOut.add", chat)
    return Reply(_model(await call.services.database.commit(_add, scope_of(call), chat, entry)))


@router.route(
    "DELETE",
    "/api/opt-outs/{person}",
    operation="removeOptOut",
    summary="Take somebody off the list",
    access=Permission.CAMPAIGNS_MANAGE,
    parameters={"person": _PERSON},
    responses={204: None},
)
async def remove_opt_out(call: Call[None, None]) -> Reply:
    """Lets somebody get campaigns again."""
    entry = audit_entry(call, "optOut.remove", call.path["person"])
    await call.services.database.commit(_remove, scope_of(call), call.path["person"], entry)
    return Reply(status=HTTPStatus.NO_CONTENT)


def _add(scope: Scope, chat: str, entry: NewAudit) -> OptOutRecord:
    record, is_news = opt_outs.add(scope, chat, "api")
    if is_news:
        audit.append(scope.subscription_id, entry)
    return record


def _remove(scope: Scope, chat: str, entry: NewAudit) -> None:
    record = opt_outs.remove(scope, chat)
    before = {"source": record.source, "at": format_time(record.at)}
    audit.append(scope.subscription_id, replace(entry, before=before))


def _model(record: OptOutRecord) -> OptOutModel:
    source: Any = record.source
    return OptOutModel(person=record.chat, source=source, at=record.at)
