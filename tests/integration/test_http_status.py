"""Posting a status over HTTP: what is accepted, and how the rest is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from support.http import Answer, HttpLab, Member, NewHttp
from support.media_samples import picture
from support.tenants import new_instance
from wavisor.storage import Scope, messages

PNG = base64.b64encode(picture("PNG", 40, 30)).decode()
CHAT = "status@broadcast"


class Poster:
    """Somebody with an instance."""

    def __init__(self, http: HttpLab) -> None:
        self.http = http
        self.member: Member = http.register()
        self.scope = Scope(self.member.subscription_id)
        self.instance = new_instance(http.database, self.scope).id

    def post(self, kind: str, body: Any, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(
            f"/api/status/{kind}",
            body,
            token=self.member.token,
            headers={"X-Instance-Id": self.instance, **named},
        )

    def get(self, path: str) -> Answer:
        headers = {"X-Instance-Id": self.instance}
        return self.http.get(path, token=self.member.token, headers=headers)

    def count(self) -> int:
        page = self.http.run(self.http.database.fetch(messages.list_page, self.scope, limit=9))
        return len(page.items)


@pytest.fixture
def poster(new_http: NewHttp) -> Iterator[Poster]:
    yield Poster(new_http())


def test_a_text_is_queued_in_its_colours(poster: Poster) -> None:
    body = {"text": "On holiday", "background": "#aa00BB", "font": "bold"}
    answer = poster.post("text", body)
    assert answer.status == 202, answer.body
    made = answer.json
    assert (made["to"], made["kind"], made["status"]) == (CHAT, "text", "queued")
    assert made["content"]["background"] == "#aa00BB"
    assert made["content"]["font"] == "bold"
    assert answer.headers["Location"] == f"/api/messages/{made['id']}"
    plain = poster.post("text", {"text": "plain"}).json["content"]
    assert (plain["background"], plain["font"]) == ("#075E54", "system")


def test_a_picture_is_queued_with_its_caption(poster: Poster) -> None:
    answer = poster.post("image", {"base64": PNG, "caption": "The sea"})
    assert answer.status == 202, answer.body
    made = answer.json
    assert (made["to"], made["kind"], made["text"]) == (CHAT, "image", "The sea")
    assert made["mediaId"].startswith("med_")


def test_own_statuses_are_listed_and_can_be_taken_back(poster: Poster) -> None:
    made = poster.post("text", {"text": "first"}).json["id"]
    poster.post("text", {"text": "second"})
    query = f"/api/messages?chat={CHAT}&direction=outbound"
    assert [one["text"] for one in poster.get(query).json["items"]] == ["second", "first"]

    def mark_sent() -> None:
        messages.mark_sending(made)
        messages.mark_sent(made, whatsapp_id="3EB0AA")

    early = poster.http.post(f"/api/messages/{made}/revoke", {}, token=poster.member.token)
    assert early.problem == "message-state"
    poster.http.database.write_wait(mark_sent)
    answer = poster.http.post(f"/api/messages/{made}/revoke", {}, token=poster.member.token)
    assert (answer.status, answer.json["kind"], answer.json["to"]) == (202, "revoke", CHAT)


def test_a_status_is_posted_once_for_each_key(poster: Poster) -> None:
    answers = [poster.post("text", {"text": "x"}, Idempotency_Key="k") for _ in range(3)]
    assert len({one.json["id"] for one in answers}) == 1
    assert poster.count() == 1
    assert poster.post("text", {"text": "y"}, Idempotency_Key="k").status == 422


@pytest.mark.parametrize(
    ("kind", "body", "pointer"),
    [
        ("text", {}, "#/text"),
        ("text", {"text": ""}, "#/text"),
        ("text", {"text": " "}, "#/text"),
        ("text", {"text": "x" * 701}, "#/text"),
        ("text", {"text": 7}, "#/text"),
        ("text", {"text": "x", "background": "red"}, "#/background"),
        ("text", {"text": "x", "background": "#12345"}, "#/background"),
        ("text", {"text": "x", "background": None}, "#/background"),
        ("text", {"text": "x", "font": "comic"}, "#/font"),
        ("text", {"text": "x", "font": 3}, "#/font"),
        ("text", {"text": "x", "to": "+4915112345678"}, "#/to"),
        ("text", {"text": "x", "sendAt": "tomorrow"}, "#/sendAt"),
        ("text", {"text": "x", "sendAt": "2999-01-01T00:00:00Z"}, "#/sendAt"),
        ("text", {"text": "x", "expiresAt": "2000-01-01T00:00:00Z"}, "#/expiresAt"),
        ("text", {"text": "x", "priority": 11}, "#/priority"),
        ("image", {}, "#/url"),
        ("image", {"base64": ""}, "#/base64"),
        ("image", {"base64": "%%%"}, "#/base64"),
        ("image", {"base64": base64.b64encode(b"no picture").decode()}, "#/base64"),
        ("image", {"base64": PNG, "url": "https://example.com/a.png"}, "#/base64"),
        ("image", {"url": "ftp://example.com/a.png"}, "#/url"),
        ("image", {"url": "http://127.0.0.1/a.png"}, "#/url"),
        ("image", {"base64": PNG, "caption": "x" * 4097}, "#/caption"),
        ("image", {"base64": PNG, "fileName": ""}, "#/fileName"),
        ("image", {"base64": PNG, "viewOnce": True}, "#/viewOnce"),
        ("video", {}, "#/url"),
        ("video", {"base64": PNG}, "#/base64"),
    ],
)
def test_a_field_that_is_missing_or_wrong_is_named(
    poster: Poster, kind: str, body: dict[str, Any], pointer: str
) -> None:
    answer = poster.post(kind, body)
    assert answer.status == 422, answer.body
    assert answer.pointers == [pointer]
    assert poster.count() == 0


def test_another_tenant_posts_nothing(poster: Poster) -> None:
    poster.member = poster.http.register()
    assert poster.post("text", {"text": "x"}).status == 404
