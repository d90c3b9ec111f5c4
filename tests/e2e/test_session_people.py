"""What people do, told by the real client: every kind of message, votes, groups, calls, history."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.session_lab import SessionLab, Tap
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.process import SandboxProcess
from wavisor.sandbox.redirect import Endpoints
from wavisor.whatsapp.commands import DownloadMedia, SendMessage
from wavisor.whatsapp.content import (
    Location,
    MessageKey,
    Pin,
    Poll,
    Revoke,
    SendOptions,
    Text,
)
from wavisor.whatsapp.events import (
    CallOffered,
    Connected,
    ContactUpdated,
    GroupParticipantsChanged,
    GroupUpdated,
    HistoryReceived,
    MessageEdited,
    MessageReaction,
    MessageReceived,
    MessageRevoked,
    PollVoted,
    PresenceUpdated,
    QrCode,
    ReceiptReceived,
)
from wavisor.whatsapp.inbound import poll_option_hash

pytestmark = pytest.mark.e2e

_numbers = itertools.count(12025550150)
RITA, SAM = "12025550120", "12025550121"
JPEG = b"\xff\xd8\xff\xe0" + bytes(100)


class Town:
    """The local WhatsApp and its people."""

    def __init__(self, control: SandboxControl) -> None:
        self.control = control
        info = control.endpoints()
        self._address = urlsplit(info.control_url)
        self.endpoints = Endpoints(
            info.proxy_url, info.ca_file, bytes.fromhex(info.root_public_key), info.control_url
        )

    def do(self, path: str, method: str = "POST", **body: Any) -> Any:
        connection = http.client.HTTPConnection(
            self._address.hostname or "", self._address.port, timeout=30
        )
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
            assert response.status < 300, content
            return json.loads(content) if content else None
        finally:
            connection.close()

    def say(self, phone: str, to: str, kind: str, **body: Any) -> str:
        """Let a contact send something; returns the message's id."""
        told = self.do(f"/contacts/{phone}/send", to=to, kind=kind, **body)
        return str(told["id"])


class User:
    """A linked account."""

    def __init__(self, tap: Tap, phone: str, lid: str) -> None:
        self.tap, self.phone, self.lid = tap, phone, lid

    def send(self, to: str, content: Any, **options: Any) -> str:
        answer = self.tap.ask(SendMessage, to=to, content=content, options=SendOptions(**options))
        assert answer.failure is None
        assert answer.message_id is not None
        return answer.message_id

    def got(self, kind: Any, message_id: str) -> Any:
        return self.tap.wait(kind, where=lambda event: event.message_id == message_id)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    log_file = tmp_path_factory.mktemp("sandbox") / "sandbox.log"
    with SandboxProcess(log_file=log_file, default_contacts=False) as process:
        process.control.add_contact(RITA, "Rita", "reader")
        process.control.add_contact(SAM, "Sam", "receiver")
        yield Town(process.control)


@pytest.fixture(scope="module")
def lab(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionLab]:
    directory = tmp_path_factory.mktemp("sessions")
    with SessionLab(directory, town.endpoints, history=(2, 3)) as lab:
        yield lab


def link(lab: SessionLab, town: Town, phone: str | None = None) -> User:
    if phone is None:
        phone = str(next(_numbers))
        town.control.add_phone(phone, "Wanda")
    tap = lab.open()
    town.control.scan(phone, tap.wait(QrCode).text)
    return User(tap, phone, tap.wait(Connected).lid or "")


