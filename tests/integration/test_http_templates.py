"""Templates over HTTP: kept in versions, tried, and sent."""

from __future__ import annotations

from typing import Any

import pytest

from support.gateway import GatewayLab
from support.http import Answer, Member
from wavisor.storage import templates

PATH = "/api/templates"
ORDER = {
    "name": "Order ready",
    "description": "When an order can be fetched",
    "kind": "text",
    "content": {"text": "Hello {{name}}, order {{number}} is ready."},
    "variables": [{"name": "name", "default": "there"}, {"name": "number", "type": "number"}],
}


@pytest.fixture
def owner(gateway: GatewayLab) -> Member:
    return gateway.register()


def create(gateway: GatewayLab, owner: Member, **changes: Any) -> Answer:
    return gateway.post(PATH, {**ORDER, **changes}, token=owner.token)


def send(gateway: GatewayLab, owner: Member, instance: str, body: dict[str, Any]) -> Answer:
    headers = {"X-Instance-Id": instance}
    whole = {"to": "+15550199", "template": "Order ready", **body}
    return gateway.post("/api/messages/template", whole, token=owner.token, headers=headers)


def test_a_template_lives_in_versions(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    created = create(gateway, owner)
    assert created.status == 201
    path = f"{PATH}/{created.json['id']}"
    assert created.headers["Location"] == path
    assert (created.json["version"], created.json["latestVersion"]) == (1, 1)

    text = {"content": {"text": "{{name}}!"}, "variables": [{"name": "name"}]}
    changed = gateway.patch(path, text, token=owner.token).json
    assert (changed["version"], changed["content"]) == (2, {"text": "{{name}}!"})
    renamed = gateway.patch(path, {"name": "Ready", "description": None}, token=owner.token).json
    assert (renamed["name"], renamed["description"], renamed["version"]) == ("Ready", None, 2)

    first = gateway.get(f"{path}?version=1", token=owner.token).json
    assert (first["content"], first["latestVersion"]) == (ORDER["content"], 2)
    assert gateway.get(f"{path}?version=3", token=owner.token).status == 404
    page = gateway.get(f"{path}/versions?limit=1", token=owner.token).json
    assert [one["version"] for one in page["items"]] == [2]
    rest = gateway.get(f"{path}/versions?cursor={page['nextCursor']}", token=owner.token).json
    assert ([one["version"] for one in rest["items"]], rest["nextCursor"]) == ([1], None)

    assert gateway.delete(path, token=owner.token).status == 204
    assert gateway.get(path, token=owner.token).status == 404
    assert gateway.delete(path, token=owner.token).status == 404


def test_templates_are_listed_page_by_page(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    for name in ("a", "b", "c"):
        create(gateway, owner, name=name)
    first = gateway.get(f"{PATH}?limit=2", token=owner.token).json
    assert [one["name"] for one in first["items"]] == ["a", "b"]
    rest = gateway.get(f"{PATH}?cursor={first['nextCursor']}", token=owner.token).json
    assert [one["name"] for one in rest["items"]] == ["c"]


def test_a_name_is_taken_once_in_a_subscription(gateway: GatewayLab, owner: Member) -> None:
    create(gateway, owner)
    again = create(gateway, owner)
    assert (again.status, again.problem) == (409, "name-taken")
    other = create(gateway, owner, name="Other").json["id"]
    renamed = gateway.patch(f"{PATH}/{other}", {"name": ORDER["name"]}, token=owner.token)
    assert (renamed.status, renamed.problem) == (409, "name-taken")
    assert create(gateway, gateway.register()).status == 201


def test_there_is_a_bound(
    gateway: GatewayLab, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "TEMPLATE_LIMIT", 1)
    create(gateway, owner)
    refused = create(gateway, owner, name="Other")
    assert (refused.status, refused.problem) == (409, "limit-reached")


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"name": ""}, ["#/name"]),
        ({"kind": "reaction"}, ["#/kind"]),
        ({"kind": "poll"}, ["#/content/question", "#/content/options", "#/content/text"]),
        ({"content": {}}, ["#/content"]),
        ({"content": {"text": "{{name}} {{number}} {{more}}"}}, ["#/content/text"]),
        ({"content": {"text": "{{name}} {{number}} {{"}}, ["#/content/text"]),
        ({"content": {"text": "{{name}}"}}, ["#/variables/1/name"]),
        ({"content": {"text": "x", "to": "+1555"}}, ["#/content/to"]),
        ({"kind": "image", "content": {"base64": "eA=="}}, ["#/content/base64"]),
        ({"variables": [{"name": "1"}]}, ["#/variables/0/name"]),
        ({"variables": [{"name": "name", "type": "number", "default": "x"}]}, ["#/variables/0"]),
        ({"more": 1}, ["#/more"]),
    ],
)
def test_a_template_that_could_not_be_sent_is_refused(
    gateway: GatewayLab, owner: Member, changes: dict[str, Any], pointers: list[str]
) -> None:
    refused = create(gateway, owner, **changes)
    assert refused.status == 422
    assert sorted(refused.pointers) == sorted(pointers)
    assert gateway.get(PATH, token=owner.token).json["items"] == []


