"""Queries carried out by the real client in a session process, against the local WhatsApp."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import uvloop
from PIL import Image
from pydantic import BaseModel

from support.session_lab import SessionLab, Tap
from wavisor.sandbox import control_talk_calls as talk
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.process import SandboxProcess
from wavisor.sandbox.redirect import Endpoints
from wavisor.whatsapp import queries as ask
from wavisor.whatsapp import query_results as results
from wavisor.whatsapp.child import QUERIES_IN_FLIGHT
from wavisor.whatsapp.commands import Ping, Query
from wavisor.whatsapp.events import (
    Answer,
    CallOffered,
    Connected,
    Disconnected,
    Failure,
    PresenceUpdated,
    QrCode,
)
from wavisor.whatsapp.queries import QueryModel, result_type

pytestmark = pytest.mark.e2e

ME, ANNA, BEN, ABSENT = "4915550200001", "4915559200001", "4915559200002", "4915559200003"
BRAZILIAN = "551187654321"
ANNA_JID, BEN_JID, ME_JID = (f"{number}@s.whatsapp.net" for number in (ANNA, BEN, ME))
ABSENT_JID = f"{ABSENT}@s.whatsapp.net"
FIRST_POST = 100
"""The number that the local WhatsApp gives a channel's first message."""
ResultT = TypeVar("ResultT", bound=BaseModel)


def image() -> str:
    content = io.BytesIO()
    Image.new("RGB", (900, 700), "teal").save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


@dataclass
class Desk:
    """A connected session that is asked."""

    tap: Tap
    sandbox: SandboxControl

    def ask(self, query: QueryModel[ResultT]) -> ResultT:
        answer = self.tap.ask(Query, query=query)
        assert answer.failure is None, answer.failure
        return result_type(query).model_validate(answer.result)  # type: ignore[return-value]  # its type

    def fail(self, query: QueryModel[Any]) -> Failure:
        answer = self.tap.ask(Query, query=query)
        assert answer.failure is not None, answer.result
        return answer.failure

    def lid(self, jid: str) -> str:
        (person,) = self.ask(ask.LookUpAddress(people=(jid,))).people
        assert person.lid is not None
        return person.lid


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    log_file = tmp_path_factory.mktemp("sandbox") / "sandbox.log"
    with SandboxProcess(log_file=log_file, default_contacts=False) as process:
        control = process.control
        control.add_contact(ANNA, "Anna", "echo")
        control.add_contact(BEN, "Ben", "echo")
        control.add_contact(BRAZILIAN, "Bia", "echo")
        control.add_contact(ABSENT, "Nobody", "absent")
        control.add_phone(ME, "Wanda")
        info = control.endpoints()
        endpoints = Endpoints(
            info.proxy_url, info.ca_file, bytes.fromhex(info.root_public_key), info.control_url
        )
        sessions = tmp_path_factory.mktemp("sessions")
        with SessionLab(sessions, endpoints, new_loop=uvloop.new_event_loop) as lab:
            tap = lab.open()
            control.scan(ME, tap.wait(QrCode).text)
            tap.wait(Connected)
            yield Desk(tap, control)


@pytest.fixture(autouse=True)
def calm(desk: Desk) -> Iterator[None]:
    yield
    desk.sandbox.clear_faults()


@pytest.fixture
def group(desk: Desk) -> results.Group:
    return desk.ask(ask.CreateGroup(name="Team", participants=(ANNA_JID,)))


# People


def test_numbers_are_checked_in_every_form_and_mapped_to_what_was_asked(desk: Desk) -> None:
    written = "5511987654321"
    checked = desk.ask(ask.CheckNumbers(numbers=(ABSENT, written, ANNA))).numbers
    assert [one.number for one in checked] == [ABSENT, written, ANNA]
    assert [one.on_whatsapp for one in checked] == [False, True, True]
    assert checked[0].person is None
    for one, phone in zip(checked[1:], (BRAZILIAN, ANNA), strict=True):
        assert one.person is not None
        assert one.person.phone == f"+{phone}"
        assert one.person.lid == desk.lid(f"{phone}@s.whatsapp.net")