@pytest.fixture(scope="module")
def user(lab: SessionLab, town: Town) -> User:
    user = link(lab, town)
    # The contact's keys and address are known from here on.
    user.send(f"{RITA}@s.whatsapp.net", Text(text="hello"))
    return user


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text", {"text": "hi"}),
        ("image", {"data": "AAAA", "text": "look", "mimeType": "image/png"}),
        ("video", {"data": "AAAA", "seconds": 3}),
        ("audio", {"data": "AAAA"}),
        ("voice", {"data": "AAAA", "seconds": 2}),
        ("document", {"data": "AAAA", "fileName": "a.pdf"}),
        ("sticker", {"data": "AAAA"}),
        ("location", {"position": [52.5, 13.4]}),
        ("poll", {"text": "Lunch?", "names": ["Soup", "Salad"]}),
        ("contact", {"names": ["Bob"], "cards": ["BEGIN:VCARD"]}),
    ],
)
def test_every_kind_that_somebody_sends_is_told_as_such(
    town: Town, user: User, kind: str, body: dict[str, Any]
) -> None:
    message_id = town.say(RITA, user.phone, kind, **body)
    message = user.got(MessageReceived, message_id)
    assert message.kind == kind
    assert message.sender.phone == f"+{RITA}"
    assert not message.from_me
    if "data" in body:
        assert message.content.media.size == 3


def test_edits_reactions_and_revocations_of_others_are_told(town: Town, user: User) -> None:
    mine = user.send(f"{RITA}@s.whatsapp.net", Text(text="mine"))
    town.say(RITA, user.phone, "reaction", target=mine, text="👍")
    reaction = user.got(MessageReaction, mine)
    assert (reaction.emoji, reaction.message_from_me) == ("👍", True)
    theirs = town.say(RITA, user.phone, "text", text="Teh")
    town.say(RITA, user.phone, "edit", target=theirs, text="The")
    assert user.got(MessageEdited, theirs).content.text == "The"
    town.say(RITA, user.phone, "revoke", target=theirs)
    assert user.got(MessageRevoked, theirs).sender.phone == f"+{RITA}"


def test_a_vote_on_an_own_poll_is_decrypted(town: Town, user: User) -> None:
    poll = user.send(f"{RITA}@s.whatsapp.net", Poll(question="?", options=("Soup", "Salad")))
    path = f"/contacts/{RITA}/messages?count=1&wait=10&sender={user.phone}"
    received = town.do(path, "GET")
    assert poll in [message["id"] for message in received["items"]]
    town.say(RITA, user.phone, "poll_vote", target=poll, names=["Salad"])
    vote = user.got(PollVoted, poll)
    assert vote.readable
    assert vote.selected == (poll_option_hash("Salad"),)
    assert vote.sender.phone == f"+{RITA}"


def test_a_vote_on_a_poll_from_before_the_link_cannot_be_read(
    lab: SessionLab, town: Town, user: User
) -> None:
    poll = user.send(f"{RITA}@s.whatsapp.net", Poll(question="old", options=("a", "b")))
    town.do(f"/contacts/{RITA}/messages?count=1&wait=10&text=old&sender={user.phone}", "GET")
    later = link(lab, town, user.phone)
    town.say(RITA, user.phone, "poll_vote", target=poll, names=["a"])
    assert not later.got(PollVoted, poll).readable
    later.tap.stop()


def test_a_file_with_a_wrong_hash_and_one_that_is_gone_are_told_apart(
    town: Town, user: User, tmp_path: Path
) -> None:
    for flag, reason in (("wrongHash", "media_corrupt"), ("missing", "media_gone")):
        message_id = town.say(RITA, user.phone, "image", data="AAAA", **{flag: True})
        media = user.got(MessageReceived, message_id).content.media
        path = str(tmp_path / "f")
        failure = user.tap.ask(DownloadMedia, source=media.source, path=path).failure
        assert failure is not None
        assert failure.reason == reason


def test_a_status_is_told_as_one(town: Town, user: User) -> None:
    message_id = town.say(RITA, "status@broadcast", "text", text="on holiday")
    message = user.got(MessageReceived, message_id)
    assert (message.is_status, message.is_group) == (True, False)
    assert message.sender.phone == f"+{RITA}"


def test_who_types_and_who_speaks_is_told(town: Town, user: User) -> None:
    for state in ("composing", "recording", "paused"):
        mark = user.tap.mark
        town.do(f"/contacts/{RITA}/typing", to=user.phone, state=state)
        told = user.tap.wait(
            PresenceUpdated, after=mark, where=lambda event, state=state: event.state == state
        )
        assert told.person.lid is not None
        assert told.chat == told.person


