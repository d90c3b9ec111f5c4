"""Steps of running campaigns: from the list of recipients to the queues of instances.

A recipient is marked in the transaction that queues their message. So whenever the process dies,
a message is queued and its recipient marked, or neither: nobody is written to twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from wavisor.domain import CampaignStatus, EventType, InstanceStatus, RecipientStatus
from wavisor.event_data.instances import CampaignProgress
from wavisor.storage import current, events, queue, quotas
from wavisor.storage.campaign_people import addresses_of, opted_out
from wavisor.storage.campaign_records import CampaignRecord, Release
from wavisor.storage.campaigns import campaign_record
from wavisor.storage.errors import LimitReached, QueueFull
from wavisor.storage.message_records import MessageRecord, NewMessage, QueueLimits
from wavisor.storage.models import (
    Campaign,
    CampaignRecipient,
    Instance,
    Message,
)
from wavisor.storage.records import EventRecord, NewEvent
from wavisor.storage.scope import Scope

__all__ = ["AHEAD", "hold", "list_running", "release", "tell_progress"]

AHEAD = 20
"""Messages that wait in an instance's queue at most when a campaign adds one: so that a pause takes
effect soon, and messages to somebody in particular do not stand behind a thousand others."""
_PRIORITY = -1
_TELL_EVERY = 0.01


def list_running() -> list[CampaignRecord]:
    """Return the campaigns of all tenants that are running, oldest first."""
    rows = Campaign.select().where(Campaign.status == CampaignStatus.RUNNING.value)
    return [campaign_record(row) for row in rows.order_by(Campaign.id)]


def hold(campaign_id: str, reason: str) -> Release | None:
    """Note why nothing of a campaign is released at the moment, and tell it. A write.

    Returns:
        The campaign; None when it does not run any more.
    """
    row = _lock(campaign_id)
    if row is None:
        return None
    record, told = _update(row, waiting=reason)
    return Release(record, events=told)


def release(campaign_id: str, limit: int, limits: QueueLimits) -> Release | None:
    """Queue the messages of a campaign's next recipients. A write.

    Args:
        campaign_id: Which campaign.
        limit: How many at most.
        limits: How many messages may wait to be sent.

    Returns:
        What was done; None when it does not run any more.
    """
    row = _lock(campaign_id)
    if row is None:
        return None
    pending = list(
        CampaignRecipient.select()
        .where(
            CampaignRecipient.campaign == campaign_id,
            CampaignRecipient.status == RecipientStatus.PENDING.value,
            CampaignRecipient.position < row.total,
        )
        .order_by(CampaignRecipient.position)
        .limit(limit)
    )
    if not pending:
        return _finish(row)
    plan = _plan(row, pending, limits)
    try:
        with current.savepoint():
            released = _enqueue(row, plan.to, limits)
    except (QueueFull, LimitReached) as error:
        # The places that there were have been taken meanwhile.
        released, plan.waiting = {}, "daily_limit" if isinstance(error, LimitReached) else None
    for recipient, message in released.items():
        _mark(row, recipient, RecipientStatus.RELEASED, message.position)
    for recipient in plan.unwilling:
        _mark(row, recipient, RecipientStatus.OPTED_OUT)
    record, told = _update(
        row,
        waiting=plan.waiting,
        released=row.released + len(released),
        skipped=row.skipped + len(plan.unwilling),
    )
    used = frozenset(message.instance_id for message in released.values())
    return Release(record, used, len(released) + len(plan.unwilling), told)


def tell_progress(record: CampaignRecord) -> list[EventRecord]:
    """Append an event of how far a campaign is, to the first of its instances there is. A write."""
    data: CampaignProgress = {
        "campaignId": record.id,
        "name": record.name,
        "status": record.status.value,
        "waiting": record.waiting,
        "total": record.total,
        "released": record.released,
        "optedOut": record.skipped,
    }
    teller = _teller(Scope(record.subscription_id), record.instances)
    if teller is None:
        return []
    return events.append(teller, [NewEvent(type=EventType.CAMPAIGN_PROGRESS.value, data=data)])


def _teller(scope: Scope, instance_ids: Sequence[str]) -> str | None:
    rows = scope.select(Instance, Instance.id).where(Instance.id.in_(instance_ids))
    there = {row.id for row in rows}
    return next((one for one in instance_ids if one in there), None)


def _lock(campaign_id: str) -> Any:
    return current.lock_rows(
        Campaign.select().where(
            Campaign.id == campaign_id, Campaign.status == CampaignStatus.RUNNING.value
        )
    ).get_or_none()


def _finish(row: Any) -> Release:
    """Complete a campaign of which nothing waits any more, in the list or in a queue."""
    if any(_has(row, status) for status in (queue.QUEUED, queue.SENDING)):
        return Release(campaign_record(row))
    record, told = _update(
        row,
        status=CampaignStatus.COMPLETED.value,
        waiting=None,
        finished_at=current.now(),
    )
    return Release(record, events=told)


def _has(row: Any, status: Any) -> bool:
    """Tell whether a message of a campaign is in a status that has a partial index.

    Asked at every look while the last messages wait, so it begins with those and not with all
    that the campaign ever sent: hence the concatenation.
    """
    return bool(
        Message.select(Message.position)
        .join(CampaignRecipient, on=(CampaignRecipient.message == Message.position))
        .where(
            CampaignRecipient.campaign.concat("") == row.id,
            Message.instance.in_(row.instances),
            Message.priority == _PRIORITY,
            Message.status == status,
        )
        .exists()
    )


@dataclass
class _Plan:
    """What is to become of a campaign's next recipients; by their positions."""

    to: list[tuple[Any, str]]
    """Those who are written to, each with the instance that does."""
    unwilling: list[int]
    waiting: str | None = None
    """Why the others have to wait."""


