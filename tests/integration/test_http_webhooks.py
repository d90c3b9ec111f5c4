"""Webhooks over HTTP: registered, changed, tried out, delivered and delivered again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from support.gateway import GatewayLab, NewGateway
from support.http import Answer, Member
from support.receivers import Received, Receiver, answers
from wavisor.domain import Role
from wavisor.http.webhooks import deliveries as delivery_routes
from wavisor.storage import accounts, webhooks

WAIT = 60.0
PUBLIC_URL = "https://8.8.8.8/hook?token=private"


@dataclass
class Hooks:
    """A gateway that may call loopback, an owner with an instance, and a server to be called."""

    lab: GatewayLab
    owner: Member
    instance: str
    receiver: Receiver

    def base(self, of_instance: bool) -> str:
        return f"/api/instances/{self.instance}/webhooks" if of_instance else "/api/webhooks"

    def call(self, method: str, path: str, json: Any = None) -> Answer:
        return self.lab.request(method, path, json=json, token=self.owner.token)

    def create(self, of_instance: bool = False, **body: Any) -> dict[str, Any]:
        answer = self.call(
            "POST", self.base(of_instance), {"url": self.receiver.url("/wa"), **body}
        )
        assert answer.status == 201, answer.body
        return answer.json

    def happen(self, count: int = 1) -> list[str]:
        records = self.lab.store_events(self.instance, count)
        self.lab.publish(records)
        return [one.id for one in records]

    def wait(self, count: int) -> list[Received]:
        work = self.receiver.wait(count)
        return asyncio.run_coroutine_threadsafe(work, self.lab.loop).result(WAIT)

    def deliveries(self, path: str, *statuses: str, query: str = "") -> list[dict[str, Any]]:
        """The deliveries, newest first, once they have these statuses."""

        def fitting() -> list[dict[str, Any]] | None:
            items = self.call("GET", f"{path}/deliveries{query}").json["items"]
            return items if [one["status"] for one in items] == [*statuses] else None

        for _ in range(500):
            if (found := fitting()) is not None:
                return found
            self.lab.run(asyncio.sleep(0.02))
        raise AssertionError(self.call("GET", f"{path}/deliveries").json)


@pytest.fixture
def hooks(new_gateway: NewGateway, http_loop: asyncio.AbstractEventLoop) -> Iterator[Hooks]:
    receiver = Receiver()

    def run(work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, http_loop).result(WAIT)

    run(receiver.__aenter__())
    lab = new_gateway(webhooks_allow_private=True)
    owner = lab.register()
    yield Hooks(lab, owner, lab.create_instance(owner), receiver)
    run(receiver.__aexit__())


@pytest.mark.parametrize("of_instance", [False, True])
def test_a_webhook_lives_from_registering_to_deleting(hooks: Hooks, of_instance: bool) -> None:
    made = hooks.create(
        of_instance,
        events=["message:*"],
        headers={"Authorization": "Bearer theirs"},
        description="CRM",
        strictOrder=True,
    )
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made["headerNames"] == ["Authorization"]
    assert made["instanceId"] == (hooks.instance if of_instance else None)
    base = hooks.base(of_instance)
    path = f"{base}/{made['id']}"
    assert hooks.call("GET", path).json == made
    assert hooks.call("GET", base).json["items"] == [made]
    # Not where it does not belong.
    assert hooks.call("GET", f"{hooks.base(not of_instance)}/{made['id']}").status == 404
    [identifier] = hooks.happen()
    [received] = hooks.wait(1)
    assert received.headers["authorization"] == "Bearer theirs"
    assert Webhook(secret).verify(received.body, received.headers)["id"] == identifier
    [delivery] = hooks.deliveries(path, "succeeded")
    assert delivery["request"] == {
        "webhookId": identifier,
        "body": received.body.decode(),
        "truncated": False,
    }
    assert delivery["response"] == {"status": 200, "body": "ok"}
    assert hooks.call("GET", f"/api/deliveries/{delivery['id']}").json == delivery
    changed = hooks.call("PATCH", path, {"enabled": False, "description": None}).json
    assert (changed["enabled"], changed["disabledReason"]) == (False, "by_user")
    assert hooks.call("POST", f"{path}/enable").json["enabled"] is True
    assert hooks.call("DELETE", path).status == 204
    assert hooks.call("GET", path).status == 404


def test_every_change_is_on_the_audit_trail_without_secrets(hooks: Hooks) -> None:
    made = hooks.create(headers={"X-Key": "private"})
    path = f"/api/webhooks/{made['id']}"
    hooks.call("PATCH", path, {"url": hooks.receiver.url("/?t=private"), "headers": {}})
    hooks.call("POST", f"{path}/rotate-secret", {})
    hooks.call("POST", f"{path}/test")
    hooks.call("POST", f"{path}/enable")
    hooks.call("DELETE", path)
    entries = hooks.lab.user_audit_of(made["id"])
    assert [one.action for one in entries] == [
        f"webhook.{step}"
        for step in ("create", "update", "rotate-secret", "test", "enable", "delete")
    ]
    told = json.dumps([(one.before, one.after) for one in entries])
    assert "private" not in told
    assert "whsec" not in told
    assert entries[1].before["headers"] == ["X-Key"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/url"),
        ({"url": "ftp://example.org/"}, "#/url"),
        ({"url": "https://user:pw@example.org/"}, "#/url"),
        ({"url": "https://127.0.0.1/"}, "#/url"),
        ({"url": "https://[::1]/"}, "#/url"),
        ({"url": "https://169.254.169.254/latest"}, "#/url"),
        ({"url": "https://10.0.0.1/"}, "#/url"),
        ({"url": "http://localhost:8080/"}, "#/url"),
        ({"url": "https://example.org:22/"}, "#/url"),
        ({"url": PUBLIC_URL, "events": []}, "#/events"),
        ({"url": PUBLIC_URL, "events": ["nonsense:*"]}, "#/events"),
        ({"url": PUBLIC_URL, "headers": {"Host": "a"}}, "#/headers"),
        ({"url": PUBLIC_URL, "headers": {"Webhook-Signature": "a"}}, "#/headers"),
        ({"url": PUBLIC_URL, "headers": {"Transfer-Encoding": "a"}}, "#/headers"),
        ({"url": PUBLIC_URL, "headers": {"X": "a\r\nY: b"}}, "#/headers"),
        ({"url": PUBLIC_URL, "headers": {"X:": "a"}}, "#/headers"),
        ({"url": PUBLIC_URL, "headers": {"X": "a", "x": "b"}}, "#/headers"),
        ({"url": PUBLIC_URL, "headers": {f"X{n}": "a" for n in range(11)}}, "#/headers"),
        ({"url": PUBLIC_URL, "secret": "mine"}, "#/secret"),
    ],
)
def test_bad_values_are_named(gateway: GatewayLab, body: dict[str, Any], pointer: str) -> None:
    owner = gateway.register()
    answer = gateway.post("/api/webhooks", body, token=owner.token)
    assert (answer.status, answer.problem) == (422, "validation-failed")
    assert [one["pointer"].rpartition("/")[0] or one["pointer"] for one in answer.json["errors"]]
    assert all(one["pointer"].startswith(pointer) for one in answer.json["errors"])
    assert gateway.get("/api/webhooks", token=owner.token).json["items"] == []


def test_change_to_a_private_address_is_refused(gateway: GatewayLab) -> None:
    owner = gateway.register()
    made = gateway.post("/api/webhooks", {"url": PUBLIC_URL}, token=owner.token).json
    path = f"/api/webhooks/{made['id']}"
    answer = gateway.patch(path, {"url": "https://127.0.0.1/"}, token=owner.token)
    assert [one["pointer"] for one in answer.json["errors"]] == ["#/url"]
    for body in ({}, {"url": None}, {"enabled": None}):
        assert gateway.patch(path, body, token=owner.token).status == 422
    assert gateway.get(path, token=owner.token).json["url"] == PUBLIC_URL


@pytest.mark.parametrize(
    ("role", "reads", "manages"),
    [(Role.VIEWER, 403, 403), (Role.MEMBER, 200, 403), (Role.ADMIN, 200, 201)],
)
def test_webhooks_are_for_administrators(
    gateway: GatewayLab, role: Role, reads: int, manages: int
) -> None:
    somebody = gateway.colleague(gateway.register(), role)
    assert gateway.get("/api/webhooks", token=somebody.token).status == reads
    answer = gateway.post("/api/webhooks", {"url": PUBLIC_URL}, token=somebody.token)
    assert answer.status == manages


def test_there_are_only_so_many(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "TOGETHER", 1)
    hooks.create()
    answer = hooks.call("POST", "/api/webhooks", {"url": hooks.receiver.url()})
    assert (answer.status, answer.problem) == (409, "limit-reached")
    limits = {"webhooks": 1}
    hooks.lab.database.write_wait(accounts.set_overrides, hooks.owner.subscription_id, limits)
    answer = hooks.call("POST", hooks.base(True), {"url": hooks.receiver.url()})
    assert (answer.status, answer.problem) == (409, "tier-limit-reached")
    assert answer.json["resource"] == "webhooks"


def test_secret_is_rotated_with_a_time_of_grace(hooks: Hooks) -> None:
    made = hooks.create()
    path = f"/api/webhooks/{made['id']}"
    rotated = hooks.call("POST", f"{path}/rotate-secret", {"graceSeconds": 60}).json
    assert rotated["secret"] != made["secret"]
    assert rotated["previousSecretUntil"] is not None
    hooks.happen()
    [received] = hooks.wait(1)
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(received.body, received.headers)
    hooks.call("POST", f"{path}/rotate-secret", {"graceSeconds": 0})
    hooks.happen()
    last = hooks.wait(2)[1]
    assert len(last.headers["webhook-signature"].split(" ")) == 1
    assert hooks.call("GET", path).json["previousSecretUntil"] is None
    for seconds in (-1, 10**9, "soon"):
        body = {"graceSeconds": seconds}
        assert hooks.call("POST", f"{path}/rotate-secret", body).status == 422


def test_trial_is_signed_and_refused_while_switched_off(hooks: Hooks) -> None:
    made = hooks.create(of_instance=True)
    path = f"{hooks.base(True)}/{made['id']}"
    answer = hooks.call("POST", f"{path}/test")
    assert answer.status == 202
    [received] = hooks.wait(1)
    told = Webhook(made["secret"]).verify(received.body, received.headers)
    assert (told["type"], told["data"]) == ("webhook:test", {"webhookId": made["id"]})
    assert told["id"] == answer.json["eventId"]
    hooks.deliveries(path, "succeeded")
    hooks.call("PATCH", path, {"enabled": False})
    refused = hooks.call("POST", f"{path}/test")
    assert (refused.status, refused.problem) == (409, "webhook-disabled")


def test_dead_letters_are_listed_and_delivered_again(hooks: Hooks) -> None:
    made = hooks.create()
    path = f"/api/webhooks/{made['id']}"
    hooks.receiver.behaviour = answers(410, b"moved away")
    [identifier] = hooks.happen()
    [dead] = hooks.deliveries(path, "failed")
    assert (dead["error"], dead["response"]) == ("gone", {"status": 410, "body": "moved away"})
    assert hooks.call("GET", f"{path}/deliveries?status=succeeded").json["items"] == []
    assert hooks.call("GET", path).json["disabledReason"] == "gone"
    hooks.receiver.behaviour = answers(200)
    again = hooks.call("POST", f"/api/deliveries/{dead['id']}/replay")
    assert (again.status, again.json["status"]) == (202, "pending")
    # What is noted while it is off is the event that says so, on its instance.
    told = hooks.call("GET", f"/api/instances/{hooks.instance}/events").json["items"][0]
    assert (told["type"], told["data"]["webhookId"]) == ("webhook:disabled", made["id"])
    hooks.call("POST", f"{path}/enable")
    hooks.wait(2)
    assert hooks.receiver.ids == [identifier, identifier]
    hooks.deliveries(path, "succeeded")


def test_time_without_a_webhook_is_delivered_later(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed = [identifier for _ in range(4) for identifier in hooks.happen(2)]
    made = hooks.create()
    path = f"/api/webhooks/{made['id']}"
    everything = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    monkeypatch.setattr(delivery_routes, "REPLAY_LIMIT", 3)
    first = hooks.call("POST", f"{path}/replay", everything)
    assert first.status == 202
    count, start = first.json["count"], first.json["nextFrom"]
    while start is not None:
        rest = {**everything, "from": start, "undelivered": True}
        answer = hooks.call("POST", f"{path}/replay", rest).json
        count, start = count + answer["count"], answer["nextFrom"]
    assert count == 8
    hooks.wait(8)
    assert sorted(hooks.receiver.ids) == sorted(missed)
    for bad in (
        {"from": "2020-01-01T00:00:00Z"},
        {"from": "2020-01-02T00:00:00Z", "to": "2020-01-01T00:00:00Z"},
        {"from": "2020-01-01T00:00:00", "to": "2021-01-01T00:00:00"},
    ):
        assert hooks.call("POST", f"{path}/replay", bad).status == 422


def test_lists_go_on_page_by_page(hooks: Hooks) -> None:
    made = [hooks.create(description=str(number))["id"] for number in range(3)]
    page = hooks.call("GET", "/api/webhooks?limit=2").json
    rest = hooks.call("GET", f"/api/webhooks?limit=2&cursor={page['nextCursor']}").json
    assert [one["id"] for one in page["items"] + rest["items"]] == made
    hooks.happen(3)
    path = f"/api/webhooks/{made[0]}"
    whole = hooks.deliveries(path, "succeeded", "succeeded", "succeeded")
    page = hooks.call("GET", f"{path}/deliveries?limit=2").json
    more = hooks.call("GET", f"{path}/deliveries?limit=2&cursor={page['nextCursor']}").json
    assert [one["id"] for one in page["items"] + more["items"]] == [one["id"] for one in whole]
