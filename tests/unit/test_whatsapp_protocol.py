from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from wavisor.whatsapp import commands, content, events
from wavisor.whatsapp.commands import COMMANDS, Command
from wavisor.whatsapp.events import EVENTS, Event, Failure, Person
from wavisor.whatsapp.inbound import InboundContent, MediaDescriptor, Quoted
from wavisor.whatsapp.queries import BlockList

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ANNA = Person(jid="100@lid", lid="100@lid", phone="+15550100")
I = "ins_01K9Z3ZZZZZZZZZZZZZZZZZZZZ"  # noqa: E741 - stands in every line below

IN_CHAT: dict[str, Any] = {
    "instance": I,
    "chat": ANNA,
    "sender": ANNA,
    "from_me": False,
    "is_group": True,
    "timestamp": NOW,
}
RICH = InboundContent(
    type="image",
    raw_type="imageMessage",
    caption="☃",
    media=MediaDescriptor(
        kind="image", mime_type="image/png", size=3, sha256="ab", source="AAAA", width=1
    ),
    quoted=Quoted(id="Q", sender=ANNA, chat=None, type="text", text="what?"),
    mentions=("1@lid",),
    forwarded=True,
    ephemeral_seconds=60,
)

ALL_COMMANDS: list[Command] = [
    commands.Open(instance=I, store="/s.db", jid=None, incarnation="a"),
    commands.RequestPairingCode(instance=I, id="1", phone="15550100"),
    commands.SendMessage(
        instance=I,
        id="1",
        to="15550100@s.whatsapp.net",
        content=content.Text(text="☃ \u0000 \U0001f600"),
        options=content.SendOptions(mentions=("1@lid",), typing_seconds=1.5),
        secret="c2VjcmV0",
    ),
    commands.DownloadMedia(instance=I, id="1", source="AAAA", path="/media/1"),
    commands.Query(instance=I, id="1", query=BlockList()),
    commands.Ping(instance=I, id="1"),
    commands.Probe(instance=I, id="1"),
    commands.Logout(instance=I, id="1"),
    commands.Stop(instance=I),
]
ALL_EVENTS: list[Event] = [
    events.Ready(instance=I, version=1, pid=2, client_version="0.5.2"),
    events.QrCode(instance=I, text="https://wa.me/…"),
    events.QrPhaseEnded(instance=I, outcome="timeout"),
    events.Paired(instance=I, jid="15550100:1@s.whatsapp.net"),
    events.Connected(instance=I, jid="15550100:1@s.whatsapp.net", phone="+15550100"),
    events.Disconnected(instance=I),
    events.ConnectFailed(instance=I, detail="x", code=409, cause="refused", permanent=True),
    events.LoggedOut(instance=I, on_connect=True, code=401),
    events.StreamReplaced(instance=I),
    events.TemporaryBan(instance=I, code=101, detail="x", expires_in=None),
    events.ClientOutdated(instance=I),
    events.StreamError(instance=I, code="504"),
    events.KeepAliveTimeout(instance=I, failures=2),
    events.KeepAliveRestored(instance=I),
    events.MessageReceived(
        instance=I,
        message_id="M",
        chat=ANNA,
        sender=ANNA,
        from_me=False,
        is_group=False,
        timestamp=NOW,
        content=RICH,
    ),
    events.MessageEdited(message_id="M", content=RICH, **IN_CHAT),
    events.MessageRevoked(message_id="M", author=ANNA, **IN_CHAT),
    events.MessageReaction(
        message_id="M", message_from_me=None, author=None, emoji="\U0001f44d\U0001f3fd", **IN_CHAT
    ),
    events.PollVoted(message_id="M", selected=("ab",), **IN_CHAT),
    events.PresenceUpdated(instance=I, person=ANNA, state="composing", chat=ANNA, last_seen=NOW),
    events.GroupUpdated(instance=I, group=ANNA, actor=None, timestamp=NOW, name="x", locked=True),
    events.GroupParticipantsChanged(
        instance=I, group=ANNA, actor=ANNA, timestamp=NOW, joined=(ANNA,), demoted=(ANNA,)
    ),
    events.CallOffered(
        instance=I, call_id="C", caller=ANNA, origin="1@lid", timestamp=NOW, video=True, group=False
    ),
    events.ContactUpdated(instance=I, person=ANNA, picture="removed", timestamp=NOW),
    events.HistoryReceived(
        instance=I,
        chat=ANNA,
        name=None,
        is_group=False,
        unread=1,
        archived=False,
        pinned=True,
        messages=(
            events.HistoryMessage(
                message_id="M", sender=None, from_me=True, timestamp=NOW, content=RICH
            ),
        ),
    ),
    events.UndecryptableMessage(instance=I, message_id="M", chat=ANNA, sender=ANNA, timestamp=NOW),
    events.ReceiptReceived(
        instance=I, message_ids=("M",), chat=ANNA, sender=ANNA, kind="read", timestamp=NOW
    ),
    events.Answer(instance=I, id="1", failure=Failure(reason="timeout", detail="x")),
    events.Answer(instance=I, id="1", result={"people": []}),
    events.Exited(instance=I, exit_code=-9),
]


def members(union: Any) -> set[type]:
    return set(get_args(get_args(union)[0]))


def test_every_command_and_event_is_covered_here() -> None:
    assert {type(command) for command in ALL_COMMANDS} == members(Command)
    assert {type(event) for event in ALL_EVENTS} == members(Event)


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=lambda command: command.type)
def test_a_command_survives_the_wire(command: Command) -> None:
    assert COMMANDS.validate_json(command.model_dump_json()) == command


@pytest.mark.parametrize("event", ALL_EVENTS, ids=lambda event: event.type)
def test_an_event_survives_the_wire(event: Event) -> None:
    assert EVENTS.validate_json(event.model_dump_json()) == event


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=lambda command: command.type)
def test_an_unknown_field_of_a_command_is_refused(command: Command) -> None:
    document = json.loads(command.model_dump_json()) | {"surprise": 1}
    with pytest.raises(ValidationError, match="surprise"):
        COMMANDS.validate_python(document)


@pytest.mark.parametrize("event", ALL_EVENTS, ids=lambda event: event.type)
def test_an_unknown_field_of_an_event_is_refused(event: Event) -> None:
    document = json.loads(event.model_dump_json()) | {"surprise": 1}
    with pytest.raises(ValidationError, match="surprise"):
        EVENTS.validate_json(json.dumps(document))


@pytest.mark.parametrize("body", ["{}", '{"type":"explode","instance":"x"}', "[]", "nonsense"])
def test_what_is_no_command_or_event_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        COMMANDS.validate_json(body)
    with pytest.raises(ValidationError):
        EVENTS.validate_json(body)


def test_events_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ALL_EVENTS[0].instance = "other"
