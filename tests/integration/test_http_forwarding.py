"""Forwarding what was received: with its content, its file, and how often it was forwarded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.gateway import GatewayLab
from support.media_samples import picture
from support.received import PICTURE, Recipient, recipient_of
from wavisor.storage import Scope, messages
from wavisor.storage.models import Message
from wavisor.whatsapp.commands import SendMessage
from wavisor.whatsapp.content import ContactCard, Location, Media, Text
from wavisor.whatsapp.inbound import InboundLocation, InboundPoll

BOB = "+15550177"


@pytest.fixture
def recipient(gateway: GatewayLab) -> Recipient:
    return recipient_of(gateway)


def forward(recipient: Recipient, message_id: str, **headers: str) -> Any:
    return recipient.post(
        f"/api/messages/{message_id}/forward",
        {"to": BOB},
        headers={"Prefer": "wait=10", **headers},
    )


def forwarded(recipient: Recipient, message_id: str) -> SendMessage:
    """What the session was told to send."""
    answer = forward(recipient, message_id)
    assert answer.status == 202, answer.body
    assert answer.json["status"] == "sent"
    return recipient.gateway.session(recipient.instance).commands(SendMessage)[-1]


def test_a_text_goes_on_and_counts_how_often_it_did(recipient: Recipient) -> None:
    told = recipient.say(
        "M1",
        type="text",
        raw_type="conversation",
        text="look",
        forwarded=True,
        forwarding_score=4,
    )
    sent = forwarded(recipient, told["messageId"])
    assert sent.content == Text(text="look")
    assert (sent.options.forwarded, sent.options.forwarding_score) == (True, 5)
    assert sent.to == "15550177@s.whatsapp.net"
    # And once more, what was forwarded from here.
    [listed] = recipient.get("/api/messages?direction=outbound").json["items"]
    assert forwarded(recipient, listed["id"]).options.forwarding_score == 6


def test_places_and_cards_go_on(recipient: Recipient) -> None:
    place = InboundLocation(latitude=52.5, longitude=13.4, name="Berlin", live=True, accuracy=3)
    told = recipient.say("M1", type="location", raw_type="locationMessage", location=place)
    content = forwarded(recipient, told["messageId"]).content
    assert content == Location(latitude=52.5, longitude=13.4, name="Berlin")
    card = ContactCard(name="Eve", vcard="BEGIN:VCARD\nEND:VCARD")
    told = recipient.say("M2", type="contact", raw_type="contactMessage", contacts=(card,))
    assert forwarded(recipient, told["messageId"]).content.cards == (card,)  # type: ignore[union-attr]  # they are contacts


def test_a_file_goes_on_from_the_store_with_a_preview(gateway_on_both: GatewayLab) -> None:
    recipient = recipient_of(gateway_on_both)
    large = picture("JPEG", 400, 300)
    told = recipient.receive(large, mime_type="image/jpeg", width=400, height=300)
    recipient.changed(told["messageId"], "stored")
    sent = forwarded(recipient, told["messageId"])
    assert isinstance(sent.content, Media)
    file = sent.content.file
    assert (sent.content.kind, sent.content.caption) == ("image", "A cat")
    assert Path(file.path).read_bytes() == large
    assert (file.size, file.mime_type, file.width) == (len(large), "image/jpeg", 400)
    assert file.thumbnail_path is not None
    assert Path(file.thumbnail_path).read_bytes().startswith(b"\xff\xd8")
    # What is stored of it moves with the data directory.
    [listed] = recipient.get("/api/messages?direction=outbound").json["items"]
    assert listed["mediaId"] == told["media"]["id"]
    scope = Scope(recipient.owner.subscription_id)
    record = gateway_on_both.database.read_wait(messages.get, scope, listed["id"])
    assert record is not None
    assert not Path(record.content["file"]["path"]).is_absolute()
    assert forwarded(recipient, listed["id"]).options.forwarding_score == 2


def test_a_message_that_an_earlier_version_queued_is_still_sent(recipient: Recipient) -> None:
    gateway = recipient.gateway
    told = recipient.receive()
    recipient.changed(told["messageId"], "stored")
    session = gateway.session(recipient.instance)
    session.drop()
    gateway.wait_status(recipient.instance, "reconnecting")
    answer = recipient.post(f"/api/messages/{told['messageId']}/forward", {"to": BOB})
    root = gateway.services.media.root

    def make_absolute() -> None:
        [row] = Message.select().where(Message.id == answer.json["id"])
        file = {**row.content["file"], "path": str(root / row.content["file"]["path"])}
        Message.update(content={**row.content, "file": file}).where(Message.id == row.id).execute()

    gateway.database.write_wait(make_absolute)
    session.connect()
    gateway.wait_message(answer.json["id"], "sent")
    content = session.commands(SendMessage)[-1].content
    assert isinstance(content, Media)
    assert Path(content.file.path).read_bytes() == PICTURE


def test_a_file_that_is_not_here_is_not_forwarded(recipient: Recipient) -> None:
    told = recipient.receive(None)
    recipient.changed(told["messageId"], "failed")
    answer = forward(recipient, told["messageId"])
    assert (answer.status, answer.problem) == (409, "message-state")
    assert answer.json["mediaState"] == "failed"
    here = recipient.receive()
    recipient.changed(here["messageId"], "stored")
    for one in recipient.gateway.services.media.root.rglob("*"):
        if one.is_file():
            one.unlink()
    assert forward(recipient, here["messageId"]).json["mediaState"] == "gone"


def test_what_cannot_be_forwarded_is_refused(recipient: Recipient) -> None:
    poll = InboundPoll(question="Tea?", options=("yes", "no"), selectable=1)
    asked = recipient.say("M1", type="poll", raw_type="pollCreationMessage", poll=poll)
    once = recipient.receive(view_once=True)
    recipient.changed(once["messageId"], "stored")
    for told in (asked, once):
        answer = forward(recipient, told["messageId"])
        assert (answer.status, answer.problem) == (409, "message-state")


def test_the_same_key_forwards_once(recipient: Recipient) -> None:
    told = recipient.say("M1", type="text", raw_type="conversation", text="once")
    more = {"Idempotency-Key": "same"}
    answers = [forward(recipient, told["messageId"], **more) for _ in range(3)]
    assert len({one.json["id"] for one in answers}) == 1
    texts = recipient.gateway.session(recipient.instance).commands(SendMessage)
    assert len(texts) == 1
