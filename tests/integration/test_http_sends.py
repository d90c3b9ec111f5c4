"""Sending messages of every kind over HTTP: what is accepted, and how the rest is refused."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from support.forms import form
from support.http import Answer, HttpLab, Member, NewHttp
from support.media_samples import needs_ffmpeg, picture, recording
from support.tenants import new_instance
from wavisor.http import bulk
from wavisor.media import store as media_store
from wavisor.storage import Scope, instances, messages

CHAT = "15550199@s.whatsapp.net"
PNG = base64.b64encode(picture("PNG", 40, 30)).decode()


@dataclass
class Sender:
    """Somebody with an instance."""

    http: HttpLab
    member: Member
    instance: str

    def send(self, kind: str, body: Any, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(
            f"/api/messages/{kind}",
            body,
            token=self.member.token,
            headers={"X-Instance-Id": self.instance, **named},
        )

    def act(self, message: str, action: str, body: Any = None, **more: Any) -> Answer:
        path = f"/api/messages/{message}/{action}"
        return self.http.post(path, body or {}, token=self.member.token, **more)

    def upload(
        self, kind: str, parts: list[tuple[str, str | None, bytes]], **headers: str
    ) -> Answer:
        body, content_type = form(parts)
        return self.http.request(
            "POST",
            f"/api/messages/{kind}",
            body=body,
            token=self.member.token,
            headers={"X-Instance-Id": self.instance, "Content-Type": content_type, **headers},
        )

    @property
    def scope(self) -> Scope:
        return Scope(self.member.subscription_id)

    def stored(self, message: str) -> Any:
        found = self.http.run(self.http.database.fetch(messages.get, self.scope, message))
        assert found is not None
        return found

    def count(self) -> int:
        page = self.http.run(self.http.database.fetch(messages.list_page, self.scope, limit=200))
        return len(page.items)

    def mark_sent(self, message: str, whatsapp_id: str = "3EB0AA") -> None:
        def mark() -> None:
            messages.mark_sending(message)
            messages.mark_sent(message, whatsapp_id=whatsapp_id)

        self.http.database.write_wait(mark)


NewSender = Callable[..., Sender]


@pytest.fixture
def new_sender(new_http: NewHttp) -> NewSender:
    def make(**settings: Any) -> Sender:
        http = new_http(**settings)
        member = http.register()
        instance = new_instance(http.database, Scope(member.subscription_id))
        return Sender(http, member, instance.id)

    return make


@pytest.fixture
def sender(new_sender: NewSender) -> Iterator[Sender]:
    made = new_sender()
    yield made
    assert leftovers(made) == []


def leftovers(sender: Sender) -> list[Path]:
    folder = sender.http.services.media.root / "incoming"
    return list(folder.iterdir()) if folder.exists() else []


def files(sender: Sender) -> list[Path]:
    return [one for one in sender.http.services.media.root.rglob("*") if one.is_file()]


GOOD: dict[str, dict[str, Any]] = {
    "text": {"text": "hello"},
    "image": {"base64": PNG},
    "document": {"base64": PNG, "fileName": "a.png"},
    "sticker": {"base64": PNG},
    "location": {"latitude": 52.5, "longitude": 13.4},
    "contact": {"contacts": [{"name": "Ada", "phone": "+4915112345678"}]},
    "poll": {"question": "When?", "options": ["now", "later"]},
}


@pytest.mark.parametrize("kind", GOOD)
def test_message_of_each_kind_is_queued(sender: Sender, kind: str) -> None:
    answer = sender.send(kind, {"to": "+1 555 0199", **GOOD[kind]})
    assert answer.status == 202, answer.body
    assert answer.json["kind"] == kind
    assert answer.json["to"] == CHAT
    assert answer.json["status"] == "queued"
    assert answer.headers["Location"] == f"/api/messages/{answer.json['id']}"
    assert str(sender.http.services.media.root) not in answer.body.decode()
    read = sender.http.get(answer.headers["Location"], token=sender.member.token)
    assert answer.json.items() <= read.json.items()


@needs_ffmpeg
@pytest.mark.parametrize(("kind", "suffix"), [("video", "mp4"), ("audio", "mp3"), ("voice", "wav")])
def test_recording_is_queued(sender: Sender, kind: str, suffix: str) -> None:
    answer = sender.upload(
        kind, [("to", None, b"+15550199"), ("file", f"a.{suffix}", recording(suffix))]
    )
    assert answer.status == 202, answer.body
    stored = sender.stored(answer.json["id"])
    assert stored.content["file"]["seconds"] in (2, 3)
    assert stored.content["kind"] == kind
    assert (sender.http.services.media.root / stored.content["file"]["path"]).exists()
    assert stored.media_id == answer.json["mediaId"]


def test_options_are_stored_with_the_message(sender: Sender) -> None:
    now, berlin = sender.http.clock.now(), timezone(timedelta(hours=1))
    first = sender.send("text", {"to": "+15550199", "text": "first"}).json["id"]
    sender.mark_sent(first)
    answer = sender.send(
        "text",
        {
            "to": "120363025246125486@g.us",
            "text": "second",
            "quoted": first,
            "mentions": ["+4915112345678", "123456789012345@lid"],
            "mentionAll": True,
            "ephemeral": 86400,
            "typing": 2500,
            "sendAt": (now + timedelta(hours=1)).isoformat(),
            "expiresAt": (now + timedelta(hours=2)).astimezone(berlin).isoformat(),
            "priority": 5,
        },
    )
    assert answer.status == 202, answer.body
    told = ["4915112345678@s.whatsapp.net", "123456789012345@lid"]
    assert (answer.json["mentions"], answer.json["mentionAll"]) == (told, True)
    assert (answer.json["ephemeralSeconds"], answer.json["forwarded"]) == (86400, False)
    stored = sender.stored(answer.json["id"])
    assert stored.options["quoted"]["id"] == "3EB0AA"
    assert stored.options["quoted_text"] == "first"
    assert stored.options["mentions"] == ["4915112345678@s.whatsapp.net", "123456789012345@lid"]
    assert stored.options["mention_all"] is True
    assert stored.options["ephemeral_seconds"] == 86400
    assert stored.options["typing_seconds"] == 2.5
    assert stored.quoted_id == "3EB0AA"
    assert stored.priority == 5
    assert stored.send_at == now + timedelta(hours=1)
    assert stored.expires_at == now + timedelta(hours=2)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("text", {"text": "x", "to": None}, "#/to"),
    ("text", {"text": "x", "to": ""}, "#/to"),
    ("text", {"text": "x", "to": "Bob"}, "#/to"),
    ("text", {"text": "x", "to": "0151 12345678"}, "#/to"),
    ("text", {"text": "x", "to": "1" * 500}, "#/to"),
    ("text", {"text": "x", "to": 15550199}, "#/to"),
    ("text", {}, "#/text"),
    ("text", {"text": ""}, "#/text"),
    ("text", {"text": " \n"}, "#/text"),
    ("text", {"text": 5}, "#/text"),
    ("text", {"text": "x" * 65_537}, "#/text"),
    ("text", {"text": "x", "colour": "red"}, "#/colour"),
    ("text", {"text": "x", "viewOnce": True}, "#/viewOnce"),
    ("text", {"text": "x", "quoted": "msg_01K9Z3AAAAAAAAAAAAAAAAAAAA"}, "#/quoted"),
    ("text", {"text": "x", "quoted": "nonsense"}, "#/quoted"),
    ("text", {"text": "x", "mentions": ["Bob"]}, "#/mentions/0"),
    ("text", {"text": "x", "mentions": ["120363025246125486@g.us"]}, "#/mentions/0"),
    ("text", {"text": "x", "mentions": "Bob"}, "#/mentions"),
    ("text", {"text": "x", "mentionAll": True}, "#/mentionAll"),
    ("text", {"text": "x", "ephemeral": 5}, "#/ephemeral"),
    ("text", {"text": "x", "typing": 60_001}, "#/typing"),
    ("text", {"text": "x", "typing": -1}, "#/typing"),
    ("text", {"text": "x", "sendAt": "tomorrow"}, "#/sendAt"),
    ("text", {"text": "x", "sendAt": "2026-01-01T00:00:00"}, "#/sendAt"),
    ("text", {"text": "x", "sendAt": "9999-01-01T00:00:00Z"}, "#/sendAt"),
    ("text", {"text": "x", "expiresAt": "2000-01-01T00:00:00Z"}, "#/expiresAt"),
    ("text", {"text": "x", "priority": 11}, "#/priority"),
    ("text", {"text": "x", "linkPreview": "yes"}, "#/linkPreview"),
    ("image", {}, "#/url"),
    ("image", {"url": "", "base64": None}, "#/url"),
    ("image", {"url": "https://example.com/a.png", "base64": PNG}, "#/base64"),
    ("image", {"base64": PNG, "caption": "x" * 4097}, "#/caption"),
    ("image", {"base64": PNG, "fileName": ""}, "#/fileName"),
    ("audio", {"base64": PNG, "caption": "x"}, "#/caption"),
    ("sticker", {"base64": PNG, "viewOnce": True}, "#/viewOnce"),
    ("location", {"longitude": 0}, "#/latitude"),
    ("location", {"latitude": 90.1, "longitude": 0}, "#/latitude"),
    ("location", {"latitude": 0, "longitude": -180.1}, "#/longitude"),
    ("location", {"latitude": "0", "longitude": 0}, "#/latitude"),
    ("location", {"latitude": 0, "longitude": 0, "name": "x" * 201}, "#/name"),
    ("contact", {}, "#/contacts"),
    ("contact", {"contacts": []}, "#/contacts"),
    ("contact", {"contacts": [{"name": "Ada"}]}, "#/contacts/0"),
    ("contact", {"contacts": [{"phone": "+4915112345678"}]}, "#/contacts/0/name"),
    ("contact", {"contacts": [{"name": " ", "phone": "+4915112345678"}]}, "#/contacts/0/name"),
    ("contact", {"contacts": [{"name": "Ada", "phone": "nobody"}]}, "#/contacts/0/phone"),
    ("contact", {"contacts": [{"name": "Ada", "vcard": "BEGIN:"}]}, "#/contacts/0/vcard"),
    ("contact", {"contacts": [{"name": "A", "phone": "+4915112345678"}] * 51}, "#/contacts"),
    ("poll", {"options": ["a", "b"]}, "#/question"),
    ("poll", {"question": "?", "options": ["a"]}, "#/options"),
    ("poll", {"question": "?", "options": ["a", "a"]}, "#/options"),
    ("poll", {"question": "?", "options": ["a", " "]}, "#/options"),
    ("poll", {"question": "?", "options": [str(one) for one in range(13)]}, "#/options"),
    ("poll", {"question": "?", "options": ["a", "b"], "selectableCount": 3}, "#"),
    ("poll", {"question": "x" * 256, "options": ["a", "b"]}, "#/question"),
    ("reaction", {"emoji": "👍", "to": None}, "#/messageId"),
    ("reaction", {"messageId": "nonsense", "emoji": "👍", "to": None}, "#/messageId"),
    ("reaction", {"messageId": "nonsense", "emoji": "abc", "to": None}, "#/emoji"),
]


@pytest.mark.parametrize(("kind", "body", "pointer"), BAD)
def test_field_that_is_missing_or_wrong_is_named(
    sender: Sender, kind: str, body: dict[str, Any], pointer: str
) -> None:
    whole = {"to": "+15550199", **body}
    answer = sender.send(kind, {name: value for name, value in whole.items() if value is not None})
    assert answer.status == 422, answer.body
    assert answer.problem == "validation-failed"
    assert pointer in answer.pointers
    assert sender.count() == 0
    assert files(sender) == []


@pytest.mark.parametrize(
    ("kind", "content", "reason"),
    [
        ("image", "", "empty"),
        ("image", PNG[:-5], "unreadable"),
        ("image", PNG[:101], "unreadable"),
        ("image", "!!!!", "unreadable"),
        ("image", "data:image/png,hello", "unreadable"),
        ("image", base64.b64encode(b"%PDF-1.4").decode(), "unsupported"),
        ("image", base64.b64encode(picture("GIF")).decode(), "unsupported"),
        ("image", base64.b64encode(picture("PNG")[:100]).decode(), "unreadable"),
        ("video", PNG, "unsupported"),
        ("audio", PNG, "unsupported"),
        ("voice", PNG, "unsupported"),
        ("sticker", base64.b64encode(b"hello").decode(), "unsupported"),
    ],
)
def test_file_that_cannot_be_sent_is_refused_with_the_reason(
    sender: Sender, kind: str, content: str, reason: str
) -> None:
    answer = sender.send(kind, {"to": "+15550199", "base64": content})
    assert answer.status == 422, answer.body
    if content:
        assert answer.problem == "media-unusable"
        assert answer.json["reason"] == reason
    assert answer.pointers == ["#/base64"]
    assert sender.count() == 0
    assert files(sender) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/a.png", "forbidden_url"),
        ("http://169.254.169.254/latest/meta-data", "forbidden_url"),
        ("http://[::ffff:127.0.0.1]/", "forbidden_url"),
        ("file:///etc/passwd", "forbidden_url"),
        ("nonsense", "forbidden_url"),
        ("http://localhost:8080/a.png", "forbidden_url"),
    ],
)
def test_url_that_leads_inside_is_refused(sender: Sender, url: str, reason: str) -> None:
    answer = sender.send("image", {"to": "+15550199", "url": url})
    assert answer.status == 422
    assert (answer.problem, answer.json["reason"]) == ("media-unusable", reason)
    assert answer.pointers == ["#/url"]


class Files(RequestHandler):
    """A server of somebody else's, on loopback."""

    def get(self, path: str) -> None:
        if path == "elsewhere":
            self.redirect("http://169.254.169.254/latest/meta-data")
        elif path == "lying.png":
            self.set_header("Content-Type", "image/png")
            self.write(b"<html>no picture</html>")
        elif path == "endless.png":
            self.write(picture("PNG", 40, 30) + bytes(60_000))
        elif path == "page":
            self.write('<title>A page</title><meta property="og:image" content="cat.png">')
        elif path == "cat.png":
            self.write(picture("PNG", 40, 30))
        else:
            self.set_status(404)


