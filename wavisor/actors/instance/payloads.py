"""The ``data`` of the events that instances publish, as it stands on the wire (camelCase)."""

from __future__ import annotations

from datetime import datetime

from wavisor.actors.instance.messages import ConnectionData, LastError, PairingCode, QrState
from wavisor.actors.instance.state import InstanceState
from wavisor.clock import format_time
from wavisor.domain import InstanceStatus
from wavisor.event_data import instances, messages
from wavisor.event_data.parts import Person as PersonData
from wavisor.event_data.parts import SendFailure
from wavisor.storage import MessageRecord
from wavisor.whatsapp.events import Paired, Person

__all__ = [
    "connection_json",
    "last_error_json",
    "message_changed",
    "paired",
    "pairing_code",
    "person_json",
    "qr_updated",
    "queue_changed",
    "status_changed",
]


def person_json(person: Person) -> PersonData:
    """Return somebody as ``{jid, lid, phone}``."""
    return {"jid": person.jid, "lid": person.lid, "phone": person.phone}


def connection_json(connection: ConnectionData | None) -> instances.Connection | None:
    """Return who an instance is connected as."""
    if connection is None:
        return None
    return {
        "jid": connection.jid,
        "lid": connection.lid,
        "phone": connection.phone,
        "pushName": connection.push_name,
        "platform": connection.platform,
        "connectedAt": format_time(connection.connected_at),
    }


def last_error_json(error: LastError | None) -> instances.LastError | None:
    """Return the last error of an instance."""
    if error is None:
        return None
    return {
        "reason": error.reason.value,
        "detail": error.detail,
        "at": format_time(error.at),
        "until": format_time(error.until),
    }


def status_changed(
    old: InstanceStatus, since: str | None, state: InstanceState
) -> instances.InstanceStatusChanged:
    """Return the data of ``instance:status:changed``.

    Args:
        old: the status before.
        since: since when it had been, as it stands on the wire.
        state: the state after the change.
    """
    connected = state.status is InstanceStatus.CONNECTED
    return {
        "old": old.value,
        "new": state.status.value,
        "reason": state.reason.value if state.reason else None,
        "desired": state.desired.value,
        "oldSince": since,
        "newSince": format_time(state.status_changed_at),
        "nextAttemptAt": format_time(state.next_attempt_at),
        "bannedUntil": format_time(state.banned_until),
        "lastError": last_error_json(state.last_error),
        "connection": connection_json(state.connection) if connected else None,
    }


def qr_updated(qr: QrState) -> instances.InstanceQrUpdated:
    """Return the data of ``instance:qr:updated``."""
    return {
        "code": qr.text,
        "attempt": qr.attempt,
        "limit": qr.limit,
        "expiresAt": format_time(qr.expires_at),
    }


def pairing_code(code: PairingCode) -> instances.InstancePairingCode:
    """Return the data of ``instance:pairing:code``."""
    return {
        "code": code.code,
        "phone": code.phone,
        "expiresAt": format_time(code.expires_at),
    }


def paired(event: Paired) -> instances.InstancePaired:
    """Return the data of ``instance:paired``."""
    return {
        "jid": event.jid,
        "lid": event.lid,
        "businessName": event.business_name,
        "platform": event.platform,
    }


def queue_changed(until: datetime | None, reason: str | None) -> instances.InstanceQueueChanged:
    """Return the data of ``instance:queue:changed``."""
    return {
        "paused": until is not None,
        "pausedFor": None if until is None else "new_contacts",
        "until": format_time(until),
        "reason": reason,
    }


def message_changed(message: MessageRecord) -> messages.MessageStatusChanged:
    """Return the data of ``message:status:changed``."""
    return {
        "messageId": message.id,
        "whatsappId": message.whatsapp_id,
        "chat": message.chat,
        "kind": message.kind,
        "status": message.status.value,
        "failure": _failure(message),
        "sentAt": format_time(message.sent_at),
        "deliveredAt": format_time(message.delivered_at),
        "readAt": format_time(message.read_at),
        "playedAt": format_time(message.played_at),
    }


def _failure(message: MessageRecord) -> SendFailure | None:
    told = message.failure
    if told is None:
        return None
    return {"reason": told["reason"], "detail": told["detail"], "code": told.get("code")}
