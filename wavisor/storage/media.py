"""The files of messages: one row per subscription and content, shared by messages.

Rows only: the files themselves are written and deleted by whoever calls. A file is deleted when no
row names its path any more (:func:`paths_in_use`), under the lock of whoever writes files.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import peewee

from wavisor.domain import CampaignStatus, MediaState, MessageStatus
from wavisor.storage import current
from wavisor.storage.downloads import (
    changed,
    expect,
    insert_or_find,
    list_due,
    list_users,
    mark_failed,
    mark_stored,
    put_off,
    request,
    retry,
)
from wavisor.storage.message_records import MediaRecord, MessageRecord
from wavisor.storage.models import Campaign, Media, Message, Subscription
from wavisor.storage.rows import media_record
from wavisor.storage.scope import Scope

__all__ = [
    "expect",
    "find_owner",
    "get",
    "list_due",
    "list_users",
    "mark_failed",
    "mark_stored",
    "paths_in_use",
    "purge",
    "put",
    "put_off",
    "request",
    "retry",
    "touch",
    "with_files",
]

_UNDER_WAY = (MessageStatus.QUEUED.value, MessageStatus.SENDING.value)
_OPEN = (
    CampaignStatus.DRAFT.value,
    CampaignStatus.RUNNING.value,
    CampaignStatus.PAUSED.value,
)


def put(
    scope: Scope,
    *,
    sha256: str,
    size: int,
    mime_type: str,
    path: str,
    file_name: str | None = None,
) -> MediaRecord:
    """Note a file that is stored, or find the one of the same content. A write.

    Args:
        scope: The tenant.
        sha256: Of the content, in hexadecimal.
        size: In bytes.
        mime_type: What it is.
        path: Where it lies, relative to the media directory.
        file_name: What its sender called it.
    """
    found, row = insert_or_find(
        scope,
        sha256=sha256,
        size=size,
        mime_type=mime_type,
        path=path,
        file_name=file_name,
        state=MediaState.STORED.value,
    )
    if not found:
        return media_record(row)
    if row.state == MediaState.STORED.value:
        return changed(row.id, last_used_at=current.now())
    # One that was still to be fetched, or could not be.
    return changed(
        row.id,
        size=size,
        path=path,
        state=MediaState.STORED.value,
        failure=None,
        retry_at=None,
        last_used_at=current.now(),
    )


def get(scope: Scope, media_id: str, *, instance_id: str | None = None) -> MediaRecord | None:
    """Return the tenant's file; None when there is none or it is another tenant's.

    Args:
        scope: The tenant.
        media_id: The file.
        instance_id: Only if a message of this instance has it; None for any.
    """
    query = scope.select(Media).where(Media.id == media_id)
    if instance_id is not None:
        having = scope.select_by(Message).where(
            Message.media == media_id,
            Message.instance.concat("") == instance_id,
        )
        query = query.where(peewee.fn.EXISTS(having))
    row = query.get_or_none()
    return None if row is None else media_record(row)


def find_owner(media_id: str) -> str | None:
    """Return the subscription that a file belongs to; None without one, or if it is suspended."""
    row = (
        Media.select(Media.subscription)
        .join(Subscription)
        .where(Media.id == media_id, Subscription.suspended_at.is_null())
        .get_or_none()
    )
    return None if row is None else str(row.subscription_id)


def with_files(scope: Scope, found: Sequence[MessageRecord]) -> list[MessageRecord]:
    """Return the tenant's messages each with its file."""
    named = {one.media_id for one in found if one.media_id is not None}
    if not named:
        return list(found)
    rows = scope.select(Media).where(Media.id.in_(list(named)))
    files = {row.id: media_record(row) for row in rows}
    return [replace(one, file=files.get(one.media_id or "")) for one in found]


def touch(scope: Scope, media_id: str) -> None:
    """Note that the tenant's file was used now. A write."""
    scope.update(Media, last_used_at=current.now()).where(Media.id == media_id).execute()


def paths_in_use(paths: Collection[str]) -> set[str]:
    """Return those of these paths that a row names, of whichever tenant."""
    rows = Media.select(Media.path).where(Media.path.in_(list(paths))).distinct()
    return {row.path for row in rows}


def purge(
    before: datetime,
    *,
    instance_id: str | None = None,
    keepers: Collection[str] | None = None,
    limit: int = 500,
) -> list[MediaRecord]:
    """Delete rows of files that were last used before a time. A write.

    Their messages stay, without a file. What a message that waits to be sent needs is kept, and
    what a campaign is still to send.

    Args:
        before: The time.
        instance_id: Only files that messages of this instance have, and of none that keeps
            them; None for those that no message has at all.
        keepers: Instances that keep their files; None for every other one.
        limit: How many at most; to be repeated while so many are returned.

    Returns:
        The rows that are gone. The caller deletes the files whose path is no longer in use.
    """
    users = Message.select(Message.position).where(Message.media == Media.id)
    campaigns = Campaign.select(Campaign.id).where(
        Campaign.media == Media.id, Campaign.status.in_(_OPEN)
    )
    old = Media.select(Media.id).where(Media.last_used_at < before, ~_exists(campaigns))
    if instance_id is None:
        old = old.where(~_exists(users))
    else:
        # Concatenated, so that no engine looks through all of an instance's messages for each file.
        user = Message.instance.concat("")
        keeping = user != instance_id
        if keepers is not None:
            keeping = user.in_(list(keepers))
        old = old.where(
            _exists(users.where(user == instance_id)),
            ~_exists(users.where(keeping)),
            ~_exists(users.where(Message.status.in_(_UNDER_WAY))),
        )
    chosen = [row.id for row in old.order_by(Media.last_used_at).limit(limit)]
    # Looked at again: one may have been used since, by a transaction that this one waited for.
    gone = Media.delete().where(Media.id.in_(chosen), Media.last_used_at < before)
    rows = gone.returning(Media).execute()
    return [media_record(row) for row in rows]


def _exists(query: Any) -> Any:
    return peewee.fn.EXISTS(query)