@pytest.fixture
def near(new_sender: NewSender) -> Iterator[tuple[Sender, str]]:
    """A gateway that may ask this machine, and the address of a server there."""
    sender = new_sender(media_allow_private=True, media_image_limit_bytes=50_000)

    async def start() -> tuple[HTTPServer, int]:
        server = HTTPServer(Application([("/(.*)", Files)], log_function=lambda _: None))
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        return server, sockets[0].getsockname()[1]

    async def stop(server: HTTPServer) -> None:
        server.stop()
        await server.close_all_connections()

    server, port = sender.http.run(start())
    yield sender, f"http://127.0.0.1:{port}"
    sender.http.run(stop(server))


def test_file_is_fetched_by_its_url(near: tuple[Sender, str]) -> None:
    sender, base = near
    answer = sender.send("image", {"to": "+15550199", "url": f"{base}/cat.png"})
    assert answer.status == 202, answer.body
    file = sender.stored(answer.json["id"]).content["file"]
    assert (file["file_name"], file["width"], file["mime_type"]) == ("cat.png", 40, "image/png")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("elsewhere", "forbidden_url"),
        ("lying.png", "unsupported"),
        ("endless.png", "too_large"),
        ("none.png", "unreachable"),
    ],
)
def test_url_of_what_cannot_be_sent_is_refused(
    near: tuple[Sender, str], path: str, reason: str
) -> None:
    sender, base = near
    answer = sender.send("image", {"to": "+15550199", "url": f"{base}/{path}"})
    assert (answer.status, answer.json["reason"]) == (422, reason)
    assert answer.pointers == ["#/url"]
    assert sender.count() == 0
    assert files(sender) == []


