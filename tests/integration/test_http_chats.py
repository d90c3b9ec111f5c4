"""Reading over HTTP: messages by what they are, one with its whole life, chats, marking read."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from support.gateway import GatewayLab
from support.http import Answer, Member
from wavisor.domain import Role
from wavisor.storage import Scope, messages
from wavisor.whatsapp import events as session
from wavisor.whatsapp.commands import Query
from wavisor.whatsapp.events import Failure
from wavisor.whatsapp.inbound import InboundContent, MediaDescriptor, Quoted
from wavisor.whatsapp.person import Person
from wavisor.whatsapp.queries import MarkRead

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANNA = Person(jid="77010001@lid", lid="77010001@lid", phone="+15550101")
BERT = Person(jid="15550102@s.whatsapp.net", phone="+15550102")
GROUP = Person(jid="120363000000000001@g.us")
LIST = Person(jid="1577777777@broadcast")
ANNA_CHAT = "15550101@s.whatsapp.net"
BERT_CHAT = "15550102@s.whatsapp.net"


@dataclass
class Reader:
    """Somebody with a connected instance, to whom people write."""

    gateway: GatewayLab
    member: Member
    instance: str

    def __post_init__(self) -> None:
        self._numbers = count(1)

    def hear(
        self, text: str = "hi", *, sender: Person = ANNA, chat: Person | None = None, **more: Any
    ) -> str:
        """Return the gateway's id of a message that came in."""
        whatsapp_id = str(more.pop("message_id", f"3A{next(self._numbers):06}"))
        content = InboundContent(type="text", raw_type="conversation", text=text)
        fields = {
            "message_id": whatsapp_id,
            "chat": chat or sender,
            "sender": sender,
            "from_me": False,
            "is_group": chat is GROUP,
            "timestamp": NOW,
            "content": content,
        }
        event = session.MessageReceived(instance=self.instance, **{**fields, **more})
        return str(self.emit(event, "message:received", whatsapp_id).data["messageId"])

    def emit(self, event: Any, kind: str, whatsapp_id: str) -> Any:
        self.gateway.session(self.instance).emit(event)
        return self.gateway.seen.wait_for(
            lambda one: one.type == kind and one.data["whatsappId"] == whatsapp_id
        )

    def get(self, path: str, **headers: str) -> Answer:
        return self.gateway.get(path, token=self.member.token, headers=headers)

    def in_instance(self, path: str) -> Answer:
        return self.get(path, **{"X-Instance-Id": self.instance})

    def post(self, path: str, body: Any) -> Answer:
        headers = {"X-Instance-Id": self.instance}
        return self.gateway.post(path, body, token=self.member.token, headers=headers)

    def read_chat(self, jid: str) -> Answer:
        return self.post(f"/api/chats/{jid}/read", {})

    def read_messages(self, ids: list[str], **more: Any) -> Answer:
        return self.post("/api/messages/read", {"messages": ids, **more})

    def texts(self, query: str) -> list[str]:
        answer = self.get(f"/api/messages?{query}")
        assert answer.status == 200, answer.body
        return [one["text"] for one in answer.json["items"]]

    def receipts(self) -> list[tuple[str, str | None, tuple[str, ...]]]:
        asked = [one.query for one in self.gateway.session(self.instance).commands(Query)]
        return [(one.chat, one.sender, one.messages) for one in asked if isinstance(one, MarkRead)]


def reader_of(gateway: GatewayLab) -> Reader:
    member = gateway.register()
    instance = gateway.create_instance(member)
    gateway.link(member, instance)
    return Reader(gateway, member, instance)


@pytest.fixture
def reader(gateway: GatewayLab) -> Reader:
    return reader_of(gateway)


@pytest.fixture
def reader_on_both(gateway_on_both: GatewayLab) -> Reader:
    return reader_of(gateway_on_both)


