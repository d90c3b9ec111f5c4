"""Many messages in one request."""

from __future__ import annotations

from typing import Any

import pytest

from support.gateway import GatewayLab
from support.http import Answer, Member
from wavisor.http import bulk

PATH = "/api/messages/bulk"


@pytest.fixture
def owner(gateway: GatewayLab) -> Member:
    return gateway.register()


@pytest.fixture
def instance(gateway: GatewayLab, owner: Member) -> str:
    return gateway.create_instance(owner)


def send(
    gateway: GatewayLab, owner: Member, instance: str, messages: Any, **headers: str
) -> Answer:
    return gateway.post(
        PATH,
        {"messages": messages},
        token=owner.token,
        headers={"X-Instance-Id": instance, **headers},
    )


def text(number: int, **more: Any) -> dict[str, Any]:
    return {"kind": "text", "to": f"+1555010{number:04}", "text": f"message {number}", **more}


def stored(gateway: GatewayLab, owner: Member) -> list[Any]:
    return list(gateway.get("/api/messages?limit=200", token=owner.token).json["items"])


def test_a_thousand_messages_are_accepted_at_once_in_order(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    answer = send(gateway, owner, instance, [text(number) for number in range(1000)])
    assert (answer.status, answer.json["accepted"], answer.json["refused"]) == (202, 1000, 0)
    ids = [item["message"]["id"] for item in answer.json["items"]]
    assert ids == sorted(set(ids))
    newest = stored(gateway, owner)
    assert {one["createdBy"] for one in newest} == {owner.user_id}
    assert [one["id"] for one in newest] == ids[:-201:-1]
    too_many = send(gateway, owner, instance, [text(1)] * 1001)
    assert (too_many.status, too_many.pointers) == (422, ["#/messages"])


def test_each_message_is_refused_for_itself(
    gateway: GatewayLab, owner: Member, instance: str
) -> None:
    answer = send(
        gateway,
        owner,
        instance,
        [
            text(0),
            text(1, to="nobody"),
            {"kind": "location", "to": "+15550199", "latitude": 91, "longitude": 0},
            {"to": "+15550199", "text": "no kind"},
            {"kind": "image", "to": "+15550199", "base64": "eA=="},
            {"kind": "poll", "to": "+15550199", "question": "Tea?", "options": ["yes", "no"]},
            text(2, sendAt="yesterday"),
            text(3, unknown=True),
        ],
    )
    items = answer.json["items"]
    assert [item["index"] for item in items] == list(range(8))
    assert [item["message"] is not None for item in items] == [
        index in (0, 5) for index in range(8)
    ]
    pointers = [
        [error["pointer"] for error in item["problem"]["errors"]]
        for item in items
        if item["problem"] is not None
    ]
    assert pointers == [
        ["#/to"],
        ["#/latitude"],
        ["#/kind"],
        ["#/base64"],
        ["#/sendAt"],
        ["#/unknown"],
    ]
    assert {item["problem"]["status"] for item in items if item["problem"]} == {422}
    assert len(stored(gateway, owner)) == 2


def test_templates_are_filled_in_for_each(
    gateway: GatewayLab, owner: Member, instance: str
) -> None:
    template = {"name": "Hi", "content": {"text": "Hi {{name}}"}, "variables": [{"name": "name"}]}
    gateway.post("/api/templates", template, token=owner.token)

    def greet(number: int, **variables: Any) -> dict[str, Any]:
        to = f"+1555010{number:04}"
        return {"kind": "template", "to": to, "template": "Hi", "variables": variables}

    answer = send(gateway, owner, instance, [greet(1, name="Ann"), greet(2), greet(3, name="Ben")])
    assert answer.json["accepted"] == 2
    assert [one["text"] for one in stored(gateway, owner)] == ["Hi Ben", "Hi Ann"]
    errors = answer.json["items"][1]["problem"]["errors"]
    assert [error["pointer"] for error in errors] == ["#/variables/name"]


def test_a_full_queue_refuses_what_no_longer_fits(new_gateway: Any) -> None:
    gateway = new_gateway(queue_limit_per_instance=3)
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    answer = send(gateway, owner, instance, [text(number) for number in range(5)])
    assert (answer.json["accepted"], answer.json["refused"]) == (3, 2)
    assert [item["problem"] and item["problem"]["status"] for item in answer.json["items"]] == [
        None,
        None,
        None,
        429,
        429,
    ]
    assert len(stored(gateway, owner)) == 3


def test_the_same_request_is_done_once(gateway: GatewayLab, owner: Member, instance: str) -> None:
    messages = [text(1), text(2, to="nobody")]
    first = send(gateway, owner, instance, messages, **{"Idempotency-Key": "batch-1"})
    again = send(gateway, owner, instance, messages, **{"Idempotency-Key": "batch-1"})
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(stored(gateway, owner)) == 1
    other = send(gateway, owner, instance, [text(3)], **{"Idempotency-Key": "batch-1"})
    assert (other.status, other.problem) == (422, "idempotency-key-reused")


def test_too_many_different_files_are_refused_before_one_is_fetched(
    gateway: GatewayLab, owner: Member, instance: str
) -> None:
    messages = [
        {"kind": "image", "to": "+15550199", "url": f"https://example.com/{number}.png"}
        for number in range(bulk.FILE_LIMIT + 1)
    ]
    refused = send(gateway, owner, instance, messages)
    assert (refused.status, refused.pointers) == (422, ["#/messages"])
    assert stored(gateway, owner) == []


def test_files_that_templates_have_by_variables_count_as_well(
    gateway: GatewayLab, owner: Member, instance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "FILE_LIMIT", 2)
    template = {
        "name": "Ticket",
        "kind": "image",
        "content": {"url": "http://127.0.0.1/{{number}}.png"},
        "variables": [{"name": "number"}],
    }
    gateway.post("/api/templates", template, token=owner.token)
    messages = [
        {"kind": "template", "to": "+15550199", "template": "Ticket", "variables": {"number": one}}
        for one in "1213"
    ]
    answer = send(gateway, owner, instance, messages)
    problems = [item["problem"]["type"].rpartition(":")[2] for item in answer.json["items"]]
    assert problems == ["media-unusable"] * 3 + ["validation-failed"]
    [error] = answer.json["items"][3]["problem"]["errors"]
    assert error == {
        "detail": "names one more file; there may be 2 different ones",
        "pointer": "#/url",
        "parameter": None,
    }


@pytest.mark.parametrize("messages", [[], {}, ["text"], None, [[]]])
def test_what_is_no_list_of_messages_is_refused(
    gateway: GatewayLab, owner: Member, instance: str, messages: Any
) -> None:
    assert send(gateway, owner, instance, messages).status == 422
