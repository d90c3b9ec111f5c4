"""What the ``data`` of each type of event holds, declared once.

Whoever makes an event returns one of these, so that the type checker compares the two; the OpenAPI
document and ``docs/events.md`` are made from them. Names are those on the wire (camelCase).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from wavisor.domain import EventType
from wavisor.event_data import instances, messages, people

__all__ = ["EVENT_DATA"]

EVENT_DATA: Mapping[EventType, Any] = MappingProxyType(
    {
        EventType.INSTANCE_STATUS_CHANGED: instances.InstanceStatusChanged,
        EventType.INSTANCE_QR_UPDATED: instances.InstanceQrUpdated,
        EventType.INSTANCE_PAIRING_CODE: instances.InstancePairingCode,
        EventType.INSTANCE_PAIRED: instances.InstancePaired,
        EventType.INSTANCE_QUEUE_CHANGED: instances.InstanceQueueChanged,
        EventType.MESSAGE_RECEIVED: messages.MessageReceived,
        EventType.MESSAGE_SENT: messages.MessageSent,
        EventType.MESSAGE_STATUS_CHANGED: messages.MessageStatusChanged,
        EventType.MESSAGE_FAILED: messages.MessageFailed,
        EventType.MESSAGE_REACTION: messages.MessageReaction,
        EventType.MESSAGE_EDITED: messages.MessageEdited,
        EventType.MESSAGE_REVOKED: messages.MessageRevoked,
        EventType.MESSAGE_MEDIA_CHANGED: messages.MessageMediaChanged,
        EventType.POLL_VOTE: messages.PollVote,
        EventType.PRESENCE_UPDATED: people.PresenceUpdated,
        EventType.GROUP_UPDATED: people.GroupUpdated,
        EventType.GROUP_PARTICIPANTS_CHANGED: people.GroupParticipantsChanged,
        EventType.CALL_OFFERED: people.CallOffered,
        EventType.CONTACT_UPDATED: people.ContactUpdated,
        EventType.CAMPAIGN_PROGRESS: instances.CampaignProgress,
        EventType.HISTORY_RECEIVED: people.HistoryReceived,
        EventType.WEBHOOK_DISABLED: instances.WebhookDisabled,
    }
)
"""By type; complete, which a test sees to."""
