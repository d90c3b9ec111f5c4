"""The ``data`` of the events about chats, groups and people, as it stands on the wire.

``messageId`` is the gateway's own id of a message, which only storing tells: it is null here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wavisor.actors.instance.payloads import person_json
from wavisor.clock import format_time
from wavisor.storage import HistoryIntake
from wavisor.whatsapp.events import (
    CallOffered,
    ContactUpdated,
    GroupParticipantsChanged,
    GroupUpdated,
    HistoryMessage,
    HistoryReceived,
    MessageEdited,
    MessageReaction,
    MessageReceived,
    MessageRevoked,
    Person,
    PollVoted,
    PresenceUpdated,
    UndecryptableMessage,
)
from wavisor.whatsapp.inbound import InboundContent, MediaDescriptor

__all__ = [
    "call_offered",
    "contact_updated",
    "content_json",
    "group_participants_changed",
    "group_updated",
    "history_received",
    "message_edited",
    "message_reaction",
    "message_received",
    "message_revoked",
    "message_undecryptable",
    "poll_voted",
    "presence_updated",
]

Json = dict[str, Any]


def content_json(content: InboundContent) -> Json:
    """Return what a message consists of; null for what does not apply to its kind."""
    quoted, place, poll = content.quoted, content.location, content.poll
    return {
        "caption": content.caption,
        "media": _media(content.media) if content.media else None,
        "location": place
        and {
            "latitude": place.latitude,
            "longitude": place.longitude,
            "name": place.name,
            "address": place.address,
            "live": place.live,
            "accuracy": place.accuracy,
        },
        "contacts": [{"name": card.name, "vcard": card.vcard} for card in content.contacts],
        "poll": poll
        and {
            "question": poll.question,
            "options": list(poll.options),
            "selectable": poll.selectable,
        },
        "choice": content.choice,
        "system": content.system,
        "targetId": content.target_id,
        "quoted": quoted
        and {
            "whatsappId": quoted.id,
            "sender": _person(quoted.sender),
            "chat": quoted.chat,
            "kind": quoted.type,
            "text": quoted.text,
        },
        "mentions": list(content.mentions),
        "mentionAll": content.mention_all,
        "forwarded": content.forwarded,
        "forwardingScore": content.forwarding_score,
        "viewOnce": content.view_once,
        "ephemeralSeconds": content.ephemeral_seconds,
        "rawType": content.raw_type,
        "shortened": content.shortened,
    }


def message_received(event: MessageReceived) -> Json:
    """Return the data of ``message:received``."""
    return {
        "messageId": None,
        "whatsappId": event.message_id,
        **_where(event),
        "isBroadcast": event.is_broadcast,
        "isChannel": event.is_channel,
        "isStatus": event.is_status,
        "serverId": event.server_id,
        "pushName": event.push_name,
        "kind": event.kind,
        "text": event.text,
        **content_json(event.content),
    }


def message_undecryptable(event: UndecryptableMessage) -> Json:
    """Return the data of ``message:received`` for a message that could not be read."""
    return {
        "messageId": None,
        "whatsappId": event.message_id,
        "chat": person_json(event.chat),
        "sender": person_json(event.sender),
        "fromMe": False,
        "isGroup": event.chat.jid.endswith("@g.us"),
        "timestamp": format_time(event.timestamp),
        "pushName": None,
        "kind": "undecryptable",
        "text": None,
        "unavailable": event.unavailable,
    }


def message_edited(event: MessageEdited) -> Json:
    """Return the data of ``message:edited``."""
    return {
        "messageId": None,
        "whatsappId": event.message_id,
        **_where(event),
        "kind": event.content.type,
        "text": event.content.text or event.content.caption,
        **content_json(event.content),
    }


def message_revoked(event: MessageRevoked) -> Json:
    """Return the data of ``message:revoked``."""
    return {
        "messageId": None,
        "whatsappId": event.message_id,
        **_where(event),
        "author": _person(event.author),
    }


def message_reaction(event: MessageReaction) -> Json:
    """Return the data of ``message:reaction``; the emoji is null when it was taken back."""
    return {
        "messageId": None,
        "whatsappId": event.message_id,
        **_where(event),
        "messageFromMe": event.message_from_me,
        "author": _person(event.author),
        "emoji": event.emoji or None,
    }


def poll_voted(event: PollVoted) -> Json:
    """Return the data of ``poll:vote``; only the stored poll tells the texts of its options."""
    return {
        "messageId": None,
        "whatsappId": event.message_id,
        **_where(event),
        "selected": list(event.selected),
        "options": None,
        "readable": event.readable,
    }


def presence_updated(event: PresenceUpdated) -> Json:
    """Return the data of ``presence:updated``."""
    return {
        "person": person_json(event.person),
        "state": event.state,
        "chat": _person(event.chat),
        "lastSeen": format_time(event.last_seen),
    }


def group_updated(event: GroupUpdated) -> Json:
    """Return the data of ``group:updated``; null for what did not change."""
    return {
        "group": event.group.jid,
        "actor": _person(event.actor),
        "timestamp": format_time(event.timestamp),
        "joined": event.joined,
        "deleted": event.deleted,
        "name": event.name,
        "description": event.description,
        "announce": event.announce,
        "locked": event.locked,
        "ephemeralSeconds": event.ephemeral_seconds,
        "inviteLink": event.invite_link,
        "picture": event.picture,
        "linked": event.linked,
        "unlinked": event.unlinked,
    }


def group_participants_changed(event: GroupParticipantsChanged) -> Json:
    """Return the data of ``group:participants:changed``."""
    return {
        "group": event.group.jid,
        "actor": _person(event.actor),
        "timestamp": format_time(event.timestamp),
        "joined": [person_json(person) for person in event.joined],
        "left": [person_json(person) for person in event.left],
        "promoted": [person_json(person) for person in event.promoted],
        "demoted": [person_json(person) for person in event.demoted],
    }


def history_received(
    event: HistoryReceived, intake: HistoryIntake, told: Sequence[HistoryMessage]
) -> Json:
    """Return the data of ``history:received``: counts, and which span of time they are from.

    Args:
        event: whose chat it is about.
        intake: what became of the messages.
        told: the messages, the newest first.
    """
    times = [message.timestamp for message in told]
    return {
        "chat": person_json(event.chat),
        "name": event.name,
        "isGroup": event.is_group,
        "stored": intake.stored,
        "known": intake.known,
        "unread": intake.unread,
        "oldest": format_time(min(times)),
        "newest": format_time(max(times)),
    }


def call_offered(event: CallOffered, *, rejected: bool) -> Json:
    """Return the data of ``call:offered``."""
    return {
        "callId": event.call_id,
        "caller": person_json(event.caller),
        "origin": event.origin,
        "timestamp": format_time(event.timestamp),
        "video": event.video,
        "group": event.group,
        "rejected": rejected,
    }


def contact_updated(event: ContactUpdated) -> Json:
    """Return the data of ``contact:updated``."""
    return {
        "person": person_json(event.person),
        "picture": event.picture,
        "timestamp": format_time(event.timestamp),
    }


def _where(
    event: MessageReceived | MessageEdited | MessageRevoked | MessageReaction | PollVoted,
) -> Json:
    return {
        "chat": person_json(event.chat),
        "sender": person_json(event.sender),
        "fromMe": event.from_me,
        "isGroup": event.is_group,
        "timestamp": format_time(event.timestamp),
    }


def _person(person: Person | None) -> Json | None:
    return None if person is None else person_json(person)


def _media(media: MediaDescriptor) -> Json:
    # Not its source, which holds the key to the file.
    return {
        "kind": media.kind,
        "mimeType": media.mime_type,
        "size": media.size,
        "sha256": media.sha256,
        "fileName": media.file_name,
        "seconds": media.seconds,
        "width": media.width,
        "height": media.height,
        "pages": media.pages,
        "animated": media.animated,
        "waveform": media.waveform,
        "thumbnail": media.thumbnail,
    }
