"""Campaigns: made, started, paused, cancelled, looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from wavisor.actors.instances import InstanceUnavailableError
from wavisor.domain import CampaignStatus
from wavisor.http.auditing import audit_entry, author_of
from wavisor.http.campaigns.drafting import file_of
from wavisor.http.campaigns.schemas import (
    CampaignModel,
    CampaignQuery,
    CampaignResults,
    CreateCampaign,
    campaign_fields,
    campaign_model,
)
from wavisor.http.idempotency import (
    IDEMPOTENCY_HEADER,
    IDEMPOTENCY_PROBLEMS,
    ClaimedKey,
    once,
)
from wavisor.http.messages.composing import Draft
from wavisor.http.messages.intake import MEDIA_PROBLEMS
from wavisor.http.pagination import decode_cursor, encode_cursor
from wavisor.http.permissions import Permission
from wavisor.http.problems import (
    LIMIT_REACHED,
    NOT_FOUND,
    VALIDATION_FAILED,
    FieldProblem,
    ProblemError,
    ProblemKind,
)
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Empty, Page
from wavisor.http.templates.sends import template_named
from wavisor.ids import Kind
from wavisor.storage import (
    CampaignRecord,
    Conflict,
    NewAudit,
    NewCampaign,
    Scope,
    audit,
    campaign_recipients,
    campaigns,
    instances,
    media,
)
from wavisor.whatsapp.content import CONTENT, SendOptions

__all__ = ["CAMPAIGN_STATE", "confine_campaign", "load_campaign", "router"]

router = Router("campaigns", "One template to many people, each of them once.")

CAMPAIGN_STATE = ProblemKind("campaign-state", 409, "The campaign is not in a state for this")

_ID = {"id": Kind.CAMPAIGN}


@router.route(
    "GET",
    "/api/campaigns",
    operation="listCampaigns",
    summary="List campaigns",
    access=Permission.CAMPAIGNS_READ,
    query=CampaignQuery,
    responses={200: Page[CampaignModel]},
    confined=True,
)
async def list_campaigns(call: Call[None, CampaignQuery]) -> Reply:
    """Lists the subscription's campaigns, newest first.

    For a key that is bound to an instance there are those which that instance alone sends.
    """
    page = await call.services.database.fetch(
        campaigns.list_page,
        scope_of(call),
        limit=call.query.limit,
        cursor=decode_cursor(call.query.cursor, Kind.CAMPAIGN),
        status=call.query.status,
        only_of=call.principal.instance_id,
    )
    items = [campaign_model(record) for record in page.items]
    return Reply(Page[CampaignModel](items=items, next_cursor=encode_cursor(page.next_cursor)))


@router.route(
    "POST",
    "/api/campaigns",
    operation="createCampaign",
    summary="Make a campaign",
    access=Permission.CAMPAIGNS_MANAGE,
    body=CreateCampaign,
    responses={201: CampaignModel},
    problems=[LIMIT_REACHED, *MEDIA_PROBLEMS, *IDEMPOTENCY_PROBLEMS],
    headers=IDEMPOTENCY_HEADER,
    confined=True,
)
async def create_campaign(call: Call[CreateCampaign, None]) -> Reply:
    """Makes a campaign as a draft: recipients are added next, and then it is started.

    The template is taken in its present version, whatever becomes of it later; a file that it
    names is fetched now, once for all.
    """
    _check_seen(call)  # before an answer that somebody else got is given once more
    async with once(call, "", CampaignModel) as request:
        if (earlier := request.replay(_location)) is not None:
            return earlier
        new, draft = await _draft(call)
        entry = audit_entry(call, "campaign.create", None, after={"name": new.name})
        record = await call.services.database.commit(
            _create, scope_of(call), new, draft, entry, request.key
        )
    headers = {"Location": _location(record)}
    return Reply(campaign_model(record), HTTPStatus.CREATED, headers)


async def _draft(call: Call[CreateCampaign, None]) -> tuple[NewCampaign, Draft | None]:
    body = call.body
    template = await template_named(call, body.template, body.version)
    await _check_instances(call, body.instances)
    draft = await file_of(call, template)
    new = NewCampaign(
        name=body.name,
        template_id=template.id,
        template_name=template.name,
        template_version=template.version,
        kind=template.kind,
        instances=body.instances,
        per_minute=body.messages_per_minute,
        window=None if body.window is None else body.window.model_dump(mode="json", by_alias=True),
        options=_options(body),
        file=None if draft is None else CONTENT.dump_python(draft.content, mode="json"),
        start_at=body.start_at,
        created_by=author_of(call),
    )
    return new, draft


@router.route(
    "GET",
    "/api/campaigns/{id}",
    operation="getCampaign",
    summary="Look at a campaign",
    access=Permission.CAMPAIGNS_READ,
    parameters=_ID,
    responses={200: CampaignResults},
    confined=True,
)
async def get_campaign(call: Call[None, None]) -> Reply:
    """Returns a campaign and what became of its messages so far."""
    record = await load_campaign(call)
    found = await call.services.database.fetch(
        campaign_recipients.results, scope_of(call), record.id
    )
    return Reply(CampaignResults(**campaign_fields(record), results=found))


@router.route(
    "POST",
    "/api/campaigns/{id}/start",
    operation="startCampaign",
    summary="Start a campaign",
    access=Permission.CAMPAIGNS_MANAGE,
    parameters=_ID,
    body=Empty,
    responses={200: CampaignModel},
    problems=[CAMPAIGN_STATE],
    confined=True,
)
async def start_campaign(call: Call[Empty, None]) -> Reply:
    """Lets a draft go out, from its `startAt` on and within its window."""
    record = await load_campaign(call)
    if record.total == 0:
        raise ProblemError(CAMPAIGN_STATE, "It has no recipients.")
    return await _move(call, "start", CampaignStatus.RUNNING, [CampaignStatus.DRAFT])


@router.route(
    "POST",
    "/api/campaigns/{id}/pause",
    operation="pauseCampaign",
    summary="Pause a campaign",
    access=Permission.CAMPAIGNS_MANAGE,
    parameters=_ID,
    body=Empty,
    responses={200: CampaignModel},
    problems=[CAMPAIGN_STATE],
    confined=True,
)
async def pause_campaign(call: Call[Empty, None]) -> Reply:
    """Releases nothing more. The few messages that are in a queue already still go out."""
    return await _move(call, "pause", CampaignStatus.PAUSED, [CampaignStatus.RUNNING])


@router.route(
    "POST",
    "/api/campaigns/{id}/resume",
    operation="resumeCampaign",
    summary="Resume a campaign",
    access=Permission.CAMPAIGNS_MANAGE,
    parameters=_ID,
    body=Empty,
    responses={200: CampaignModel},
    problems=[CAMPAIGN_STATE],
    confined=True,
)
async def resume_campaign(call: Call[Empty, None]) -> Reply:
    """Goes on with the next recipient; nobody is written to twice."""
    return await _move(call, "resume", CampaignStatus.RUNNING, [CampaignStatus.PAUSED])


@router.route(
    "POST",
    "/api/campaigns/{id}/cancel",
    operation="cancelCampaign",
    summary="Cancel a campaign",
    access=Permission.CAMPAIGNS_MANAGE,
    parameters=_ID,
    body=Empty,
    responses={200: CampaignModel},
    problems=[CAMPAIGN_STATE],
    confined=True,
)
async def cancel_campaign(call: Call[Empty, None]) -> Reply:
    """Ends a campaign for good, and takes back its messages that still wait in a queue.

    Where an instance does not answer (503) the campaign has ended all the same; repeat the request
    to take back the messages that are left.
    """
    record = await load_campaign(call)
    reply = Reply(campaign_model(record))
    if record.status is not CampaignStatus.CANCELLED:
        out_of = [CampaignStatus.DRAFT, CampaignStatus.RUNNING, CampaignStatus.PAUSED]
        reply = await _move(call, "cancel", CampaignStatus.CANCELLED, out_of)
    await _take_back(call)
    return reply


async def _take_back(call: Call[Empty, None]) -> None:
    """Take back what waits of a campaign, as far as its instances answer.

    Raises:
        InstanceUnavailableError: one did not; the messages of the others are taken back.
    """
    scope = scope_of(call)
    unsent = await call.services.database.fetch(
        campaign_recipients.list_unsent, scope, call.path["id"]
    )
    silent: dict[str, InstanceUnavailableError] = {}
    for instance_id, message_id in unsent:
        if instance_id in silent:
            continue
        try:
            await call.services.instances.cancel_message(scope, instance_id, message_id)
        except InstanceUnavailableError as error:
            silent[instance_id] = error
    if silent:
        raise next(iter(silent.values()))


@router.route(
    "DELETE",
    "/api/campaigns/{id}",
    operation="deleteCampaign",
    summary="Delete a campaign",
    access=Permission.CAMPAIGNS_MANAGE,
    parameters=_ID,
    responses={204: None},
    problems=[CAMPAIGN_STATE],
    confined=True,
)
async def delete_campaign(call: Call[None, None]) -> Reply:
    """Deletes a campaign that is not running, with its recipients and results; messages stay."""
    await confine_campaign(call)
    entry = audit_entry(call, "campaign.delete", call.path["id"])
    await _commit(call, _delete, scope_of(call), call.path["id"], entry)
    return Reply(status=HTTPStatus.NO_CONTENT)


async def load_campaign(call: Call[Any, Any]) -> CampaignRecord:
    """Return the tenant's campaign that the path names.

    Raises:
        ProblemError: there is none, or none for a key that is bound to an instance.
    """
    record = await call.services.database.fetch(campaigns.get, scope_of(call), call.path["id"])
    bound = call.principal.instance_id
    if record is None or (bound is not None and record.instances != (bound,)):
        raise ProblemError(NOT_FOUND)
    return record


async def confine_campaign(call: Call[Any, Any]) -> None:
    """Let a key that is bound to an instance see only what that instance alone sends.

    Raises:
        ProblemError: it is such a key, and the campaign is another one.
    """
    if call.principal.instance_id is not None:
        await load_campaign(call)


def _location(one: CampaignRecord | CampaignModel) -> str:
    return f"/api/campaigns/{one.id}"


def scope_of(call: Call[Any, Any]) -> Scope:
    """Return the caller's tenant."""
    return Scope(call.principal.subscription_id)


