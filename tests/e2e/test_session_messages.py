"""Messages of every kind between two real clients, over the local WhatsApp."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from support.session_lab import SessionLab, Tap
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.process import SandboxProcess
from wavisor.sandbox.redirect import Endpoints
from wavisor.whatsapp.commands import DownloadMedia, SendMessage
from wavisor.whatsapp.content import (
    ContactCard,
    Contacts,
    Content,
    Edit,
    Location,
    Media,
    MediaFile,
    MediaKind,
    MessageKey,
    Pin,
    Poll,
    Reaction,
    Revoke,
    SendOptions,
    Text,
)
from wavisor.whatsapp.events import (
    Answer,
    Connected,
    MessageEdited,
    MessageReaction,
    MessageReceived,
    MessageRevoked,
    PresenceUpdated,
    QrCode,
    ReceiptReceived,
)
from wavisor.whatsapp.inbound import MediaDescriptor

pytestmark = pytest.mark.e2e

E = TypeVar("E", bound=Any)
_numbers = itertools.count(4915550200001)
ECHO = "4915559000001"


@dataclass
class Party:
    """A linked account and its session."""

    tap: Tap
    phone: str
    jid: str
    lid: str

    def send(self, to: Party, content: Content, **fields: Any) -> Answer:
        answer = self.tap.ask(SendMessage, to=to.jid, content=content, **fields)
        assert answer.failure is None
        assert answer.message_id is not None
        assert answer.timestamp is not None
        return answer

    def got(self, kind: type[E], message_id: str | None) -> E:
        """Return the event of this kind about that message."""
        return self.tap.wait(kind, where=lambda event: event.message_id == message_id)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxControl]:
    log_file = tmp_path_factory.mktemp("sandbox") / "sandbox.log"
    with SandboxProcess(log_file=log_file, default_contacts=False) as process:
        process.control.add_contact(ECHO, "Echo", "echo")
        yield process.control


@pytest.fixture(scope="module")
def lab(sandbox: SandboxControl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionLab]:
    info = sandbox.endpoints()
    endpoints = Endpoints(
        info.proxy_url, info.ca_file, bytes.fromhex(info.root_public_key), info.control_url
    )
    with SessionLab(tmp_path_factory.mktemp("sessions"), endpoints) as lab:
        yield lab


@pytest.fixture(autouse=True)
def calm(sandbox: SandboxControl) -> Iterator[None]:
    yield
    sandbox.clear_faults()


def link(lab: SessionLab, sandbox: SandboxControl, name: str) -> Party:
    phone = str(next(_numbers))
    sandbox.add_phone(phone, name)
    tap = lab.open()
    sandbox.scan(phone, tap.wait(QrCode).text)
    connected = tap.wait(Connected)
    return Party(tap, phone, f"{phone}@s.whatsapp.net", connected.lid or "")


@pytest.fixture(scope="module")
def anna(lab: SessionLab, sandbox: SandboxControl) -> Party:
    return link(lab, sandbox, "Anna")


@pytest.fixture(scope="module")
def bert(lab: SessionLab, sandbox: SandboxControl) -> Party:
    return link(lab, sandbox, "Bert")


def file(tmp_path: Path, content: bytes, mime_type: str, **fields: Any) -> MediaFile:
    path = tmp_path / f"{len(content)}.bin"
    path.write_bytes(content)
    return MediaFile(path=str(path), mime_type=mime_type, size=len(content), **fields)


def test_a_text_is_received_with_the_addresses_of_its_sender(anna: Party, bert: Party) -> None:
    sent = anna.send(bert, Text(text="Grüße ☃"))
    message = bert.got(MessageReceived, sent.message_id)
    assert (message.kind, message.text) == ("text", "Grüße ☃")
    assert (message.sender.lid, message.sender.phone) == (anna.lid, f"+{anna.phone}")
    assert message.chat == message.sender
    assert message.content.ephemeral_seconds is None
    receipt = anna.tap.wait(
        ReceiptReceived, where=lambda receipt: sent.message_id in receipt.message_ids
    )
    assert (receipt.kind, receipt.sender.lid, receipt.from_me) == ("delivered", bert.lid, False)


def test_an_answer_quotes_and_mentions(anna: Party, bert: Party) -> None:
    first = anna.send(bert, Text(text="What time?"))
    question = bert.got(MessageReceived, first.message_id)
    options = SendOptions(
        quoted=MessageKey(chat=question.chat.jid, id=question.message_id, from_me=False),
        quoted_text=question.text,
        mentions=(anna.lid,),
        forwarded=True,
        ephemeral_seconds=86_400,
    )
    reply = bert.send(anna, Text(text="Noon"), options=options)
    content = anna.got(MessageReceived, reply.message_id).content
    assert content.quoted is not None
    assert (content.quoted.id, content.quoted.text) == (first.message_id, "What time?")
    assert content.quoted.sender is not None
    assert content.quoted.sender.lid == anna.lid
    assert content.mentions == (anna.lid,)
    assert (content.forwarded, content.ephemeral_seconds) == (True, 86_400)


def test_a_place_cards_and_a_poll_are_received(anna: Party, bert: Party) -> None:
    cards = (ContactCard(name="A", vcard="BEGIN:VCARD\nFN:A"), ContactCard(name="B", vcard="B"))
    contents: list[Content] = [
        Location(latitude=52.5, longitude=13.4, name="Berlin"),
        Contacts(cards=cards[:1]),
        Contacts(cards=cards),
        Poll(question="Lunch?", options=("Soup", "Salad"), selectable=1),
    ]
    sent = [anna.send(bert, content) for content in contents]
    place, one, two, poll = (
        bert.got(MessageReceived, answer.message_id).content for answer in sent
    )
    assert place.location is not None
    assert (place.location.latitude, place.location.name) == (52.5, "Berlin")
    assert (one.contacts, two.contacts) == (cards[:1], cards)
    assert poll.poll is not None
    assert (poll.poll.question, poll.poll.options) == ("Lunch?", ("Soup", "Salad"))


@pytest.mark.parametrize("emoji", ["👍🏽", ""])
def test_a_reaction_reaches_the_author(anna: Party, bert: Party, emoji: str) -> None:
    sent = anna.send(bert, Text(text="nice?"))
    message = bert.got(MessageReceived, sent.message_id)
    target = MessageKey(chat=message.chat.jid, id=message.message_id, from_me=False)
    bert.send(anna, Reaction(target=target, emoji=emoji))
    reaction = anna.got(MessageReaction, sent.message_id)
    assert (reaction.emoji, reaction.message_from_me) == (emoji, True)
    assert reaction.sender.lid == bert.lid


def test_a_message_is_edited_pinned_and_taken_back(anna: Party, bert: Party) -> None:
    sent = anna.send(bert, Text(text="Teh"))
    target = MessageKey(chat=bert.jid, id=sent.message_id or "", from_me=True)
    anna.send(bert, Edit(target=target, text="The"))
    edited = bert.got(MessageEdited, sent.message_id)
    assert (edited.content.text, edited.sender.lid) == ("The", anna.lid)
    pin = anna.send(bert, Pin(target=target, seconds=86_400))
    pinned = bert.got(MessageReceived, pin.message_id).content
    assert (pinned.system, pinned.target_id) == ("pinned", sent.message_id)
    anna.send(bert, Revoke(target=target))
    revoked = bert.got(MessageRevoked, sent.message_id)
    assert revoked.sender.lid == anna.lid


@pytest.mark.parametrize(
    ("kind", "mime_type"),
    [
        ("image", "image/png"),
        ("video", "video/mp4"),
        ("audio", "audio/mpeg"),
        ("voice", "audio/ogg"),
        ("document", "application/pdf"),
        ("sticker", "image/webp"),
    ],
)
def test_a_file_arrives_byte_for_byte(
    anna: Party, bert: Party, tmp_path: Path, kind: MediaKind, mime_type: str
) -> None:
    content = f"the content of a {kind}".encode() * 1000
    sent = anna.send(bert, Media(kind=kind, file=file(tmp_path, content, mime_type)))
    media = bert.got(MessageReceived, sent.message_id).content.media
    assert media is not None
    assert (media.kind, media.size) == (kind, len(content))
    assert media.sha256 == hashlib.sha256(content).hexdigest()
    target = tmp_path / "fetched"
    answer = bert.tap.ask(DownloadMedia, source=media.source, path=str(target))
    assert answer.failure is None
    assert target.read_bytes() == content
    assert not list(tmp_path.glob(".*")), "nothing half-written is left"


@pytest.fixture
def picture(anna: Party, bert: Party, tmp_path: Path) -> MediaDescriptor:
    content = Media(kind="image", file=file(tmp_path, b"picture" * 99, "image/png"), caption="x")
    sent = anna.send(bert, content, options=SendOptions(view_once=True))
    found = bert.got(MessageReceived, sent.message_id).content
    assert (found.view_once, found.caption) == (True, "x")
    assert found.media is not None
    return found.media


def altered(source: str, old: bytes, new: bytes) -> str:
    """Return a source in which some bytes are others; the lengths of its parts stay."""
    raw = base64.b64decode(source)
    assert old in raw
    assert len(old) == len(new)
    return base64.b64encode(raw.replace(old, new)).decode()


def test_a_file_that_whatsapp_no_longer_has_is_told_as_gone(
    bert: Party, picture: MediaDescriptor, tmp_path: Path
) -> None:
    raw = base64.b64decode(picture.source)
    name = raw[raw.index(b"/v/t62.7118-24/") :][:79]
    source = altered(picture.source, name, name[:15] + b"0" * 64)
    failure = bert.tap.ask(DownloadMedia, source=source, path=str(tmp_path / "f")).failure
    assert failure is not None
    assert (failure.reason, failure.code) == ("media_gone", 404)


def test_a_file_that_is_not_what_was_promised_is_refused(
    bert: Party, picture: MediaDescriptor, tmp_path: Path
) -> None:
    source = altered(picture.source, bytes.fromhex(picture.sha256 or ""), b"0" * 32)
    failure = bert.tap.ask(DownloadMedia, source=source, path=str(tmp_path / "f")).failure
    assert failure is not None
    assert failure.reason == "media_corrupt"
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"source": "no base64!"}, "invalid"),
        ({"source": ""}, "invalid"),
        ({"max_size": 10}, "too_large"),
        ({"path": "/nowhere/at/all"}, "disk"),
    ],
)
def test_a_download_that_cannot_be_says_why(
    bert: Party, picture: MediaDescriptor, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    fields = {"source": picture.source, "path": str(tmp_path / "f")} | change
    failure = bert.tap.ask(DownloadMedia, **fields).failure
    assert failure is not None
    assert failure.reason == reason
    assert not list(tmp_path.glob("*f*"))


def test_the_same_file_is_uploaded_once_for_several_messages(
    anna: Party, bert: Party, tmp_path: Path
) -> None:
    content = Media(kind="image", file=file(tmp_path, b"shared" * 99, "image/png"))
    sources = set()
    for _ in range(2):
        sent = anna.send(bert, content)
        media = bert.got(MessageReceived, sent.message_id).content.media
        assert media is not None
        sources.add(media.source)
    assert len(sources) == 1


def test_a_file_that_changed_on_disk_is_not_sent(anna: Party, bert: Party, tmp_path: Path) -> None:
    sent = file(tmp_path, b"abc", "image/png").model_copy(update={"size": 4})
    failure = anna.tap.ask(SendMessage, to=bert.jid, content=Media(kind="image", file=sent)).failure
    assert failure is not None
    assert (failure.reason, failure.uncertain) == ("invalid", False)


def test_typing_is_seen_before_the_message(anna: Party, bert: Party) -> None:
    mark = bert.tap.mark
    sent = anna.send(bert, Text(text="slow"), options=SendOptions(typing_seconds=0.2))
    bert.got(MessageReceived, sent.message_id)
    kinds = [
        event.state if isinstance(event, PresenceUpdated) else event.type
        for event in bert.tap.events[mark:]
    ]
    assert kinds.index("composing") < kinds.index("message_received")


def test_a_message_that_cannot_be_sent_in_time_is_not_sent(anna: Party, bert: Party) -> None:
    mark = bert.tap.mark
    failure = anna.tap.ask(
        SendMessage,
        to=bert.jid,
        content=Text(text="too late"),
        options=SendOptions(typing_seconds=0.2),
        hand_over_within=0.1,
    ).failure
    assert failure is not None
    assert (failure.reason, failure.uncertain) == ("timeout", False)
    sent = anna.send(bert, Text(text="in time"))
    bert.got(MessageReceived, sent.message_id)
    texts = [message.text for message in bert.tap.all(MessageReceived, after=mark)]
    assert texts == ["in time"]


def test_a_file_that_uploads_slowly_is_not_sent_late_and_serves_the_next_try(
    anna: Party, bert: Party, sandbox: SandboxControl, tmp_path: Path
) -> None:
    sandbox.inject("slow_uploads", delay=1.5, uses=1)
    content = Media(kind="document", file=file(tmp_path, b"slow" * 99, "application/pdf"))
    mark = bert.tap.mark
    late = anna.tap.ask(SendMessage, to=bert.jid, content=content, hand_over_within=0.3).failure
    assert late is not None
    assert (late.reason, late.uncertain) == ("timeout", False)
    sent = anna.send(bert, content)
    bert.got(MessageReceived, sent.message_id)
    received = bert.tap.all(MessageReceived, after=mark)
    assert [message.message_id for message in received] == [sent.message_id]


def test_typing_ends_without_a_message_when_the_session_does(
    lab: SessionLab, sandbox: SandboxControl, bert: Party
) -> None:
    carl = link(lab, sandbox, "Carl")
    carl.send(bert, Text(text="first"))
    options = SendOptions(typing_seconds=50)
    command = SendMessage(
        instance=carl.tap.instance, id="typed", to=bert.jid, content=Text(text="x"), options=options
    )
    mark = bert.tap.mark
    assert carl.tap.session.send(command)
    bert.tap.wait(PresenceUpdated, after=mark, where=lambda event: event.state == "composing")
    carl.tap.stop()
    answer = carl.tap.wait(Answer, where=lambda answer: answer.id == "typed")
    assert answer.failure is not None
    assert (answer.failure.reason, answer.failure.uncertain) == ("not_connected", False)


def test_a_lost_answer_can_be_made_good_by_the_secret_of_the_message(
    lab: SessionLab, sandbox: SandboxControl
) -> None:
    dora = link(lab, sandbox, "Dora")
    echo = f"{ECHO}@s.whatsapp.net"
    dora.tap.ask(SendMessage, to=echo, content=Text(text="first"))
    sandbox.inject("delay_acks", phone=dora.phone, delay=60)
    secret = base64.b64encode(hashlib.sha256(b"dora").digest()).decode()
    command = SendMessage(
        instance=dora.tap.instance, id="lost", to=echo, content=Text(text="2nd"), secret=secret
    )
    assert dora.tap.session.send(command)
    dora.tap.wait(MessageReceived, where=lambda message: message.text == "echo: 2nd")
    found = lab.driver.find_message(dora.tap.instance, secret)
    receipt = dora.tap.wait(ReceiptReceived, where=lambda receipt: found in receipt.message_ids)
    assert receipt.kind in ("delivered", "read")
    unknown = base64.b64encode(bytes(32)).decode()
    assert lab.driver.find_message(dora.tap.instance, unknown) is None
    dora.tap.session.kill()
    dora.tap.exited()
    assert lab.driver.find_message(dora.tap.instance, secret) == found
