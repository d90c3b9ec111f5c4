"""What the phone tells of the past is stored once, at its place in time, and told as counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.instance_lab import InstanceLab, instance_lab
from wavisor.actors.instance import history as keeping
from wavisor.actors.instance.messages import SettingsChanged
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.queue_settings import PacingSettings
from wavisor.actors.instance.settings import HistorySettings
from wavisor.domain import MediaState, MessageDirection, MessageStatus
from wavisor.storage import ChatRecord, MessageRecord, NewMessage, chats, messages
from wavisor.storage import media as media_rows
from wavisor.whatsapp import events as session
from wavisor.whatsapp.events import HistoryMessage
from wavisor.whatsapp.inbound import InboundContent, MediaDescriptor
from wavisor.whatsapp.scripted import ScriptedSession

LINKED = datetime(2026, 1, 1, tzinfo=UTC)
ANNA = session.Person(jid="77@lid", lid="77@lid", phone="+15550101")
GROUP = session.Person(jid="120363000000000001@g.us")
ANNA_CHAT = "15550101@s.whatsapp.net"


def old(number: int, **more: Any) -> HistoryMessage:
    """The message of so many minutes before the link."""
    content = InboundContent(type="text", raw_type="conversation", text=f"-{number}")
    fields: dict[str, Any] = {
        "message_id": f"H{number}",
        "sender": None,
        "from_me": False,
        "timestamp": LINKED - timedelta(minutes=number),
        "content": content,
    }
    return HistoryMessage(**{**fields, **more})


class Past:
    """One linked instance, and what its phone tells of the past."""

    def __init__(self, lab: InstanceLab) -> None:
        self.lab = lab
        self.instance = lab.create()
        self.session: ScriptedSession = lab.link(self.instance)

    def emit(self, told: Sequence[HistoryMessage], **more: Any) -> None:
        fields: dict[str, Any] = {
            "chat": ANNA,
            "name": "Anna A.",
            "is_group": False,
            "unread": 0,
            "archived": False,
            "pinned": True,
        }
        self.session.emit(
            session.HistoryReceived(
                instance=self.instance, **{**fields, **more}, messages=tuple(told)
            )
        )

    def tell(self, *told: HistoryMessage, **more: Any) -> list[Any]:
        """Return the data of all ``history:received`` so far."""
        self.emit(told, **more)
        self.lab.look(self.instance)
        return self.told()

    def told(self) -> list[Any]:
        stored = self.lab.stored_events(self.instance)
        return [one.data for one in stored if one.type == "history:received"]

    def hear(self, message_id: str, text: str, **more: Any) -> None:
        place = {"chat": ANNA, "sender": ANNA, "from_me": False, "is_group": False}
        content = InboundContent(type="text", raw_type="conversation", text=text)
        fields = {**place, "timestamp": LINKED, "content": content, **more}
        self.session.emit(
            session.MessageReceived(instance=self.instance, message_id=message_id, **fields)
        )
        self.lab.look(self.instance)

    def listed(self, limit: int = 200) -> list[MessageRecord]:
        """All messages of the chat, page by page."""
        found: list[MessageRecord] = []
        cursor = None
        while True:
            page = self.lab.database.read_wait(
                messages.list_page, self.lab.scope, limit=limit, cursor=cursor
            )
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    def texts(self, limit: int = 200) -> list[str | None]:
        return [one.text for one in self.listed(limit)]

    def chat(self, jid: str = ANNA_CHAT) -> ChatRecord:
        found = self.lab.database.read_wait(chats.get, self.lab.scope, self.instance, jid)
        assert found is not None
        return found


@pytest.fixture
def past(tmp_path: Path, database_url: str) -> Iterator[Past]:
    with ExitStack() as stack:
        yield Past(stack.enter_context(instance_lab(tmp_path, url=database_url)))


def test_old_messages_stand_at_their_place_in_time(past: Past) -> None:
    past.hear("NEW", "new")
    past.tell(old(3), old(10), name="Anna A.")
    past.tell(old(1), old(20))
    assert past.texts() == past.texts(limit=2) == ["new", "-1", "-3", "-10", "-20"]
    chat = past.chat()
    assert chat.last_message is not None
    assert (chat.name, chat.last_message.text, chat.unread) == ("Anna A.", "new", 1)
    assert chat.known_since == LINKED - timedelta(minutes=20)


def test_an_old_message_tells_who_wrote_it_and_how_far_it_came(past: Past) -> None:
    past.tell(old(1, from_me=True, status="read"), old(2))
    mine, theirs = past.listed()
    assert (mine.direction, mine.status) == (MessageDirection.OUTBOUND, MessageStatus.READ)
    assert mine.sender is not None
    assert mine.sender.jid == "15550100@s.whatsapp.net"
    assert (theirs.direction, theirs.status) == (MessageDirection.INBOUND, MessageStatus.RECEIVED)
    assert theirs.sender is not None
    assert (theirs.sender.jid, theirs.wire_sender) == (ANNA_CHAT, "77@lid")
    assert theirs.from_history
    assert theirs.timestamp == theirs.created_at == LINKED - timedelta(minutes=2)
    assert mine.sent_at is None, "the pace does not count it among what was sent today"


def test_a_message_from_the_future_stands_among_the_present_ones(past: Past) -> None:
    past.tell(old(-600_000))
    past.hear("NEW", "new")
    assert past.texts() == ["new", "--600000"]


def test_the_past_is_told_as_counts_and_as_nothing_else(past: Past) -> None:
    before = len(past.lab.stored_events(past.instance))
    [data] = past.tell(old(1, unread=True), old(2), old(3, from_me=True))
    assert len(past.lab.stored_events(past.instance)) == before + 1
    assert data == {
        "chat": {"jid": "77@lid", "lid": "77@lid", "phone": "+15550101"},
        "name": "Anna A.",
        "isGroup": False,
        "stored": 3,
        "known": 0,
        "unread": 1,
        "oldest": "2025-12-31T23:57:00.000Z",
        "newest": "2025-12-31T23:59:00.000Z",
    }
    chat = past.chat()
    assert (chat.unread, chat.pinned, chat.archived) == (1, True, False)
    unread = past.lab.database.read_wait(
        chats.list_unread, past.lab.scope, past.instance, ANNA_CHAT
    )
    assert [one.text for one in unread] == ["-1"]


def test_nobody_in_the_past_is_a_new_contact(past: Past) -> None:
    past.tell(old(1))
    new = past.lab.database.read_wait(chats.is_new_contact, past.instance, ANNA_CHAT)
    assert not new
    # Nor does it use up what may be begun with strangers today.
    start = past.lab.clock.now() - timedelta(days=2)
    assert past.lab.database.read_wait(messages.activity, past.instance, start) == (0, 0)


def test_what_is_told_again_is_stored_and_told_once(past: Past) -> None:
    for _ in range(2):
        told = past.tell(old(1, unread=True), old(2))
    assert len(told) == 1
    told = past.tell(old(2), old(3))
    assert [(one["stored"], one["known"]) for one in told] == [(2, 0), (1, 1)]
    assert past.texts() == ["-1", "-2", "-3"]
    assert past.chat().unread == 1


def test_what_came_in_before_its_history_is_not_repeated(past: Past) -> None:
    past.hear("H1", "as it came")
    # WhatsApp names the sender by the hidden address only.
    hidden = session.Person(jid="77@lid", lid="77@lid")
    assert past.tell(old(1, sender=hidden), chat=hidden) == []
    assert past.texts() == ["as it came"]


def test_what_history_told_is_not_received_again(past: Past) -> None:
    hidden = session.Person(jid="77@lid", lid="77@lid")
    past.tell(old(1, sender=hidden), chat=GROUP, is_group=True)
    past.hear("H1", "again", chat=GROUP, is_group=True)
    assert past.texts() == ["-1"]
    kinds = [one.type for one in past.lab.stored_events(past.instance)]
    assert "message:received" not in kinds


def test_what_was_sent_from_here_is_not_repeated(past: Past) -> None:
    database, scope = past.lab.database, past.lab.scope
    content = {"type": "text", "text": "sent"}
    queued = database.write_wait(
        messages.enqueue,
        scope,
        past.instance,
        NewMessage(chat=ANNA_CHAT, kind="text", text="sent", content=content),
    )
    database.write_wait(messages.mark_sending, queued.id)
    database.write_wait(messages.mark_sent, queued.id, whatsapp_id="H1")
    assert past.tell(old(1, from_me=True)) == []
    assert past.texts() == ["sent"]


def test_much_of_the_past_comes_in_portions(past: Past) -> None:
    told = past.tell(*(old(number) for number in range(1, 251)))
    assert [one["stored"] for one in told] == [100, 100, 50]
    assert past.texts() == [f"-{number}" for number in range(1, 251)]
    chat = past.chat()
    assert chat.last_message is not None
    assert chat.last_message.text == "-1"


def test_a_crash_in_the_middle_repeats_nothing(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = [old(number, unread=number <= 150) for number in range(1, 251)]
    real, calls = keeping.messages.receive_history, []

    def crash_once(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError("the process ends here")
        return real(*args)

    monkeypatch.setattr(keeping.messages, "receive_history", crash_once)
    ref = past.lab.ref(past.instance)
    past.emit(everything)
    past.lab.wait_for_actor(past.instance, other_than=ref)
    past.lab.driver.wait_for(2)
    assert len(past.listed()) == 100
    past.session = past.lab.session(past.instance)
    told = past.tell(*everything)
    assert [(one["stored"], one["known"]) for one in told] == [(100, 0), (100, 0), (50, 0)]
    assert past.texts() == [f"-{number}" for number in range(1, 251)]
    assert past.chat().unread == 150


def test_the_files_of_the_past_are_there_for_the_asking(past: Past) -> None:
    media = MediaDescriptor(
        kind="image", mime_type="image/png", size=3, sha256="ab" * 32, source="c2VjcmV0"
    )
    content = InboundContent(type="image", raw_type="imageMessage", media=media)
    past.tell(old(1, content=content))
    [stored] = past.listed()
    assert stored.media_id is not None
    file = past.lab.database.read_wait(media_rows.get, past.lab.scope, stored.media_id)
    assert file is not None
    assert file.state is MediaState.SKIPPED
    assert file.failure is not None
    assert file.failure["reason"] == "history"


def test_a_chat_has_the_name_that_somebody_gives_themselves(past: Past) -> None:
    past.tell(old(1, from_me=True, push_name="Me"), old(2, push_name="Anna"), name=None)
    assert past.chat().name == "Anna"
    past.tell(old(1, push_name="Anna"), chat=GROUP, is_group=True, name=None)
    assert past.chat(GROUP.jid).name is None


def test_what_the_settings_want_is_asked_of_the_next_session(tmp_path: Path) -> None:
    defaults = HistorySettings(per_chat=5, total=100)
    policy = InstancePolicy(pacing=PacingSettings(enabled=False), history=defaults)
    with instance_lab(tmp_path, policy=policy) as lab:
        first = lab.connect(instance := lab.create())
        assert (first.spec.history_per_chat, first.spec.history_total) == (5, 100)
        lab.ask(instance, SettingsChanged({"history": {"perChat": 50}}))
        first.exit(9)
        lab.look(instance)
        lab.advance(instance, 1)
        lab.driver.wait_for(2)
        spec = lab.session(instance).spec
        assert (spec.history_per_chat, spec.history_total) == (50, 100)