def test_messages_are_filtered_by_what_they_are(reader_on_both: Reader) -> None:
    reader = reader_on_both
    reader.hear("good morning")
    reader.hear("100% sure", sender=BERT)
    reader.hear("from my phone", from_me=True)
    picture = InboundContent(
        type="image",
        raw_type="imageMessage",
        caption="a Morning view",
        media=MediaDescriptor(kind="image", mime_type="image/png", size=1, sha256=None, source="s"),
    )
    reader.hear(content=picture, sender=BERT)
    for address in (BERT_CHAT, "+15550102", "15550102"):
        assert reader.texts(f"chat={quote(address)}") == ["a Morning view", "100% sure"]
    for address in (ANNA_CHAT, ANNA.jid, "+1 555 0101"):
        assert reader.texts(f"chat={quote(address)}") == ["from my phone", "good morning"]
        answer = reader.in_instance(f"/api/messages?chat={quote(address)}")
        assert len(answer.json["items"]) == 2
    assert reader.texts("direction=outbound") == ["from my phone"]
    assert reader.texts("direction=inbound&kind=text") == ["100% sure", "good morning"]
    assert reader.texts("status=sent") == ["from my phone"]
    assert reader.texts("text=morning") == ["a Morning view", "good morning"]
    assert reader.texts(f"text={quote('0%')}") == ["100% sure"]
    assert reader.texts("starred=true") == []
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    earlier, later = (quote((now + by).isoformat()) for by in (-hour, hour))
    assert len(reader.texts(f"from={earlier}&to={later}")) == 4
    assert reader.texts(f"from={later}") == reader.texts(f"to={earlier}") == []


