"""Content put together as WhatsApp's protobuf, and read back as its recipient would."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.native_events import native_protobufs
from support.native_messages import new_message, received
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
from wavisor.whatsapp.events import MessageEdited, MessageReaction, MessageReceived, MessageRevoked
from wavisor.whatsapp.inbound import InboundContent
from wavisor.whatsapp.outgoing import Composer, ContentError, Me
from wavisor.whatsapp.reception import Reception

ME = Me("15550001@s.whatsapp.net", "1@lid")
PERSON, PERSON_LID = "15550100@s.whatsapp.net", "100@lid"
GROUP = "120363000000@g.us"
SECRET = bytes(range(32))
NOW = 1_700_000_000.25
MINE = MessageKey(chat=PERSON, id="M1", from_me=True)
THEIRS = MessageKey(chat=PERSON, id="T1", from_me=False)
IN_GROUP = MessageKey(chat=GROUP, id="G1", from_me=False, sender="200@lid")
PLAIN = SendOptions()
STORED = SimpleNamespace(
    url="https://mmg.whatsapp.net/f",
    DirectPath="/f?ccb=1",
    MediaKey=b"k" * 32,
    FileSHA256=b"s" * 32,
    FileEncSHA256=b"e" * 32,
    FileLength=7,
)


@pytest.fixture(scope="module")
def pb() -> Any:
    return native_protobufs()


class Desk:
    """A composer and what it asked for."""

    def __init__(self, pb: Any) -> None:
        self.uploads: list[tuple[MediaFile, MediaKind]] = []
        self._composer = Composer(
            lambda: new_message(pb),
            upload=self._upload,
            members=lambda group: [ME.lid or "", "200@lid", "300@lid"] if group == GROUP else [],
            chat_address=lambda chat: PERSON_LID if chat == PERSON else chat,
            now=lambda: NOW,
        )

    def _upload(self, file: MediaFile, kind: MediaKind) -> Any:
        self.uploads.append((file, kind))
        return STORED

    def compose(self, content: Content, options: SendOptions = PLAIN, to: str = PERSON) -> Any:
        return self._composer.compose(ME, to, content, options, SECRET)


@pytest.fixture
def desk(pb: Any) -> Desk:
    return Desk(pb)


def read(pb: Any, raw: Any) -> Any:
    """What the recipient's session would tell."""
    recipient = Reception("ins_1", lambda: frozenset({PERSON_LID}), lambda _: None)
    sent = new_message(pb)
    sent.ParseFromString(raw.SerializeToString())
    return recipient.message(received(pb, sent))


def content_of(pb: Any, raw: Any) -> InboundContent:
    event = read(pb, raw)
    assert isinstance(event, MessageReceived)
    return event.content


def file(tmp_path: Path, mime_type: str = "image/jpeg", **fields: Any) -> MediaFile:
    path = tmp_path / "file.bin"
    path.write_bytes(b"content")
    return MediaFile(path=str(path), mime_type=mime_type, size=7, **fields)


def fields_of(message: Any) -> list[str]:
    return [field.name for field, _ in message.ListFields()]


@settings(deadline=None)
@given(text=st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable()))
def test_a_text_arrives_as_it_was_written(text: str) -> None:
    pb = native_protobufs()
    raw = Desk(pb).compose(Text(text=text))
    assert raw.conversation == text
    assert content_of(pb, raw).text == text


def test_a_status_has_its_colour_and_font(pb: Any, desk: Desk) -> None:
    content = Text(text="away", background="#075E54", font="courier_prime")
    part = desk.compose(content, to="status@broadcast").extendedTextMessage
    assert (part.text, part.font) == ("away", part.FontType.Value("COURIERPRIME_BOLD"))
    assert (part.backgroundArgb, part.textArgb) == (0xFF075E54, 0xFFFFFFFF)


def test_every_message_carries_its_secret(desk: Desk, tmp_path: Path) -> None:
    contents: list[Content] = [
        Text(text="hi"),
        Media(kind="image", file=file(tmp_path)),
        Location(latitude=0, longitude=0),
        Poll(question="?", options=("a", "b")),
        Reaction(target=THEIRS, emoji="x"),
        Edit(target=MINE, text="x"),
        Revoke(target=MINE),
        Pin(target=MINE, seconds=60),
    ]
    for content in contents:
        assert desk.compose(content).messageContextInfo.messageSecret == SECRET


