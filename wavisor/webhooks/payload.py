"""What is sent: an event in its envelope, the same bytes on every attempt."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from wavisor.clock import format_time
from wavisor.storage import EventRecord

__all__ = ["TEST_EVENT", "body_of", "sample_body"]

TEST_EVENT = "webhook:test"
"""The type of what a trial delivers; no event of this type is ever stored."""


def body_of(event: EventRecord | None, body: str | None) -> bytes | None:
    """Return the body of a delivery; None when what it tells of is no longer there.

    Made anew from what is stored each time: neither depends on anything that could change.

    Args:
        event: what it tells of.
        body: what is sent instead of an event.
    """
    if body is not None:
        return body.encode()
    if event is None:
        return None
    return _compact(
        {
            "id": event.id,
            "type": event.type,
            "timestamp": format_time(event.timestamp),
            "instanceId": event.instance_id,
            "seq": event.seq,
            "data": event.data,
        }
    ).encode()


def sample_body(webhook_id: str, instance_id: str | None, now: datetime) -> str:
    """Return what a trial sends, with ``{id}`` for the id that it will have."""
    return _compact(
        {
            "id": "{id}",
            "type": TEST_EVENT,
            "timestamp": format_time(now),
            "instanceId": instance_id,
            "seq": None,
            "data": {"webhookId": webhook_id},
        }
    )


def _compact(value: Any) -> str:
    # Half a surrogate pair, which people do send, could not be encoded; escaped it is valid JSON.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)
