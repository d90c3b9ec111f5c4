"""Messages and receipts as the library reports them, told as ours."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.native_events import native_protobufs
from support.native_messages import MOMENT, info, message, new_message, received, source
from wavisor.whatsapp.events import (
    EVENTS,
    MessageEdited,
    MessageReaction,
    MessageReceived,
    MessageRevoked,
    Person,
    PollVoted,
)
from wavisor.whatsapp.inbound import InboundContent, poll_option_hash
from wavisor.whatsapp.incoming import MAX_CARDS_BYTES, MAX_TEXT
from wavisor.whatsapp.reception import Reception

I = "ins_01K9Z3ZZZZZZZZZZZZZZZZZZZZ"  # noqa: E741 - stands in every line below
ME = frozenset({"1@lid", "15550001@s.whatsapp.net"})


def unreadable(_event: Any) -> None:
    return None


def reception(decrypt: Any = unreadable) -> Reception:
    return Reception(I, lambda: ME, decrypt)


@pytest.fixture(scope="module")
def pb() -> Any:
    return native_protobufs()


def told(event: Any, **how: Any) -> MessageReceived:
    made = reception(**how).message(event)
    assert isinstance(made, MessageReceived)
    return made


def content_of(pb: Any, raw: Any, **fields: Any) -> InboundContent:
    return told(received(pb, raw, **fields)).content


@pytest.mark.parametrize("own", ["1@lid", "15550001@s.whatsapp.net"])
def test_an_own_message_of_the_phone_is_told_with_both_addresses_of_the_account(
    pb: Any, own: str
) -> None:
    event = told(message(pb, source(pb, sender=own, from_me=True), conversation="hi"))
    assert event.from_me
    assert event.sender == Person(jid=own, lid="1@lid", phone="+15550001")


def test_a_plain_text_is_told_with_both_addresses_of_its_sender(pb: Any) -> None:
    where = source(pb, sender_alt="15550100:5@s.whatsapp.net")
    event = told(message(pb, where, conversation="hi"))
    anna = Person(jid="100@lid", lid="100@lid", phone="+15550100")
    assert (event.chat, event.sender) == (anna, anna)
    assert (event.kind, event.text, event.message_id) == ("text", "hi", "3EB0")
    assert event.timestamp == MOMENT
    assert event.push_name == "Anna"
    assert not event.from_me


def test_an_own_message_names_its_recipient(pb: Any) -> None:
    where = source(
        pb, chat="200@lid", sender="1@lid", recipient_alt="15550200@s.whatsapp.net", from_me=True
    )
    event = told(message(pb, where, conversation="hi"))
    assert event.chat == Person(jid="200@lid", lid="200@lid", phone="+15550200")
    assert event.sender == Person(jid="1@lid", lid="1@lid", phone="+15550001")
    assert event.from_me


def test_a_group_is_no_person(pb: Any) -> None:
    where = source(pb, chat="120363@g.us", sender_alt="15550100@s.whatsapp.net", group=True)
    event = told(message(pb, where, conversation="hi"))
    assert event.is_group
    assert event.chat == Person(jid="120363@g.us")
    assert event.sender.phone == "+15550100"


@pytest.mark.parametrize(
    ("chat", "flags"),
    [
        ("status@broadcast", (False, False, True)),
        ("1400000000@broadcast", (True, False, False)),
        ("120363@newsletter", (False, True, False)),
        ("100@lid", (False, False, False)),
    ],
)
def test_broadcasts_channels_and_statuses_are_told_apart(
    pb: Any, chat: str, flags: tuple[bool, bool, bool]
) -> None:
    where = source(pb, chat=chat, group=chat.endswith("@broadcast"))
    event = told(message(pb, where, conversation="hi"))
    assert (event.is_broadcast, event.is_channel, event.is_status) == flags
    assert not event.is_group


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        ({"extendedTextMessage": {"text": "see https://x"}}, "text", "see https://x"),
        ({"imageMessage": {"caption": "look"}}, "image", "look"),
        ({"imageMessage": {}}, "image", None),
        ({"ptvMessage": {"seconds": 3}}, "video", None),
        ({"audioMessage": {"seconds": 3}}, "audio", None),
        ({"audioMessage": {"PTT": True}}, "voice", None),
        ({"stickerMessage": {"isAnimated": True}}, "sticker", None),
        ({"conversation": "x" * (MAX_TEXT + 1)}, "text", "x" * MAX_TEXT),
        ({"messageContextInfo": {}, "conversation": "hi"}, "text", "hi"),
        ({"buttonsResponseMessage": {"selectedDisplayText": "Yes"}}, "button_reply", "Yes"),
        ({"templateButtonReplyMessage": {"selectedDisplayText": "No"}}, "button_reply", "No"),
        ({"listResponseMessage": {"title": "One"}}, "button_reply", "One"),
        ({"buttonsMessage": {"contentText": "choose"}}, "interactive", "choose"),
        ({"listMessage": {"description": "choose"}}, "interactive", "choose"),
        ({"highlyStructuredMessage": {}}, "interactive", None),
        ({"eventMessage": {"name": "Party"}}, "event", "Party"),
        ({"groupInviteMessage": {"caption": "join us"}}, "group_invite", "join us"),
        ({"albumMessage": {"expectedImageCount": 2}}, "album", None),
        ({"orderMessage": {"orderTitle": "Cake"}}, "order", "Cake"),
        ({"requestPhoneNumberMessage": {}}, "other", None),
    ],
)
def test_every_kind_of_message_has_a_type_and_its_text(
    pb: Any, content: dict[str, Any], kind: str, text: str | None
) -> None:
    event = told(message(pb, **content))
    assert (event.kind, event.text) == (kind, text)
    assert event.content.raw_type in content
    assert event.content.shortened == (text == "x" * MAX_TEXT)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"messageContextInfo": {}},
        {"senderKeyDistributionMessage": {}},
        {"protocolMessage": {"type": 6}},  # APP_STATE_SYNC_KEY_SHARE
    ],
)
def test_housekeeping_is_not_told(pb: Any, content: dict[str, Any]) -> None:
    assert reception().message(message(pb, **content)) is None


def test_messages_between_own_devices_are_not_told(pb: Any) -> None:
    assert reception().message(message(pb, category="peer", conversation="hi")) is None


def test_a_picture_is_described_and_can_be_fetched_later(pb: Any) -> None:
    raw = new_message(pb)
    part = raw.imageMessage
    part.mimetype, part.caption, part.fileLength = "image/jpeg", "look", 1234
    part.width, part.height = 640, 480
    part.URL, part.directPath = "https://mmg.whatsapp.net/x", "/v/x?ccb=1"
    part.mediaKey, part.fileSHA256, part.fileEncSHA256 = b"k" * 32, b"s" * 32, b"e" * 32
    part.JPEGThumbnail = b"\xff\xd8thumb"
    part.contextInfo.isForwarded = True
    part.contextInfo.forwardingScore = 5
    content = content_of(pb, raw)
    media = content.media
    assert media is not None
    assert (media.kind, media.mime_type, media.size) == ("image", "image/jpeg", 1234)
    assert (media.width, media.height, media.sha256) == (640, 480, (b"s" * 32).hex())
    assert base64.b64decode(media.thumbnail or "") == b"\xff\xd8thumb"
    assert (content.forwarded, content.forwarding_score) == (True, 5)
    again = new_message(pb)
    again.ParseFromString(base64.b64decode(media.source))
    assert [field.name for field, _ in again.ListFields()] == ["imageMessage"]
    for name in ("URL", "directPath", "mediaKey", "fileSHA256", "fileEncSHA256", "fileLength"):
        assert getattr(again.imageMessage, name) == getattr(part, name)
    assert not again.imageMessage.JPEGThumbnail
    assert not again.imageMessage.HasField("contextInfo")


def test_a_voice_note_and_a_document_tell_their_particulars(pb: Any) -> None:
    voice = new_message(pb)
    voice.audioMessage.PTT = True
    voice.audioMessage.seconds, voice.audioMessage.waveform = 7, bytes(range(64))
    heard = content_of(pb, voice).media
    assert heard is not None
    assert (heard.kind, heard.seconds) == ("voice", 7)
    assert base64.b64decode(heard.waveform or "") == bytes(range(64))
    paper = new_message(pb)
    part = paper.documentWithCaptionMessage.message.documentMessage
    part.fileName, part.pageCount, part.caption = "a.pdf", 3, "read"
    content = content_of(pb, paper)
    assert content.media is not None
    assert (content.type, content.caption, content.media.file_name) == ("document", "read", "a.pdf")
    assert content.media.pages == 3
    assert content.media.mime_type == "application/octet-stream"


@pytest.mark.parametrize(
    "wrapper", ["viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension", ""]
)
def test_what_can_be_viewed_once_says_so(pb: Any, wrapper: str) -> None:
    raw = new_message(pb)
    inner = getattr(raw, wrapper).message if wrapper else raw
    inner.imageMessage.caption = "once"
    # The client unwraps it and says so beside the message.
    content = content_of(pb, raw, view_once=not wrapper)
    assert content.view_once
    assert content.caption == "once"


def test_a_place_is_told_and_a_live_one_as_such(pb: Any) -> None:
    raw = new_message(pb)
    raw.locationMessage.degreesLatitude, raw.locationMessage.degreesLongitude = 52.5, -13.4
    raw.locationMessage.name = "Here"
    place = content_of(pb, raw).location
    assert place is not None
    assert (place.latitude, place.longitude, place.name, place.live) == (52.5, -13.4, "Here", False)
    live = new_message(pb)
    live.liveLocationMessage.degreesLatitude, live.liveLocationMessage.caption = 1.0, "moving"
    content = content_of(pb, live)
    assert content.location is not None
    assert (content.type, content.location.live, content.caption) == ("location", True, "moving")


def test_cards_are_told_up_to_what_fits(pb: Any) -> None:
    raw = new_message(pb)
    raw.contactMessage.displayName, raw.contactMessage.vcard = "Bob", "BEGIN:VCARD"
    one = content_of(pb, raw)
    assert (one.type, [card.name for card in one.contacts]) == ("contact", ["Bob"])
    many = new_message(pb)
    for number in range(3):
        many.contactsArrayMessage.contacts.add(
            displayName=str(number), vcard="x" * (MAX_CARDS_BYTES // 2)
        )
    several = content_of(pb, many)
    assert [card.name for card in several.contacts] == ["0", "1"]
    assert several.shortened


@pytest.mark.parametrize(
    "field", ["pollCreationMessage", "pollCreationMessageV2", "pollCreationMessageV3", "V4"]
)
def test_a_poll_of_whatever_version_is_told(pb: Any, field: str) -> None:
    raw = new_message(pb)
    if field == "V4":
        part = raw.pollCreationMessageV4.message.pollCreationMessage
    else:
        part = getattr(raw, field)
    part.name, part.selectableOptionsCount = "Lunch?", 1
    for option in ("Soup", "Salad"):
        part.options.add(optionName=option)
    content = content_of(pb, raw)
    assert content.poll is not None
    assert (content.type, content.poll.question) == ("poll", "Lunch?")
    assert (content.poll.options, content.poll.selectable) == (("Soup", "Salad"), 1)
    assert content.searchable == "Lunch?\nSoup\nSalad"


def test_what_a_message_answers_and_whom_it_mentions_is_told(pb: Any) -> None:
    raw = new_message(pb)
    raw.extendedTextMessage.text = "yes"
    context = raw.extendedTextMessage.contextInfo
    context.stanzaID, context.participant = "Q1", "200:3@lid"
    context.quotedMessage.imageMessage.caption = "c" * 5000
    context.mentionedJID.extend(["300@lid", "400@lid"])
    context.nonJIDMentions = 1
    context.expiration = 86400
    content = content_of(pb, raw)
    quoted = content.quoted
    assert quoted is not None
    assert (quoted.id, quoted.type, quoted.text) == ("Q1", "image", "c" * 1024)
    assert quoted.sender == Person(jid="200@lid", lid="200@lid")
    assert quoted.chat is None
    assert (content.mentions, content.mention_all) == (("300@lid", "400@lid"), True)
    assert content.ephemeral_seconds == 86400


def test_a_chosen_button_tells_its_id(pb: Any) -> None:
    raw = new_message(pb)
    raw.listResponseMessage.title = "One"
    raw.listResponseMessage.singleSelectReply.selectedRowID = "row-1"
    assert content_of(pb, raw).choice == "row-1"


def test_pins_and_timers_are_system_messages(pb: Any) -> None:
    pin = new_message(pb)
    pin.pinInChatMessage.type = 1
    pin.pinInChatMessage.key.ID = "P1"
    content = content_of(pb, pin)
    assert (content.type, content.system, content.target_id) == ("system", "pinned", "P1")
    timer = new_message(pb)
    timer.protocolMessage.key.ID = "T1"
    timer.protocolMessage.type, timer.protocolMessage.ephemeralExpiration = 3, 604800
    content = content_of(pb, timer)
    assert (content.system, content.ephemeral_seconds) == ("ephemeral_changed", 604800)


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_edit_names_the_message_and_what_it_says_now(pb: Any, wrapped: bool) -> None:
    raw = new_message(pb)
    part = raw.editedMessage.message.protocolMessage if wrapped else raw.protocolMessage
    part.type, part.key.ID, part.key.fromMe = 14, "E1", True
    part.editedMessage.extendedTextMessage.text = "better"
    event = reception().message(received(pb, raw))
    assert isinstance(event, MessageEdited)
    assert (event.message_id, event.content.text) == ("E1", "better")


def test_an_edit_in_a_channel_is_the_message_under_its_old_id(pb: Any) -> None:
    where = source(pb, chat="120363@newsletter", sender="120363@newsletter")
    raw = new_message(pb)
    raw.conversation = "better"
    event = reception().message(received(pb, raw, where, edit="3"))
    assert isinstance(event, MessageEdited)
    assert (event.message_id, event.content.text) == ("3EB0", "better")


def revoke(pb: Any, participant: str = "", **where: Any) -> MessageRevoked:
    raw = new_message(pb)
    part = raw.protocolMessage
    part.type, part.key.ID, part.key.fromMe = 0, "R1", not participant
    if participant:
        part.key.participant = participant
    edit = "8" if participant else "7"
    event = reception().message(received(pb, raw, source(pb, **where), edit=edit))
    assert isinstance(event, MessageRevoked)
    return event


def test_a_message_taken_back_is_told_and_by_whom(pb: Any) -> None:
    own = revoke(pb)
    assert (own.message_id, own.sender.jid, own.author) == ("R1", "100@lid", None)
    by_admin = revoke(pb, "200@lid", chat="120363@g.us", group=True)
    assert by_admin.sender.jid == "100@lid"
    assert by_admin.author == Person(jid="200@lid", lid="200@lid")
    assert (own.by_admin, by_admin.by_admin) == (False, True)


@pytest.mark.parametrize(
    ("key_from_me", "participant", "where", "mine"),
    [
        # fromMe is said from the point of view of who reacts.
        (False, "", {}, True),
        (True, "", {}, False),
        (True, "", {"from_me": True, "sender": "1@lid"}, True),
        (False, "", {"from_me": True, "sender": "1@lid"}, False),
        (False, "1:4@lid", {"chat": "9@g.us", "group": True}, True),
        (False, "200@lid", {"chat": "9@g.us", "group": True}, False),
        (False, "", {"chat": "9@g.us", "group": True}, None),
    ],
)
def test_a_reaction_tells_whose_message_it_is_about(
    pb: Any, key_from_me: bool, participant: str, where: dict[str, Any], mine: bool | None
) -> None:
    raw = new_message(pb)
    raw.reactionMessage.text = "👍🏽"
    raw.reactionMessage.key.ID, raw.reactionMessage.key.fromMe = "T1", key_from_me
    raw.reactionMessage.key.participant = participant
    event = reception().message(received(pb, raw, source(pb, **where)))
    assert isinstance(event, MessageReaction)
    assert (event.message_id, event.emoji) == ("T1", "👍🏽")
    assert event.message_from_me is mine


def test_a_reaction_taken_back_has_no_emoji(pb: Any) -> None:
    raw = new_message(pb)
    raw.reactionMessage.key.ID = "T1"
    event = reception().message(received(pb, raw))
    assert isinstance(event, MessageReaction)
    assert event.emoji == ""


def test_a_vote_is_decrypted_and_one_that_cannot_be_is_told_as_such(pb: Any) -> None:
    raw = new_message(pb)
    raw.pollUpdateMessage.pollCreationMessageKey.ID = "P1"
    chosen = bytes.fromhex(poll_option_hash("Soup"))
    asked: list[Any] = []

    def decrypt(event: Any) -> Iterable[bytes]:
        asked.append(event)
        return [chosen]

    event = received(pb, raw)
    vote = reception(decrypt).message(event)
    assert isinstance(vote, PollVoted)
    assert asked == [event]
    assert (vote.message_id, vote.selected) == ("P1", (poll_option_hash("Soup"),))
    assert vote.readable
    lost = reception().message(event)
    assert isinstance(lost, PollVoted)
    assert (lost.selected, lost.readable) == ((), False)


def test_a_message_that_could_not_be_read_is_told(pb: Any) -> None:
    event = pb.UndecryptableMessage(
        Info=info(pb, source(pb)), IsUnavailable=True, DecryptFailMode=1
    )
    lost = reception().undecryptable(event)
    assert (lost.message_id, lost.timestamp, lost.sender.jid) == ("3EB0", MOMENT, "100@lid")
    assert lost.unavailable


@pytest.mark.parametrize(
    ("number", "own", "kind", "from_me"),
    [
        (1, False, "delivered", False),
        (4, False, "read", False),
        (6, False, "played", False),
        (4, True, "read", True),  # read on another device of the account
        (5, True, "read", True),
        (8, True, "played", True),
        (1, True, None, True),
        (2, False, None, False),  # another device got an own message
        (3, False, None, False),  # asked for again
        (10, True, None, True),
    ],
)
def test_a_receipt_is_told_if_it_is_about_people(
    pb: Any, number: int, own: bool, kind: str | None, from_me: bool
) -> None:
    event = pb.Receipt(
        MessageSource=source(pb, from_me=own),
        MessageIDs=["A", "B"],
        Timestamp=1_700_000_000,
        Type=number,
    )
    made = reception().receipt(event)
    if kind is None:
        assert made is None
        return
    assert made is not None
    assert (made.kind, made.message_ids, made.from_me) == (kind, ("A", "B"), from_me)
    # Seconds here, although messages have milliseconds.
    assert made.timestamp == datetime.fromtimestamp(1_700_000_000, UTC)


TEXT = st.text(max_size=40)
BLOB = st.binary(max_size=40)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_a_message_consists_of_it_is_told_or_left_out(data: st.DataObject) -> None:
    pb = native_protobufs()
    raw = new_message(pb)
    _fill(raw, data, depth=3)
    event = reception().message(received(pb, raw))
    if event is not None:
        assert EVENTS.validate_json(event.model_dump_json()) == event


def _fill(part: Any, data: st.DataObject, depth: int) -> None:
    """Set some fields of a protobuf at random."""
    fields = list(part.DESCRIPTOR.fields)
    chosen = data.draw(st.lists(st.sampled_from(fields), min_size=0, max_size=3))
    for field in chosen:
        if field.type == field.TYPE_MESSAGE:
            inner = getattr(part, field.name)
            if field.is_repeated:
                inner = inner.add()
            else:
                inner.SetInParent()
            if depth:
                _fill(inner, data, depth - 1)
        elif not field.is_repeated:
            setattr(part, field.name, data.draw(_values(field)))
        elif field.type == field.TYPE_STRING:
            getattr(part, field.name).append(data.draw(TEXT))


def _values(field: Any) -> st.SearchStrategy[Any]:
    if field.type == field.TYPE_ENUM:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.type == field.TYPE_STRING:
        return TEXT
    if field.type == field.TYPE_BYTES:
        return BLOB
    if field.type == field.TYPE_BOOL:
        return st.booleans()
    if field.type in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
        return st.floats(width=32, allow_nan=False, allow_infinity=False)
    return st.integers(0, 2**31 - 1)