@pytest.mark.parametrize("change", [{}, {"name": None}, {"kind": None}, {"content": None}])
def test_a_change_changes_something(
    gateway: GatewayLab, owner: Member, change: dict[str, Any]
) -> None:
    path = f"{PATH}/{create(gateway, owner).json['id']}"
    assert gateway.patch(path, change, token=owner.token).status == 422


def test_a_preview_shows_what_would_be_sent(gateway: GatewayLab, owner: Member) -> None:
    path = f"{PATH}/{create(gateway, owner).json['id']}/preview"
    shown = gateway.post(path, {"variables": {"number": 17}}, token=owner.token).json
    assert shown["content"] == {"text": "Hello there, order 17 is ready."}
    refused = gateway.post(path, {"variables": {"name": 1, "x": "y"}}, token=owner.token)
    assert sorted(refused.pointers) == ["#/variables/name", "#/variables/number", "#/variables/x"]


@pytest.mark.parametrize("value", ["9" * 400, "-" + "9" * 400, "1e15"])
def test_a_number_that_is_none_for_people_is_refused(
    gateway: GatewayLab, owner: Member, value: str
) -> None:
    path = f"{PATH}/{create(gateway, owner).json['id']}/preview"
    body = f'{{"variables": {{"number": {value}}}}}'.encode()
    headers = {"Content-Type": "application/json"}
    refused = gateway.request("POST", path, body=body, token=owner.token, headers=headers)
    assert (refused.status, refused.pointers) == (422, ["#/variables/number"])


def test_values_do_not_grow_without_bound(gateway: GatewayLab, owner: Member) -> None:
    many = {"content": {"text": "{{name}}" * 60_000}, "variables": [{"name": "name"}]}
    path = f"{PATH}/{create(gateway, owner, **many).json['id']}/preview"
    refused = gateway.post(path, {"variables": {"name": "x" * 4096}}, token=owner.token)
    assert (refused.status, refused.pointers) == (422, ["#/variables"])
    assert gateway.post(path, {"variables": {"name": "x"}}, token=owner.token).status == 200
    default = {**many, "name": "by default", "variables": [{"name": "name", "default": "x" * 4096}]}
    refused = create(gateway, owner, **default)
    assert (refused.status, refused.pointers) == (422, ["#/variables"])


def test_a_template_is_sent_as_a_message_of_its_kind(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    identifier = create(gateway, owner).json["id"]
    body = {"variables": {"name": "Ada {{number}}", "number": 3}, "priority": 5}
    sent = send(gateway, owner, instance, body)
    assert sent.status == 202
    assert (sent.json["kind"], sent.json["priority"]) == ("text", 5)
    assert sent.json["text"] == "Hello Ada {{number}}, order 3 is ready."
    by_id = send(gateway, owner, instance, {"template": identifier.lower(), **body})
    assert by_id.json["text"] == sent.json["text"]


def test_an_earlier_version_can_be_sent(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    path = f"{PATH}/{create(gateway, owner, content={'text': 'old'}, variables=[]).json['id']}"
    gateway.patch(path, {"content": {"text": "new"}}, token=owner.token)
    assert send(gateway, owner, instance, {}).json["text"] == "new"
    assert send(gateway, owner, instance, {"version": 1}).json["text"] == "old"
    assert send(gateway, owner, instance, {"version": 9}).pointers == ["#/template"]


def test_numbers_of_a_place_may_be_variables(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    place = {
        "kind": "location",
        "content": {"latitude": "{{lat}}", "longitude": "{{lon}}", "name": "{{name}}"},
        "variables": [
            {"name": "lat", "type": "number"},
            {"name": "lon", "type": "number"},
            {"name": "name"},
        ],
    }
    assert create(gateway, owner, **place).status == 201
    values = {"lat": 52.5, "lon": 13.4, "name": "Shop"}
    sent = send(gateway, owner, instance, {"variables": values})
    assert (sent.json["kind"], sent.json["text"]) == ("location", "Shop")
    wrong = send(gateway, owner, instance, {"variables": {**values, "lat": 91}})
    assert (wrong.status, wrong.pointers) == (422, ["#/variables"])


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"template": "No such"}, ["#/template"]),
        ({"template": f"tpl_{'0' * 26}"}, ["#/template"]),
        ({"variables": {}}, ["#/variables/number"]),
        ({"variables": {"number": 1, "nmae": "x"}}, ["#/variables/nmae"]),
        ({"variables": {"number": "1"}}, ["#/variables/number"]),
        ({"variables": []}, ["#/variables"]),
        ({"to": "nobody"}, ["#/to"]),
    ],
)
def test_a_send_that_does_not_fit_is_named_and_not_stored(
    gateway: GatewayLab, owner: Member, body: dict[str, Any], pointers: list[str]
) -> None:
    instance = gateway.create_instance(owner)
    create(gateway, owner)
    refused = send(gateway, owner, instance, {"variables": {"number": 1}, **body})
    assert (refused.status, refused.pointers) == (422, pointers)
    assert gateway.get("/api/messages", token=owner.token).json["items"] == []


def test_a_repeated_request_is_sent_once(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    create(gateway, owner)
    body = {"to": "+15550199", "template": "Order ready", "variables": {"number": 1}}
    headers = {"X-Instance-Id": instance, "Idempotency-Key": "order-1"}
    ids = {
        gateway.post("/api/messages/template", body, token=owner.token, headers=headers).json["id"]
        for _ in range(2)
    }
    assert len(ids) == 1
