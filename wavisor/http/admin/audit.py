"""The audit trail: a tenant's own, and all of it for operators."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wavisor.clock import format_time
from wavisor.http.admin.schemas import AuditEntry, AuditQuery, PlatformAuditQuery
from wavisor.http.auditing import OPERATOR
from wavisor.http.pagination import decode_cursor, encode_cursor
from wavisor.http.permissions import Permission
from wavisor.http.routing import Call, Content, Reply, Router
from wavisor.http.schemas import Page
from wavisor.http.tables import CSV_TYPE, csv_table
from wavisor.ids import Kind
from wavisor.storage import AuditFilter, AuditRecord, audit

__all__ = ["audit_table", "router"]

router = Router("audit", "Who did what. Entries are only ever added, and go by their age alone.")

_ANSWER = Content((CSV_TYPE,), Page[AuditEntry])
_COLUMNS = (
    "id",
    "at",
    "subscriptionId",
    "actorKind",
    "actorId",
    "action",
    "target",
    "before",
    "after",
    "address",
    "requestId",
)


@router.route(
    "GET",
    "/api/audit",
    operation="listAudit",
    summary="Search the subscription's audit trail",
    access=Permission.AUDIT_READ,
    query=AuditQuery,
    responses={200: _ANSWER},
)
async def list_audit(call: Call[None, AuditQuery]) -> Reply:
    """Lists what was done in the subscription, and by whom, newest first.

    With `format=csv` up to 10,000 entries come as a table; `X-Next-Cursor` then tells where it
    goes on.
    """
    return await _list(call, call.query, call.principal.subscription_id)


@router.route(
    "GET",
    "/api/admin/audit",
    operation="listAllAudit",
    summary="Search the whole audit trail",
    access=Permission.OPERATOR,
    query=PlatformAuditQuery,
    responses={200: _ANSWER},
)
async def list_all_audit(call: Call[None, PlatformAuditQuery]) -> Reply:
    """Lists what was done in all subscriptions and by the platform itself, newest first."""
    return await _list(call, call.query, call.query.subscription)


async def _list(call: Call[Any, Any], query: AuditQuery, subscription_id: str | None) -> Reply:
    where = AuditFilter(
        subscription_id=subscription_id,
        action=query.action,
        actor_id=query.actor,
        target=query.target,
        since=query.since,
        until=query.until,
    )
    page = await call.services.database.fetch(
        audit.list_page,
        where,
        limit=query.most,
        cursor=decode_cursor(query.cursor, Kind.AUDIT),
    )
    after = encode_cursor(page.next_cursor)
    records = page.items
    if Permission.OPERATOR not in call.principal.permissions:
        records = tuple(_for_tenants(one) for one in records)
    if query.format == "csv":
        headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
        if after is not None:
            headers["X-Next-Cursor"] = after
        # Ten thousand lines take long enough for others to notice.
        table = await asyncio.to_thread(audit_table, records)
        return Reply(table, headers=headers, media_type=CSV_TYPE)
    items = [_entry(record) for record in records]
    return Reply(Page[AuditEntry](items=items, next_cursor=after))


def _for_tenants(record: AuditRecord) -> AuditRecord:
    """Leave out who of the platform's operators it was, and where they sit."""
    if record.actor_kind != OPERATOR:
        return record
    return replace(record, actor_id=None, address=None)


def _entry(record: AuditRecord) -> AuditEntry:
    return AuditEntry(
        id=record.id,
        at=record.at,
        subscription_id=record.subscription_id,
        actor_kind=record.actor_kind,
        actor_id=record.actor_id,
        action=record.action,
        target=record.target,
        before=record.before,
        after=record.after,
        address=record.address,
        request_id=record.request_id,
    )


def audit_table(records: Sequence[AuditRecord]) -> bytes:
    """Return entries as CSV, with a header."""
    return csv_table(
        _COLUMNS,
        (
            (
                one.id,
                format_time(one.at),
                one.subscription_id,
                one.actor_kind,
                one.actor_id,
                one.action,
                one.target,
                _json(one.before),
                _json(one.after),
                one.address,
                one.request_id,
            )
            for one in records
        ),
    )


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)