def test_link_gets_a_preview_where_it_is_wanted(near: tuple[Sender, str]) -> None:
    sender, base = near
    text = f"see {base}/page!"
    answer = sender.send("text", {"to": "+15550199", "text": text, "linkPreview": True})
    assert answer.status == 202, answer.body
    stored = sender.stored(answer.json["id"])
    assert stored.content["preview_url"] == f"{base}/page"
    assert stored.content["preview_title"] == "A page"
    assert (sender.http.services.media.root / stored.content["preview_thumbnail_path"]).exists()
    assert stored.media_id is not None
    plain = sender.stored(sender.send("text", {"to": "+15550199", "text": text}).json["id"])
    assert plain.content.get("preview_url") is None


def test_of_many_texts_the_first_get_a_preview(
    near: tuple[Sender, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, base = near
    monkeypatch.setattr(bulk, "PREVIEW_LIMIT", 2)
    text = {"kind": "text", "to": "+15550199", "text": f"see {base}/page!"}
    wanted = {**text, "linkPreview": True}
    answer = sender.send("bulk", {"messages": [wanted, text, wanted, wanted]})
    assert (answer.status, answer.json["accepted"]) == (202, 4)
    ids = [item["message"]["id"] for item in answer.json["items"]]
    shown = [sender.stored(one).content.get("preview_url") is not None for one in ids]
    assert shown == [True, False, True, False]


def test_text_is_sent_although_its_link_has_no_preview(near: tuple[Sender, str]) -> None:
    sender, base = near
    body = {"to": "+15550199", "text": f"{base}/elsewhere", "linkPreview": True}
    answer = sender.send("text", body)
    assert answer.status == 202
    assert sender.stored(answer.json["id"]).content.get("preview_url") is None


def test_data_url_is_taken_for_what_is_in_it(sender: Sender) -> None:
    answer = sender.send("image", {"to": "+15550199", "base64": f"data:image/gif;base64,{PNG}"})
    assert answer.status == 202
    assert answer.json["content"]["file"]["mimeType"] == "image/png"


def test_missing_ffmpeg_is_named(new_sender: NewSender) -> None:
    sender = new_sender(ffprobe="no-such-ffprobe")
    content = base64.b64encode(b"OggS" + bytes(100)).decode()
    answer = sender.send("voice", {"to": "+15550199", "base64": content})
    assert answer.status == 422
    assert answer.json["reason"] == "tool_missing"
    assert "no-such-ffprobe" in answer.json["detail"]


def test_same_file_is_stored_once(sender: Sender) -> None:
    ids = [
        sender.send("image", {"to": f"+1555020{number}", "base64": PNG}).json["mediaId"]
        for number in range(3)
    ]
    assert len(set(ids)) == 1
    assert len(files(sender)) == 2  # itself and its preview


def test_larger_base64_is_refused_before_it_is_read(new_sender: NewSender) -> None:
    sender = new_sender(media_inline_limit_bytes=2000, body_limit_bytes=4000)
    body = {"to": "+15550199", "base64": base64.b64encode(bytes(2001)).decode()}
    answer = sender.send("document", body)
    assert (answer.status, answer.json["reason"]) == (422, "too_large")
    answer = sender.send("document", {"to": "+15550199", "base64": "A" * 20_000})
    assert (answer.status, answer.problem) == (413, "body-too-large")


# Uploads


def test_upload_is_sent_with_its_name_and_fields(sender: Sender) -> None:
    answer = sender.upload(
        "document",
        [
            ("to", None, b"+15550199"),
            ("caption", None, "häh?".encode()),
            ("priority", None, b"3"),
            ("mentions", None, b"+4915112345678"),
            ("mentions", None, b"+4915112345679"),
            ("typing", None, b"true"),
            ("file", "../../r\xc3\xa4tsel.pdf".encode("latin-1").decode(), b"%PDF-1.4 hello"),
        ],
    )
    assert answer.status == 202, answer.body
    stored = sender.stored(answer.json["id"])
    assert stored.content["file"]["file_name"].endswith("tsel.pdf")
    assert "/" not in stored.content["file"]["file_name"]
    assert stored.content["file"]["mime_type"] == "application/pdf"
    assert (
        sender.http.services.media.root / stored.content["file"]["path"]
    ).read_bytes() == b"%PDF-1.4 hello"
    assert stored.content["caption"] == "häh?"
    assert stored.priority == 3
    assert len(stored.options["mentions"]) == 2
    assert stored.options["typing_seconds"] > 0


def test_upload_of_many_megabytes_goes_to_the_disk(sender: Sender) -> None:
    content = bytes(range(256)) * 40_000  # ten times what other bodies may have
    answer = sender.upload("document", [("file", "big.bin", content), ("to", None, b"+15550199")])
    assert answer.status == 202
    stored = sender.stored(answer.json["id"])
    assert stored.content["file"]["size"] == len(content)
    assert (
        sender.http.services.media.root / stored.content["file"]["path"]
    ).read_bytes() == content


def test_upload_that_is_too_large_is_refused_and_leaves_nothing(new_sender: NewSender) -> None:
    sender = new_sender(media_document_limit_bytes=50_000, body_limit_bytes=20_000)
    answer = sender.upload("document", [("to", None, b"+15550199"), ("file", "a", b"x" * 50_001)])
    assert (answer.status, answer.problem) == (413, "body-too-large")
    assert files(sender) == []
    exact = sender.upload("document", [("to", None, b"+15550199"), ("file", "a", b"x" * 50_000)])
    assert exact.status == 202


@pytest.mark.parametrize(
    ("parts", "status", "pointer"),
    [
        ([("to", None, b"+15550199")], 422, "#/url"),
        ([("to", None, b"+15550199"), ("file", "a", b"")], 422, "#/file"),
        ([("file", "a", b"x")], 422, "#/to"),
        ([("to", None, b"+15550199"), ("file", "a", b"x"), ("file", "b", b"y")], 422, "#/file"),
        ([("to", None, b"+15550199"), ("other", "a", b"x")], 422, "#/other"),
        ([("to", None, b"\xff"), ("file", "a", b"x")], 422, "#/to"),
        ([("to", None, b"+15550199"), ("to", None, b"+1"), ("file", "a", b"x")], 422, "#/to"),
        (
            [("to", None, b"+15550199"), ("colour", None, b"red"), ("file", "a", b"x")],
            422,
            "#/colour",
        ),
        (
            [("to", None, b"+15550199"), ("priority", None, b"hi"), ("file", "a", b"x")],
            422,
            "#/priority",
        ),
        (
            [("to", None, b"+15550199"), ("url", None, b"https://a.b/"), ("file", "a", b"x")],
            422,
            "#/file",
        ),
        ([("to", None, b"+1555\x000199"), ("file", "a", b"x")], 422, "#/to"),
    ],
)
def test_form_that_does_not_fit_names_the_field(
    sender: Sender, parts: list[tuple[str, str | None, bytes]], status: int, pointer: str
) -> None:
    answer = sender.upload("document", parts)
    assert answer.status == status, answer.body
    assert pointer in answer.pointers
    assert sender.count() == 0
    assert files(sender) == []


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("to", None, b"+15550199"), ("file", "a", b"")], 422),
        ([("to", None, b"+15550199"), ("file", "a", b"x" * 50_001)], 413),
        ([("to", None, b"nobody"), ("file", "a", b"x")], 422),
        ([("to", None, b"+15550199"), ("file", "a", b"x")], 202),
    ],
)
def test_upload_is_cleared_away_before_the_answer_however_slow_the_disk(
    new_sender: NewSender,
    monkeypatch: pytest.MonkeyPatch,
    parts: list[tuple[str, str | None, bytes]],
    status: int,
) -> None:
    remove = media_store._remove

    def slow_remove(path: Path) -> None:
        threading.Event().wait(0.2)
        remove(path)

    monkeypatch.setattr(media_store, "_remove", slow_remove)
    sender = new_sender(media_document_limit_bytes=50_000, body_limit_bytes=20_000)
    assert sender.upload("document", parts).status == status
    assert [one for one in files(sender) if one.parent.name == "incoming"] == []