def test_both_addresses_of_somebody_are_found(desk: Desk) -> None:
    lid = desk.lid(ANNA_JID)
    (found,) = desk.ask(ask.LookUpAddress(people=(lid,))).people
    assert (found.jid, found.lid, found.phone) == (lid, lid, f"+{ANNA}")


def test_what_nobody_told_stays_unknown(desk: Desk) -> None:
    stranger, absent = desk.ask(ask.LookUpAddress(people=("99999999@lid", ABSENT_JID))).people
    assert (stranger.lid, stranger.phone) == ("99999999@lid", None)
    assert (absent.lid, absent.phone) == (None, f"+{ABSENT}")


def test_contacts_that_the_phone_shared_are_listed_page_by_page(desk: Desk) -> None:
    for number, name in ((ANNA, "Anna Berg"), (BEN, "Ben Cole")):
        jid = f"{number}@s.whatsapp.net"
        desk.sandbox.run(talk.set_shared(ME, ["contact", jid], name))
    names: list[str | None] = []
    for _ in range(200):  # the client takes it in by itself, and tells nobody
        names = [one.name for one in desk.ask(ask.ListContacts()).items]
        if "Ben Cole" in names:
            break
        desk.tap.ask(Ping)
    assert "Anna Berg" in names
    assert len(desk.ask(ask.ListContacts(limit=1)).items) == 1
    listed, after = [], None
    while True:
        page = desk.ask(ask.ListContacts(after=after, limit=1))
        listed += page.items
        after = page.next
        if after is None:
            break
    assert [one.name for one in listed] == names
    assert len({one.person.phone for one in listed}) == len(listed)
    assert f"+{ME}" not in {one.person.phone for one in listed}
    assert desk.ask(ask.GetContact(person=ANNA_JID)).name == "Anna Berg"
    assert desk.ask(ask.GetContact(person=desk.lid(ANNA_JID))).name == "Anna Berg"


def test_somebody_unknown_is_no_contact(desk: Desk) -> None:
    assert desk.fail(ask.GetContact(person="4917777777777@s.whatsapp.net")).reason == "not_found"
    assert desk.fail(ask.GetContact(person="88888888@lid")).reason == "not_found"


def test_what_somebody_shows_of_themselves(desk: Desk) -> None:
    desk.sandbox.run(talk.change_profile("contacts", ANNA, about="at sea"))
    for jid in (ANNA_JID, desk.lid(ANNA_JID)):
        shown = desk.ask(ask.GetUser(person=jid))
        assert shown.about == "at sea"
        assert shown.person.phone == f"+{ANNA}"
        assert shown.devices == 1
    assert desk.fail(ask.GetUser(person=ABSENT_JID)).reason == "not_found"


def test_somebodys_picture(desk: Desk) -> None:
    assert desk.fail(ask.GetPicture(of=BEN_JID)).reason == "not_found"
    desk.sandbox.run(talk.change_profile("contacts", BEN, picture=image()))
    for preview in (False, True):
        picture = desk.ask(ask.GetPicture(of=BEN_JID, preview=preview))
        assert picture.url.startswith("https://")
        assert picture.id == desk.ask(ask.GetUser(person=BEN_JID)).picture_id


def test_blocking_and_unblocking_by_either_address(desk: Desk) -> None:
    lid = desk.lid(ANNA_JID)
    for blocked, unblocked in ((ANNA_JID, lid), (lid, ANNA_JID)):
        desk.ask(ask.SetBlocked(person=blocked, blocked=True))
        (one,) = desk.ask(ask.BlockList()).people
        assert (one.lid, one.phone) == (lid, f"+{ANNA}")
        desk.ask(ask.SetBlocked(person=unblocked, blocked=False))
        assert desk.ask(ask.BlockList()).people == ()
    assert desk.fail(ask.SetBlocked(person=ABSENT_JID, blocked=True)).reason == "not_found"


# Presence and calls