def test_a_link_gets_the_preview_that_was_made_for_it(pb: Any, desk: Desk, tmp_path: Path) -> None:
    thumbnail = tmp_path / "t.jpg"
    thumbnail.write_bytes(b"\xff\xd8small")
    raw = desk.compose(
        Text(
            text="see https://x.example now",
            preview_url="https://x.example",
            preview_title="X",
            preview_description="about x",
            preview_thumbnail_path=str(thumbnail),
        )
    )
    part = raw.extendedTextMessage
    assert (part.matchedText, part.title, part.description) == (
        *("https://x.example", "X", "about x"),
    )
    assert part.JPEGThumbnail == b"\xff\xd8small"
    assert content_of(pb, raw).text == "see https://x.example now"


@pytest.mark.parametrize(
    ("kind", "mime_type", "field"),
    [
        ("image", "image/jpeg", "imageMessage"),
        ("video", "video/mp4", "videoMessage"),
        ("audio", "audio/mpeg", "audioMessage"),
        ("voice", "audio/ogg", "audioMessage"),
        ("document", "application/pdf", "documentMessage"),
        ("sticker", "image/webp", "stickerMessage"),
    ],
)
def test_every_kind_of_file_arrives_as_itself(
    pb: Any, desk: Desk, tmp_path: Path, kind: MediaKind, mime_type: str, field: str
) -> None:
    sent = file(tmp_path, mime_type)
    raw = desk.compose(Media(kind=kind, file=sent))
    assert desk.uploads == [(sent, kind)]
    assert fields_of(raw) == [field, "messageContextInfo"]
    part = getattr(raw, field)
    assert (part.URL, part.directPath) == (STORED.url, STORED.DirectPath)
    assert (part.mediaKey, part.fileSHA256) == (STORED.MediaKey, STORED.FileSHA256)
    assert (part.fileEncSHA256, part.fileLength) == (STORED.FileEncSHA256, 7)
    assert part.mediaKeyTimestamp == 1_700_000_000
    media = content_of(pb, raw).media
    assert media is not None
    assert (media.kind, media.size, media.sha256) == (kind, 7, STORED.FileSHA256.hex())
    if kind == "voice":
        assert media.mime_type == "audio/ogg; codecs=opus"
    else:
        assert media.mime_type == mime_type


def test_what_is_known_of_a_file_goes_along(pb: Any, desk: Desk, tmp_path: Path) -> None:
    thumbnail = tmp_path / "t.jpg"
    thumbnail.write_bytes(b"\xff\xd8small")
    waveform = base64.b64encode(bytes(64)).decode()
    film = file(tmp_path, "video/mp4", width=640, height=480, seconds=9)
    film = film.model_copy(update={"thumbnail_path": str(thumbnail)})
    media = content_of(pb, desk.compose(Media(kind="video", file=film, caption="look"))).media
    assert media is not None
    assert (media.width, media.height, media.seconds) == (640, 480, 9)
    assert base64.b64decode(media.thumbnail or "") == b"\xff\xd8small"
    voice = file(tmp_path, "audio/ogg; codecs=opus", seconds=3, waveform=waveform)
    heard = content_of(pb, desk.compose(Media(kind="voice", file=voice))).media
    assert heard is not None
    assert (heard.seconds, heard.waveform) == (3, waveform)
    paper = file(tmp_path, "application/pdf", file_name="Bill.pdf", pages=2)
    content = content_of(pb, desk.compose(Media(kind="document", file=paper, caption="due")))
    assert content.media is not None
    assert (content.media.file_name, content.media.pages) == ("Bill.pdf", 2)
    assert content.caption == "due"
    moving = file(tmp_path, "image/webp", animated=True)
    sticker = content_of(pb, desk.compose(Media(kind="sticker", file=moving))).media
    assert sticker is not None
    assert sticker.animated


def test_a_thumbnail_too_large_for_a_message_is_left_out(desk: Desk, tmp_path: Path) -> None:
    thumbnail = tmp_path / "t.jpg"
    thumbnail.write_bytes(bytes(65 * 1024))
    sent = file(tmp_path, thumbnail_path=str(thumbnail))
    assert not desk.compose(Media(kind="image", file=sent)).imageMessage.JPEGThumbnail


@pytest.mark.parametrize(
    ("kind", "mime_type"), [("image", "image/png"), ("video", "video/mp4"), ("voice", "audio/ogg")]
)
def test_what_can_be_viewed_once_arrives_as_such(
    pb: Any, desk: Desk, tmp_path: Path, kind: MediaKind, mime_type: str
) -> None:
    raw = desk.compose(
        Media(kind=kind, file=file(tmp_path, mime_type)), SendOptions(view_once=True)
    )
    content = content_of(pb, raw)
    assert (content.type, content.view_once) == (kind, True)