def test_upload_that_cannot_be_removed_changes_no_answer(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    fine = [("to", None, b"+15550199"), ("file", "a", b"x")]
    with monkeypatch.context() as broken:
        broken.setattr(media_store, "_remove", fail)
        assert sender.upload("document", fine).status == 202
        assert sender.upload("document", [*fine, ("other", "b", b"y")]).status == 422
    left = [one for one in files(sender) if one.parent.name == "incoming"]
    assert len(left) == 1
    sender.http.services.media.open()
    assert not left[0].exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b'--xYz\r\nContent-Disposition: form-data; name="to"\r\n\r\n+1555',
        b"--xYz\r\nX: y\r\n\r\nhello\r\n--xYz--\r\n",
        b"--xYz\r\n" + b"A" * 10_000 + b"\r\n\r\nhello\r\n--xYz--\r\n",
        b'--xYz\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nhello\r\n--xYz--\r\n',
    ],
)
def test_form_that_cannot_be_read_is_refused(sender: Sender, body: bytes) -> None:
    answer = sender.http.request(
        "POST",
        "/api/messages/image",
        body=body,
        token=sender.member.token,
        headers={
            "X-Instance-Id": sender.instance,
            "Content-Type": "multipart/form-data; boundary=xYz",
        },
    )
    assert (answer.status, answer.problem) == (400, "malformed-request")
    assert "Error" not in answer.json["detail"]


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_form_without_boundary_is_refused(sender: Sender, content_type: str) -> None:
    answer = sender.http.request(
        "POST",
        "/api/messages/image",
        body=b"x",
        token=sender.member.token,
        headers={"X-Instance-Id": sender.instance, "Content-Type": content_type},
    )
    assert (answer.status, answer.problem) == (400, "malformed-request")