def test_presence_is_shown_and_watched(desk: Desk) -> None:
    desk.ask(ask.SetPresence(available=True))
    mark = desk.tap.mark
    desk.ask(ask.SubscribePresence(person=ANNA_JID))
    desk.sandbox.run(talk.show("contacts", ANNA, available=True))
    seen = desk.tap.wait(PresenceUpdated, after=mark, where=lambda one: one.state == "available")
    assert seen.person.phone == f"+{ANNA}"
    desk.ask(ask.SetPresence(available=False))


@pytest.mark.parametrize("state", ["composing", "recording", "paused"])
def test_typing_is_shown_to_the_other_side(desk: Desk, state: Any) -> None:
    def typed() -> list[tuple[str, list[str]]]:
        signals = desk.sandbox.run(talk.signals("contacts", BEN)).items
        return [(one.tag, one.content) for one in signals if one.tag == "chatstate"]

    before = len(typed())
    desk.ask(ask.ShowTyping(chat=BEN_JID, state=state))
    desk.ask(ask.GetUser(person=BEN_JID))  # answered after it, on the same connection
    (told,) = typed()[before:]
    assert told[1][0].startswith("paused" if state == "paused" else "composing")


def test_a_call_is_rejected(desk: Desk) -> None:
    mark = desk.tap.mark
    call = desk.sandbox.run(talk.ring("contacts", ANNA, to=ME))
    offered = desk.tap.wait(CallOffered, after=mark)
    desk.ask(ask.RejectCall(call=offered.call_id, caller=offered.origin))
    desk.ask(ask.GetUser(person=ANNA_JID))  # answered after it, on the same connection
    status = {one.id: one.status for one in desk.sandbox.run(talk.calls("contacts", ANNA)).items}
    assert status[call.id] == "rejected"


# This account


def test_the_own_profile_is_read_and_changed(desk: Desk) -> None:
    desk.ask(ask.SetProfileAbout(about="open until six"))
    changed = desk.ask(ask.SetProfilePicture(image=image()))
    profile = desk.ask(ask.GetProfile())
    assert profile.about == "open until six"
    assert profile.picture_id == changed.id
    assert profile.person.phone == f"+{ME}"
    assert profile.person.lid is not None
    assert desk.sandbox.run(talk.profile("phones", ME)).about == "open until six"


def test_the_own_name_is_changed_with_the_keys_of_the_phone(desk: Desk) -> None:
    desk.ask(ask.SetProfileName(name="Wanda's Shop"))
    for _ in range(200):  # the client hears of its own change from WhatsApp, and tells nobody
        if desk.ask(ask.GetProfile()).name == "Wanda's Shop":
            return
    raise AssertionError("the new name never came back")


def test_what_is_no_picture_is_refused_before_whatsapp_sees_it(desk: Desk) -> None:
    for wrong in ("%%%", base64.b64encode(b"text").decode()):
        failure = desk.fail(ask.SetProfilePicture(image=wrong))
        assert failure.reason == "invalid"


def test_privacy_is_read_and_changed(desk: Desk) -> None:
    before = desk.ask(ask.GetPrivacy())
    changed = desk.ask(ask.SetPrivacy(last_seen="none", group_add="contacts"))
    assert (changed.last_seen, changed.group_add) == ("none", "contacts")
    assert desk.ask(ask.GetPrivacy()) == changed
    shown = desk.sandbox.run(talk.profile("phones", ME)).privacy
    assert (shown["last"], shown["groupadd"]) == ("none", "contacts")
    assert changed.read_receipts == before.read_receipts
    desk.ask(ask.SetPrivacy(last_seen="all", group_add="all"))


# Groups


def test_a_group_is_created_and_tells_who_could_not_be_added(desk: Desk) -> None:
    created = desk.ask(ask.CreateGroup(name="Trip", participants=(ANNA_JID, ABSENT_JID)))
    assert {one.person.phone for one in created.participants} == {f"+{ANNA}", f"+{ME}"}
    assert [(one.person.phone, one.reason) for one in created.not_added] == [
        (f"+{ABSENT}", "not_found")
    ]
    assert created.role == "superadmin"
    seen = desk.ask(ask.GroupInfo(group=created.jid))
    assert seen.participants == created.participants
    assert desk.sandbox.run(talk.group(created.jid)).subject == "Trip"


