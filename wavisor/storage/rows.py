"""From rows to records; private to the repositories.

A row is a model's object or what :mod:`prepared` returns; both have the columns as attributes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from wavisor.domain import (
    ChatKind,
    InstanceStatus,
    MediaState,
    MessageDirection,
    MessageStatus,
    Role,
    Tier,
    WantedState,
)
from wavisor.storage.message_records import (
    ChatRecord,
    MediaRecord,
    MessageRecord,
    Party,
    ReceiptRecord,
    ResponseKind,
    ResponseRecord,
    StatusChange,
)
from wavisor.storage.records import (
    AuditRecord,
    EventRecord,
    InstanceRecord,
    SubscriptionRecord,
    UserRecord,
)

__all__ = [
    "audit_record",
    "chat_record",
    "event_record",
    "history_line",
    "instance_record",
    "media_record",
    "message_record",
    "read_history",
    "receipt_record",
    "response_record",
    "subscription_record",
    "user_record",
]


def subscription_record(row: Any) -> SubscriptionRecord:
    """Return the record of a subscription's row."""
    return SubscriptionRecord(
        id=row.id,
        name=row.name,
        tier=Tier(row.tier),
        created_at=row.created_at,
        suspended_at=row.suspended_at,
        overrides=row.overrides,
        deleted_at=row.deleted_at,
    )


def user_record(row: Any) -> UserRecord:
    """Return the record of a user's row."""
    return UserRecord(
        id=row.id,
        subscription_id=row.subscription_id,
        email=row.email,
        password_hash=row.password_hash,
        role=Role(row.role),
        is_operator=row.is_operator,
        token_version=row.token_version,
        created_at=row.created_at,
        last_login_at=row.last_login_at,
    )


def instance_record(row: Any) -> InstanceRecord:
    """Return the record of an instance's row."""
    return InstanceRecord(
        id=row.id,
        subscription_id=row.subscription_id,
        name=row.name,
        desired=WantedState(row.desired),
        status=InstanceStatus(row.status),
        reason=row.reason,
        last_error=row.last_error,
        status_changed_at=row.status_changed_at,
        jid=row.jid,
        lid=row.lid,
        phone=row.phone,
        push_name=row.push_name,
        platform=row.platform,
        connected_at=row.connected_at,
        settings=row.settings,
        event_seq=row.event_seq,
        queued=row.queued,
        paired_at=row.paired_at,
        queue_paused_until=row.queue_paused_until,
        queue_pause_reason=row.queue_pause_reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def event_record(row: Any) -> EventRecord:
    """Return the record of an event's row."""
    return EventRecord(
        position=row.position,
        id=row.id,
        subscription_id=row.subscription_id,
        instance_id=row.instance_id,
        seq=row.seq,
        type=row.type,
        timestamp=row.timestamp,
        data=row.data,
    )


def audit_record(row: Any) -> AuditRecord:
    """Return the record of an audit entry's row."""
    return AuditRecord(
        id=row.id,
        subscription_id=row.subscription_id,
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        action=row.action,
        target=row.target,
        before=row.before,
        after=row.after,
        address=row.address,
        request_id=row.request_id,
        at=row.at,
    )


def message_record(row: Any) -> MessageRecord:
    """Return the record of a message's row."""
    sender = None
    if row.sender_jid is not None:
        sender = Party(row.sender_jid, row.sender_lid, row.sender_phone)
    return MessageRecord(
        position=row.position,
        id=row.id,
        subscription_id=row.subscription_id,
        instance_id=row.instance_id,
        direction=MessageDirection(row.direction),
        chat=row.chat,
        sender=sender,
        from_me=row.from_me,
        kind=row.kind,
        text=row.text,
        content=row.content,
        options=row.options,
        media_id=row.media_id,
        status=MessageStatus(row.status),
        failure=row.failure,
        history=read_history(row.history),
        whatsapp_id=row.whatsapp_id,
        secret=row.secret,
        quoted_id=row.quoted_id,
        recipients=row.recipients,
        starred=row.starred,
        from_history=row.from_history,
        priority=row.priority,
        attempts=row.attempts,
        send_at=row.send_at,
        retry_at=row.retry_at,
        expires_at=row.expires_at,
        timestamp=row.timestamp,
        created_at=row.created_at,
        sent_at=row.sent_at,
        delivered_at=row.delivered_at,
        read_at=row.read_at,
        played_at=row.played_at,
        created_by=row.created_by,
        edited_at=row.edited_at,
        revoked_at=row.revoked_at,
    )


def history_line(status: MessageStatus, at: datetime, reason: str | None = None) -> str:
    """Return what a change of status adds to a message's history."""
    stamp = at.astimezone(UTC).isoformat(timespec="microseconds")
    # The reason is one of our words; anything else must not break the line.
    return f"{status.value} {stamp}{f' {reason.split()[0]}' if reason else ''}\n"


def read_history(lines: str) -> tuple[StatusChange, ...]:
    """Return the changes of status that a message's history tells of, oldest first."""
    changes = []
    for line in lines.splitlines():
        status, at, *reason = line.split(" ", 2)
        changes.append(
            StatusChange(
                MessageStatus(status), datetime.fromisoformat(at), reason[0] if reason else None
            )
        )
    return tuple(changes)


def receipt_record(row: Any) -> ReceiptRecord:
    """Return the record of a receipt's row."""
    return ReceiptRecord(
        recipient=Party(row.recipient, row.lid, row.phone),
        status=MessageStatus(row.status),
        delivered_at=row.delivered_at,
        read_at=row.read_at,
        played_at=row.played_at,
    )


def response_record(row: Any) -> ResponseRecord:
    """Return the record of a reaction's or vote's row."""
    return ResponseRecord(
        kind=ResponseKind(row.kind),
        sender=Party(row.sender, row.lid, row.phone),
        value=row.value,
        at=row.at,
    )


def chat_record(row: Any, last_message: MessageRecord | None = None) -> ChatRecord:
    """Return the record of a chat's row."""
    return ChatRecord(
        subscription_id=row.subscription_id,
        instance_id=row.instance_id,
        jid=row.jid,
        lid=row.lid,
        phone=row.phone,
        name=row.name,
        kind=ChatKind(row.kind),
        unread=row.unread,
        archived=row.archived,
        pinned=row.pinned,
        muted_until=row.muted_until,
        known_since=row.known_since,
        last_message=last_message,
    )


def media_record(row: Any) -> MediaRecord:
    """Return the record of a file's row."""
    return MediaRecord(
        id=row.id,
        subscription_id=row.subscription_id,
        sha256=row.sha256,
        size=row.size,
        mime_type=row.mime_type,
        file_name=row.file_name,
        path=row.path,
        state=MediaState(row.state),
        failure=row.failure,
        descriptor=row.descriptor,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        attempts=row.attempts,
        retry_at=row.retry_at,
    )
