"""Numbers that are written in two ways: WhatsApp is asked once, and both forms are one chat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.instance_lab import InstanceLab, instance_lab
from support.queueing import new_inbound, queue_text, receive
from wavisor.actors.instance.messages import Deliver
from wavisor.domain import MessageStatus
from wavisor.storage import MessageRecord, Party, chats, messages
from wavisor.whatsapp.commands import Query, SendMessage
from wavisor.whatsapp.events import Failure, Person
from wavisor.whatsapp.queries import CheckNumbers
from wavisor.whatsapp.query_results import CheckedNumber, CheckedNumbers
from wavisor.whatsapp.scripted_defects import SlowSession

LONG, SHORT = "5511987654321", "551187654321"
LONG_JID, SHORT_JID = f"{LONG}@s.whatsapp.net", f"{SHORT}@s.whatsapp.net"
LID = "77777@lid"
GERMAN = "4915112345678@s.whatsapp.net"


class Sends:
    """A connected instance, WhatsApp's knowledge of numbers, and a queue."""

    def __init__(self, lab: InstanceLab) -> None:
        self.lab = lab
        self.instance = lab.create()
        self.knows(SHORT)
        self.session = lab.link(self.instance)

    def knows(self, number: str | None) -> None:
        """Let WhatsApp have the account under this form, or not at all."""
        person = None
        if number is not None:
            person = Person(jid=LID, lid=LID, phone=f"+{number}")
        checked = CheckedNumber(number=LONG, on_whatsapp=number is not None, person=person)
        self.lab.driver.results["check_numbers"] = CheckedNumbers(numbers=(checked,))

    def queue(self, text: str, chat: str = LONG_JID, **more: Any) -> MessageRecord:
        record = self.lab.row(self.instance)
        return queue_text(self.lab.database, record, text, chat=chat, **more)

    def deliver(self) -> None:
        self.lab.ref(self.instance).tell(Deliver())
        for _ in range(8):
            self.lab.advance(self.instance, 0)

    def send(self, text: str, chat: str = LONG_JID) -> MessageRecord:
        message = self.queue(text, chat)
        self.deliver()
        return self.find(message)

    def find(self, message: MessageRecord) -> MessageRecord:
        found = self.lab.database.read_wait(messages.get, self.lab.scope, message.id)
        assert found is not None
        return found

    @property
    def sent(self) -> list[tuple[str, str]]:
        commands = self.lab.session(self.instance).commands(SendMessage)
        return [(one.to, getattr(one.content, "text", "")) for one in commands]

    @property
    def asked(self) -> list[CheckNumbers]:
        queries = [one.query for one in self.lab.session(self.instance).commands(Query)]
        return [one for one in queries if isinstance(one, CheckNumbers)]

    def chat(self, jid: str) -> Any:
        return self.lab.database.read_wait(chats.get, self.lab.scope, self.instance, jid)


@pytest.fixture
def sends(tmp_path: Path, database_url: str) -> Iterator[Sends]:
    with instance_lab(tmp_path, url=database_url) as lab:
        yield Sends(lab)


def test_a_message_goes_to_the_form_that_has_the_account_and_is_kept_there(sends: Sends) -> None:
    message = sends.send("hello")
    assert sends.sent == [(SHORT_JID, "hello")]
    assert (message.chat, message.status, message.attempts) == (SHORT_JID, MessageStatus.SENT, 1)
    chat = sends.chat(LONG_JID)
    assert (chat.jid, chat.phone, chat.lid) == (SHORT_JID, f"+{SHORT}", LID)
    assert sends.chat(SHORT_JID) == chat == sends.chat(LID)


def test_whatsapp_is_asked_once_whatever_form_is_used(sends: Sends) -> None:
    for text, chat in (("1", LONG_JID), ("2", SHORT_JID), ("3", LONG_JID), ("4", LID)):
        sends.send(text, chat)
    assert [text for _, text in sends.sent] == ["1", "2", "3", "4"]
    assert {to for to, _ in sends.sent} == {SHORT_JID}
    assert sends.asked == [CheckNumbers(numbers=(LONG,))]
    assert sends.chat(SHORT_JID).phone == f"+{SHORT}"