def test_form_is_for_files_only(sender: Sender) -> None:
    answer = sender.upload("text", [("to", None, b"+15550199"), ("text", None, b"x")])
    assert answer.status == 415


def test_stranger_may_not_upload(sender: Sender) -> None:
    body, content_type = form([("to", None, b"+15550199"), ("file", "a", bytes(2_000_000))])
    answer = sender.http.request(
        "POST",
        "/api/messages/document",
        body=body,
        headers={"X-Instance-Id": sender.instance, "Content-Type": content_type},
    )
    assert answer.status == 401
    assert files(sender) == []


def test_client_that_leaves_in_the_middle_of_an_upload_leaves_nothing(sender: Sender) -> None:
    head = (
        "POST /api/messages/document HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {sender.member.token}\r\nX-Instance-Id: {sender.instance}\r\n"
        "Content-Type: multipart/form-data; boundary=xYz\r\nContent-Length: 5000000\r\n\r\n"
        '--xYz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )

    async def leave() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", sender.http.port)
        writer.write(head.encode() + b"x" * 1_000_000)
        await writer.drain()
        async with asyncio.timeout(10):
            while not leftovers(sender):  # noqa: ASYNC110 - nothing tells of this
                await asyncio.sleep(0)  # lets the server go on
            writer.close()
            while leftovers(sender):  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0)  # lets the server go on

    sender.http.run(leave())


