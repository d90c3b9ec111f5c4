"""Presence, groups, calls and pictures, told in our own words. Runs in session processes.

The functions only read attributes, so that this module needs no neonize. Sources:
``Neonize.proto`` and ``goneonize/utils/encoder.go``, whatsmeow ``types/events/events.go`` and
``call.go``. All times are in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from wavisor.whatsapp.addresses import GROUP_SERVER, jid_text, person
from wavisor.whatsapp.events import (
    CallOffered,
    ContactUpdated,
    Event,
    GroupParticipantsChanged,
    GroupUpdated,
    Person,
    PresenceUpdated,
)

__all__ = ["Notices"]

_COMPOSING = 1  # ChatPresence.State
_AUDIO = 2  # ChatPresence.Media
_MAX_TEXT = 4096


class Notices:
    """Makes events of one instance out of what the native client noticed."""

    def __init__(self, instance: str) -> None:
        self._instance = instance

    def chat_presence(self, event: Any) -> PresenceUpdated:
        """Translate ``ChatPresence``: somebody types, records, or stopped."""
        source = event.MessageSource
        state: Literal["composing", "recording", "paused"] = "paused"
        if event.State == _COMPOSING:
            state = "recording" if event.Media == _AUDIO else "composing"
        chat = person(source.Chat, None if source.IsGroup else source.SenderAlt)
        return PresenceUpdated(
            instance=self._instance,
            person=person(source.Sender, source.SenderAlt),
            state=state,
            chat=chat,
        )

    def presence(self, event: Any) -> PresenceUpdated:
        """Translate ``Presence``, whose last-seen time lies before 1970 when it is unknown."""
        seen = datetime.fromtimestamp(event.LastSeen, UTC) if event.LastSeen > 0 else None
        return PresenceUpdated(
            instance=self._instance,
            person=person(event.From),
            state="unavailable" if event.Unavailable else "available",
            last_seen=seen,
        )

    def joined_group(self, event: Any) -> GroupUpdated:
        """Translate ``JoinedGroup``, which has no time of its own."""
        info = event.GroupInfo
        return GroupUpdated(
            instance=self._instance,
            group=person(info.JID),
            actor=None,
            timestamp=datetime.now(UTC),
            joined=True,
            name=info.GroupName.Name[:_MAX_TEXT] or None,
            description=info.GroupTopic.Topic[:_MAX_TEXT] or None,
            announce=info.GroupAnnounce.IsAnnounce,
            locked=info.GroupLocked.isLocked,
            ephemeral_seconds=info.GroupEphemeral.DisappearingTimer,
        )

    def group_info(self, event: Any) -> list[Event]:
        """Translate ``GroupInfoEvent``, which can be about members, settings, or both."""
        about: dict[str, Any] = {
            "instance": self._instance,
            "group": person(event.JID),
            "actor": person(event.Sender) if event.HasField("Sender") else None,
            "timestamp": datetime.fromtimestamp(event.Timestamp, UTC),
        }
        told: list[Event] = []
        if event.Join or event.Leave or event.Promote or event.Demote:
            told.append(
                GroupParticipantsChanged(
                    joined=_people(event.Join),
                    left=_people(event.Leave),
                    promoted=_people(event.Promote),
                    demoted=_people(event.Demote),
                    **about,
                )
            )
        changes = _changes(event)
        if changes:
            told.append(GroupUpdated(**about, **changes))
        return told

    def picture(self, event: Any) -> GroupUpdated | ContactUpdated:
        """Translate ``Picture``: a person's, or a group's."""
        what: Literal["changed", "removed"] = "removed" if event.Remove else "changed"
        moment = datetime.fromtimestamp(event.Timestamp, UTC)
        if event.JID.Server == GROUP_SERVER:
            return GroupUpdated(
                instance=self._instance,
                group=person(event.JID),
                actor=person(event.Author) if event.Author.User else None,
                timestamp=moment,
                picture=what,
            )
        return ContactUpdated(
            instance=self._instance, person=person(event.JID), picture=what, timestamp=moment
        )

    def call_offer(self, event: Any) -> CallOffered:
        """Translate ``CallOffer``: a call to this account alone."""
        video = any(node.Tag == "video" for node in event.data.Nodes)
        return self._call(event.basicCallMeta, video=video, group=False)

    def call_notice(self, event: Any) -> CallOffered:
        """Translate ``CallOfferNotice``: a call to several people."""
        return self._call(
            event.basicCallMeta, video=event.media == "video", group=event.type == "group"
        )

    def _call(self, meta: Any, *, video: bool, group: bool) -> CallOffered:
        return CallOffered(
            instance=self._instance,
            call_id=meta.callID,
            caller=person(meta.callCreator, meta.callCreatorAlt),
            origin=jid_text(getattr(meta, "from")) or "",
            timestamp=datetime.fromtimestamp(meta.timestamp, UTC),
            video=video,
            group=group,
        )


def _changes(event: Any) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if event.HasField("Name"):
        changes["name"] = event.Name.Name[:_MAX_TEXT]
    if event.HasField("Topic"):
        changes["description"] = event.Topic.Topic[:_MAX_TEXT]
    if event.HasField("Locked"):
        changes["locked"] = event.Locked.isLocked
    if event.HasField("Announce"):
        changes["announce"] = event.Announce.IsAnnounce
    if event.HasField("Ephemeral"):
        timer = event.Ephemeral
        changes["ephemeral_seconds"] = timer.DisappearingTimer if timer.IsEphemeral else 0
    if event.HasField("Delete") and event.Delete.Deleted:
        changes["deleted"] = True
    if event.HasField("NewInviteLink"):
        changes["invite_link"] = event.NewInviteLink[:_MAX_TEXT]
    if event.HasField("Link"):
        changes["linked"] = jid_text(event.Link.Group.JID)
    if event.HasField("Unlink"):
        changes["unlinked"] = jid_text(event.Unlink.Group.JID)
    return changes


def _people(jids: Iterable[Any]) -> tuple[Person, ...]:
    return tuple(person(jid) for jid in jids)
