"""What an instance does by its settings: reads, is seen online, rejects calls, ignores chats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.instance_lab import InstanceLab, instance_lab
from wavisor.domain import MessageStatus
from wavisor.storage import EventRecord, MessageRecord, QueueLimits, chats, messages
from wavisor.storage.models import Instance
from wavisor.whatsapp import events as session
from wavisor.whatsapp.commands import Command, Query, SendMessage
from wavisor.whatsapp.events import Failure
from wavisor.whatsapp.inbound import InboundContent
from wavisor.whatsapp.queries import AnyQuery, MarkRead, RejectCall, SetPresence
from wavisor.whatsapp.scripted import ScriptedSession
from wavisor.whatsapp.scripted_defects import CrashesOnSend

ANNA = session.Person(jid="77777@lid", lid="77777@lid", phone="+15550101")
BERT = session.Person(jid="88888@lid", lid="88888@lid", phone="+15550102")
GROUP = session.Person(jid="120363000000000001@g.us")
CHANNEL = session.Person(jid="120363000000000002@newsletter")
STATUS = session.Person(jid="status@broadcast")
BROADCAST = session.Person(jid="1700000000@broadcast")
ME = session.Person(jid="15550100@s.whatsapp.net", phone="+15550100")
ANNA_CHAT = "15550101@s.whatsapp.net"

AUTO_READ = {"receiving": {"autoRead": True}}
ONLINE = {"presence": {"alwaysOnline": True}}
REJECT = {"calls": {"autoReject": True, "replyText": "Please write."}}


class DiesOfRejecting(CrashesOnSend):
    """Dies when it is to reject a call, and only then."""

    def on_command(self, command: Command) -> None:
        if isinstance(command, Query) and isinstance(command.query, RejectCall):
            self.exit(-6)
        else:
            ScriptedSession.on_command(self, command)


class Household:
    """One connected instance with settings of its own."""

    def __init__(self, lab: InstanceLab) -> None:
        self.lab = lab
        self.instance = lab.create()
        self.lab.link(self.instance)

    @property
    def session(self) -> ScriptedSession:
        return self.lab.session(self.instance)

    def configure(self, settings: dict[str, Any]) -> None:
        self.lab.configure(self.instance, settings)

    def emit(self, what: type[Any], /, **fields: Any) -> None:
        self.session.emit(what(instance=self.instance, **fields))
        self.lab.look(self.instance)

    def say(self, message_id: str, **fields: Any) -> None:
        place = {"chat": ANNA, "sender": ANNA, "from_me": False, "is_group": False}
        content = InboundContent(type="text", raw_type="conversation", text="hi")
        self.emit(
            session.MessageReceived,
            message_id=message_id,
            content=content,
            timestamp=self.lab.clock.now(),
            **{**place, **fields},
        )

    def call(self, call_id: str = "CALL1", **fields: Any) -> None:
        fields = {"timestamp": self.lab.clock.now(), "group": False, **fields}
        self.emit(
            session.CallOffered,
            **{"call_id": call_id, "caller": ANNA, "origin": ANNA.jid, "video": False, **fields},
        )
        self.settle(0)  # the queue looks for the reply

    def asked(self, kind: type[AnyQuery]) -> list[Any]:
        """What all sessions so far were asked of this kind."""
        mine = [one for one in self.lab.driver.sessions if one.spec.instance_id == self.instance]
        queries = [one.query for each in mine for one in each.commands(Query)]
        return [one for one in queries if isinstance(one, kind)]

    def told(self, kind: str) -> list[EventRecord]:
        return [one for one in self.lab.stored_events(self.instance) if one.type == kind]

    def stored(self) -> list[MessageRecord]:
        return list(self.lab.database.read_wait(messages.list_page, self.lab.scope, limit=50).items)

    def unread(self, jid: str = ANNA_CHAT) -> int:
        chat = self.lab.database.read_wait(chats.get, self.lab.scope, self.instance, jid)
        assert chat is not None
        return chat.unread

    def settle(self, seconds: float = 1.0) -> None:
        self.lab.advance(self.instance, seconds)


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Iterator[Household]:
    with ExitStack() as stack:
        yield Household(stack.enter_context(instance_lab(tmp_path, url=database_url)))


# Reading


def test_nobody_is_told_of_reading_unless_it_is_set(home: Household) -> None:
    home.say("M1")
    home.settle()
    assert home.asked(MarkRead) == []
    assert home.unread() == 1


def test_an_author_is_told_once_of_what_came_together_and_the_count_follows(
    home: Household,
) -> None:
    home.configure(AUTO_READ)
    home.say("M1")
    home.say("M2")
    assert (home.asked(MarkRead), home.unread()) == ([], 2)
    home.settle()
    assert home.asked(MarkRead) == [MarkRead(chat=ANNA.jid, messages=("M1", "M2"))]
    assert home.unread() == 0


def test_in_a_group_each_receipt_names_the_author(home: Household) -> None:
    home.configure(AUTO_READ)
    for number, author in enumerate((ANNA, BERT, ANNA)):
        home.say(f"M{number}", chat=GROUP, sender=author, is_group=True)
    home.settle()
    home.settle()
    assert home.asked(MarkRead) == [
        MarkRead(chat=GROUP.jid, sender=ANNA.jid, messages=("M0", "M2")),
        MarkRead(chat=GROUP.jid, sender=BERT.jid, messages=("M1",)),
    ]
    assert home.unread(GROUP.jid) == 0


def test_own_messages_statuses_and_broadcast_lists_are_not_marked(home: Household) -> None:
    home.configure(AUTO_READ)
    home.say("M1", from_me=True, sender=ME)
    home.say("M2", chat=STATUS)
    home.say("M3", chat=BROADCAST)
    home.settle()
    assert home.asked(MarkRead) == []


def test_a_refused_receipt_harms_nothing_and_leaves_the_message_unread(home: Household) -> None:
    home.configure(AUTO_READ)
    home.lab.driver.results["mark_read"] = Failure(reason="invalid", detail="no")
    home.say("M1")
    home.settle()
    del home.lab.driver.results["mark_read"]
    home.say("M2")
    home.settle()
    assert [one.messages for one in home.asked(MarkRead)] == [("M1",), ("M2",)]
    assert home.unread() == 1


def test_what_a_lost_connection_left_is_told_on_the_next_one(home: Household) -> None:
    home.configure(AUTO_READ)
    home.say("M1")
    home.session.drop()
    home.settle()
    assert home.unread() == 1
    home.session.connect()
    home.lab.look(home.instance)
    home.settle()
    assert home.unread() == 0


def test_switched_off_what_still_waits_is_told_no_more(home: Household) -> None:
    home.configure(AUTO_READ)
    home.say("M1")
    home.configure({"receiving": None})
    home.settle()
    assert home.asked(MarkRead) == []


def test_many_messages_of_one_author_go_in_portions_and_are_bounded(home: Household) -> None:
    home.configure(AUTO_READ)
    for number in range(1005):
        home.session.emit(
            session.MessageReceived(
                instance=home.instance,
                message_id=f"M{number}",
                chat=ANNA,
                sender=ANNA,
                from_me=False,
                is_group=False,
                timestamp=home.lab.clock.now(),
                content=InboundContent(type="text", raw_type="conversation", text="hi"),
            )
        )
        if number % 50 == 0:  # each is a transaction: what is waited for must not grow
            home.lab.look(home.instance)
    home.lab.look(home.instance)
    for _ in range(6):
        home.settle()
    portions = [one.messages for one in home.asked(MarkRead)]
    assert [len(one) for one in portions] == [200] * 5
    assert (portions[0][0], portions[-1][-1]) == ("M5", "M1004")
    assert home.unread() == 5


# Presence


def test_the_account_is_shown_online_at_once_again_later_and_on_each_connection(
    home: Household,
) -> None:
    home.configure(ONLINE)
    assert home.asked(SetPresence) == [SetPresence(available=True)]
    home.settle(301)
    assert len(home.asked(SetPresence)) == 2
    home.session.drop()
    home.session.connect()
    home.lab.look(home.instance)
    assert home.asked(SetPresence) == [SetPresence(available=True)] * 3


def test_it_is_shown_offline_when_that_is_switched_off_and_no_more_after(home: Household) -> None:
    home.configure(ONLINE)
    home.configure({"presence": {"alwaysOnline": False}})
    home.configure({"presence": None})
    home.settle(1000)
    assert home.asked(SetPresence) == [SetPresence(available=True), SetPresence(available=False)]


def test_a_presence_that_cannot_be_set_yet_is_tried_again(home: Household) -> None:
    home.lab.driver.results["set_presence"] = Failure(reason="internal", detail="no push name")
    home.configure(ONLINE)
    home.settle(5)
    assert len(home.asked(SetPresence)) == 2
    del home.lab.driver.results["set_presence"]
    home.settle(10)
    assert len(home.asked(SetPresence)) == 3
    home.settle(299)
    assert len(home.asked(SetPresence)) == 3


def test_an_instance_that_is_down_learns_of_its_presence_when_it_is_up(tmp_path: Path) -> None:
    with instance_lab(tmp_path) as lab:
        instance = lab.create()
        lab.configure(instance, ONLINE)
        linked = lab.link(instance)
        assert [one.query for one in linked.commands(Query)] == [SetPresence(available=True)]


# Calls


def test_a_call_is_told_and_left_alone_by_default(home: Household) -> None:
    home.call()
    assert home.asked(RejectCall) == []
    assert [one.data["rejected"] for one in home.told("call:offered")] == [False]


def test_a_rejected_caller_gets_the_reply_once_however_often_the_offer_comes(
    home: Household,
) -> None:
    home.configure(REJECT)
    home.call()
    home.call()
    assert home.asked(RejectCall) == [RejectCall(call="CALL1", caller=ANNA.jid)] * 2
    assert [one.data["rejected"] for one in home.told("call:offered")] == [True, True]
    [reply] = home.stored()
    assert (reply.chat, reply.text, reply.status) == (
        ANNA_CHAT,
        "Please write.",
        MessageStatus.SENT,
    )
    assert [one.to for one in home.session.commands(SendMessage)] == [ANNA_CHAT]


def test_the_reply_is_not_repeated_by_a_new_actor(home: Household) -> None:
    home.configure(REJECT)
    home.call()
    home.lab.stop()
    home.lab.driver.connects_by_itself = True
    home.lab.start()
    home.lab.wait_for_actor(home.instance)
    home.settle(5)
    home.call()
    assert len(home.told("call:offered")) == 2
    assert len(home.stored()) == 1


def test_the_reply_waits_in_the_queue_while_there_is_no_connection(home: Household) -> None:
    home.configure({**REJECT, "pacing": {"enabled": True, "messagesPerMinute": 1, "jitter": 0}})
    home.call("CALL1")
    home.call("CALL2", caller=BERT)
    assert {one.chat: one.status.value for one in home.stored()} == {
        ANNA_CHAT: "sent",
        "15550102@s.whatsapp.net": "queued",
    }


def test_group_calls_are_rejected_without_a_reply(home: Household) -> None:
    home.configure(REJECT)
    home.call(group=True)
    assert len(home.asked(RejectCall)) == 1
    assert home.stored() == []


def test_a_call_can_be_rejected_in_silence(home: Household) -> None:
    home.configure({"calls": {"autoReject": True}})
    home.call()
    assert [one.data["rejected"] for one in home.told("call:offered")] == [True]
    assert home.stored() == []


def test_a_call_that_was_over_long_ago_is_only_told(home: Household) -> None:
    home.configure(REJECT)
    home.call(timestamp=home.lab.clock.now() - timedelta(minutes=6))
    assert home.asked(RejectCall) == []
    assert [one.data["rejected"] for one in home.told("call:offered")] == [False]


def test_a_rejection_that_fails_is_told_as_such_and_gets_no_reply(home: Household) -> None:
    home.configure(REJECT)
    home.lab.driver.results["reject_call"] = Failure(reason="internal", detail="no")
    home.call()
    assert [one.data["rejected"] for one in home.told("call:offered")] == [False]
    assert home.stored() == []


def test_a_full_queue_costs_the_reply_and_not_the_event(home: Household) -> None:
    home.configure(REJECT)
    home.lab.database.write_wait(_fill_queue, home.instance)
    home.call()
    assert [one.data["rejected"] for one in home.told("call:offered")] == [True]
    assert home.stored() == []


def test_a_call_is_told_although_the_session_dies_of_it(tmp_path: Path) -> None:
    with instance_lab(tmp_path) as lab:
        lab.driver.script(DiesOfRejecting)
        home = Household(lab)
        home.configure(REJECT)
        home.call()
        assert [one.data["rejected"] for one in home.told("call:offered")] == [False]
        assert home.stored() == []


def _fill_queue(instance_id: str) -> None:
    full = QueueLimits().instance
    Instance.update(queued=full).where(Instance.id == instance_id).execute()


# Ignoring

EVERYWHERE = {
    "ignoreGroups": (GROUP, "group"),
    "ignoreStatus": (STATUS, "status"),
    "ignoreChannels": (CHANNEL, "channel"),
    "ignoreBroadcast": (BROADCAST, "broadcast"),
}


@pytest.mark.parametrize("setting", EVERYWHERE)
def test_what_is_ignored_is_neither_stored_nor_told_but_counted(
    tmp_path: Path, setting: str
) -> None:
    ignored, name = EVERYWHERE[setting]
    with instance_lab(tmp_path) as lab:
        home = Household(lab)
        home.configure({"receiving": {setting: True, "autoRead": True}})
        before = len(lab.stored_events(home.instance))
        happen_in(home, ignored)
        assert len(lab.stored_events(home.instance)) == before
        assert home.stored() == []
        assert [one.value for one in lab.observer.ignored] == [name] * 6
        for chat, _ in EVERYWHERE.values():
            if chat is not ignored:
                home.say(f"in {chat.jid}", chat=chat)
        home.say("from a person")
        assert len(home.stored()) == 4
        home.settle()
        assert all(one.chat != ignored.jid for one in home.asked(MarkRead))


def happen_in(home: Household, chat: session.Person) -> None:
    where = {
        "message_id": "M",
        "chat": chat,
        "sender": ANNA,
        "timestamp": home.lab.clock.now(),
    }
    place = {**where, "from_me": False, "is_group": chat is GROUP}
    content = InboundContent(type="text", raw_type="conversation", text="hi")
    home.emit(session.MessageReceived, **place, content=content)
    home.emit(session.MessageEdited, **place, content=content)
    home.emit(session.MessageRevoked, **place, author=None)
    home.emit(
        session.MessageReaction,
        **place,
        message_from_me=None,
        author=None,
        emoji="\N{THUMBS UP SIGN}",
    )
    home.emit(session.PollVoted, **place, selected=("0",))
    home.emit(session.UndecryptableMessage, **where)


def test_ignored_groups_do_not_change_either_as_far_as_anybody_is_told(home: Household) -> None:
    home.configure({"receiving": {"ignoreGroups": True}})
    change = {"group": GROUP, "actor": ANNA, "timestamp": home.lab.clock.now()}
    home.emit(session.GroupUpdated, **change, name="New name")
    home.emit(session.GroupParticipantsChanged, **change, joined=(BERT,))
    home.emit(session.PresenceUpdated, person=ANNA, state="composing", chat=GROUP)
    assert len(home.lab.observer.ignored) == 3
    home.emit(session.PresenceUpdated, person=ANNA, state="available")
    assert [one.type for one in home.lab.stored_events(home.instance)][-1] == "presence:updated"
    assert home.told("group:updated") == home.told("group:participants:changed") == []


def test_receipts_for_what_was_sent_into_an_ignored_group_still_count(home: Household) -> None:
    home.configure({"receiving": {"ignoreGroups": True, "ignoreStatus": True}})
    home.configure(REJECT)
    home.call()
    [sent] = home.stored()
    home.emit(
        session.ReceiptReceived,
        message_ids=(sent.whatsapp_id,),
        chat=GROUP,
        sender=ANNA,
        kind="read",
        timestamp=home.lab.clock.now(),
        is_group=True,
    )
    assert home.stored()[0].status is MessageStatus.READ
    home.emit(
        session.ReceiptReceived,
        message_ids=("M",),
        chat=GROUP,
        sender=ME,
        kind="read",
        timestamp=home.lab.clock.now(),
        from_me=True,
    )
    assert [one.value for one in home.lab.observer.ignored] == ["group"]


def test_an_own_status_from_the_phone_is_no_others_status(home: Household) -> None:
    home.configure({"receiving": {"ignoreStatus": True}})
    home.say("M1", chat=STATUS, sender=ME, from_me=True)
    assert [one.whatsapp_id for one in home.stored()] == ["M1"]


def test_ignoring_ends_with_the_setting(home: Household) -> None:
    home.configure({"receiving": {"ignoreGroups": True}})
    home.say("M1", chat=GROUP, is_group=True)
    home.configure({"receiving": {"ignoreGroups": False}})
    home.say("M2", chat=GROUP, is_group=True)
    assert [one.whatsapp_id for one in home.stored()] == ["M2"]