# Recipients


def test_national_number_needs_the_region_of_the_instance(sender: Sender) -> None:
    def settle() -> None:
        instances.update(sender.scope, sender.instance, settings={"defaultRegion": "DE"})

    assert sender.send("text", {"to": "0151 12345678", "text": "x"}).status == 422
    sender.http.database.write_wait(settle)
    for written in ("0151 12345678", "+49 151 12345678", "4915112345678"):
        answer = sender.send("text", {"to": written, "text": "x"})
        assert answer.json["to"] == "4915112345678@s.whatsapp.net", written
    assert sender.send("text", {"to": "+1 555 0199", "text": "x"}).json["to"] == CHAT


@pytest.mark.parametrize(
    "chat",
    [
        "123456789012345@lid",
        "120363025246125486@g.us",
        "120363025246125486@newsletter",
        "status@broadcast",
    ],
)
def test_recipient_may_be_any_chat(sender: Sender, chat: str) -> None:
    assert sender.send("text", {"to": chat, "text": "x"}).json["to"] == chat


# Reactions and actions


CHANNEL, STATUS = "120363025246125486@newsletter", "status@broadcast"


@pytest.mark.parametrize(
    ("kind", "to", "body"),
    [
        ("image", CHANNEL, {"base64": PNG}),
        ("location", CHANNEL, {"latitude": 1, "longitude": 2}),
        ("contact", CHANNEL, {"contacts": [{"name": "Ada", "phone": "+4915112345678"}]}),
        ("poll", STATUS, {"question": "?", "options": ["a", "b"]}),
    ],
)
def test_what_a_channel_or_a_status_cannot_show_is_not_accepted(
    sender: Sender, kind: str, to: str, body: dict[str, Any]
) -> None:
    answer = sender.send(kind, {"to": to, **body})
    assert (answer.status, answer.pointers) == (422, ["#/to"])
    first = sender.send(kind, {"to": "+15550199", **body}).json["id"]
    sender.mark_sent(first)
    forwarded = sender.act(first, "forward", {"to": to})
    assert (forwarded.status, forwarded.pointers) == (422, ["#/to"])


