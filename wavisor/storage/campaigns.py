"""Campaigns of a tenant; their recipients are in ``campaign_recipients``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from wavisor.domain import CampaignStatus
from wavisor.ids import Kind, new_id
from wavisor.storage import current, quotas
from wavisor.storage.campaign_records import (
    CampaignRecord,
    NewCampaign,
)
from wavisor.storage.errors import Conflict, NotFound, TooMany
from wavisor.storage.fields import storable
from wavisor.storage.models import Campaign
from wavisor.storage.records import Page
from wavisor.storage.scope import Scope

__all__ = [
    "campaign_record",
    "create",
    "delete",
    "get",
    "list_page",
    "load",
    "lock",
    "locked",
    "set_status",
]

CAMPAIGN_LIMIT = 1000
"""Campaigns that a subscription may have."""


def create(scope: Scope, campaign: NewCampaign) -> CampaignRecord:
    """Make a campaign without recipients, as a draft. A write.

    Raises:
        TooMany: The tenant has :data:`CAMPAIGN_LIMIT` already.
        NotFound: The subscription, or the file, is gone.
    """
    quotas.lock_subscription(scope)
    if scope.select(Campaign, Campaign.id).count() >= CAMPAIGN_LIMIT:
        raise TooMany("campaigns", CAMPAIGN_LIMIT)
    row = Campaign.create(
        id=new_id(Kind.CAMPAIGN),
        subscription=scope.subscription_id,
        name=campaign.name,
        status=CampaignStatus.DRAFT.value,
        template_id=campaign.template_id,
        template_name=campaign.template_name,
        template_version=campaign.template_version,
        kind=campaign.kind,
        instances=list(campaign.instances),
        per_minute=campaign.per_minute,
        window=campaign.window,
        options=campaign.options,
        file=campaign.file,
        media=campaign.media_id,
        start_at=campaign.start_at,
        created_by=campaign.created_by,
        created_at=current.now(),
    )
    return campaign_record(row)


def get(scope: Scope, campaign_id: str) -> CampaignRecord | None:
    """Return the tenant's campaign; None when there is none of this id."""
    row = scope.select(Campaign).where(Campaign.id == campaign_id).get_or_none()
    return None if row is None else campaign_record(row)


def list_page(
    scope: Scope,
    *,
    limit: int,
    cursor: str | None = None,
    status: CampaignStatus | None = None,
    only_of: str | None = None,
) -> Page[CampaignRecord]:
    """Return the tenant's campaigns, newest first.

    Args:
        scope: The tenant.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
        status: Only those in this status.
        only_of: Only those that this instance alone sends.
    """
    query = scope.select(Campaign)
    if cursor is not None:
        query = query.where(Campaign.id < cursor)
    if status is not None:
        query = query.where(Campaign.status == status.value)
    if only_of is not None:
        # As the one text that the list is stored as: peewee takes lists apart.
        alone = peewee.Value(storable([only_of]), converter=False)
        query = query.where(Campaign.instances == alone)
    rows = list(query.order_by(Campaign.id.desc()).limit(limit + 1))
    items = tuple(campaign_record(row) for row in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)


def set_status(
    scope: Scope, campaign_id: str, status: CampaignStatus, *, out_of: Sequence[CampaignStatus]
) -> CampaignRecord:
    """Start, pause, resume or cancel a campaign. A write.

    Raises:
        NotFound: The tenant has no such campaign.
        Conflict: It is not in one of the statuses ``out_of``, or is being filled.
    """
    row = lock(scope, campaign_id)
    if CampaignStatus(row.status) not in out_of:
        raise Conflict(f"the campaign is {row.status}")
    now = current.now()
    if row.import_until is not None and row.import_until > now:
        raise Conflict("recipients are being added")
    values: dict[str, Any] = {"status": status.value, "waiting": None}
    if status is CampaignStatus.RUNNING and row.started_at is None:
        values["started_at"] = now
    if status is CampaignStatus.CANCELLED:
        values["finished_at"] = now
    scope.update(Campaign, **values).where(Campaign.id == campaign_id).execute()
    return load(scope, campaign_id)


def delete(scope: Scope, campaign_id: str) -> CampaignRecord:
    """Delete a campaign that is not running, with its results; messages stay. A write.

    Raises:
        NotFound: The tenant has no such campaign.
        Conflict: It is running.
    """
    row = lock(scope, campaign_id)
    if row.status == CampaignStatus.RUNNING.value:
        raise Conflict("the campaign is running")
    scope.delete(Campaign).where(Campaign.id == campaign_id).execute()
    return campaign_record(row)


def campaign_record(row: Any) -> CampaignRecord:
    """Return the record of a campaign's row."""
    return CampaignRecord(
        id=row.id,
        subscription_id=row.subscription_id,
        name=row.name,
        status=CampaignStatus(row.status),
        waiting=row.waiting,
        template_id=row.template_id,
        template_name=row.template_name,
        template_version=row.template_version,
        kind=row.kind,
        instances=tuple(row.instances),
        per_minute=row.per_minute,
        window=row.window,
        options=row.options,
        file=row.file,
        media_id=row.media_id,
        start_at=row.start_at,
        total=row.total,
        released=row.released,
        skipped=row.skipped,
        duplicates=row.duplicates,
        created_by=row.created_by,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def load(scope: Scope, campaign_id: str) -> CampaignRecord:
    """Return the tenant's campaign.

    Raises:
        NotFound: There is none of this id.
    """
    record = get(scope, campaign_id)
    if record is None:
        raise NotFound("no such campaign")
    return record


def locked(scope: Scope, campaign_id: str) -> Any:
    """Return the row of the tenant's campaign, held until the end of the transaction; or None."""
    return current.lock_rows(scope.select(Campaign).where(Campaign.id == campaign_id)).get_or_none()


def lock(scope: Scope, campaign_id: str) -> Any:
    """Return the row of the tenant's campaign, held until the end of the transaction.

    Raises:
        NotFound: There is none of this id.
    """
    row = locked(scope, campaign_id)
    if row is None:
        raise NotFound("no such campaign")
    return row
