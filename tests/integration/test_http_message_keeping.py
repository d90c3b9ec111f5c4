"""What is done to a message here alone, over HTTP: starred, deleted; and pinned for everyone."""

from __future__ import annotations

import pytest

from support.http import Answer, HttpLab, Member, NewHttp
from support.queueing import ALICE, new_inbound
from support.tenants import new_instance
from wavisor.storage import Scope, messages


class Keeper:
    """Somebody with an instance that got a message."""

    def __init__(self, http: HttpLab) -> None:
        self.http = http
        self.member: Member = http.register()
        self.scope = Scope(self.member.subscription_id)
        self.instance = new_instance(http.database, self.scope).id
        stored = http.database.write_wait(
            messages.receive, self.scope, self.instance, new_inbound("keep me")
        )
        assert stored is not None
        self.message = stored.id

    def post(self, action: str, body: object = None) -> Answer:
        path = f"/api/messages/{self.message}/{action}"
        return self.http.post(path, body or {}, token=self.member.token)

    def delete(self, message: str) -> Answer:
        return self.http.request("DELETE", f"/api/messages/{message}", token=self.member.token)

    def starred(self) -> list[str]:
        answer = self.http.get("/api/messages?starred=true", token=self.member.token)
        return [one["id"] for one in answer.json["items"]]


@pytest.fixture
def keeper(new_http: NewHttp) -> Keeper:
    return Keeper(new_http())


def test_a_star_is_put_on_and_taken_off(keeper: Keeper) -> None:
    for _ in range(2):
        starred = keeper.post("star").json
        assert (starred["id"], starred["starred"]) == (keeper.message, True)
    assert keeper.starred() == [keeper.message]
    assert keeper.post("unstar").json["starred"] is False
    assert keeper.starred() == []


def test_a_deleted_message_is_gone_and_no_longer_unread(keeper: Keeper) -> None:
    assert keeper.delete(keeper.message).status == 204
    assert keeper.delete(keeper.message).status == 404
    [chat] = keeper.http.get("/api/chats", token=keeper.member.token).json["items"]
    assert (chat["unread"], chat["lastMessage"]) == (0, None)


def test_what_waits_to_be_sent_is_not_deleted(keeper: Keeper) -> None:
    queued = keeper.http.post(
        "/api/messages/text",
        {"to": "+15550101", "text": "x"},
        token=keeper.member.token,
        headers={"X-Instance-Id": keeper.instance},
    ).json["id"]
    assert keeper.delete(queued).problem == "message-state"
    keeper.http.database.write_wait(messages.cancel, keeper.scope, queued)
    assert keeper.delete(queued).status == 204


@pytest.mark.parametrize("seconds", [86_400, 604_800, 2_592_000, 0])
def test_a_message_is_pinned_for_everyone_or_let_go(keeper: Keeper, seconds: int) -> None:
    answer = keeper.post("pin", {"seconds": seconds})
    assert answer.status == 202, answer.body
    assert (answer.json["kind"], answer.json["to"]) == ("pin", ALICE)
    assert answer.json["content"]["seconds"] == seconds


@pytest.mark.parametrize("body", [{}, {"seconds": 60}, {"seconds": "day"}, {"seconds": None}])
def test_a_pin_lasts_as_long_as_the_apps_offer(keeper: Keeper, body: object) -> None:
    answer = keeper.post("pin", body)
    assert (answer.status, answer.pointers) == (422, ["#/seconds"])


def test_another_tenants_message_is_none(keeper: Keeper) -> None:
    keeper.member = keeper.http.register()
    for action in ("star", "unstar"):
        assert keeper.post(action).status == 404
    assert keeper.post("pin", {"seconds": 0}).status == 404
    assert keeper.delete(keeper.message).status == 404