def _check_seen(call: Call[CreateCampaign, None]) -> None:
    """Refuse instances that there are not for a key that is bound to another one."""
    _refuse([not call.principal.sees(one) for one in call.body.instances])


async def _check_instances(call: Call[CreateCampaign, None], ids: Sequence[str]) -> None:
    database, scope = call.services.database, scope_of(call)
    _refuse([await database.fetch(instances.get, scope, one) is None for one in ids])


def _refuse(missing: Sequence[bool]) -> None:
    detail = "is no instance of yours"
    problems = [
        FieldProblem(detail=detail, pointer=f"#/instances/{number}")
        for number, is_missing in enumerate(missing)
        if is_missing
    ]
    if problems:
        raise ProblemError(VALIDATION_FAILED, errors=problems)


def _options(body: CreateCampaign) -> dict[str, Any] | None:
    options = SendOptions(typing_seconds=body.typing / 1000)
    return options.model_dump(mode="json", exclude_defaults=True) or None


async def _move(
    call: Call[Empty, None], action: str, status: CampaignStatus, out_of: list[CampaignStatus]
) -> Reply:
    await confine_campaign(call)
    entry = audit_entry(call, f"campaign.{action}", call.path["id"])
    record = await _commit(
        call, _set_status, scope_of(call), call.path["id"], status, out_of, entry
    )
    call.services.instances.campaigns_changed()
    return Reply(campaign_model(record))


