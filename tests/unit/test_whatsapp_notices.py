"""Presence, groups, calls, pictures and history as the library reports them, told as ours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from support.native_events import native_protobufs
from support.native_messages import jid, source
from wavisor.whatsapp.events import (
    EVENTS,
    ContactUpdated,
    GroupParticipantsChanged,
    GroupUpdated,
    HistoryReceived,
    Person,
)
from wavisor.whatsapp.history import History
from wavisor.whatsapp.notices import Notices

I = "ins_01K9Z3ZZZZZZZZZZZZZZZZZZZZ"  # noqa: E741 - stands in every line below
N = Notices(I)
SECONDS = 1_700_000_000
MOMENT = datetime.fromtimestamp(SECONDS, UTC)
ANNA = Person(jid="100@lid", lid="100@lid")
GROUP = Person(jid="120363@g.us")


@pytest.fixture(scope="module")
def pb() -> Any:
    return native_protobufs()


@pytest.mark.parametrize(
    ("state", "media", "told"),
    [(1, 1, "composing"), (1, 2, "recording"), (2, 1, "paused"), (2, 2, "paused")],
)
def test_typing_is_told_with_its_chat(pb: Any, state: int, media: int, told: str) -> None:
    event = pb.ChatPresence(
        MessageSource=source(pb, sender_alt="15550100@s.whatsapp.net"), State=state, Media=media
    )
    made = N.chat_presence(event)
    assert made.state == told
    anna = Person(jid="100@lid", lid="100@lid", phone="+15550100")
    assert (made.person, made.chat) == (anna, anna)


def test_typing_in_a_group_names_the_group(pb: Any) -> None:
    event = pb.ChatPresence(
        MessageSource=source(pb, chat="120363@g.us", group=True), State=1, Media=1
    )
    assert N.chat_presence(event).chat == GROUP


def test_presence_tells_when_somebody_was_last_seen_if_they_show_it(pb: Any) -> None:
    gone = N.presence(pb.Presence(From=jid(pb, "100@lid"), Unavailable=True, LastSeen=SECONDS))
    assert (gone.person, gone.state, gone.last_seen) == (ANNA, "unavailable", MOMENT)
    # The zero time of Go.
    here = N.presence(
        pb.Presence(From=jid(pb, "100@lid"), Unavailable=False, LastSeen=-62_135_596_800)
    )
    assert (here.state, here.last_seen) == ("available", None)


def group_event(pb: Any, **fields: Any) -> Any:
    return pb.GroupInfoEvent(
        JID=jid(pb, "120363@g.us"),
        Notify="",
        Sender=jid(pb, "100@lid"),
        Timestamp=SECONDS,
        PrevParticipantsVersionID="",
        ParticipantVersionID="",
        JoinReason="",
        **fields,
    )


@pytest.mark.parametrize(
    ("field", "our_field"),
    [("Join", "joined"), ("Leave", "left"), ("Promote", "promoted"), ("Demote", "demoted")],
)
def test_who_joined_left_and_leads_a_group_is_told(pb: Any, field: str, our_field: str) -> None:
    (event,) = N.group_info(group_event(pb, **{field: [jid(pb, "100@lid"), jid(pb, "7@lid")]}))
    assert isinstance(event, GroupParticipantsChanged)
    assert (event.group, event.actor, event.timestamp) == (GROUP, ANNA, MOMENT)
    told = event.model_dump(include={"joined", "left", "promoted", "demoted"})
    assert [who["jid"] for who in told.pop(our_field)] == ["100@lid", "7@lid"]
    assert not any(told.values())


def test_a_groups_settings_are_told_and_only_what_changed(pb: Any) -> None:
    nobody = jid(pb)
    event = group_event(
        pb,
        Name=pb.GroupName(Name="Club", NameSetAt=1, NameSetBy=nobody),
        Topic=pb.GroupTopic(
            Topic="", TopicID="", TopicSetAt=1, TopicSetBy=nobody, TopicDeleted=True
        ),
        Locked=pb.GroupLocked(isLocked=False),
        Announce=pb.GroupAnnounce(IsAnnounce=True, AnnounceVersionID=""),
        Ephemeral=pb.GroupEphemeral(IsEphemeral=False, DisappearingTimer=0),
        NewInviteLink="https://chat.whatsapp.com/x",
    )
    (changed,) = N.group_info(event)
    assert isinstance(changed, GroupUpdated)
    assert (changed.name, changed.description) == ("Club", "")
    assert (changed.locked, changed.announce, changed.ephemeral_seconds) == (False, True, 0)
    assert changed.invite_link == "https://chat.whatsapp.com/x"
    assert (changed.deleted, changed.joined, changed.picture) == (False, False, None)
    (renamed,) = N.group_info(
        group_event(pb, Name=pb.GroupName(Name="Club", NameSetAt=1, NameSetBy=nobody))
    )
    assert isinstance(renamed, GroupUpdated)
    assert (renamed.description, renamed.locked, renamed.announce) == (None, None, None)


def test_members_and_settings_at_once_are_two_events_and_nothing_is_none(pb: Any) -> None:
    both = group_event(
        pb, Join=[jid(pb, "7@lid")], Delete=pb.GroupDelete(Deleted=True, DeletedReason="")
    )
    kinds = [event.type for event in N.group_info(both)]
    assert kinds == ["group_participants_changed", "group_updated"]
    assert N.group_info(group_event(pb)) == []


def test_a_picture_is_a_persons_or_a_groups(pb: Any) -> None:
    of_anna = N.picture(
        pb.Picture(JID=jid(pb, "100@lid"), Author=jid(pb), Timestamp=SECONDS, Remove=True)
    )
    assert of_anna == ContactUpdated(instance=I, person=ANNA, picture="removed", timestamp=MOMENT)
    of_group = N.picture(
        pb.Picture(
            JID=jid(pb, "120363@g.us"), Author=jid(pb, "100@lid"), Timestamp=SECONDS, Remove=False
        )
    )
    assert isinstance(of_group, GroupUpdated)
    assert (of_group.group, of_group.actor, of_group.picture) == (GROUP, ANNA, "changed")


def call_meta(pb: Any) -> Any:
    return pb.BasicCallMeta(
        **{"from": jid(pb, "100:3@lid")},
        timestamp=SECONDS,
        callCreator=jid(pb, "100:3@lid"),
        callCreatorAlt=jid(pb, "15550100@s.whatsapp.net"),
        callID="CALL",
    )


@pytest.mark.parametrize("video", [True, False])
def test_a_call_tells_who_calls_and_whether_with_video(pb: Any, video: bool) -> None:
    data = pb.Node(Tag="offer", Nodes=[pb.Node(Tag="audio")])
    if video:
        data.Nodes.append(pb.Node(Tag="video"))
    remote = pb.CallRemoteMeta(remotePlatform="android", remoteVersion="2")
    event = pb.CallOffer(basicCallMeta=call_meta(pb), callRemoteMeta=remote, data=data)
    call = N.call_offer(event)
    assert (call.call_id, call.video, call.group, call.timestamp) == ("CALL", video, False, MOMENT)
    assert call.caller == Person(jid="100@lid", lid="100@lid", phone="+15550100")
    assert call.origin == "100@lid"


def test_a_call_to_several_people_says_so(pb: Any) -> None:
    event = pb.CallOfferNotice(
        basicCallMeta=call_meta(pb), media="video", type="group", data=pb.Node(Tag="offer_notice")
    )
    call = N.call_notice(event)
    assert (call.video, call.group) == (True, True)


def joined(pb: Any) -> Any:
    nobody = jid(pb)
    return pb.JoinedGroup(
        Reason="",
        Type="",
        CreateKey="",
        GroupInfo=pb.GroupInfo(
            JID=jid(pb, "120363@g.us"),
            OwnerJID=nobody,
            GroupName=pb.GroupName(Name="Club", NameSetAt=1, NameSetBy=nobody),
            GroupAnnounce=pb.GroupAnnounce(IsAnnounce=True, AnnounceVersionID=""),
        ),
    )


def test_being_added_to_a_group_is_told(pb: Any) -> None:
    event = N.joined_group(joined(pb))
    assert (event.joined, event.group, event.name, event.announce) == (True, GROUP, "Club", True)


def history(pb: Any, chats: dict[str, int], size: int = 2) -> Any:
    event = pb.HistorySync()
    for chat, count in chats.items():
        conversation = event.Data.conversations.add(
            ID=chat, name=f"name of {chat}", unreadCount=2, archived=True, pinned=5
        )
        for number in range(count):
            item = conversation.messages.add().message
            item.key.ID, item.key.remoteJID, item.key.fromMe = f"M{number}", chat, number % 2 == 1
            item.messageTimestamp, item.pushName = SECONDS - number, "Anna"
            item.message.conversation = "x" * size
    return event


def ids(events: list[HistoryReceived]) -> list[str]:
    return [message.message_id for event in events for message in event.messages]


def test_history_is_cut_off_at_its_limits(pb: Any) -> None:
    told = History(I, per_chat=2, total=5)
    assert told.wanted
    event = history(pb, {"100@lid": 3, "200@lid": 3, "300@lid": 3, "400@lid": 3})
    first = list(told.received(event))
    assert [(one.chat.jid, len(one.messages)) for one in first] == [
        *(("100@lid", 2), ("200@lid", 2), ("300@lid", 1)),
    ]
    assert list(told.received(event)) == []
    assert not told.wanted
    assert not History(I, per_chat=0, total=9).wanted
    assert not History(I, per_chat=9, total=0).wanted


def test_a_chats_limit_holds_over_several_pieces_of_history(pb: Any) -> None:
    told = History(I, per_chat=3, total=99)
    pieces = [list(told.received(history(pb, {"100@lid": 2}))) for _ in range(2)]
    assert [ids(piece) for piece in pieces] == [["M0", "M1"], ["M0"]]


def test_history_tells_who_wrote_what_and_when(pb: Any) -> None:
    event = history(pb, {"100@lid": 2})
    event.Data.conversations[0].pnJID = "15550100@s.whatsapp.net"
    (told,) = History(I, 9, 9).received(event)
    assert told.chat == Person(jid="100@lid", lid="100@lid", phone="+15550100")
    assert (told.name, told.unread, told.archived, told.pinned) == (
        *("name of 100@lid", 2, True, True),
    )
    theirs, mine = told.messages
    assert (theirs.from_me, theirs.push_name, theirs.timestamp) == (False, "Anna", MOMENT)
    assert theirs.content.text == "xx"
    assert (mine.from_me, mine.sender) == (True, None)


def test_a_chats_newest_messages_of_others_are_its_unread_ones(pb: Any) -> None:
    event = history(pb, {"100@lid": 5})
    told = History(I, 3, 99)
    newest = [one.unread for each in told.received(event) for one in each.messages]
    assert newest == [True, False, True], "the second one is one's own"
    event.Data.conversations[0].messages.pop(0)
    event.Data.conversations[0].messages[0].message.key.fromMe = False
    again = [one.unread for each in told.received(event) for one in each.messages]
    assert not any(again), "the count was used up"


def test_history_tells_how_far_own_messages_came_and_leaves_unsent_ones_out(pb: Any) -> None:
    event = history(pb, {"100@lid": 8})
    statuses = (None, 0, 1, 2, 3, 4, 5, None)
    for item, status in zip(event.Data.conversations[0].messages, statuses, strict=True):
        item.message.key.fromMe = True
        if status is not None:
            item.message.status = status
    (told,) = History(I, 99, 99).received(event)
    assert [one.status for one in told.messages] == [
        None,
        "sent",
        "delivered",
        "read",
        "played",
        None,
    ]


def test_history_tells_the_numbers_behind_hidden_addresses(pb: Any) -> None:
    event = history(pb, {"120363@g.us": 1, "100@lid": 1})
    event.Data.conversations[0].messages[0].message.participant = "200:1@lid"
    for hidden, number in (("200@lid", "15550200"), ("100@lid", "15550100")):
        event.Data.phoneNumberToLidMappings.add(lidJID=hidden, pnJID=f"{number}@s.whatsapp.net")
    group, person = History(I, 9, 9).received(event)
    assert group.messages[0].sender == Person(jid="200@lid", lid="200@lid", phone="+15550200")
    assert person.chat == Person(jid="100@lid", lid="100@lid", phone="+15550100")


def test_history_of_a_group_names_the_sender_and_leaves_reactions_out(pb: Any) -> None:
    event = history(pb, {"120363@g.us": 2})
    first, second = event.Data.conversations[0].messages
    first.message.participant = "200:1@lid"
    second.message.message.reactionMessage.text = "x"
    (told,) = History(I, 9, 9).received(event)
    assert told.is_group
    assert [one.sender for one in told.messages] == [Person(jid="200@lid", lid="200@lid")]


def test_a_long_history_comes_in_pieces_that_fit(pb: Any) -> None:
    event = history(pb, {"100@lid": 12}, size=60_000)
    told = list(History(I, 99, 99).received(event))
    assert len(told) > 1
    assert ids(told) == [f"M{number}" for number in range(12)]
    for one in told:
        text = one.model_dump_json()
        assert len(text) < 512 * 1024
        assert EVENTS.validate_json(text) == one