def test_what_channels_and_statuses_have_not_is_refused(sender: Sender) -> None:
    for to in (CHANNEL, STATUS):
        message = sender.send("text", {"to": to, "text": "x"}).json["id"]
        sender.mark_sent(message)
        answer = sender.send("reaction", {"messageId": message, "emoji": "👍"})
        assert (answer.status, answer.pointers) == (422, ["#/messageId"])
    assert sender.act(message, "edit", {"text": "y"}).problem == "message-state"


def test_reaction_goes_to_the_chat_of_its_message(sender: Sender) -> None:
    message = sender.send("text", {"to": "+15550199", "text": "x"}).json["id"]
    early = sender.send("reaction", {"messageId": message, "emoji": "👍"})
    assert (early.status, early.pointers) == (422, ["#/messageId"])
    sender.mark_sent(message)
    for emoji in ("👍", "👨‍👩‍👧‍👦", "1️⃣", ""):
        answer = sender.send("reaction", {"messageId": message.lower(), "emoji": emoji})
        assert answer.status == 202, answer.body
        stored = sender.stored(answer.json["id"])
        assert stored.chat == CHAT
        assert stored.content["target"]["id"] == "3EB0AA"
        assert stored.content["emoji"] == emoji


def test_reaction_to_another_tenants_message_is_to_none(sender: Sender) -> None:
    message = sender.send("text", {"to": "+15550199", "text": "x"}).json["id"]
    sender.mark_sent(message)
    stranger = sender.http.register()
    instance = new_instance(sender.http.database, Scope(stranger.subscription_id))
    other = Sender(sender.http, stranger, instance.id)
    assert other.send("reaction", {"messageId": message, "emoji": "👍"}).status == 422
    for action in ("edit", "revoke", "forward"):
        body = {"text": "x"} if action == "edit" else {"to": CHAT} if action == "forward" else {}
        assert other.act(message, action, body).status == 404


def test_sent_message_can_be_edited_and_taken_back(sender: Sender) -> None:
    message = sender.send("text", {"to": "+15550199", "text": "x"}).json["id"]
    assert sender.act(message, "edit", {"text": "y"}).problem == "message-state"
    assert sender.act(message, "revoke").problem == "message-state"
    sender.mark_sent(message)
    edit = sender.act(message, "edit", {"text": "y"})
    assert edit.status == 202, edit.body
    assert edit.json["kind"] == "edit"
    assert sender.stored(edit.json["id"]).content["target"]["id"] == "3EB0AA"
    revoke = sender.act(message, "revoke")
    assert (revoke.status, revoke.json["kind"]) == (202, "revoke")
    assert sender.act(message, "edit", {"text": ""}).pointers == ["#/text"]


def test_edited_caption_is_no_longer_than_one_that_is_sent(sender: Sender) -> None:
    message = sender.send("image", {"to": "+15550199", "base64": PNG}).json["id"]
    sender.mark_sent(message)
    assert sender.act(message, "edit", {"text": "x" * 4097}).pointers == ["#/text"]
    assert sender.act(message, "edit", {"text": "x" * 4096}).status == 202