async def _commit(call: Call[Any, Any], function: Any, *arguments: Any) -> Any:
    try:
        return await call.services.database.commit(function, *arguments)
    except Conflict as error:
        raise ProblemError(CAMPAIGN_STATE, f"It cannot be done: {error}.") from None


def _create(
    scope: Scope, new: NewCampaign, draft: Draft | None, entry: NewAudit, key: ClaimedKey | None
) -> CampaignRecord:
    if draft is not None and draft.keepsake is not None:
        stored = draft.keepsake.stored
        kept = media.put(
            scope,
            sha256=stored.sha256,
            size=stored.size,
            mime_type=draft.keepsake.mime_type,
            path=stored.relative,
            file_name=draft.keepsake.file_name,
        )
        new = replace(new, media_id=kept.id)
    record = campaigns.create(scope, new)
    audit.append(scope.subscription_id, replace(entry, target=record.id))
    if key is not None:
        key.finish(scope, HTTPStatus.CREATED, campaign_model(record))
    return record


def _set_status(
    scope: Scope,
    campaign_id: str,
    status: CampaignStatus,
    out_of: Sequence[CampaignStatus],
    entry: NewAudit,
) -> CampaignRecord:
    record = campaigns.set_status(scope, campaign_id, status, out_of=out_of)
    audit.append(scope.subscription_id, entry)
    return record


def _delete(scope: Scope, campaign_id: str, entry: NewAudit) -> None:
    record = campaigns.delete(scope, campaign_id)
    audit.append(scope.subscription_id, replace(entry, before={"name": record.name}))
