"""What happens in chats is published, each kind as the event that the contract names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from support.instance_lab import InstanceLab, instance_lab
from wavisor.actors.instance.chat_payloads import content_json
from wavisor.whatsapp import events as session
from wavisor.whatsapp.content import ContactCard, Poll
from wavisor.whatsapp.event_base import SessionEvent
from wavisor.whatsapp.inbound import (
    InboundContent,
    InboundLocation,
    InboundPoll,
    MediaDescriptor,
    Quoted,
    chosen_options,
    poll_option_hash,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHEN = "2026-01-01T00:00:00.000Z"
ANNA = session.Person(jid="1@lid", lid="1@lid", phone="+15550101")
ANNA_JSON = {"jid": "1@lid", "lid": "1@lid", "phone": "+15550101"}
GROUP = session.Person(jid="120363@g.us")
PICTURE = InboundContent(
    type="image",
    raw_type="imageMessage",
    caption="look",
    media=MediaDescriptor(
        kind="image", mime_type="image/png", size=3, sha256="ab", source="c2VjcmV0", width=4
    ),
    quoted=Quoted(id="Q", sender=ANNA, chat=None, type="text", text="what?"),
    mentions=("2@lid",),
    view_once=True,
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[InstanceLab]:
    with instance_lab(tmp_path) as one:
        yield one


def published(lab: InstanceLab, kind: type[SessionEvent], **fields: Any) -> Any:
    """Return the event that was stored for what a session told."""
    instance = lab.create()
    lab.link(instance).emit(kind(instance=instance, **fields))
    lab.look(instance)
    stored = lab.stored_events(instance)
    # The file of a message is another matter, told when it is known.
    return next(one for one in reversed(stored) if one.type != "message:media:changed")


def in_chat(**fields: Any) -> dict[str, Any]:
    place = {"chat": GROUP, "sender": ANNA, "from_me": False, "is_group": True, "timestamp": NOW}
    return {"message_id": "M", **place, **fields}


def test_a_message_is_published_with_all_it_consists_of(lab: InstanceLab) -> None:
    event = published(lab, session.MessageReceived, **in_chat(content=PICTURE, push_name="Anna"))
    assert event.type == "message:received"
    data = event.data
    assert (data["whatsappId"], data["kind"], data["text"]) == ("M", "image", "look")
    assert data["sender"] == ANNA_JSON
    assert data["chat"] == {"jid": "120363@g.us", "lid": None, "phone": None}
    assert (data["isGroup"], data["fromMe"], data["isStatus"]) == (True, False, False)
    assert (data["timestamp"], data["pushName"]) == (WHEN, "Anna")
    assert data["quoted"] == {
        "whatsappId": "Q",
        "sender": ANNA_JSON,
        "chat": None,
        "kind": "text",
        "text": "what?",
    }
    assert (data["mentions"], data["viewOnce"]) == (["2@lid"], True)
    assert (data["media"]["mimeType"], data["media"]["width"]) == ("image/png", 4)


def test_the_key_to_a_file_is_never_published(lab: InstanceLab) -> None:
    event = published(lab, session.MessageReceived, **in_chat(content=PICTURE))
    assert "c2VjcmV0" not in str(event.data)
    assert "source" not in event.data["media"]


def test_places_cards_and_polls_stand_in_the_event() -> None:
    content = InboundContent(
        type="poll",
        raw_type="pollCreationMessage",
        location=InboundLocation(latitude=1.5, longitude=2.5, live=True),
        contacts=(ContactCard(name="A", vcard="V"),),
        poll=InboundPoll(question="?", options=("a", "b"), selectable=0),
    )
    data = content_json(content)
    assert data["location"]["latitude"] == 1.5
    assert data["location"]["live"]
    assert data["contacts"] == [{"name": "A", "vcard": "V"}]
    assert data["poll"] == {"question": "?", "options": ["a", "b"], "selectable": 0}
    assert (data["media"], data["quoted"]) == (None, None)


@pytest.mark.parametrize(
    "content",
    [
        Poll(question="?", options=("a", "b", "c"), selectable=2),
        InboundContent(
            type="poll",
            raw_type="pollCreationMessage",
            poll=InboundPoll(question="?", options=("a", "b", "c"), selectable=2),
        ),
    ],
)
def test_a_vote_finds_its_options_in_polls_of_either_direction(content: BaseModel) -> None:
    votes = [poll_option_hash(one) for one in ("c", "a", "nothing")]
    assert chosen_options(content.model_dump(mode="json"), votes) == ["c", "a"]
    assert chosen_options({"type": "text", "text": "no poll"}, votes) == []


def test_a_message_that_cannot_be_shown_says_so(lab: InstanceLab) -> None:
    event = published(
        lab,
        session.UndecryptableMessage,
        message_id="M",
        chat=ANNA,
        sender=ANNA,
        timestamp=NOW,
        unavailable=True,
    )
    assert event.type == "message:received"
    assert (event.data["kind"], event.data["unavailable"]) == ("undecryptable", True)


@pytest.mark.parametrize(
    ("kind", "fields", "type_", "expected"),
    [
        (
            session.MessageEdited,
            in_chat(content=PICTURE),
            "message:edited",
            {"messageId": None, "whatsappId": "M", "text": "look", "kind": "image"},
        ),
        (
            session.MessageRevoked,
            in_chat(author=ANNA),
            "message:revoked",
            {"messageId": None, "whatsappId": "M", "author": ANNA_JSON},
        ),
        (
            session.MessageReaction,
            in_chat(message_from_me=True, author=None, emoji="👍"),
            "message:reaction",
            {
                "messageId": None,
                "whatsappId": "M",
                "messageFromMe": True,
                "emoji": "👍",
                "author": None,
            },
        ),
        (
            session.MessageReaction,
            in_chat(message_from_me=None, author=None, emoji=""),
            "message:reaction",
            {"emoji": None, "messageFromMe": None},
        ),
        (
            session.PollVoted,
            in_chat(selected=("ab",)),
            "poll:vote",
            {
                "messageId": None,
                "whatsappId": "M",
                "selected": ["ab"],
                "options": None,
                "readable": True,
            },
        ),
        (
            session.PresenceUpdated,
            {"person": ANNA, "state": "composing", "chat": GROUP},
            "presence:updated",
            {"person": ANNA_JSON, "state": "composing", "lastSeen": None},
        ),
        (
            session.GroupUpdated,
            {"group": GROUP, "actor": ANNA, "timestamp": NOW, "name": "Club"},
            "group:updated",
            {"group": "120363@g.us", "actor": ANNA_JSON, "name": "Club", "locked": None},
        ),
        (
            session.GroupParticipantsChanged,
            {"group": GROUP, "actor": None, "timestamp": NOW, "promoted": (ANNA,)},
            "group:participants:changed",
            {"group": "120363@g.us", "promoted": [ANNA_JSON], "joined": [], "actor": None},
        ),
        (
            session.CallOffered,
            {
                "call_id": "C",
                "caller": ANNA,
                "origin": "1@lid",
                "timestamp": NOW,
                "video": True,
                "group": False,
            },
            "call:offered",
            {"callId": "C", "caller": ANNA_JSON, "video": True, "timestamp": WHEN},
        ),
        (
            session.ContactUpdated,
            {"person": ANNA, "picture": "changed", "timestamp": NOW},
            "contact:updated",
            {"person": ANNA_JSON, "picture": "changed"},
        ),
    ],
)
def test_every_happening_is_published_under_its_name(
    lab: InstanceLab,
    kind: type[SessionEvent],
    fields: dict[str, Any],
    type_: str,
    expected: dict[str, Any],
) -> None:
    event = published(lab, kind, **fields)
    assert event.type == type_
    assert {name: event.data[name] for name in expected} == expected


def test_history_without_messages_is_not_told(lab: InstanceLab) -> None:
    instance = lab.create()
    connected = lab.link(instance)
    lab.look(instance)
    before = len(lab.stored_events(instance))
    connected.emit(
        session.HistoryReceived(
            instance=instance,
            chat=ANNA,
            name=None,
            is_group=False,
            unread=0,
            archived=False,
            pinned=False,
            messages=(),
        )
    )
    lab.look(instance)
    assert len(lab.stored_events(instance)) == before
