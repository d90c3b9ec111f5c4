"""Chats that are archived, pinned and muted over HTTP, in the gateway alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from support.http import Answer, HttpLab, Member, NewHttp
from support.keys import new_key
from support.queueing import ALICE, BOB, new_inbound
from support.tenants import new_instance
from wavisor.clock import format_time
from wavisor.storage import (
    AuditFilter,
    Database,
    Party,
    Scope,
    audit,
    chat_addresses,
    messages,
)

HIDDEN = "77010001@lid"


class Desk:
    """Somebody with an instance that two people wrote to."""

    def __init__(self, http: HttpLab) -> None:
        self.http = http
        self.member: Member = http.register()
        self.scope = Scope(self.member.subscription_id)
        self.instance = new_instance(http.database, self.scope).id
        self.hear(ALICE)
        self.hear(BOB)

    def hear(self, chat: str) -> None:
        lid = chat if chat.endswith("@lid") else None
        text = new_inbound("hi", chat=Party(chat, lid))
        self.http.database.write_wait(messages.receive, self.scope, self.instance, text)

    def change(self, body: Any, chat: str = ALICE, token: str | None = None) -> Answer:
        return self.http.request(
            "PATCH",
            f"/api/chats/{chat}",
            json=body,
            token=token or self.member.token,
            headers={"X-Instance-Id": self.instance},
        )

    def listed(self, query: str) -> list[str]:
        answer = self.http.get(f"/api/chats?{query}", token=self.member.token)
        return sorted(one["jid"] for one in answer.json["items"])

    def time(self, *, hours: int) -> str:
        """A moment that is so far ahead."""
        return format_time(self.http.clock.now() + timedelta(hours=hours))

    def get(self, chat: str = ALICE) -> Any:
        headers = {"X-Instance-Id": self.instance}
        return self.http.get(f"/api/chats/{chat}", token=self.member.token, headers=headers).json


@pytest.fixture
def desk(new_http: NewHttp) -> Desk:
    return Desk(new_http())


@pytest.fixture
def desk_on_both(new_http: NewHttp, database: Database) -> Desk:
    return Desk(new_http(database=database))


def test_a_chat_is_archived_pinned_and_muted_and_found_so(desk_on_both: Desk) -> None:
    desk = desk_on_both
    chat = desk.get()
    assert (chat["archived"], chat["pinned"], chat["mutedUntil"]) == (False, False, None)
    until = desk.time(hours=8)
    answer = desk.change({"archived": True, "pinned": True, "mutedUntil": until})
    assert answer.status == 200, answer.body
    assert answer.json == chat | {"archived": True, "pinned": True, "mutedUntil": until}
    assert desk.get() == answer.json
    assert desk.listed("archived=true") == desk.listed("pinned=true") == [ALICE]
    assert desk.listed("archived=false") == desk.listed("pinned=false") == [BOB]
    # What comes in later leaves the marks.
    desk.hear(ALICE)
    assert desk.get()["archived"]
    # Only what is named changes; null lets the chat ring again.
    assert desk.change({"mutedUntil": None}).json["mutedUntil"] is None
    assert desk.change({"archived": False}).json["pinned"]
    assert desk.listed("archived=true") == []
    wanted = AuditFilter(action="chat.update")
    page = desk.http.database.read_wait(audit.list_page, wanted, limit=9)
    assert [one.target for one in page.items] == [ALICE] * 3
    assert page.items[-1].after == {
        "instance": desk.instance,
        "archived": True,
        "pinned": True,
        "mutedUntil": until.replace(".000Z", "Z"),
    }


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (None, "#"),
        ({}, "#"),
        ({"archived": None}, "#/archived"),
        ({"archived": "yes"}, "#/archived"),
        ({"pinned": 1}, "#/pinned"),
        ({"mutedUntil": "tomorrow"}, "#/mutedUntil"),
        ({"mutedUntil": "2030-01-01T00:00:00"}, "#/mutedUntil"),
        ({"mutedUntil": "2020-01-01T00:00:00Z"}, "#/mutedUntil"),
        ({"mutedUntil": "2200-01-01T00:00:00Z"}, "#/mutedUntil"),
        ({"mutedUntil": "9999-12-31T23:59:59-12:00"}, "#/mutedUntil"),
        ({"mutedUntil": 8}, "#/mutedUntil"),
        ({"name": "Anna"}, "#/name"),
        ({"archived": True, "unread": 0}, "#/unread"),
    ],
)
def test_what_makes_no_sense_is_refused(desk: Desk, body: Any, pointer: str) -> None:
    before = desk.get()
    answer = desk.change(body)
    assert (answer.status, answer.pointers) == (422, [pointer]), answer.body
    assert desk.get() == before


@pytest.mark.parametrize("query", ["archived=perhaps", "pinned=", "archived=true&archived=true"])
def test_a_filter_is_true_or_false(desk: Desk, query: str) -> None:
    answer = desk.http.get(f"/api/chats?{query}", token=desk.member.token)
    assert (answer.status, answer.pointers) == (422, [query.partition("=")[0]])


def test_a_chat_that_is_not_there_cannot_be_archived(desk: Desk) -> None:
    assert desk.change({"archived": True}, "15559999@s.whatsapp.net").status == 404
    assert desk.change({"archived": True}, "nobody").status == 422
    other = desk.http.register()
    assert desk.change({"archived": True}, token=other.token).status == 404
    assert desk.listed("archived=true") == []


def test_a_key_that_may_only_read_changes_nothing(desk: Desk) -> None:
    reading = new_key(desk.http, desk.member, desk.instance, permissions=["messages:read"])
    assert desk.change({"archived": True}, token=reading["key"]).problem == "forbidden"
    sending = new_key(desk.http, desk.member, desk.instance, permissions=["messages:send"])
    assert desk.change({"archived": True}, token=sending["key"]).json["archived"]


def test_marks_move_with_a_chat_whose_number_becomes_known(desk: Desk) -> None:
    desk.hear(HIDDEN)
    until = desk.time(hours=24)
    marked = desk.change({"archived": True, "pinned": True, "mutedUntil": until}, HIDDEN)
    assert marked.status == 200, marked.body
    # It turns out to be Alice: two chats become one.
    party = Party(ALICE, HIDDEN, f"+{ALICE.partition('@')[0]}")
    assert desk.http.database.write_wait(chat_addresses.resolve, desk.instance, party) == ALICE
    chat = desk.get(HIDDEN)
    assert (chat["jid"], chat["lid"]) == (ALICE, HIDDEN)
    assert (chat["archived"], chat["pinned"], chat["mutedUntil"]) == (True, True, until)
