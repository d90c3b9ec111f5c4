"""From rows and snapshots to wire models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from wavisor.actors.instance.messages import InstanceSnapshot, LastError, PairingCode, QrState
from wavisor.http.instances.schemas import (
    AccountInfo,
    EventModel,
    InstanceDetail,
    InstanceState,
    InstanceSummary,
    LastErrorInfo,
    PairingCodeInfo,
    QrModel,
    QrProgress,
)
from wavisor.storage import EventRecord, InstanceRecord
from wavisor.whatsapp.proxy import mask_proxy

__all__ = [
    "detail_of",
    "event_model",
    "pairing_model",
    "qr_model",
    "shown_settings",
    "state_model",
    "summary_of",
]


def summary_of(record: InstanceRecord) -> InstanceSummary:
    """Return an instance as its row tells of it."""
    return InstanceSummary(
        id=record.id,
        name=record.name,
        status=record.status,
        desired=record.desired,
        reason=record.reason,
        status_changed_at=record.status_changed_at,
        last_error=_stored_error(record.last_error),
        account=None if record.jid is None else _stored_account(record, record.jid),
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def detail_of(record: InstanceRecord, snapshot: InstanceSnapshot) -> InstanceDetail:
    """Return an instance with the state that its actor sees."""
    return InstanceDetail(
        name=record.name,
        created_at=record.created_at,
        updated_at=record.updated_at,
        settings=shown_settings(record.settings),
        **_state(record, snapshot),
    )


def shown_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without the credentials in them, for answers and the audit trail."""
    proxy = settings.get("proxy")
    return settings if proxy is None else {**settings, "proxy": mask_proxy(str(proxy))}


def state_model(record: InstanceRecord, snapshot: InstanceSnapshot) -> InstanceState:
    """Return the state of an instance alone."""
    return InstanceState(**_state(record, snapshot))


def _state(record: InstanceRecord, snapshot: InstanceSnapshot) -> dict[str, Any]:
    qr = snapshot.qr
    code = snapshot.pairing_code
    pause = snapshot.queue_pause
    return {
        "id": record.id,
        "status": snapshot.status,
        "desired": snapshot.desired,
        "reason": snapshot.reason.value if snapshot.reason else None,
        "status_changed_at": snapshot.status_changed_at,
        "last_error": _error(snapshot.last_error),
        "account": _account(record, snapshot),
        "qr": None if qr is None else _progress(qr),
        "pairing_code": None if code is None else pairing_model(code),
        "next_attempt_at": snapshot.next_attempt_at,
        "attempt": snapshot.attempt,
        "banned_until": snapshot.banned_until,
        "queue_paused_until": None if pause is None else pause.until,
        "queue_pause_reason": None if pause is None else pause.reason,
        "allowed": sorted(snapshot.allowed),
    }


def _account(record: InstanceRecord, snapshot: InstanceSnapshot) -> AccountInfo | None:
    connection = snapshot.connection
    # What the actor knows is newer than the row, which was read before the actor was asked.
    if snapshot.jid is None:
        return None
    if connection is None:
        return _stored_account(record, snapshot.jid)
    return AccountInfo(
        jid=connection.jid,
        lid=connection.lid,
        phone=connection.phone,
        push_name=connection.push_name,
        platform=connection.platform,
        connected_at=connection.connected_at,
    )


def _stored_account(record: InstanceRecord, jid: str) -> AccountInfo:
    if record.jid != jid:
        return AccountInfo(
            jid=jid, lid=None, phone=None, push_name=None, platform=None, connected_at=None
        )
    return AccountInfo(
        jid=jid,
        lid=record.lid,
        phone=record.phone,
        push_name=record.push_name,
        platform=record.platform,
        connected_at=record.connected_at,
    )


def _error(error: LastError | None) -> LastErrorInfo | None:
    if error is None:
        return None
    return LastErrorInfo(
        reason=error.reason.value, detail=error.detail, at=error.at, until=error.until
    )


def _stored_error(stored: dict[str, Any] | None) -> LastErrorInfo | None:
    if stored is None:
        return None
    until = stored.get("until")
    return LastErrorInfo(
        reason=stored["reason"],
        detail=stored["detail"],
        at=datetime.fromisoformat(stored["at"]),
        until=datetime.fromisoformat(until) if until else None,
    )


def _progress(qr: QrState) -> QrProgress:
    return QrProgress(attempt=qr.attempt, limit=qr.limit, expires_at=qr.expires_at)


def qr_model(qr: QrState) -> QrModel:
    """Return the QR code to be scanned now."""
    return QrModel(attempt=qr.attempt, limit=qr.limit, expires_at=qr.expires_at, code=qr.text)


def pairing_model(code: PairingCode) -> PairingCodeInfo:
    """Return a pairing code."""
    return PairingCodeInfo(code=code.code, phone=code.phone, expires_at=code.expires_at)


def event_model(record: EventRecord) -> EventModel:
    """Return an event in the envelope that it has everywhere."""
    return EventModel(
        id=record.id,
        type=record.type,
        timestamp=record.timestamp,
        instance_id=record.instance_id,
        seq=record.seq,
        data=record.data,
    )