def test_a_group_is_changed(desk: Desk, group: results.Group) -> None:
    desk.ask(
        ask.UpdateGroup(
            group=group.jid, name="Crew", description="Who does what", announce=True, locked=True
        )
    )
    desk.ask(ask.SetDisappearing(chat=group.jid, seconds=86_400))
    seen = desk.ask(ask.GroupInfo(group=group.jid))
    assert (seen.name, seen.description) == ("Crew", "Who does what")
    assert (seen.announce, seen.locked, seen.ephemeral_seconds) == (True, True, 86_400)
    desk.ask(ask.UpdateGroup(group=group.jid, description="", announce=False, locked=False))
    seen = desk.ask(ask.GroupInfo(group=group.jid))
    assert (seen.name, seen.description) == ("Crew", None)
    assert (seen.announce, seen.locked) == (False, False)


def test_a_group_has_a_picture(desk: Desk, group: results.Group) -> None:
    assert desk.fail(ask.GetPicture(of=group.jid)).reason == "not_found"
    changed = desk.ask(ask.SetGroupPicture(group=group.jid, image=image()))
    assert desk.ask(ask.GetPicture(of=group.jid)).id == changed.id


def test_members_are_changed_by_either_of_their_addresses(desk: Desk, group: results.Group) -> None:
    def roles() -> dict[str | None, str]:
        seen = desk.ask(ask.GroupInfo(group=group.jid)).participants
        return {one.person.phone: one.role for one in seen}

    def change(what: Any, *people: str) -> list[str | None]:
        query = ask.ChangeParticipants(group=group.jid, people=people, change=what)
        return [one.reason for one in desk.ask(query).outcomes]

    assert change("promote", ANNA_JID) == [None]
    assert roles()[f"+{ANNA}"] == "admin"
    assert change("demote", desk.lid(ANNA_JID)) == [None]
    assert roles()[f"+{ANNA}"] == "member"
    assert change("add", BEN_JID, ABSENT_JID) == [None, "not_found"]
    assert change("remove", BEN_JID, "4917777777777@s.whatsapp.net") == [None, "not_found"]
    assert set(roles()) == {f"+{ANNA}", f"+{ME}"}


def test_who_wants_to_join_is_told(desk: Desk, group: results.Group) -> None:
    desk.sandbox.run(talk.act(group.jid, actor=ME, action="require_approval"))
    desk.sandbox.run(talk.act(group.jid, actor=BEN, action="join"))
    (request,) = desk.ask(ask.ListJoinRequests(group=group.jid)).items
    assert request.person.phone == f"+{BEN}"


def test_an_invite_link_leads_to_its_group_until_it_is_revoked(
    desk: Desk, group: results.Group
) -> None:
    link = desk.ask(ask.GetInviteLink(group=group.jid)).link
    code = link.rpartition("/")[2]
    assert desk.ask(ask.GroupFromLink(code=code)).name == group.name
    renewed = desk.ask(ask.GetInviteLink(group=group.jid, revoke=True)).link
    assert renewed != link
    assert desk.fail(ask.GroupFromLink(code=code)).reason == "not_found"
    assert desk.fail(ask.JoinGroup(code=code)).reason == "not_found"


def test_a_group_is_left_and_joined_again(desk: Desk, group: results.Group) -> None:
    code = desk.ask(ask.GetInviteLink(group=group.jid)).link.rpartition("/")[2]
    desk.ask(ask.LeaveGroup(group=group.jid))
    assert desk.fail(ask.GroupInfo(group=group.jid)).reason == "forbidden"
    assert desk.ask(ask.JoinGroup(code=code)).jid == group.jid
    assert desk.ask(ask.GroupInfo(group=group.jid)).role == "member"
    assert desk.fail(ask.UpdateGroup(group=group.jid, announce=True)).reason == "forbidden"


