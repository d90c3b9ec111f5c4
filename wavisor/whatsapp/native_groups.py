"""Queries about groups and channels, carried out by neonize. Runs in session processes.

Sources: whatsmeow ``group.go``, ``newsletter.go``; neonize ``goneonize/utils/encoder.go`` for
the units of its fields.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, cast

from neonize.proto.Neonize_pb2 import GroupLinkedParent
from neonize.utils.enum import ParticipantChange

from wavisor.whatsapp import queries as ask
from wavisor.whatsapp import query_results as results
from wavisor.whatsapp.addresses import jid_text
from wavisor.whatsapp.events import Failure
from wavisor.whatsapp.native_addresses import NativeAddresses, native_jid
from wavisor.whatsapp.native_people import picture_bytes
from wavisor.whatsapp.person import Person
from wavisor.whatsapp.query_failures import QueryRefusedError, outcome_of_code

__all__ = ["GroupQueries"]

GROUPS_REMEMBERED = 30.0
"""Seconds for which the list of groups serves further pages of it."""
_CHANNEL_LINK = "https://whatsapp.com/channel/"


class GroupQueries:
    """Carries out queries about groups and channels.

    Args:
        client: the neonize client; only used while connected.
        addresses: knows people's other addresses.
        now: seconds on a monotonic clock.
    """

    def __init__(
        self,
        client: Any,
        addresses: NativeAddresses,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._addresses = addresses
        self._now = now
        self._listing = threading.Lock()
        self._listed: tuple[float, tuple[results.GroupSummary, ...]] | None = None

    @property
    def handlers(self) -> dict[type[Any], Callable[[Any], Any]]:
        """What carries out which query."""
        return {
            ask.ListGroups: self._list_groups,
            ask.GroupInfo: self._group_info,
            ask.CreateGroup: self._create_group,
            ask.UpdateGroup: self._update_group,
            ask.SetGroupPicture: self._set_picture,
            ask.ChangeParticipants: self._change_participants,
            ask.ListJoinRequests: self._join_requests,
            ask.GetInviteLink: self._invite_link,
            ask.GroupFromLink: self._group_from_link,
            ask.JoinGroup: self._join,
            ask.LeaveGroup: self._leave,
            ask.ListChannels: self._list_channels,
            ask.ChannelInfo: self._channel_info,
            ask.ChannelFromLink: self._channel_from_link,
            ask.FollowChannel: self._follow,
            ask.ChannelReaction: self._react,
        }

    # Groups

    def _list_groups(self, query: ask.ListGroups) -> results.GroupList:
        groups = self._joined(fresh=query.after is None)
        rest = [group for group in groups if query.after is None or group.jid > query.after]
        page = tuple(rest[: query.limit])
        more = len(rest) > query.limit
        return results.GroupList(items=page, next=page[-1].jid if more else None)

    def _joined(self, *, fresh: bool) -> tuple[results.GroupSummary, ...]:
        """Return all groups; WhatsApp tells only all at once, so pages after the first share."""
        with self._listing:
            listed = self._listed
            if not fresh and listed is not None and listed[0] > self._now():
                return listed[1]
            me = self._client.get_me()
            groups = [self._summary(info, me) for info in self._client.get_joined_groups()]
            ordered = tuple(sorted(groups, key=lambda group: group.jid))
            self._listed = self._now() + GROUPS_REMEMBERED, ordered
            return ordered

    def _group_info(self, query: ask.GroupInfo) -> results.Group:
        return self._group(self._client.get_group_info(native_jid(query.group)))

    def _create_group(self, query: ask.CreateGroup) -> results.Group:
        parent = None
        if query.community is not None:
            parent = GroupLinkedParent(LinkedParentJID=native_jid(query.community))
        people = [native_jid(jid) for jid in query.participants]
        return self._group(self._client.create_group(query.name, people, linked_parent=parent))

    def _update_group(self, query: ask.UpdateGroup) -> results.Done:
        group = native_jid(query.group)
        if query.name is not None:
            self._client.set_group_name(group, query.name)
        if query.description is not None:
            # Without ids the client asks which description it replaces.
            self._client.set_group_topic(group, "", "", query.description)
        if query.announce is not None:
            self._client.set_group_announce(group, query.announce)
        if query.locked is not None:
            self._client.set_group_locked(group, query.locked)
        return results.Done()

    def _set_picture(self, query: ask.SetGroupPicture) -> results.PictureChanged:
        picture = picture_bytes(query.image)
        return results.PictureChanged(
            id=self._client.set_group_photo(native_jid(query.group), picture)
        )

    def _change_participants(self, query: ask.ChangeParticipants) -> results.ParticipantOutcomes:
        addressed = {jid: jid for jid in query.people}
        outcomes: dict[str, results.ParticipantOutcome] = {}
        if query.change != "add":
            # A group knows its members by one kind of address, whichever was given here.
            addressed = self._members_among(query)
            for jid in query.people:
                if jid not in addressed:
                    outcomes[jid] = results.ParticipantOutcome(
                        person=self._addresses.person(jid), reason="not_found"
                    )
        if addressed:
            changed = self._client.update_group_participants(
                native_jid(query.group),
                [native_jid(jid) for jid in addressed.values()],
                ParticipantChange(query.change),
            )
            for given, address in addressed.items():
                outcomes[given] = self._outcome(given, address, changed)
        return results.ParticipantOutcomes(outcomes=tuple(outcomes[jid] for jid in query.people))

    def _members_among(self, query: ask.ChangeParticipants) -> dict[str, str]:
        members = self._client.get_group_info(native_jid(query.group)).Participants
        by_address = {
            text: jid
            for member in members
            if (jid := jid_text(member.JID))
            for each in (member.JID, member.LID, member.PhoneNumber)
            if each.User and (text := jid_text(each))
        }
        found = {}
        for given in query.people:
            known = self._addresses.person(given)
            number = f"{known.phone[1:]}@s.whatsapp.net" if known.phone else None
            member = next(
                (by_address[a] for a in (given, known.lid, number) if a in by_address), None
            )
            if member is not None:
                found[given] = member
        return found

    def _outcome(self, given: str, address: str, changed: Any) -> results.ParticipantOutcome:
        for each in changed:
            if address not in (jid_text(each.JID), jid_text(each.LID), jid_text(each.PhoneNumber)):
                continue
            return results.ParticipantOutcome(
                person=self._person(each) or self._addresses.person(given),
                reason=outcome_of_code(each.Error),
                code=each.Error or None,
            )
        # WhatsApp did not mention them, which it does of everybody that it changes.
        return results.ParticipantOutcome(person=self._addresses.person(given), reason="refused")

    def _join_requests(self, query: ask.ListJoinRequests) -> results.JoinRequestList:
        requests = self._client.get_group_request_participants(native_jid(query.group))
        return results.JoinRequestList(
            items=tuple(
                results.JoinRequest(person=person, requested_at=_moment(request.TimeAt / 1_000_000))
                for request in requests
                if (person := self._addresses.person_of(request.Participant))
            )
        )

    def _invite_link(self, query: ask.GetInviteLink) -> results.InviteLink:
        link = self._client.get_group_invite_link(native_jid(query.group), query.revoke)
        return results.InviteLink(link=link)

    def _group_from_link(self, query: ask.GroupFromLink) -> results.Group:
        return self._group(self._client.get_group_info_from_link(query.code))

    def _join(self, query: ask.JoinGroup) -> results.JoinedGroup:
        return results.JoinedGroup(
            jid=jid_text(self._client.join_group_with_link(query.code)) or ""
        )

    def _leave(self, query: ask.LeaveGroup) -> results.Done:
        self._client.leave_group(native_jid(query.group))
        return results.Done()

    def _summary(self, info: Any, me: Any) -> results.GroupSummary:
        return results.GroupSummary(**self._head(info, me))

    def _group(self, info: Any) -> results.Group:
        participants, not_added = [], []
        for each in info.Participants:
            person = self._person(each)
            if person is None:
                continue
            reason = outcome_of_code(each.Error)
            if reason is None:
                participants.append(results.Participant(person=person, role=_role(each)))
            else:
                not_added.append(
                    results.ParticipantOutcome(person=person, reason=reason, code=each.Error)
                )
        return results.Group(
            **self._head(info, self._client.get_me()),
            description=info.GroupTopic.Topic or None,
            participants=tuple(participants),
            not_added=tuple(not_added),
        )

    def _head(self, info: Any, me: Any) -> dict[str, Any]:
        own = {jid for each in (me.JID, me.LID) if (jid := jid_text(each))}
        members = [each for each in info.Participants if not each.Error]
        mine = next((each for each in members if jid_text(each.JID) in own), None)
        return {
            "jid": jid_text(info.JID) or "",
            "name": info.GroupName.Name,
            "owner": self._addresses.person_of(info.OwnerJID, info.OwnerPN),
            "created_at": _moment(info.GroupCreated),
            "size": len(members),
            "role": _role(mine) if mine is not None else None,
            "announce": info.GroupAnnounce.IsAnnounce,
            "locked": info.GroupLocked.isLocked,
            "ephemeral_seconds": info.GroupEphemeral.DisappearingTimer,
            "is_community": info.GroupParent.IsParent,
            "community": jid_text(info.GroupLinkedParent.LinkedParentJID),
        }

    def _person(self, participant: Any) -> Person | None:
        return self._addresses.person_of(participant.JID, participant.LID, participant.PhoneNumber)

    # Channels

    def _list_channels(self, _query: ask.ListChannels) -> results.ChannelList:
        channels = self._client.get_subscribed_newletters()
        return results.ChannelList(items=tuple(_channel(each) for each in channels))

    def _channel_info(self, query: ask.ChannelInfo) -> results.Channel:
        return _found(self._client.get_newsletter_info(native_jid(query.channel)))

    def _channel_from_link(self, query: ask.ChannelFromLink) -> results.Channel:
        return _found(self._client.get_newsletter_info_with_invite(query.code))

    def _follow(self, query: ask.FollowChannel) -> results.Done:
        change = self._client.unfollow_newsletter
        if query.follow:
            change = self._client.follow_newsletter
        change(native_jid(query.channel))
        return results.Done()

    def _react(self, query: ask.ChannelReaction) -> results.Done:
        self._client.newsletter_send_reaction(
            native_jid(query.channel), query.message, query.emoji, ""
        )
        return results.Done()


def _role(participant: Any) -> Literal["member", "admin", "superadmin"]:
    if participant.IsSuperAdmin:
        return "superadmin"
    return "admin" if participant.IsAdmin else "member"


def _moment(seconds: float) -> datetime | None:
    # Go's year 1 comes as a large negative number.
    return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None


def _found(channel: Any) -> results.Channel:
    if not channel.ID.User:
        raise QueryRefusedError(Failure(reason="not_found", detail="there is no such channel"))
    return _channel(channel)


def _channel(channel: Any) -> results.Channel:
    about = channel.ThreadMeta
    viewer = channel.ViewerMeta if channel.HasField("ViewerMeta") else None
    picture = about.Picture if about.HasField("Picture") else about.Preview
    return results.Channel(
        jid=jid_text(channel.ID) or "",
        name=about.Name.Text,
        description=about.Description.Text or None,
        subscribers=max(about.SubscriberCount, 0),
        verified=about.HasField("VerificationState")
        and _enum(about, "VerificationState") == "verified",
        state=cast(Any, _enum(channel.State, "Type") or "active"),
        role=cast(Any, _enum(viewer, "Role")) if viewer is not None else None,
        muted=_enum(viewer, "Mute") == "on" if viewer is not None else None,
        invite_link=f"{_CHANNEL_LINK}{about.InviteCode}" if about.InviteCode else None,
        picture_path=picture.DirectPath or None,
        created_at=_moment(about.CreationTime),
    )


def _enum(message: Any, field: str) -> str | None:
    """Return the name of an enum's value in lower case; None when the library had none for it."""
    if not message.HasField(field):
        return None
    value = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(
        getattr(message, field)
    )
    return value.name.lower() if value is not None else None
