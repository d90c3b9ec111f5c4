"""Series of messages, of the queue that they are sent from, and of events."""

from __future__ import annotations

from enum import StrEnum

from wavisor.domain import EventType, IgnoredChat, MessageDirection, MessageStatus
from wavisor.metrics.registry import OTHER, CappedLabel, counter, create, gauge, histogram

__all__ = [
    "EVENTS_PUBLISHED",
    "IGNORED",
    "INSTANCE_QUEUE_AGE",
    "INSTANCE_QUEUE_MESSAGES",
    "MESSAGES",
    "QUEUE_AGE",
    "QUEUE_MESSAGES",
    "QUEUE_PAUSED",
    "SENDS",
    "SEND_DURATION",
    "MessageKind",
    "observe_event",
    "observe_ignored",
    "observe_message",
    "observe_queue_pauses",
    "observe_send",
]


class MessageKind(StrEnum):
    """What a message consists of, as far as the series tell it apart."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    VOICE = "voice"
    DOCUMENT = "document"
    STICKER = "sticker"
    LOCATION = "location"
    CONTACT = "contact"
    POLL = "poll"
    REACTION = "reaction"
    OTHER = "other"


_MESSAGE_KINDS = frozenset(kind.value for kind in MessageKind)
_INBOUND = "received"

PAUSE_REASONS = ("reach_out_timelock",)
_OUTCOMES = (
    MessageStatus.SENT,
    MessageStatus.FAILED,
    MessageStatus.UNCERTAIN,
    MessageStatus.CANCELLED,
    MessageStatus.QUEUED,
)
_REASONS = CappedLabel(50, ("",))
_PAUSES = CappedLabel(20, PAUSE_REASONS)

# From what a person notices to the days that a paced queue can take.
_SEND_BUCKETS = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0),
)

MESSAGES = counter(
    "wavisor_messages_total",
    "Messages that reached a status.",
    ("kind", "direction", "status"),
)
EVENTS_PUBLISHED = counter("wavisor_events_published_total", "Events published.", ("type",))
IGNORED = counter(
    "wavisor_ignored_total", "What happened in chats that an instance's settings ignore.", ("chat",)
)

QUEUE_MESSAGES = gauge("wavisor_queue_messages", "Messages that wait to be sent.")
QUEUE_AGE = gauge(
    "wavisor_queue_oldest_due_seconds",
    "For how long the message has been due that goes next; the longest of all instances.",
)
QUEUE_PAUSED = gauge(
    "wavisor_queue_paused_instances", "Instances that write to nobody new for now.", ("reason",)
)
INSTANCE_QUEUE_MESSAGES = gauge(
    "wavisor_instance_queue_messages",
    "Messages of an instance that wait; only while some do, and where the label is switched on.",
    ("instance_id",),
)
INSTANCE_QUEUE_AGE = gauge(
    "wavisor_instance_queue_oldest_due_seconds",
    "For how long the message has been due that an instance sends next; only as the former.",
    ("instance_id",),
)
SENDS = counter(
    "wavisor_sends_total",
    "What became of messages in the queue; `queued` is put off to be tried again.",
    ("outcome", "reason"),
)
SEND_DURATION = histogram(
    "wavisor_send_duration_seconds",
    "Time from when a message was accepted, or was to go, until WhatsApp had taken it.",
    buckets=_SEND_BUCKETS,
)

create(EVENTS_PUBLISHED, EventType)
create(IGNORED, IgnoredChat)
create(QUEUE_PAUSED, PAUSE_REASONS)
for _kind in MessageKind:
    MESSAGES.labels(_kind, MessageDirection.INBOUND, _INBOUND)
    for _status in MessageStatus:
        MESSAGES.labels(_kind, MessageDirection.OUTBOUND, _status)
for _status, _reason in (
    (MessageStatus.SENT, ""),
    (MessageStatus.CANCELLED, ""),
    (MessageStatus.UNCERTAIN, "unanswered"),
    (MessageStatus.QUEUED, "timeout"),
    (MessageStatus.FAILED, "expired"),
    (MessageStatus.FAILED, "not_on_whatsapp"),
    (MessageStatus.FAILED, "rejected"),
):
    SENDS.labels(_status, _reason)


def observe_message(
    kind: str, direction: MessageDirection, status: MessageStatus | None = None
) -> None:
    """Note that a message reached a status; inbound ones have none and count as ``received``."""
    known = kind if kind in _MESSAGE_KINDS else OTHER
    MESSAGES.labels(known, direction.value, status.value if status else _INBOUND).inc()


def observe_event(event_type: EventType) -> None:
    """Note that an event was published."""
    EVENTS_PUBLISHED.labels(event_type.value).inc()


def observe_ignored(chat: IgnoredChat) -> None:
    """Note that something was ignored because of where it happened."""
    IGNORED.labels(chat.value).inc()


def observe_send(outcome: MessageStatus, reason: str | None, seconds: float | None = None) -> None:
    """Note what became of a message in the queue.

    Args:
        outcome: its status: sent, failed, uncertain, cancelled, or queued to be tried again.
        reason: why it was not sent; None for one that was, or was cancelled.
        seconds: how long it took until WhatsApp had it, for one that was sent.
    """
    if outcome not in _OUTCOMES:
        return
    SENDS.labels(outcome.value, _REASONS(reason or "")).inc()
    if seconds is not None:
        SEND_DURATION.observe(seconds)


def observe_queue_pauses(count: dict[str, int]) -> None:
    """Set how many instances write to nobody new, by reason."""
    told = dict.fromkeys(PAUSE_REASONS, 0)
    for reason, instances in count.items():
        label = _PAUSES(reason)
        told[label] = told.get(label, 0) + instances
    for label, instances in told.items():
        QUEUE_PAUSED.labels(label).set(instances)