def test_a_place_arrives(pb: Any, desk: Desk) -> None:
    raw = desk.compose(Location(latitude=-1.5, longitude=2.25, name="Here", address="Road 1"))
    place = content_of(pb, raw).location
    assert place is not None
    assert (place.latitude, place.longitude) == (-1.5, 2.25)
    assert (place.name, place.address) == ("Here", "Road 1")


def test_one_card_and_several_arrive(pb: Any, desk: Desk) -> None:
    anna, bob = (ContactCard(name=name, vcard=f"BEGIN:VCARD\n{name}") for name in ("A", "B"))
    one, two = desk.compose(Contacts(cards=(anna,))), desk.compose(Contacts(cards=(anna, bob)))
    assert fields_of(one)[0] == "contactMessage"
    assert fields_of(two)[0] == "contactsArrayMessage"
    assert content_of(pb, one).contacts == (anna,)
    assert content_of(pb, two).contacts == (anna, bob)


@pytest.mark.parametrize("selectable", [0, 1, 2])
def test_a_poll_arrives(pb: Any, desk: Desk, selectable: int) -> None:
    raw = desk.compose(Poll(question="Lunch?", options=("Soup", "Salad"), selectable=selectable))
    poll = content_of(pb, raw).poll
    assert poll is not None
    assert (poll.question, poll.options) == ("Lunch?", ("Soup", "Salad"))
    assert poll.selectable == selectable


@pytest.mark.parametrize("emoji", ["👍🏽", ""])
def test_a_reaction_arrives_and_names_the_chat_by_its_hidden_address(
    pb: Any, desk: Desk, emoji: str
) -> None:
    raw = desk.compose(Reaction(target=THEIRS, emoji=emoji))
    key = raw.reactionMessage.key
    assert (key.remoteJID, key.ID, key.fromMe, key.participant) == (PERSON_LID, "T1", False, "")
    assert raw.reactionMessage.senderTimestampMS == 1_700_000_000_250
    event = read(pb, raw)
    assert isinstance(event, MessageReaction)
    assert (event.message_id, event.emoji, event.message_from_me) == ("T1", emoji, True)


def test_a_reaction_in_a_group_names_the_author(pb: Any, desk: Desk) -> None:
    key = desk.compose(Reaction(target=IN_GROUP, emoji="x"), to=GROUP).reactionMessage.key
    assert (key.remoteJID, key.participant, key.fromMe) == (GROUP, "200@lid", False)


def test_an_edit_arrives(pb: Any, desk: Desk) -> None:
    raw = desk.compose(Edit(target=MINE, text="better"), SendOptions(mentions=("200@lid",)))
    event = read(pb, raw)
    assert isinstance(event, MessageEdited)
    assert (event.message_id, event.content.text) == ("M1", "better")
    assert event.content.mentions == ("200@lid",)


def test_an_edited_caption_arrives(pb: Any, desk: Desk) -> None:
    event = read(pb, desk.compose(Edit(target=MINE, text="better", of="video")))
    assert isinstance(event, MessageEdited)
    assert (event.content.type, event.content.caption) == ("video", "better")


def test_a_message_taken_back_arrives_as_such(pb: Any, desk: Desk) -> None:
    event = read(pb, desk.compose(Revoke(target=MINE)))
    assert isinstance(event, MessageRevoked)
    assert event.message_id == "M1"
    by_admin = read(pb, desk.compose(Revoke(target=IN_GROUP), to=GROUP))
    assert isinstance(by_admin, MessageRevoked)
    assert by_admin.author is not None
    assert by_admin.author.jid == "200@lid"


def test_a_pin_says_for_how_long_and_can_be_taken_away(pb: Any, desk: Desk) -> None:
    pinned = desk.compose(Pin(target=MINE, seconds=86_400))
    assert pinned.messageContextInfo.messageAddOnDurationInSecs == 86_400
    assert content_of(pb, pinned).system == "pinned"
    unpinned = content_of(pb, desk.compose(Pin(target=MINE, seconds=0)))
    assert (unpinned.system, unpinned.target_id) == ("unpinned", "M1")


@pytest.mark.parametrize(
    ("quoted", "to", "author"),
    [
        (THEIRS, PERSON, PERSON_LID),
        (MINE, PERSON, "1@lid"),
        (IN_GROUP, GROUP, "200@lid"),
        (MINE.model_copy(update={"chat": GROUP}), GROUP, ME.jid),
        # Groups may know their members by either address: whoever knows which says so.
        (MINE.model_copy(update={"chat": GROUP, "sender": "1@lid"}), GROUP, "1@lid"),
    ],
)
def test_the_quoted_message_names_its_author(
    pb: Any, desk: Desk, quoted: MessageKey, to: str, author: str
) -> None:
    options = SendOptions(quoted=quoted, quoted_text="what?")
    found = content_of(pb, desk.compose(Text(text="that"), options, to)).quoted
    assert found is not None
    assert found.sender is not None
    assert (found.id, found.sender.jid, found.text) == (quoted.id, author, "what?")
    assert found.chat is None