@pytest.mark.parametrize("video", [True, False])
def test_a_call_is_told(town: Town, user: User, video: bool) -> None:
    call_id = town.do(f"/contacts/{RITA}/calls", to=user.phone, video=video)["id"]
    call = user.tap.wait(CallOffered, where=lambda event: event.call_id == call_id)
    assert (call.video, call.group, call.caller.phone) == (video, False, f"+{RITA}")
    assert call.origin


def test_a_new_picture_is_told(town: Town, user: User) -> None:
    picture = base64.b64encode(JPEG).decode()
    for body, told in (({"picture": picture}, "changed"), ({"picture": None}, "removed")):
        mark = user.tap.mark
        town.do(f"/contacts/{RITA}/profile", "PATCH", **body)
        event = user.tap.wait(ContactUpdated, after=mark)
        assert event.picture == told


@pytest.fixture(scope="module")
def group(town: Town, user: User) -> str:
    members = [user.phone, SAM]
    made = town.do("/groups", actor=RITA, subject="Club", members=members)
    joined = user.tap.wait(GroupUpdated, where=lambda event: event.joined)
    assert (joined.name, joined.group.jid) == ("Club", made["jid"])
    return str(made["jid"])


def test_a_message_to_a_group_mentions_everybody_and_each_confirms(
    town: Town, user: User, group: str
) -> None:
    sent = user.send(group, Text(text="dinner @all"), mention_all=True)
    query = f"/contacts/{SAM}/messages?count=1&wait=10&text=dinner%20%40all"
    (message,) = town.do(query, "GET")["items"]
    assert len(message["mentions"]) == 2, "all but oneself"
    for phone, kind in ((RITA, "read"), (SAM, "delivered")):
        receipt = user.tap.wait(
            ReceiptReceived,
            where=lambda event, phone=phone, kind=kind: (
                sent in event.message_ids
                and event.kind == kind
                and (event.sender.phone == f"+{phone}" or event.sender.phone is None)
            ),
        )
        assert receipt.chat.jid == group
        assert receipt.is_group


def test_a_message_in_a_group_names_its_sender(town: Town, user: User, group: str) -> None:
    message_id = town.say(SAM, group, "text", text="hi all", mentions=[user.phone])
    message = user.got(MessageReceived, message_id)
    assert message.is_group
    assert message.chat.jid == group
    assert message.sender.phone == f"+{SAM}"
    assert user.lid in message.content.mentions or f"{user.phone}@s.whatsapp.net" in (
        message.content.mentions
    )
    # An own message reacted to, in a group.
    mine = user.send(group, Text(text="welcome"))
    town.do(f"/contacts/{SAM}/messages?count=1&wait=10&text=welcome", "GET")
    town.say(SAM, group, "reaction", target=mine, text="x")
    assert user.got(MessageReaction, mine).message_from_me


@pytest.mark.parametrize(
    ("action", "body", "field", "value"),
    [
        ("rename", {"text": "Friends"}, "name", "Friends"),
        ("describe", {"text": "what we do"}, "description", "what we do"),
        ("announcement", {}, "announce", True),
        ("not_announcement", {}, "announce", False),
        ("locked", {}, "locked", True),
        ("ephemeral", {"seconds": 86_400}, "ephemeral_seconds", 86_400),
    ],
)
def test_a_groups_changes_are_told(
    town: Town, user: User, group: str, action: str, body: dict[str, Any], field: str, value: Any
) -> None:
    mark = user.tap.mark
    town.do(f"/groups/{group}", actor=RITA, action=action, **body)
    changed = user.tap.wait(
        GroupUpdated, after=mark, where=lambda event: getattr(event, field) is not None
    )
    assert getattr(changed, field) == value
    assert changed.group.jid == group
    assert changed.actor is not None