@pytest.mark.parametrize(
    "query",
    [
        "chat=",
        "chat=nobody",
        "chat=15550102@S.WHATSAPP.NET",
        "chat=15550102@example.com",
        "direction=sideways",
        "kind=UPPER",
        "from=yesterday",
        "to=2026-01-01T00:00:00",
        "text=",
        f"text={'x' * 201}",
        "starred=perhaps",
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(reader: Reader, query: str) -> None:
    answer = reader.get(f"/api/messages?{query}")
    assert (answer.status, answer.pointers) == (422, [query.partition("=")[0]])


@pytest.mark.parametrize("place", ["-99999999999999999.1", "99999999999999999.1", "0.0", "1", "x"])
def test_a_cursor_that_somebody_made_up_is_refused_or_leads_to_a_page(
    reader_on_both: Reader, place: str
) -> None:
    cursor = base64.urlsafe_b64encode(f"n:{place}".encode()).decode().rstrip("=")
    for path in ("/api/messages", "/api/chats"):
        answer = reader_on_both.get(f"{path}?cursor={cursor}")
        assert answer.status in (200, 422), answer.body
        assert answer.status == 200 or answer.pointers == ["cursor"]


def test_one_message_tells_its_whole_life(reader_on_both: Reader) -> None:
    reader = reader_on_both
    message = reader.hear("pizza?", from_me=True, sender=BERT, chat=GROUP)
    place = {"chat": GROUP, "from_me": False, "is_group": True, "timestamp": NOW}
    common = {"instance": reader.instance, "message_id": "3A000001", **place}
    reader.emit(
        session.MessageReaction(
            **common, sender=ANNA, message_from_me=True, author=None, emoji="👍"
        ),
        "message:reaction",
        "3A000001",
    )
    reader.emit(session.PollVoted(**common, sender=ANNA, selected=("ab",)), "poll:vote", "3A000001")
    life = reader.get(f"/api/messages/{message}").json
    anna = {"jid": ANNA_CHAT, "lid": ANNA.lid, "phone": ANNA.phone}
    at = "2026-01-01T00:00:00.000Z"
    assert life["reactions"] == [{"sender": anna, "emoji": "👍", "at": at}]
    assert life["votes"] == [{"sender": anna, "options": [], "selected": ["ab"], "at": at}]
    assert [one["status"] for one in life["history"]] == ["sent"]
    reader.gateway.receipt(reader.instance, "3A000001", "delivered")
    reader.gateway.wait_message(message, "delivered")
    life = reader.get(f"/api/messages/{message}").json
    assert [one["status"] for one in life["receipts"]] == ["delivered"]
    assert [one["status"] for one in life["history"]] == ["sent", "delivered"]


def test_a_message_tells_what_came_with_it(reader_on_both: Reader) -> None:
    reader = reader_on_both
    content = InboundContent(
        type="text",
        raw_type="extendedTextMessage",
        text="@77010001 look",
        mentions=(ANNA.jid,),
        ephemeral_seconds=86_400,
        forwarded=True,
        forwarding_score=5,
        quoted=Quoted(id="Q", sender=Person(jid=ANNA.jid), chat=None, type="text", text="what?"),
    )
    channel = Person(jid="120363000000000009@newsletter")
    told = [
        reader.hear(content=content, sender=BERT, push_name="Bert", is_broadcast=True),
        reader.hear("news", sender=channel, is_channel=True, server_id=107),
    ]
    message, news = (reader.get(f"/api/messages/{one}").json for one in told)
    assert (message["pushName"], message["isBroadcast"]) == ("Bert", True)
    assert (message["mentions"], message["mentionAll"]) == ([ANNA.jid], False)
    assert (message["ephemeralSeconds"], message["viewOnce"]) == (86_400, False)
    assert (message["forwarded"], message["forwardingScore"]) == (True, 5)
    assert message["content"]["quoted"]["sender"] == {"jid": ANNA.jid, "lid": None, "phone": None}
    assert (news["serverId"], news["pushName"], news["isBroadcast"]) == (107, None, False)
    assert [one["serverId"] for one in reader.get("/api/messages").json["items"]] == [107, None]


def test_the_key_to_a_file_is_not_shown(reader: Reader) -> None:
    media = MediaDescriptor(kind="image", mime_type="image/png", size=1, sha256=None, source="s3cr")
    content = InboundContent(type="image", raw_type="imageMessage", media=media)
    answer = reader.get(f"/api/messages/{reader.hear(content=content)}")
    assert answer.json["content"]["media"]["mimeType"] == "image/png"
    assert b"s3cr" not in answer.body


def test_chats_show_what_was_said_last_and_what_is_unread(reader_on_both: Reader) -> None:
    reader = reader_on_both
    reader.hear("one", push_name="Anna")
    reader.hear("in the group", chat=GROUP)
    last = reader.hear("two", push_name="Anna")
    answer = reader.get("/api/chats?limit=1")
    [chat] = answer.json["items"]
    assert (chat["jid"], chat["lid"], chat["phone"]) == (ANNA_CHAT, ANNA.lid, ANNA.phone)
    assert (chat["name"], chat["kind"], chat["unread"]) == ("Anna", "person", 2)
    assert (chat["lastMessage"]["id"], chat["lastMessage"]["text"]) == (last, "two")
    rest = reader.get(f"/api/chats?limit=1&cursor={answer.json['nextCursor']}").json
    assert [one["jid"] for one in rest["items"]] == [GROUP.jid]
    assert rest["nextCursor"] is None
    assert [one["jid"] for one in reader.get("/api/chats?kind=group").json["items"]] == [GROUP.jid]
    assert reader.in_instance(f"/api/chats/{ANNA.lid}").json == chat
    assert reader.in_instance(f"/api/chats/{BERT_CHAT}").status == 404
    assert reader.in_instance("/api/chats/nobody").status == 422


def test_reading_a_chat_tells_each_author_once(reader_on_both: Reader) -> None:
    reader = reader_on_both
    reader.hear("a", chat=GROUP)
    reader.hear("b", chat=GROUP, sender=BERT)
    reader.hear("c", chat=GROUP)
    assert reader.in_instance(f"/api/chats/{GROUP.jid}").json["unread"] == 3
    answer = reader.read_chat(GROUP.jid)
    assert (answer.status, answer.json["unread"]) == (200, 0)
    told = [(GROUP.jid, ANNA.lid, ("3A000003", "3A000001")), (GROUP.jid, BERT_CHAT, ("3A000002",))]
    assert reader.receipts() == told
    assert reader.read_chat(GROUP.jid).status == 200
    assert reader.receipts() == told
    assert reader.get("/api/chats?unread=true").json["items"] == []
    actions = [one.action for one in reader.gateway.user_audit_of(GROUP.jid)]
    assert actions == ["messages.read", "messages.read"]


def test_a_chat_is_read_under_the_address_that_its_messages_came_from(reader: Reader) -> None:
    reader.hear("by her hidden address")
    reader.hear("by his number", sender=BERT, chat=BERT)
    for chat in (ANNA_CHAT, BERT_CHAT):
        assert reader.read_chat(chat).json["unread"] == 0
    assert reader.receipts() == [
        (ANNA.lid, None, ("3A000001",)),
        (BERT_CHAT, None, ("3A000002",)),
    ]


def test_nothing_counts_as_read_when_whatsapp_refuses(reader: Reader) -> None:
    message = reader.hear()
    reader.gateway.driver.results["mark_read"] = Failure(reason="timeout", detail="no answer")
    assert reader.read_chat(ANNA_CHAT).problem == "whatsapp-silent"
    assert reader.in_instance(f"/api/chats/{ANNA_CHAT}").json["unread"] == 1
    assert reader.get(f"/api/messages/{message}").json["readAt"] is None


def test_nobody_is_told_where_whatsapp_takes_no_receipt(reader: Reader) -> None:
    reader.hear("to all of you", chat=LIST)
    assert reader.read_chat(LIST.jid).json["unread"] == 0
    assert reader.receipts() == []


def test_what_was_deleted_unread_is_no_longer_unread(reader: Reader) -> None:
    message = reader.hear()
    database = reader.gateway.database
    database.write_wait(messages.delete, Scope(reader.member.subscription_id), message)
    assert reader.in_instance(f"/api/chats/{ANNA_CHAT}").json["unread"] == 0
    answer = reader.read_chat(ANNA_CHAT)
    assert (answer.json["unread"], answer.json["lastMessage"]) == (0, None)
    assert reader.receipts() == []


def test_another_tenant_sees_and_changes_nothing(reader: Reader) -> None:
    message = reader.hear("secret")
    other = Reader(reader.gateway, reader.gateway.register(), reader.instance)
    assert other.get("/api/messages").json["items"] == []
    assert other.get("/api/chats").json["items"] == []
    for path in ("/api/messages", "/api/chats", f"/api/chats/{ANNA_CHAT}"):
        assert other.in_instance(path).status == 404
    assert other.get(f"/api/messages/{message}").status == 404
    assert other.read_chat(ANNA_CHAT).status == 404
    other.instance = other.gateway.create_instance(other.member)
    assert other.read_chat(ANNA_CHAT).status == 404
    assert reader.in_instance(f"/api/chats/{ANNA_CHAT}").json["unread"] == 1


def test_a_viewer_reads_but_tells_nobody(reader: Reader) -> None:
    message = reader.hear()
    viewer = Reader(
        reader.gateway, reader.gateway.colleague(reader.member, Role.VIEWER), reader.instance
    )
    assert viewer.in_instance(f"/api/chats/{ANNA_CHAT}").status == 200
    assert viewer.get(f"/api/messages/{message}").status == 200
    assert viewer.read_chat(ANNA_CHAT).status == 403


def test_named_messages_are_read_each_author_told_once_for_each_chat(
    reader_on_both: Reader,
) -> None:
    reader = reader_on_both
    first, second = reader.hear("a", chat=GROUP), reader.hear("b", chat=GROUP, sender=BERT)
    alone, third = reader.hear("c"), reader.hear("d", chat=GROUP)
    left = reader.hear("e", chat=GROUP)
    wanted = [third, alone, second, first.upper(), third]
    answer = reader.read_messages(wanted, played=True)
    assert answer.status == 200, answer.body
    items = answer.json["items"]
    assert [one["id"] for one in items] == [third, alone, second, first, third]
    assert all(one["readAt"] for one in items)
    told = [
        (GROUP.jid, ANNA.lid, ("3A000004", "3A000001")),
        (ANNA.lid, None, ("3A000003",)),
        (GROUP.jid, BERT_CHAT, ("3A000002",)),
    ]
    assert reader.receipts() == told
    assert reader.in_instance(f"/api/chats/{GROUP.jid}").json["unread"] == 1
    assert reader.in_instance(f"/api/chats/{ANNA_CHAT}").json["unread"] == 0
    # What was read is told to nobody again.
    assert reader.read_messages([first, left]).status == 200
    assert reader.receipts() == [*told, (GROUP.jid, ANNA.lid, ("3A000005",))]
    assert reader.read_messages([first, left]).json["items"][1]["readAt"]
    assert len(reader.receipts()) == 4


def test_messages_that_cannot_be_read_are_named_and_none_is_told(reader: Reader) -> None:
    good, own = reader.hear(), reader.hear("from my phone", from_me=True)
    elsewhere = Reader(reader.gateway, reader.member, reader.gateway.create_instance(reader.member))
    reader.gateway.link(reader.member, elsewhere.instance, "15550177")
    others = elsewhere.hear(message_id="3B000001")
    answer = reader.read_messages([good, own, others, f"msg_{'0' * 26}", "nonsense"])
    assert answer.status == 422
    assert answer.pointers == [f"#/messages/{index}" for index in range(1, 5)]
    assert reader.receipts() == elsewhere.receipts() == []
    assert reader.get(f"/api/messages/{good}").json["readAt"] is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/messages"),
        ({"messages": []}, "#/messages"),
        ({"messages": None}, "#/messages"),
        ({"messages": "msg_1"}, "#/messages"),
        ({"messages": [1]}, "#/messages/0"),
        ({"messages": [""]}, "#/messages/0"),
        ({"messages": ["x" * 65]}, "#/messages/0"),
        ({"messages": [f"msg_{'0' * 26}"] * 101}, "#/messages"),
        ({"messages": [f"msg_{'0' * 26}"], "played": "yes"}, "#/played"),
        ({"messages": [f"msg_{'0' * 26}"], "chat": ANNA_CHAT}, "#/chat"),
    ],
)
def test_a_request_to_read_must_name_messages(reader: Reader, body: Any, pointer: str) -> None:
    answer = reader.post("/api/messages/read", body)
    assert (answer.status, answer.pointers) == (422, [pointer])


def test_named_messages_stay_unread_when_whatsapp_refuses(reader: Reader) -> None:
    message = reader.hear()
    reader.gateway.driver.results["mark_read"] = Failure(reason="timeout", detail="no answer")
    assert reader.read_messages([message]).problem == "whatsapp-silent"
    assert reader.get(f"/api/messages/{message}").json["readAt"] is None
    del reader.gateway.driver.results["mark_read"]
    assert reader.read_messages([message]).json["items"][0]["readAt"]


def test_nobody_else_marks_messages_as_read(reader: Reader) -> None:
    message = reader.hear("secret")
    stranger = Reader(reader.gateway, reader.gateway.register(), reader.instance)
    assert stranger.read_messages([message]).status == 404
    stranger.instance = stranger.gateway.create_instance(stranger.member)
    assert stranger.read_messages([message]).pointers == ["#/messages/0"]
    colleague = reader.gateway.colleague(reader.member, Role.VIEWER)
    viewer = Reader(reader.gateway, colleague, reader.instance)
    assert viewer.read_messages([message]).status == 403
    assert reader.get(f"/api/messages/{message}").json["readAt"] is None
