"""The recipients of campaigns, and what became of their messages.

Recipients are taken in by portions, so that no other write waits for long. They count only from
the moment at which all of them are there: until then their positions lie above the campaign's
``total``, and what a crash left there is removed by the next import.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import peewee

from wavisor.domain import CampaignStatus, RecipientStatus
from wavisor.storage import campaigns, current
from wavisor.storage.campaign_people import addresses_of, taken
from wavisor.storage.campaign_records import CampaignRecord, NewRecipient, RecipientRecord
from wavisor.storage.errors import Conflict, TooMany
from wavisor.storage.models import Campaign, CampaignRecipient, Message
from wavisor.storage.scope import Scope

__all__ = [
    "IMPORT_PORTION",
    "RECIPIENT_LIMIT",
    "add_recipients",
    "begin_import",
    "cancel_import",
    "finish_import",
    "list_recipients",
    "list_unsent",
    "results",
]

RECIPIENT_LIMIT = 100_000
"""Recipients of one campaign."""
IMPORT_PORTION = 500
"""Recipients that are best added at a time."""
_LEASE = timedelta(minutes=2)
"""After this an import that added nothing counts as left by a process that died."""

_UNSENT = ("queued",)
_ROWS = 100
"""In one INSERT: its values must not be more than SQLite takes, 32,766."""


def begin_import(scope: Scope, campaign_id: str) -> str:
    """Begin to add recipients to a draft. A write.

    Returns:
        What :func:`add_recipients` and :func:`finish_import` want to see.

    Raises:
        NotFound: The tenant has no such campaign.
        Conflict: It is no draft, or recipients are being added already.
    """
    row = campaigns.lock(scope, campaign_id)
    now = current.now()
    if row.status != CampaignStatus.DRAFT.value:
        raise Conflict(f"the campaign is {row.status}")
    if row.import_until is not None and row.import_until > now:
        raise Conflict("recipients are being added at this moment")
    _remove_unfinished(row)
    token = secrets.token_hex(16)
    scope.update(Campaign, import_token=token, import_until=now + _LEASE).where(
        Campaign.id == campaign_id
    ).execute()
    return token


def add_recipients(
    scope: Scope, campaign_id: str, token: str, first: int, recipients: Sequence[NewRecipient]
) -> int:
    """Add a portion of recipients, who do not count yet. A write.

    Args:
        scope: The tenant.
        campaign_id: Which campaign.
        token: Of the import.
        first: How many this import has added before.
        recipients: Who, in the order in which they are written to.

    Returns:
        How many were new; the others have a message of this campaign already.

    Raises:
        Conflict: The import was given up, or there are too many.
    """
    row = _importing(scope, campaign_id, token)
    if row.total + first + len(recipients) > RECIPIENT_LIMIT:
        raise TooMany("recipients", RECIPIENT_LIMIT)
    new = _new_ones(scope, row, recipients)
    rows = [
        {
            "campaign": campaign_id,
            "position": row.total + first + number,
            "chat": one.chat,
            "recipient": one.recipient,
            "content": one.content,
            "text": one.text,
            "status": RecipientStatus.PENDING.value,
        }
        for number, one in enumerate(new)
    ]
    for start in range(0, len(rows), _ROWS):
        CampaignRecipient.insert_many(rows[start : start + _ROWS]).execute()
    scope.update(Campaign, import_until=current.now() + _LEASE).where(
        Campaign.id == campaign_id
    ).execute()
    return len(rows)


def _new_ones(scope: Scope, row: Any, recipients: Sequence[NewRecipient]) -> list[NewRecipient]:
    """Return those who are not in the campaign yet, each once, whatever their addresses."""
    people = addresses_of(scope, row.instances, [one.chat for one in recipients])
    known = set().union(*(people[one] for one in taken(row.id, people)))
    new = []
    for one in recipients:
        if not people[one.chat] & known:
            known |= people[one.chat]
            new.append(one)
    return new


def finish_import(
    scope: Scope, campaign_id: str, token: str, *, length: int, duplicates: int
) -> CampaignRecord:
    """Let the recipients that were added count. A write.

    Args:
        scope: The tenant.
        campaign_id: Which campaign.
        token: Of the import.
        length: How many it has added.
        duplicates: How many were left out because they are in the campaign already.

    Raises:
        Conflict: The import was given up meanwhile.
    """
    row = _importing(scope, campaign_id, token)
    scope.update(
        Campaign,
        total=row.total + length,
        duplicates=row.duplicates + duplicates,
        import_token=None,
        import_until=None,
    ).where(Campaign.id == campaign_id).execute()
    return campaigns.load(scope, campaign_id)


def cancel_import(scope: Scope, campaign_id: str, token: str) -> None:
    """Remove what an import has added so far. A write."""
    row = campaigns.locked(scope, campaign_id)
    if row is None or row.import_token != token:
        return
    _remove_unfinished(row)
    scope.update(Campaign, import_token=None, import_until=None).where(
        Campaign.id == campaign_id
    ).execute()


def list_recipients(
    scope: Scope, campaign_id: str, *, limit: int, after: int = -1
) -> tuple[RecipientRecord, ...]:
    """Return recipients with what became of their messages, in order.

    Args:
        scope: The tenant.
        campaign_id: Which campaign.
        limit: How many at most.
        after: Only those at higher positions.

    Raises:
        NotFound: The tenant has no such campaign.
    """
    campaign = campaigns.load(scope, campaign_id)
    rows: Any = (
        CampaignRecipient.select(
            CampaignRecipient.position,
            CampaignRecipient.chat,
            CampaignRecipient.recipient,
            CampaignRecipient.status,
            Message.id,
            Message.status.alias("message_status"),
            Message.failure,
            Message.sent_at,
            Message.delivered_at,
            Message.read_at,
        )
        .join(
            Message,
            peewee.JOIN.LEFT_OUTER,
            on=(CampaignRecipient.message == Message.position),
        )
        .where(
            CampaignRecipient.campaign == campaign_id,
            CampaignRecipient.position > after,
            CampaignRecipient.position < campaign.total,
        )
        .order_by(CampaignRecipient.position)
        .limit(limit)
        .namedtuples()
    )
    return tuple(
        RecipientRecord(
            position=row.position,
            chat=row.chat,
            recipient=row.recipient,
            status=RecipientStatus(row.status),
            message_id=row.id,
            message_status=row.message_status,
            failure=row.failure,
            sent_at=row.sent_at,
            delivered_at=row.delivered_at,
            read_at=row.read_at,
        )
        for row in rows
    )


def results(scope: Scope, campaign_id: str) -> dict[str, int]:
    """Return how many recipients are how far: by the status of their message, or their own.

    Raises:
        NotFound: The tenant has no such campaign.
    """
    campaign = campaigns.load(scope, campaign_id)
    own: Any = (
        CampaignRecipient.select(CampaignRecipient.status, peewee.fn.COUNT(1))
        .where(
            CampaignRecipient.campaign == campaign_id,
            CampaignRecipient.position < campaign.total,
            CampaignRecipient.message.is_null(),
        )
        .group_by(CampaignRecipient.status)
        .tuples()
    )
    sent: Any = (
        CampaignRecipient.select(Message.status, peewee.fn.COUNT(1))
        .join(Message, on=(CampaignRecipient.message == Message.position))
        .where(CampaignRecipient.campaign == campaign_id)
        .group_by(Message.status)
        .tuples()
    )
    # One whose message was deleted since was released, and more is not known.
    return {**dict(own), **dict(sent)}


def list_unsent(scope: Scope, campaign_id: str, *, limit: int = 1000) -> list[tuple[str, str]]:
    """Return messages of a campaign that wait in a queue: instance and id of each."""
    rows: Any = (
        scope.select(Message, Message.instance, Message.id)
        .join(CampaignRecipient, on=(CampaignRecipient.message == Message.position))
        .where(CampaignRecipient.campaign == campaign_id, Message.status.in_(_UNSENT))
        .limit(limit)
        .tuples()
    )
    return [(instance_id, message_id) for instance_id, message_id in rows]


def _importing(scope: Scope, campaign_id: str, token: str) -> Any:
    row = campaigns.lock(scope, campaign_id)
    if row.import_token != token:
        raise Conflict("the import was given up")
    return row


def _remove_unfinished(row: Any) -> None:
    CampaignRecipient.delete().where(
        CampaignRecipient.campaign == row.id, CampaignRecipient.position >= row.total
    ).execute()