def test_a_number_in_its_right_form_stays_where_it_is(sends: Sends) -> None:
    sends.knows(LONG)
    for text in ("1", "2"):
        assert sends.send(text).chat == LONG_JID
    assert len(sends.asked) == 1
    assert sends.chat(LONG_JID).lid == LID


def test_other_countries_numbers_are_not_asked_about(sends: Sends) -> None:
    assert sends.send("hello", GERMAN).status is MessageStatus.SENT
    assert sends.asked == []


def test_a_number_without_an_account_fails_at_once_and_says_so(sends: Sends) -> None:
    sends.knows(None)
    message = sends.send("hello")
    assert message.status is MessageStatus.FAILED
    assert message.failure is not None
    assert message.failure["reason"] == "not_on_whatsapp"
    assert sends.sent == []
    sends.knows(SHORT)
    assert sends.send("again").status is MessageStatus.SENT


def test_the_order_holds_over_both_forms(sends: Sends) -> None:
    for number in range(6):
        sends.queue(str(number), (LONG_JID, SHORT_JID)[number % 2])
    for _ in range(4):
        sends.deliver()
    assert [text for _, text in sends.sent] == [str(number) for number in range(6)]
    assert {to for to, _ in sends.sent} == {SHORT_JID}


def test_an_earlier_message_to_the_other_form_goes_first(sends: Sends) -> None:
    sends.send("known", SHORT_JID)
    later = sends.queue("later", LONG_JID, priority=1)
    sends.deliver()
    assert sends.find(later).chat == SHORT_JID


def test_a_look_up_that_fails_for_now_is_repeated_and_other_chats_go_on(sends: Sends) -> None:
    known = sends.lab.driver.results["check_numbers"]
    sends.lab.driver.results["check_numbers"] = Failure(reason="timeout", detail="silence")
    message = sends.send("to Brazil")
    assert (message.status, sends.sent) == (MessageStatus.QUEUED, [])
    assert sends.send("to Germany", GERMAN).status is MessageStatus.SENT
    sends.lab.driver.results["check_numbers"] = known
    sends.lab.advance(sends.instance, 30)
    sends.deliver()
    assert sends.find(message).status is MessageStatus.SENT


def test_a_session_that_ends_while_it_is_asked_costs_no_message(tmp_path: Path) -> None:
    with instance_lab(tmp_path) as lab:
        lab.driver.script(SlowSession)
        sends = Sends(lab)
        message = sends.send("hello")
        assert (sends.find(message).status, sends.sent) == (MessageStatus.SENDING, [])
        sends.session.exit(1)
        lab.driver.connects_by_itself = True
        for _ in range(4):
            lab.advance(sends.instance, 30)
        sends.deliver()
        assert sends.find(message).status is MessageStatus.SENT
        assert sends.sent == [(SHORT_JID, "hello")]


def test_what_the_person_wrote_before_is_in_the_same_chat(sends: Sends) -> None:
    lab = sends.lab
    person = Party(LID, LID, f"+{SHORT}")
    receive(lab.database, lab.row(sends.instance), new_inbound("hi", chat=person))
    answer = sends.send("hello to you", LONG_JID)
    assert answer.chat == SHORT_JID
    receive(lab.database, lab.row(sends.instance), new_inbound("and again", chat=person))
    page = lab.database.read_wait(chats.list_page, lab.scope, limit=9)
    assert [(one.jid, one.unread) for one in page.items] == [(SHORT_JID, 2)]
    texts = lab.database.read_wait(messages.list_page, lab.scope, limit=9).items
    assert {one.chat for one in texts} == {SHORT_JID}
    assert len(texts) == 3
