"""Which files of received messages are wanted, and how they are told of."""

from __future__ import annotations

from typing import Any

from wavisor.actors.instance.settings import MediaSettings
from wavisor.event_data.messages import MessageMediaChanged
from wavisor.event_data.parts import MediaFile, MessageFile
from wavisor.storage import ExpectedFile, MediaRecord, MediaUser
from wavisor.whatsapp.inbound import InboundContent, MediaDescriptor

__all__ = ["expected_file", "file_changed", "with_file"]

Json = dict[str, Any]

_FROM_HISTORY: Json = {"reason": "history", "detail": "the message is from before the link"}


def expected_file(
    content: InboundContent, rules: MediaSettings, limit: int, *, past: bool = False
) -> ExpectedFile | None:
    """Return the file that came with a message, and whether it is fetched; None without one.

    Args:
        content: the message's.
        rules: the instance's.
        limit: the gateway's, in bytes; no rule goes beyond it.
        past: the message is from before the link; its file is fetched only when asked for.
    """
    told = content.media
    if told is None:
        return None
    if rules.max_bytes is not None:
        limit = min(limit, rules.max_bytes)
    skipped = _FROM_HISTORY if past else _why_skipped(told, rules, limit)
    return ExpectedFile(
        descriptor={"source": told.source, "kind": told.kind, "limit": limit},
        mime_type=told.mime_type,
        size=told.size,
        file_name=told.file_name,
        sha256=told.sha256,
        skipped=skipped,
    )


def _why_skipped(told: MediaDescriptor, rules: MediaSettings, limit: int) -> Json | None:
    if not rules.fetch:
        return {"reason": "fetch_off", "detail": "files are not fetched by themselves"}
    if rules.types is not None and told.kind not in rules.types:
        return {"reason": "type_not_wanted", "detail": f"no file of kind {told.kind} is fetched"}
    if told.size > limit:
        return {"reason": "too_large", "detail": f"has {told.size} bytes; the limit is {limit}"}
    return None


def file_json(record: MediaRecord) -> MediaFile:
    """Return a file as events tell of it; nothing by which WhatsApp could be asked for it."""
    return {
        "id": record.id,
        "state": record.state.value,
        "mimeType": record.mime_type,
        "size": record.size,
        "fileName": record.file_name,
        "failure": record.failure,
        "url": f"/api/media/{record.id}",
    }


def with_file(told: MessageFile, record: MediaRecord) -> MessageFile:
    """Return what its sender says of a file, and what is to be known of it here."""
    known = file_json(record)
    return {
        **told,
        "id": known["id"],
        "state": known["state"],
        "mimeType": known["mimeType"],
        "size": known["size"],
        "fileName": known["fileName"],
        "failure": known["failure"],
        "url": known["url"],
    }


def file_changed(record: MediaRecord, user: MediaUser) -> MessageMediaChanged:
    """Return the data of ``message:media:changed`` for one of the messages that have the file."""
    return {
        "messageId": user.message_id,
        "whatsappId": user.whatsapp_id,
        "chat": user.chat,
        "media": file_json(record),
    }