def test_a_message_of_a_group_can_be_answered_in_private(pb: Any, desk: Desk) -> None:
    raw = desk.compose(Text(text="psst"), SendOptions(quoted=IN_GROUP))
    found = content_of(pb, raw).quoted
    assert found is not None
    assert found.chat == GROUP


@pytest.mark.parametrize(
    "content",
    [
        Text(text="@200 hi"),
        Location(latitude=0, longitude=0),
        Contacts(cards=(ContactCard(name="A", vcard="V"),)),
        Contacts(cards=(ContactCard(name="A", vcard="V"), ContactCard(name="B", vcard="W"))),
        Poll(question="?", options=("a", "b")),
        "media",
    ],
)
def test_options_go_with_every_kind(
    pb: Any, desk: Desk, tmp_path: Path, content: Content | str
) -> None:
    if isinstance(content, str):
        content = Media(kind="image", file=file(tmp_path))
    options = SendOptions(
        quoted=IN_GROUP,
        mentions=("200@lid", "400@lid"),
        mention_all=True,
        forwarded=True,
        ephemeral_seconds=86_400,
    )
    found = content_of(pb, desk.compose(content, options, GROUP))
    assert found.quoted is not None
    assert found.mentions == ("200@lid", "400@lid", "300@lid"), "everybody once, but oneself"
    assert (found.forwarded, found.ephemeral_seconds) == (True, 86_400)


VIEW_ONCE = SendOptions(view_once=True)
BAD_VOICE = MediaFile(path="/x", mime_type="audio/ogg", size=1, waveform="no base64!")
IMAGE = MediaFile(path="/x", mime_type="image/png", size=1)
NO_THUMBNAIL = IMAGE.model_copy(update={"thumbnail_path": "/nowhere/at/all"})


@pytest.mark.parametrize(
    ("content", "options", "why"),
    [
        (Text(text=""), PLAIN, "text is empty"),
        (Text(text="x", preview_url="https://y"), PLAIN, "does not stand in the text"),
        (Text(text="x"), VIEW_ONCE, "viewed once"),
        (Text(text="x"), SendOptions(mention_all=True), "only be mentioned in a group"),
        (Location(latitude=0, longitude=0), VIEW_ONCE, "viewed once"),
        (Contacts(cards=()), PLAIN, "no contact"),
        (Poll(question="", options=("a", "b")), PLAIN, "no question"),
        (Poll(question="?", options=("a",)), PLAIN, "2 to 12"),
        (Poll(question="?", options=tuple("abcdefghijklm")), PLAIN, "2 to 12"),
        (Poll(question="?", options=("a", "a")), PLAIN, "differ"),
        (Poll(question="?", options=("a", "")), PLAIN, "not be empty"),
        (Poll(question="?", options=("a", "b"), selectable=3), PLAIN, "more options"),
        (Poll(question="?", options=("a", "b"), selectable=-1), PLAIN, "more options"),
        (Media(kind="sticker", file=IMAGE), PLAIN, "image/webp"),
        (Media(kind="voice", file=BAD_VOICE), PLAIN, "waveform"),
        (Media(kind="audio", file=BAD_VOICE, caption="x"), PLAIN, "no caption"),
        (Media(kind="document", file=IMAGE), VIEW_ONCE, "viewed once"),
        (Media(kind="image", file=NO_THUMBNAIL), PLAIN, "thumbnail cannot be read"),
        (Edit(target=THEIRS, text="x"), PLAIN, "own messages"),
        (Edit(target=MINE, text=""), PLAIN, "text is empty"),
        (Edit(target=MINE, text="x", of="voice"), PLAIN, "no caption"),
        (Edit(target=MINE, text="x"), SendOptions(quoted=MINE), "these options"),
        (Revoke(target=MINE), SendOptions(forwarded=True), "these options"),
        (Reaction(target=MINE, emoji="x"), SendOptions(mentions=("1@lid",)), "these options"),
        (
            Reaction(target=IN_GROUP.model_copy(update={"sender": None}), emoji="x"),
            PLAIN,
            "who wrote",
        ),
        (
            Text(text="x"),
            SendOptions(quoted=IN_GROUP.model_copy(update={"sender": None})),
            "who wrote",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_uploaded(
    desk: Desk, content: Content, options: SendOptions, why: str
) -> None:
    with pytest.raises(ContentError, match=why):
        desk.compose(content, options)
    assert desk.uploads == []
