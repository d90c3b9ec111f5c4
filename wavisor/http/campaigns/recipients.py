"""The recipients of campaigns: taken in from JSON or CSV, and what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from wavisor.clock import format_time
from wavisor.http.auditing import audit_entry
from wavisor.http.campaigns.drafting import Drafter
from wavisor.http.campaigns.routes import CAMPAIGN_STATE, confine_campaign, load_campaign, scope_of
from wavisor.http.campaigns.schemas import (
    AddedRecipients,
    AddRecipients,
    CampaignRecipientModel,
    RecipientProblem,
    RecipientsQuery,
    campaign_model,
)
from wavisor.http.campaigns.sheets import BadRow, Row, SheetError, read_rows
from wavisor.http.forms import FILE_FIELD
from wavisor.http.messages.composing import region_of
from wavisor.http.permissions import Permission
from wavisor.http.positions import decode_position, encode_position
from wavisor.http.problems import (
    LIMIT_REACHED,
    VALIDATION_FAILED,
    FieldProblem,
    ProblemError,
)
from wavisor.http.routing import Call, Content, Reply, Router, UploadRule
from wavisor.http.schemas import Page
from wavisor.http.tables import CSV_TYPE, csv_table
from wavisor.ids import Kind
from wavisor.storage import (
    CampaignRecord,
    Conflict,
    NewAudit,
    NewRecipient,
    RecipientRecord,
    Scope,
    TemplateRecord,
    audit,
    campaign_recipients,
    instances,
    templates,
)
from wavisor.templating import Variable

__all__ = ["router"]

router = Router("campaignRecipients", "Who a campaign goes to, and what became of each message.")

_FILE_LIMIT = 64 * 1024 * 1024
_PROBLEM_LIMIT = 100
_COLUMNS = (
    "number",
    "recipient",
    "chat",
    "status",
    "messageId",
    "reason",
    "sentAt",
    "deliveredAt",
    "readAt",
)


@router.route(
    "POST",
    "/api/campaigns/{id}/recipients",
    operation="addCampaignRecipients",
    summary="Add recipients to a draft",
    access=Permission.CAMPAIGNS_MANAGE,
    parameters={"id": Kind.CAMPAIGN},
    body=AddRecipients,
    uploads=UploadRule(lambda settings: settings.body_limit_bytes, lambda _: _FILE_LIMIT),
    responses={200: AddedRecipients},
    problems=[CAMPAIGN_STATE, LIMIT_REACHED],
    confined=True,
)
async def add_recipients(call: Call[AddRecipients, None]) -> Reply:
    """Adds recipients: up to 10,000 as JSON, or up to 100,000 as CSV in the field `file` of a form.

    The first line of a CSV names its columns: `to` and the template's variables. Somebody who is
    in the campaign already is left out. One recipient that does not fit refuses all, unless
    `skipInvalid` is set; then nothing is added, or everything.
    """
    campaign = await load_campaign(call)
    template, drafter = await _drafter(call, campaign)
    intake = _Intake(call, campaign, drafter)
    rows = _rows(call, template)
    added = await intake.run(rows)
    return Reply(added)


@router.route(
    "GET",
    "/api/campaigns/{id}/recipients",
    operation="listCampaignRecipients",
    summary="List what became of each recipient",
    access=Permission.CAMPAIGNS_READ,
    parameters={"id": Kind.CAMPAIGN},
    query=RecipientsQuery,
    responses={200: Content((CSV_TYPE,), Page[CampaignRecipientModel])},
    confined=True,
)
async def list_recipients(call: Call[None, RecipientsQuery]) -> Reply:
    """Lists recipients in their order, as JSON or with `format=csv` as a table.

    A table that is cut by `limit` says in `X-Next-Cursor` where it goes on.
    """
    query = call.query
    if query.format == "json" and query.limit > 200:
        problem = FieldProblem(detail="must be 200 at most for JSON", parameter="limit")
        raise ProblemError(VALIDATION_FAILED, errors=[problem])
    await confine_campaign(call)
    after = decode_position(query.cursor)
    found = await call.services.database.fetch(
        campaign_recipients.list_recipients,
        scope_of(call),
        call.path["id"],
        limit=query.most + 1,
        after=-1 if after is None else int(after),
    )
    shown = found[: query.most]
    cursor = encode_position(str(shown[-1].position)) if len(found) > query.most else None
    if query.format == "json":
        items = [_model(record) for record in shown]
        return Reply(Page[CampaignRecipientModel](items=items, next_cursor=cursor))
    headers = {"Content-Disposition": 'attachment; filename="recipients.csv"'}
    if cursor is not None:
        headers["X-Next-Cursor"] = cursor
    return Reply(await asyncio.to_thread(_table, shown), headers=headers, media_type=CSV_TYPE)


class _Intake:
    """Adds recipients portion by portion: made in a thread, stored in short transactions."""

    def __init__(
        self, call: Call[AddRecipients, None], campaign: CampaignRecord, drafter: Drafter
    ) -> None:
        self._call = call
        self._campaign = campaign
        self._drafter = drafter
        self._problems: list[RecipientProblem] = []
        self._refused = 0
        self._drafted = 0

    async def run(self, rows: Callable[[], Iterator[Row | BadRow]]) -> AddedRecipients:
        """Take in everything, or nothing.

        Raises:
            ProblemError: the campaign is no draft, or what was sent does not fit.
        """
        call, scope, campaign_id = self._call, scope_of(self._call), self._campaign.id
        database = call.services.database
        try:
            token = await database.commit(campaign_recipients.begin_import, scope, campaign_id)
        except Conflict as error:
            raise ProblemError(CAMPAIGN_STATE, f"It cannot be done: {error}.") from None
        try:
            added = await self._add(scope, token, rows())
            entry = audit_entry(call, "campaign.recipients", campaign_id, after={"added": added})
            record = await database.commit(
                _finish, scope, campaign_id, token, added, self._drafted - added, entry
            )
        except BaseException:
            undo = database.commit(campaign_recipients.cancel_import, scope, campaign_id, token)
            # In a task of its own: it has to happen even when this one is cancelled.
            await asyncio.shield(asyncio.ensure_future(undo))
            raise
        return AddedRecipients(
            added=added,
            duplicates=self._drafted - added,
            refused=self._refused,
            problems=self._problems,
            campaign=campaign_model(record),
        )

    async def _add(self, scope: Scope, token: str, rows: Iterator[Row | BadRow]) -> int:
        added = 0
        while True:
            try:
                done, portion = await asyncio.to_thread(self._draft_portion, rows)
            except SheetError as error:
                problem = FieldProblem(detail=str(error), pointer=f"#/{FILE_FIELD}")
                raise ProblemError(VALIDATION_FAILED, errors=[problem]) from None
            if self._problems and not self._call.body.skip_invalid:
                raise self._refusal()
            self._drafted += len(portion)
            added += await self._call.services.database.commit(
                campaign_recipients.add_recipients, scope, self._campaign.id, token, added, portion
            )
            if done:
                return added

    def _draft_portion(self, rows: Iterator[Row | BadRow]) -> tuple[bool, list[NewRecipient]]:
        """Return whether these were the last ones, and what the next ones get."""
        portion = []
        taken = 0
        for row in islice(rows, campaign_recipients.IMPORT_PORTION):
            taken += 1
            if isinstance(row, BadRow):
                self._refuse(row.line, row.detail)
                continue
            number, to, variables = row
            try:
                portion.append(self._drafter.draft(to, variables))
            except ProblemError as error:
                details = [f"{one.pointer}: {one.detail}" for one in error.errors]
                self._refuse(number, "; ".join(details) or str(error))
            except ValueError as error:
                self._refuse(number, str(error))
        return taken < campaign_recipients.IMPORT_PORTION, portion

    def _refuse(self, number: int, detail: str) -> None:
        self._refused += 1
        if len(self._problems) < _PROBLEM_LIMIT:
            self._problems.append(RecipientProblem(number=number, detail=detail[:500]))

    def _refusal(self) -> ProblemError:
        uploaded = self._call.upload is not None
        errors = [
            FieldProblem(detail=f"line {one.number}: {one.detail}", pointer=f"#/{FILE_FIELD}")
            if uploaded
            else FieldProblem(detail=one.detail, pointer=f"#/recipients/{one.number}")
            for one in self._problems
        ]
        return ProblemError(VALIDATION_FAILED, "Nobody was added.", errors=errors)


def _rows(
    call: Call[AddRecipients, None], template: TemplateRecord
) -> Callable[[], Iterator[Row | BadRow]]:
    upload, body = call.upload, call.body
    if (upload is None) == (not body.recipients):
        problem = FieldProblem(
            detail="is needed, or the field file of a form, and not both", pointer="#/recipients"
        )
        raise ProblemError(VALIDATION_FAILED, errors=[problem])
    if upload is not None:
        variables = [Variable.model_validate(one) for one in template.variables]
        path = upload.received.path
        return lambda: read_rows(path, variables)
    return lambda: ((number, one.to, one.variables) for number, one in enumerate(body.recipients))


async def _drafter(
    call: Call[Any, Any], campaign: CampaignRecord
) -> tuple[TemplateRecord, Drafter]:
    scope, database = scope_of(call), call.services.database
    template = await database.fetch(
        templates.get, scope, campaign.template_id, campaign.template_version
    )
    if template is None:
        raise ProblemError(CAMPAIGN_STATE, "Its template was deleted.")
    for one in campaign.instances:
        instance = await database.fetch(instances.get, scope, one)
        if instance is not None:
            return template, Drafter(template, instance, region_of(instance), campaign.file)
    raise ProblemError(CAMPAIGN_STATE, "Its instances were deleted.")


def _finish(
    scope: Scope, campaign_id: str, token: str, added: int, duplicates: int, entry: NewAudit
) -> CampaignRecord:
    record = campaign_recipients.finish_import(
        scope, campaign_id, token, length=added, duplicates=duplicates
    )
    audit.append(scope.subscription_id, entry)
    return record


def _status(record: RecipientRecord) -> str:
    if record.message_status is not None:
        return record.message_status
    return record.status.value


def _model(record: RecipientRecord) -> CampaignRecipientModel:
    return CampaignRecipientModel(
        number=record.position,
        recipient=record.recipient,
        chat=record.chat,
        status=_status(record),
        message_id=record.message_id,
        reason=(record.failure or {}).get("reason"),
        sent_at=record.sent_at,
        delivered_at=record.delivered_at,
        read_at=record.read_at,
    )


def _table(records: tuple[RecipientRecord, ...]) -> bytes:
    def time(value: Any) -> str | None:
        return None if value is None else format_time(value)

    return csv_table(
        _COLUMNS,
        (
            (
                one.position,
                one.recipient,
                one.chat,
                _status(one),
                one.message_id,
                (one.failure or {}).get("reason"),
                time(one.sent_at),
                time(one.delivered_at),
                time(one.read_at),
            )
            for one in records
        ),
    )