def _plan(row: Any, pending: Sequence[Any], limits: QueueLimits) -> _Plan:
    scope, plan = Scope(row.subscription_id), _Plan([], [])
    people = addresses_of(scope, row.instances, [one.chat for one in pending])
    unwilling = opted_out(scope, people)
    most = min(AHEAD, limits.instance)
    pool = _pool(scope, row, most)
    room, left = queue.room(scope, limits), quotas.messages_left(scope)
    for recipient in pending:
        if recipient.chat in unwilling:
            plan.unwilling.append(recipient.position)
            continue
        if not pool:
            plan.waiting = None if _connected(scope, row) else "instances"
            break
        if len(plan.to) >= room:
            break  # A full queue is the rule: it empties at the pace of the instance.
        if left is not None and len(plan.to) >= left:
            plan.waiting = "daily_limit"
            break
        instance_id = min(pool, key=lambda one: pool[one])
        plan.to.append((recipient, instance_id))
        pool[instance_id] += 1
        if pool[instance_id] >= most:
            del pool[instance_id]
    return plan


def _pool(scope: Scope, row: Any, most: int) -> dict[str, int]:
    """The instances that can take a message now, each with how many wait there already."""
    rows = scope.select(Instance, Instance.id, Instance.queued).where(
        Instance.id.in_(row.instances),
        Instance.status == InstanceStatus.CONNECTED.value,
        Instance.queued < most,
    )
    return {one.id: one.queued for one in rows}


def _connected(scope: Scope, row: Any) -> bool:
    return bool(
        scope.select(Instance, Instance.id)
        .where(Instance.id.in_(row.instances), Instance.status == InstanceStatus.CONNECTED.value)
        .exists()
    )


def _enqueue(
    row: Any, to: Sequence[tuple[Any, str]], limits: QueueLimits
) -> dict[int, MessageRecord]:
    """Queue the messages of some recipients; return them by the recipients' positions."""
    if not to:
        return {}
    scope = Scope(row.subscription_id)
    positions: defaultdict[str, list[int]] = defaultdict(list)
    new: defaultdict[str, list[NewMessage]] = defaultdict(list)
    for recipient, instance_id in to:
        positions[instance_id].append(recipient.position)
        new[instance_id].append(_message(row, recipient))
    accepted = queue.enqueue_to_several(
        scope, new, limits=limits, also_hold=_teller(scope, row.instances)
    )
    return {
        position: message
        for instance_id, messages in accepted.items()
        for position, message in zip(positions[instance_id], messages, strict=True)
    }


def _message(row: Any, recipient: Any) -> NewMessage:
    return NewMessage(
        chat=recipient.chat,
        kind=row.kind,
        content=recipient.content,
        text=recipient.text,
        options=row.options,
        media_id=row.media_id,
        priority=_PRIORITY,
        created_by=row.created_by,
        expires_at=current.now() + timedelta(days=1),
    )


def _mark(row: Any, position: int, status: RecipientStatus, message: int | None = None) -> None:
    # What they were to get is in their message now, which is kept for as long as the tenant says.
    CampaignRecipient.update(status=status.value, message=message, content={}, text=None).where(
        CampaignRecipient.campaign == row.id, CampaignRecipient.position == position
    ).execute()


def _update(row: Any, **values: Any) -> tuple[CampaignRecord, tuple[EventRecord, ...]]:
    """Write changes, and tell of them when they say something new."""
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not changed:
        return campaign_record(row), ()
    before = row.released + row.skipped
    (after,) = Campaign.update(**changed).where(Campaign.id == row.id).returning(Campaign).execute()
    record = campaign_record(after)
    step = max(1, int(row.total * _TELL_EVERY))
    went_on = (record.released + record.skipped) // step > before // step
    if went_on or {"status", "waiting"} & set(changed):
        return record, tuple(tell_progress(record))
    return record, ()
