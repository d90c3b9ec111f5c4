"""Files that are fetched from WhatsApp: expected, due, stored, failed, asked for again.

Part of :mod:`wavisor.storage.media`, which offers the functions here as its own.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import peewee

from wavisor.domain import MediaState
from wavisor.ids import Kind, new_id
from wavisor.storage import current
from wavisor.storage.message_records import DueFiles, ExpectedFile, MediaRecord, MediaUser
from wavisor.storage.models import Media, Message
from wavisor.storage.prepared import insert_new
from wavisor.storage.rows import media_record
from wavisor.storage.scope import Scope

__all__ = [
    "attach",
    "by_hash",
    "changed",
    "expect",
    "insert_or_find",
    "list_due",
    "list_users",
    "mark_failed",
    "mark_stored",
    "put_off",
    "request",
    "retry",
]

_MOST_USERS = 500
# The partial index on them is used only for this very text.
_PENDING = peewee.SQL("'pending'")


def expect(scope: Scope, file: ExpectedFile) -> MediaRecord:
    """Note a file that came with a message, or find the one of the same content. A write.

    Args:
        scope: The tenant.
        file: What its message tells of it, and whether it is wanted.
    """
    state = MediaState.PENDING if file.skipped is None else MediaState.SKIPPED
    found, row = insert_or_find(
        scope,
        sha256=file.sha256,
        size=file.size,
        mime_type=file.mime_type,
        file_name=file.file_name,
        descriptor=file.descriptor,
        state=state.value,
        failure=file.skipped,
    )
    if not found:
        return media_record(row)
    if row.state == MediaState.STORED.value:
        return changed(row.id, last_used_at=current.now())
    # The newer message knows the fresher address to fetch it from.
    fresh: dict[str, Any] = {"descriptor": file.descriptor, "last_used_at": current.now()}
    if file.skipped is None:
        fresh |= _anew()
    elif row.state == MediaState.PENDING.value:
        # Somebody else wants it, by their own limit.
        fresh["descriptor"] = {**file.descriptor, "limit": (row.descriptor or {}).get("limit")}
    return changed(row.id, **fresh)


def _anew() -> dict[str, Any]:
    return {"state": MediaState.PENDING.value, "failure": None, "attempts": 0, "retry_at": None}


def by_hash(scope: Scope, sha256: str) -> Any:
    """Return the tenant's row of a content, locked; None when there is none."""
    return current.lock_rows(scope.select(Media).where(Media.sha256 == sha256)).get_or_none()


def insert_or_find(scope: Scope, **values: Any) -> tuple[bool, Any]:
    """Insert a row, or find the tenant's one of the same content. A write.

    Returns:
        Whether it was there already, and the row.
    """
    now = current.now()
    while True:
        sha256 = values.get("sha256")
        found = None if sha256 is None else by_hash(scope, sha256)
        if found is not None:
            return True, found
        row = insert_new(
            Media,
            id=new_id(Kind.MEDIA),
            subscription_id=scope.subscription_id,
            created_at=now,
            last_used_at=now,
            **values,
        )
        if row is not None:
            return False, row
        # Somebody else inserted it between the two, and has committed.


def changed(media_id: str, **values: Any) -> MediaRecord:
    """Change a row and return it. A write."""
    rows = Media.update(**values).where(Media.id == media_id).returning(Media).execute()
    return media_record(next(iter(rows)))


def _locked(media_id: str) -> Any:
    return current.lock_rows(Media.select().where(Media.id == media_id)).get_or_none()


def mark_stored(
    media_id: str, *, sha256: str, size: int, path: str, mime_type: str | None = None
) -> MediaRecord | None:
    """Note that a file was fetched. A write.

    Args:
        media_id: Which file.
        sha256: Of what was fetched, in hexadecimal.
        size: In bytes.
        path: Where it lies, relative to the media directory.
        mime_type: What it proved to be; None to believe its sender.

    Returns:
        The file; None when it is unknown, or was stored already.
    """
    row = _locked(media_id)
    if row is None or row.state == MediaState.STORED.value:
        return None
    taken = Media.get_or_none(Media.subscription == row.subscription_id, Media.sha256 == sha256)
    # Another row may have the same content already; this one keeps its id, which was told, and
    # shares the path.
    free = taken is None or taken.id == media_id
    return changed(
        media_id,
        sha256=sha256 if free else row.sha256,
        size=size,
        path=path,
        mime_type=mime_type or row.mime_type,
        state=MediaState.STORED.value,
        failure=None,
        retry_at=None,
        last_used_at=current.now(),
    )


