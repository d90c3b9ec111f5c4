"""The ``data`` of the events about chats, groups and people, as it stands on the wire.

``messageId`` is the gateway's own id of a message, which only storing tells: it is null here.
"""

from __future__ import annotations

from collections.abc import Sequence

from wavisor.actors.instance.payloads import person_json
from wavisor.clock import format_time
from wavisor.event_data import messages, people
from wavisor.event_data.parts import MessageFile, Place, PollContent, QuotedMessage
from wavisor.event_data.parts import Person as PersonData
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
from wavisor.whatsapp.inbound import (
    InboundContent,
    InboundLocation,
    InboundPoll,
    MediaDescriptor,
    Quoted,
)

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


def content_json(content: InboundContent) -> messages.MessageContent:
    """Return what a message consists of; null for what does not apply to its kind."""
    return {
        "caption": content.caption,
        "media": _media(content.media) if content.media else None,
        "location": _place(content.location) if content.location else None,
        "contacts": [{"name": card.name, "vcard": card.vcard} for card in content.contacts],
        "poll": _poll(content.poll) if content.poll else None,
        "choice": content.choice,
        "system": content.system,
        "targetId": content.target_id,
        "quoted": _quoted(content.quoted) if content.quoted else None,
        "mentions": list(content.mentions),
        "mentionAll": content.mention_all,
        "forwarded": content.forwarded,
        "forwardingScore": content.forwarding_score,
        "viewOnce": content.view_once,
        "ephemeralSeconds": content.ephemeral_seconds,
        "rawType": content.raw_type,
        "shortened": content.shortened,
    }


def message_received(event: MessageReceived) -> messages.MessageReceived:
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
        "unavailable": False,
        **content_json(event.content),
    }


def message_undecryptable(event: UndecryptableMessage) -> messages.MessageReceived:
    """Return the data of ``message:received`` for a message that could not be read."""
    return {
        "messageId": None,
        "whatsappId": event.message_id,
        "chat": person_json(event.chat),
        "sender": person_json(event.sender),
        "fromMe": False,
        "isGroup": event.chat.jid.endswith("@g.us"),
        "timestamp": format_time(event.timestamp),
        "isBroadcast": False,
        "isChannel": False,
        "isStatus": False,
        "serverId": None,
        "pushName": None,
        "kind": "undecryptable",
        "text": None,
        "unavailable": event.unavailable,
        **content_json(InboundContent(type="other", raw_type="")),
        "rawType": None,
    }


def message_edited(event: MessageEdited) -> messages.MessageEdited:
    """Return the data of ``message:edited``."""
    return {
        "messageId": None,
        "whatsappId": event.message_id,
        **_where(event),
        "kind": event.content.type,
        "text": event.content.text or event.content.caption,
        **content_json(event.content),
    }


def message_revoked(event: MessageRevoked) -> messages.MessageRevoked:
    """Return the data of ``message:revoked``."""
    return {
        "messageId": None,
        "whatsappId": event.message_id,
        **_where(event),
        "author": _person(event.author),
        "byAdmin": event.by_admin,
    }


def message_reaction(event: MessageReaction) -> messages.MessageReaction:
    """Return the data of ``message:reaction``; the emoji is null when it was taken back."""
    return {
        "messageId": None,
        "whatsappId": event.message_id,
        **_where(event),
        "messageFromMe": event.message_from_me,
        "author": _person(event.author),
        "emoji": event.emoji or None,
    }


def poll_voted(event: PollVoted) -> messages.PollVote:
    """Return the data of ``poll:vote``; only the stored poll tells the texts of its options."""
    return {
        "messageId": None,
        "whatsappId": event.message_id,
        **_where(event),
        "selected": list(event.selected),
        "options": None,
        "readable": event.readable,
    }


def presence_updated(event: PresenceUpdated) -> people.PresenceUpdated:
    """Return the data of ``presence:updated``."""
    return {
        "person": person_json(event.person),
        "state": event.state,
        "chat": _person(event.chat),
        "lastSeen": format_time(event.last_seen),
    }


def group_updated(event: GroupUpdated) -> people.GroupUpdated:
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


def group_participants_changed(event: GroupParticipantsChanged) -> people.GroupParticipantsChanged:
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
) -> people.HistoryReceived:
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


def call_offered(event: CallOffered, *, rejected: bool) -> people.CallOffered:
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


def contact_updated(event: ContactUpdated) -> people.ContactUpdated:
    """Return the data of ``contact:updated``."""
    return {
        "person": person_json(event.person),
        "picture": event.picture,
        "timestamp": format_time(event.timestamp),
    }


def _where(
    event: MessageReceived | MessageEdited | MessageRevoked | MessageReaction | PollVoted,
) -> messages.InChat:
    return {
        "chat": person_json(event.chat),
        "sender": person_json(event.sender),
        "fromMe": event.from_me,
        "isGroup": event.is_group,
        "timestamp": format_time(event.timestamp),
    }


def _person(person: Person | None) -> PersonData | None:
    return None if person is None else person_json(person)


def _place(place: InboundLocation) -> Place:
    return {
        "latitude": place.latitude,
        "longitude": place.longitude,
        "name": place.name,
        "address": place.address,
        "live": place.live,
        "accuracy": place.accuracy,
    }


def _poll(poll: InboundPoll) -> PollContent:
    return {
        "question": poll.question,
        "options": list(poll.options),
        "selectable": poll.selectable,
    }


def _quoted(quoted: Quoted) -> QuotedMessage:
    return {
        "whatsappId": quoted.id,
        "sender": _person(quoted.sender),
        "chat": quoted.chat,
        "kind": quoted.type,
        "text": quoted.text,
    }


def _media(media: MediaDescriptor) -> MessageFile:
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