def test_who_comes_goes_and_leads_is_told(town: Town, user: User, group: str) -> None:
    for action, field in (("promote", "promoted"), ("demote", "demoted"), ("remove", "left")):
        mark = user.tap.mark
        town.do(f"/groups/{group}", actor=RITA, action=action, phones=[SAM])
        event = user.tap.wait(GroupParticipantsChanged, after=mark)
        told = event.model_dump(include={"joined", "left", "promoted", "demoted"})
        assert len(told.pop(field)) == 1
        assert not any(told.values())


def test_a_message_of_another_is_taken_back_and_pinned_by_an_admin(
    lab: SessionLab, town: Town, user: User
) -> None:
    made = town.do("/groups", actor=user.phone, subject="Ours", members=[SAM])
    group = made["jid"]
    message_id = town.say(SAM, group, "text", text="rude")
    sender = user.got(MessageReceived, message_id).sender.jid
    target = MessageKey(chat=group, id=message_id, from_me=False, sender=sender)
    user.send(group, Text(text="no"), quoted=target, quoted_text="rude")
    (answer,) = town.do(f"/contacts/{SAM}/messages?count=1&wait=10&text=no", "GET")["items"]
    assert answer["quoted"] == message_id
    user.send(group, Pin(target=target, seconds=86_400))
    user.send(group, Revoke(target=target))
    town.do(f"/contacts/{SAM}/messages?count=4&wait=10&sender={user.phone}", "GET")
    received = town.do(f"/contacts/{SAM}/messages?sender={user.phone}", "GET")["items"]
    assert [one["target"] for one in received if one["kind"] == "revoke"] == [message_id]


def test_a_status_reaches_those_whom_the_address_book_names(town: Town, user: User) -> None:
    index = ["contact", f"{RITA}@s.whatsapp.net"]
    town.do(f"/phones/{user.phone}/settings", index=index, value="Rita Reader")
    # The client tells nobody when it has read its address book.
    for number in range(10):
        user.send("status@broadcast", Text(text=f"away{number}"))
        query = f"/contacts/{RITA}/messages?count=1&wait=2&text=away{number}"
        found = town.do(query, "GET")["items"]
        if found:
            break
    assert [message["chat"] for message in found] == ["status@broadcast"]
    assert not town.do(f"/contacts/{SAM}/messages?text=away0", "GET")["items"]


def test_a_channel_gets_a_text_and_nothing_that_it_cannot_take(town: Town, user: User) -> None:
    channel = town.do("/channels", owner=user.phone, name="News")["jid"]
    sent = user.send(channel, Text(text="first"))
    assert town.do(f"/channels/{channel}", "GET")["posts"] == [sent]
    place = Location(latitude=0, longitude=0)
    failure = user.tap.ask(SendMessage, to=channel, content=place).failure
    assert failure is not None
    assert (failure.reason, failure.uncertain) == ("invalid", False)


def test_history_is_told_up_to_its_limits(lab: SessionLab, town: Town) -> None:
    phone = str(next(_numbers))
    town.control.add_phone(phone, "Hanna")
    for contact in (RITA, SAM):
        for number in range(3):
            message_id = town.say(contact, phone, "text", text=f"{contact} {number}")
            town.do(f"/phones/{phone}/messages?count=1&wait=10&text={contact}%20{number}", "GET")
            assert message_id
    hanna = link(lab, town, phone)
    hanna.tap.wait(HistoryReceived)
    hanna.tap.wait(
        HistoryReceived,
        where=lambda _: sum(len(each.messages) for each in hanna.tap.all(HistoryReceived)) == 3,
    )
    chats = hanna.tap.all(HistoryReceived)
    assert sorted(len(chat.messages) for chat in chats) == [1, 2]
    for chat in chats:
        texts = [message.content.text or "" for message in chat.messages]
        assert texts[0].endswith(" 2"), "the newest first"
        assert not any(message.from_me for message in chat.messages)
    assert not hanna.tap.all(MessageReceived)
    hanna.tap.stop()