def mark_failed(media_id: str, failure: dict[str, Any]) -> MediaRecord | None:
    """Note that a file could not be fetched, and why. A write.

    Returns:
        The file; None when it is unknown or was stored meanwhile.
    """
    return _unless_stored(
        media_id,
        state=MediaState.FAILED.value,
        failure=failure,
        attempts=Media.attempts + 1,
        retry_at=None,
    )


def put_off(media_id: str, failure: dict[str, Any], at: datetime) -> MediaRecord | None:
    """Note that a file could not be fetched now, and when that is tried again. A write.

    Returns:
        The file; None when it is unknown or was stored meanwhile.
    """
    return _unless_stored(media_id, failure=failure, attempts=Media.attempts + 1, retry_at=at)


def _unless_stored(media_id: str, **values: Any) -> MediaRecord | None:
    rows = (
        Media.update(**values)
        .where(Media.id == media_id, Media.state != MediaState.STORED.value)
        .returning(Media)
        .execute()
    )
    return next((media_record(row) for row in rows), None)


def retry(
    scope: Scope, media_id: str, *, descriptor: dict[str, Any] | None = None, gone: bool = False
) -> MediaRecord | None:
    """Let the tenant's file be fetched, whatever rules kept it from being fetched. A write.

    Args:
        scope: The tenant.
        media_id: Which file.
        descriptor: By which WhatsApp is asked, where the row does not know it.
        gone: Also one that is stored, because it was found not to be there any more.

    Returns:
        The file; None when there is no such one, or nothing to ask WhatsApp by.
    """
    row = current.lock_rows(scope.select(Media).where(Media.id == media_id)).get_or_none()
    if row is None:
        return None
    stored = row.state == MediaState.STORED.value and not gone
    if stored or (row.state == MediaState.PENDING.value and row.retry_at is None):
        return media_record(row)
    known = row.descriptor or descriptor
    if not known or not known.get("source"):
        return None
    asked = {name: value for name, value in known.items() if name != "limit"}
    return changed(row.id, **_anew(), descriptor=asked, last_used_at=current.now())


def request(scope: Scope, message_id: str, *, gone: bool = False) -> MediaRecord | None:
    """Let the file of the tenant's message be fetched, as :func:`retry` does. A write.

    Also one that the message describes and that has no row: of an old message, or purged.

    Args:
        scope: The tenant.
        message_id: Which message.
        gone: See :func:`retry`.

    Returns:
        The file; None when the message has none that WhatsApp could be asked for.
    """
    message = scope.select(Message).where(Message.id == message_id).get_or_none()
    if message is None:
        return None
    told = message.content.get("media")
    descriptor = None
    if isinstance(told, dict) and told.get("source"):
        descriptor = {"source": told["source"], "kind": told.get("kind")}
    if message.media_id is not None:
        return retry(scope, message.media_id, descriptor=descriptor, gone=gone)
    if descriptor is None:
        return None
    record = expect(
        scope,
        ExpectedFile(
            descriptor=descriptor,
            mime_type=told["mime_type"],
            size=told.get("size"),
            file_name=told.get("file_name"),
            sha256=told.get("sha256"),
        ),
    )
    attach(message.position, record.id)
    return record


def attach(position: int, media_id: str) -> None:
    """Note which file a message has. A write."""
    Message.update(media=media_id).where(Message.position == position).execute()


def list_due(
    scope: Scope, instance_id: str, *, limit: int, under_way: Collection[str] = ()
) -> DueFiles:
    """Return files that an instance's messages wait for and that are to be fetched now.

    Args:
        scope: The tenant.
        instance_id: Whose messages.
        limit: How many at most; those expected first come first.
        under_way: Ids of files that are being fetched already.
    """
    waiting = (
        scope.select(Media)
        .join(Message, on=(Message.media == Media.id))
        .where(
            # Concatenated, so that no engine begins with all of the instance's messages.
            Message.instance.concat("") == instance_id,
            Media.state == _PENDING,
            Media.id.not_in(list(under_way)),
        )
        .group_by(Media.id)
    )
    now = current.now()
    ready = Media.retry_at.is_null() | (Media.retry_at <= now)
    rows = waiting.where(ready).order_by(Media.created_at, Media.id).limit(limit)
    later = waiting.where(Media.retry_at > now).order_by(Media.retry_at).limit(1)
    due = tuple(media_record(row) for row in rows)
    return DueFiles(due, next((row.retry_at for row in later), None))


def list_users(media_id: str) -> list[MediaUser]:
    """Return the messages that have a file, the newest 500 of them, oldest first."""
    rows = (
        Message.select(Message.instance, Message.id, Message.whatsapp_id, Message.chat)
        .where(Message.media == media_id)
        .order_by(Message.position.desc())
        .limit(_MOST_USERS)
    )
    users = [MediaUser(row.instance_id, row.id, row.whatsapp_id, row.chat) for row in rows]
    return users[::-1]
