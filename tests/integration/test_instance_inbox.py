"""What comes in through a session is on disk with its chat when it is told, and only once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.instance_lab import InstanceLab, instance_lab
from wavisor.domain import MessageDirection, MessageStatus
from wavisor.storage import EventRecord, MessageLife, MessageRecord, chats, messages
from wavisor.whatsapp import events as session
from wavisor.whatsapp.inbound import InboundContent, InboundPoll, Quoted, poll_option_hash
from wavisor.whatsapp.scripted import ScriptedSession

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANNA = session.Person(jid="77@lid", lid="77@lid", phone="+15550101")
BERT = session.Person(jid="15550102@s.whatsapp.net", phone="+15550102")
GROUP = session.Person(jid="120363000000000001@g.us")
ME = session.Person(jid="15550100@s.whatsapp.net", phone="+15550100")
ANNA_CHAT = "15550101@s.whatsapp.net"


class Talk:
    """One connected instance, and what is said to it."""

    def __init__(self, lab: InstanceLab) -> None:
        self.lab = lab
        self.instance = lab.create()
        self.session: ScriptedSession = lab.link(self.instance)

    def tell(self, kind: type[Any], message_id: str = "M", **fields: Any) -> EventRecord | None:
        """Return the last event of the instance once this was handled."""
        place = {
            "chat": ANNA,
            "sender": ANNA,
            "from_me": False,
            "is_group": False,
            "timestamp": NOW,
        }
        self.session.emit(
            kind(instance=self.instance, message_id=message_id, **{**place, **fields})
        )
        self.lab.look(self.instance)
        return self.events()[-1]

    def say(self, text: str = "hi", **fields: Any) -> EventRecord | None:
        return self.tell(session.MessageReceived, content=said(text), **fields)

    def events(self) -> list[EventRecord]:
        return self.lab.stored_events(self.instance)

    def told(self, kind: str) -> list[EventRecord]:
        return [one for one in self.events() if one.type == kind]

    def stored(self) -> list[MessageRecord]:
        return list(self.lab.database.read_wait(messages.list_page, self.lab.scope, limit=50).items)

    def life(self) -> MessageLife:
        [message] = self.stored()
        life = self.lab.database.read_wait(messages.get_life, self.lab.scope, message.id)
        assert life is not None
        return life

    def chat(self, jid: str = ANNA_CHAT) -> Any:
        return self.lab.database.read_wait(chats.get, self.lab.scope, self.instance, jid)


def said(text: str) -> InboundContent:
    return InboundContent(type="text", raw_type="conversation", text=text)


@pytest.fixture
def talk(tmp_path: Path, database_url: str) -> Iterator[Talk]:
    with ExitStack() as stack:
        yield Talk(stack.enter_context(instance_lab(tmp_path, url=database_url)))


def test_a_message_is_stored_with_its_chat_and_its_event_names_it(talk: Talk) -> None:
    quoted = Quoted(id="Q", sender=BERT, chat=None, type="text", text="what?")
    content = said("yes").model_copy(update={"quoted": quoted})
    event = talk.tell(session.MessageReceived, content=content, push_name="Anna")
    [message] = talk.stored()
    assert event is not None
    assert (event.type, event.data["messageId"]) == ("message:received", message.id)
    assert event.data["whatsappId"] == message.whatsapp_id == "M"
    assert (message.text, message.quoted_id, message.status) == (
        "yes",
        "Q",
        MessageStatus.RECEIVED,
    )
    assert message.sender is not None
    assert (message.sender.lid, message.sender.phone) == ("77@lid", "+15550101")
    chat = talk.chat()
    assert (chat.unread, chat.name, chat.last_message) == (1, "Anna", message)


def test_what_whatsapp_repeats_is_stored_and_told_once(talk: Talk) -> None:
    for _ in range(3):
        talk.say()
    assert len(talk.stored()) == len(talk.told("message:received")) == 1
    assert talk.chat().unread == 1


def test_a_message_is_on_disk_when_it_is_told(talk: Talk) -> None:
    found: list[MessageRecord | None] = []

    def look(record: EventRecord) -> None:
        if record.type == "message:received":
            database, scope = talk.lab.database, talk.lab.scope
            found.append(database.read_wait(messages.get, scope, record.data["messageId"]))

    talk.lab.hub.subscribe(look)
    talk.say("durable")
    talk.lab.stop()
    assert [one and one.text for one in found] == ["durable"]


def test_an_own_message_from_the_phone_is_outbound_and_follows_its_receipts(talk: Talk) -> None:
    event = talk.say("from my phone", from_me=True, sender=ME)
    [message] = talk.stored()
    assert event is not None
    assert (event.data["fromMe"], event.data["messageId"]) == (True, message.id)
    assert (message.direction, message.from_me, message.status) == (
        MessageDirection.OUTBOUND,
        True,
        MessageStatus.SENT,
    )
    assert talk.chat().unread == 0
    talk.session.emit(
        session.ReceiptReceived(
            instance=talk.instance,
            message_ids=("M",),
            chat=ANNA,
            sender=ANNA,
            kind="read",
            timestamp=NOW,
        )
    )
    talk.lab.look(talk.instance)
    assert talk.stored()[0].status is MessageStatus.READ


def test_what_the_account_reads_elsewhere_is_no_longer_unread(talk: Talk) -> None:
    for number in range(3):
        talk.say(message_id=f"M{number}")
    receipt = session.ReceiptReceived(
        instance=talk.instance,
        message_ids=("M0", "M2", "unknown"),
        chat=ANNA,
        sender=ME,
        kind="read",
        timestamp=NOW,
        from_me=True,
    )
    for _ in range(2):
        talk.session.emit(receipt)
        talk.lab.look(talk.instance)
        assert talk.chat().unread == 1
    read = {one.whatsapp_id: one.read_at for one in talk.stored()}
    assert read == {"M0": NOW, "M1": None, "M2": NOW}


def test_an_edit_changes_the_message_unless_somebody_else_made_it(talk: Talk) -> None:
    place = {"chat": GROUP, "is_group": True}
    talk.say("first", **place)
    [message] = talk.stored()
    later = NOW + timedelta(seconds=5)
    forged = talk.tell(
        session.MessageEdited, content=said("forged"), **place, sender=BERT, timestamp=later
    )
    assert forged is not None
    assert (forged.type, forged.data["messageId"]) == ("message:edited", None)
    assert talk.stored()[0].text == "first"
    event = talk.tell(session.MessageEdited, content=said("second"), **place, timestamp=later)
    assert event is not None
    assert event.data["messageId"] == message.id
    [edited] = talk.stored()
    assert (edited.text, edited.content["text"], edited.edited_at) == ("second", "second", later)


def test_a_revoked_message_says_so_and_keeps_what_it_said(talk: Talk) -> None:
    talk.say("oops")
    event = talk.tell(session.MessageRevoked, author=None)
    [message] = talk.stored()
    assert event is not None
    assert (event.type, event.data["messageId"]) == ("message:revoked", message.id)
    assert (message.revoked_at, message.text) == (NOW, "oops")


def test_a_reaction_is_kept_changed_and_taken_back(talk: Talk) -> None:
    talk.say()
    seen = []
    for second, emoji in enumerate(("👍", "❤", "")):
        at = NOW + timedelta(seconds=second)
        event = talk.tell(
            session.MessageReaction, message_from_me=False, author=None, emoji=emoji, timestamp=at
        )
        assert event is not None
        assert event.data["messageId"] == talk.stored()[0].id
        seen.append([one.value for one in talk.life().responses])
    assert seen == [[{"emoji": "👍"}], [{"emoji": "❤"}], []]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (session.MessageReaction, {"message_from_me": False, "author": None, "emoji": "👍"}),
        (session.MessageReaction, {"message_from_me": False, "author": None, "emoji": ""}),
        (session.PollVoted, {"selected": ("ab",)}),
        (session.PollVoted, {"readable": False}),
        (session.MessageEdited, {"content": said("other")}),
        (session.MessageRevoked, {"author": None}),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_change_that_whatsapp_repeats_is_told_once(
    talk: Talk, kind: type[Any], fields: dict[str, Any], known: bool
) -> None:
    if known:
        talk.say()
    before = len(talk.events())
    for _ in range(3):
        talk.tell(kind, timestamp=NOW + timedelta(seconds=1), **fields)
    assert len(talk.events()) == before + 1
    talk.tell(kind, timestamp=NOW + timedelta(seconds=2), **fields)
    assert len(talk.events()) == before + 2, "made again later it is another one"


def test_a_repeated_change_is_known_after_a_restart_of_the_actor(talk: Talk) -> None:
    talk.say()
    reaction = {"message_from_me": False, "author": None, "emoji": "👍"}
    talk.tell(session.MessageReaction, **reaction)
    ref = talk.lab.ref(talk.instance)
    ref.stop()
    talk.lab.wait_for_actor(talk.instance, other_than=ref)
    talk.lab.driver.wait_for(2)
    talk.session = talk.lab.session(talk.instance)
    talk.tell(session.MessageReaction, **reaction)
    assert len(talk.told("message:reaction")) == 1


def test_a_message_remembers_by_which_addresses_whatsapp_named_it(talk: Talk) -> None:
    talk.say()
    talk.say(message_id="N", chat=GROUP, is_group=True)
    talk.say(message_id="O", chat=BERT, sender=BERT)
    found = {one.whatsapp_id: (one.chat, one.wire_chat, one.wire_sender) for one in talk.stored()}
    assert found == {
        "M": (ANNA_CHAT, "77@lid", "77@lid"),
        "N": (GROUP.jid, GROUP.jid, "77@lid"),
        "O": (BERT.jid, BERT.jid, BERT.jid),
    }


def test_a_reaction_to_an_unknown_message_is_told_without_one(talk: Talk) -> None:
    event = talk.tell(
        session.MessageReaction, "NONE", message_from_me=None, author=None, emoji="👍"
    )
    assert event is not None
    assert (event.type, event.data["messageId"], event.data["whatsappId"]) == (
        "message:reaction",
        None,
        "NONE",
    )
    assert talk.stored() == []


def test_votes_are_kept_with_their_poll_and_unreadable_ones_only_told(talk: Talk) -> None:
    talk.say()
    talk.tell(session.PollVoted, selected=("ab", "cd"))
    assert [one.value for one in talk.life().responses] == [{"selected": ["ab", "cd"]}]
    event = talk.tell(session.PollVoted, readable=False, timestamp=NOW + timedelta(seconds=1))
    assert event is not None
    assert (event.data["readable"], event.data["messageId"]) == (False, None)
    assert [one.value for one in talk.life().responses] == [{"selected": ["ab", "cd"]}]


def test_a_vote_tells_the_texts_of_what_was_chosen(talk: Talk) -> None:
    options = ("Soup", "Salad", "Bread")
    poll = InboundPoll(question="Lunch?", options=options, selectable=2)
    content = InboundContent(type="poll", raw_type="pollCreationMessage", poll=poll)
    talk.tell(session.MessageReceived, content=content)
    chosen = tuple(poll_option_hash(one) for one in ("Bread", "Soup", "not one of them"))
    event = talk.tell(session.PollVoted, selected=chosen)
    assert event is not None
    assert event.data["messageId"] == talk.stored()[0].id
    assert event.data["options"] == ["Bread", "Soup"]
    assert event.data["selected"] == list(chosen)
    # Nobody knows the options of a poll that is not stored.
    unknown = talk.tell(session.PollVoted, "NONE", selected=chosen)
    assert unknown is not None
    assert (unknown.data["messageId"], unknown.data["options"]) == (None, None)


def test_what_cannot_be_read_is_told_and_not_stored(talk: Talk) -> None:
    talk.session.emit(
        session.UndecryptableMessage(
            instance=talk.instance, message_id="M", chat=ANNA, sender=ANNA, timestamp=NOW
        )
    )
    talk.lab.look(talk.instance)
    assert talk.events()[-1].data["kind"] == "undecryptable"
    assert talk.stored() == []
    # Its sender repeats it, and this time it can be read.
    talk.say("now readable")
    assert [one.text for one in talk.stored()] == ["now readable"]