def test_groups_are_listed_page_by_page(desk: Desk, group: results.Group) -> None:
    desk.ask(ask.CreateGroup(name="Another", participants=()))
    everything = desk.ask(ask.ListGroups(limit=200)).items
    assert group.jid in {one.jid for one in everything}
    listed, after = [], None
    while True:
        page = desk.ask(ask.ListGroups(after=after, limit=1))
        listed += page.items
        after = page.next
        if after is None:
            break
    assert tuple(listed) == everything


def test_there_is_no_such_group(desk: Desk) -> None:
    assert desk.fail(ask.GroupInfo(group="120363999999999999@g.us")).reason == "not_found"
    assert desk.fail(ask.GroupFromLink(code="nowhere-at-all")).reason == "not_found"


# Channels


def test_a_channel_is_followed_and_reacted_to(desk: Desk) -> None:
    made = desk.sandbox.run(talk.create_channel(owner=ANNA, name="News", description="Daily"))
    desk.sandbox.run(talk.publish(made.jid, "POST1", "hello"))
    desk.ask(ask.FollowChannel(channel=made.jid, follow=True))
    seen = desk.ask(ask.ChannelInfo(channel=made.jid))
    assert (seen.name, seen.description, seen.role) == ("News", "Daily", "subscriber")
    assert made.jid in {one.jid for one in desk.ask(ask.ListChannels()).items}
    assert ME in desk.sandbox.run(talk.channel(made.jid)).followers
    desk.ask(ask.ChannelReaction(channel=made.jid, message=FIRST_POST, emoji="👍"))
    desk.ask(ask.FollowChannel(channel=made.jid, follow=False))
    left = desk.sandbox.run(talk.channel(made.jid))
    assert ME not in left.followers
    assert left.reactions == [{ME: "👍"}]


def test_a_link_leads_to_its_channel(desk: Desk) -> None:
    made = desk.sandbox.run(talk.create_channel(owner=BEN, name="Deals"))
    found = desk.ask(ask.ChannelFromLink(code=made.invite))
    assert (found.jid, found.name, found.role) == (made.jid, "Deals", None)
    assert found.invite_link == f"https://whatsapp.com/channel/{made.invite}"
    assert desk.fail(ask.ChannelFromLink(code="nowhere")).reason == "not_found"


def test_there_is_no_such_channel(desk: Desk) -> None:
    failure = desk.fail(ask.ChannelInfo(channel="120363999999999999@newsletter"))
    assert failure.reason == "not_found"


# What goes wrong


def test_a_query_that_waited_beyond_its_time_is_not_asked(desk: Desk) -> None:
    answer = desk.tap.ask(Query, query=ask.BlockList(), timeout=1e-9)
    assert answer.failure is not None
    assert answer.failure.reason == "timeout"


def test_a_session_without_connection_asks_nothing(desk: Desk) -> None:
    mark = desk.tap.mark
    desk.sandbox.inject("refuse", phone=ME)
    desk.sandbox.cause("drop", phone=ME)
    desk.tap.wait(Disconnected, after=mark)
    assert desk.fail(ask.BlockList()).reason == "not_connected"
    desk.sandbox.clear_faults()
    desk.tap.wait(Connected, after=mark)


def test_queries_that_hang_keep_no_ping_waiting_and_are_bounded(desk: Desk) -> None:
    desk.sandbox.inject("mute", phone=ME)
    mark = desk.tap.mark
    for number in range(QUERIES_IN_FLIGHT + 1):
        command = Query(instance=desk.tap.instance, id=f"q{number}", query=ask.BlockList())
        assert desk.tap.session.send(command)
    assert desk.tap.ask(Ping).failure is None
    (refused,) = [one for one in desk.tap.all(Answer, after=mark) if one.failure is not None]
    desk.sandbox.clear_faults()
    assert refused.id == f"q{QUERIES_IN_FLIGHT}"
    assert refused.failure is not None
    assert refused.failure.reason == "busy"