def test_location_cannot_be_edited(sender: Sender) -> None:
    message = sender.send("location", {"to": "+15550199", "latitude": 1, "longitude": 2}).json["id"]
    sender.mark_sent(message)
    assert sender.act(message, "edit", {"text": "y"}).problem == "message-state"


def test_message_is_forwarded_with_its_file(sender: Sender) -> None:
    first = sender.send("image", {"to": "+15550199", "base64": PNG, "caption": "cat"}).json
    answer = sender.act(first["id"], "forward", {"to": "+15550198"})
    assert answer.status == 202, answer.body
    assert answer.json["to"] == "15550198@s.whatsapp.net"
    assert answer.json["mediaId"] == first["mediaId"]
    stored = sender.stored(answer.json["id"])
    assert stored.options == {"forwarded": True}
    assert stored.text == "cat"
    assert sender.act(answer.json["id"], "forward", {"to": "Bob"}).pointers == ["#/to"]


# Once only


def test_same_key_sends_once_and_repeats_the_answer(sender: Sender) -> None:
    body = {"to": "+15550199", "text": "once"}
    first = sender.send("text", body, Idempotency_Key="order-1")
    again = sender.send("text", body, Idempotency_Key="order-1")
    assert (first.status, again.status) == (202, 202)
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert sender.count() == 1


def test_same_key_with_another_body_or_route_is_refused(sender: Sender) -> None:
    body = {"to": "+15550199", "text": "once"}
    sender.send("text", body, Idempotency_Key="order-1")
    other = sender.send("text", {**body, "text": "twice"}, Idempotency_Key="order-1")
    assert (other.status, other.problem) == (422, "idempotency-key-reused")
    poll = sender.send("poll", {"to": "+15550199", **GOOD["poll"]}, Idempotency_Key="order-1")
    assert poll.problem == "idempotency-key-reused"
    assert sender.count() == 1


def test_keys_of_tenants_are_their_own(sender: Sender) -> None:
    stranger = sender.http.register()
    instance = new_instance(sender.http.database, Scope(stranger.subscription_id))
    other = Sender(sender.http, stranger, instance.id)
    body = {"to": "+15550199", "text": "once"}
    assert sender.send("text", body, Idempotency_Key="k").status == 202
    assert other.send("text", body, Idempotency_Key="k").status == 202
    assert (sender.count(), other.count()) == (1, 1)


def test_failed_request_gives_its_key_back(sender: Sender) -> None:
    bad = {"to": "+15550199", "base64": "!"}
    assert sender.send("image", bad, Idempotency_Key="k").status == 422
    good = {"to": "+15550199", "base64": PNG}
    assert sender.send("image", good, Idempotency_Key="k").status == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "ä"])
def test_key_that_is_none_is_refused(sender: Sender, key: str) -> None:
    answer = sender.send("text", {"to": "+15550199", "text": "x"}, Idempotency_Key=key)
    assert (answer.status, answer.pointers) == (422, ["Idempotency-Key"])


def test_same_upload_is_recognised_whatever_its_boundary(sender: Sender) -> None:
    parts: list[tuple[str, str | None, bytes]] = [
        ("to", None, b"+15550199"),
        ("file", "a.txt", b"hello"),
    ]
    answers = []
    for boundary in ("one", "two"):
        body, content_type = form(parts, boundary)
        answers.append(
            sender.http.request(
                "POST",
                "/api/messages/document",
                body=body,
                token=sender.member.token,
                headers={
                    "X-Instance-Id": sender.instance,
                    "Content-Type": content_type,
                    "Idempotency-Key": "k",
                },
            )
        )
    assert answers[0].json == answers[1].json
    changed = sender.upload(
        "document",
        [("to", None, b"+15550199"), ("file", "a.txt", b"hullo")],
        **{"Idempotency-Key": "k"},
    )
    assert changed.problem == "idempotency-key-reused"


def test_same_key_fifty_times_at_once_sends_once(http_on_both: HttpLab) -> None:
    member = http_on_both.register()
    instance = new_instance(http_on_both.database, Scope(member.subscription_id))
    sender = Sender(http_on_both, member, instance.id)

    async def all_at_once() -> list[Answer]:
        return await asyncio.gather(
            *[
                http_on_both.send(
                    "POST",
                    "/api/messages/text",
                    body=json.dumps({"to": "+15550199", "text": "once"}).encode(),
                    token=member.token,
                    headers={"X-Instance-Id": instance.id, "Idempotency-Key": "k"},
                )
                for _ in range(50)
            ]
        )

    answers = http_on_both.run(all_at_once(), 60)
    assert {one.status for one in answers} <= {202, 409}
    assert len({one.json["id"] for one in answers if one.status == 202}) == 1
    assert all(one.problem == "request-running" for one in answers if one.status == 409)
    assert sender.count() == 1
