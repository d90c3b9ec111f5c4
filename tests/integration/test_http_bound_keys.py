"""What a key of one instance may do with what belongs to its whole subscription."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from support.gateway import GatewayLab
from support.http import Answer, Member
from support.keys import new_key
from wavisor.http.permissions import KEY_PERMISSIONS

TEMPLATE = {
    "name": "Offer",
    "content": {"text": "Hi {{name}}"},
    "variables": [{"name": "name", "default": "you"}],
}


@dataclass
class Desk:
    """Two instances of a tenant, and a key of the first one that may do all that keys may."""

    gateway: GatewayLab
    owner: Member
    mine: str
    other: str
    key: str

    def get(self, path: str, token: str | None = None) -> Answer:
        return self.gateway.get(path, token=token or self.key)

    def post(self, path: str, body: Any = None, token: str | None = None) -> Answer:
        return self.gateway.post(path, body or {}, token=token or self.key)

    def campaign(self, *instances: str, token: str | None = None) -> Answer:
        body = {"name": "Spring", "template": "Offer", "instances": instances}
        return self.post("/api/campaigns", body, token)


@pytest.fixture
def desk(gateway_on_both: GatewayLab) -> Desk:
    gateway = gateway_on_both
    owner = gateway.register()
    mine, other = (gateway.create_instance(owner) for _ in range(2))
    key = new_key(gateway, owner, mine, permissions=sorted(KEY_PERMISSIONS))["key"]
    made = Desk(gateway, owner, mine, other, key)
    assert made.post("/api/templates", TEMPLATE, owner.token).status == 201
    return made


def test_templates_are_read_tried_and_sent_but_not_changed(desk: Desk) -> None:
    (template,) = desk.get("/api/templates").json["items"]
    path = f"/api/templates/{template['id']}"
    assert desk.get(path).json == template
    assert len(desk.get(f"{path}/versions").json["items"]) == 1
    tried = desk.post(f"{path}/preview", {"variables": {"name": "Ann"}})
    assert tried.json["content"] == {"text": "Hi Ann"}
    sent = desk.post("/api/messages/template", {"to": "+15550199", "template": "Offer"})
    assert (sent.status, sent.json["instanceId"]) == (202, desk.mine)
    for method, at, body in (
        ("POST", "/api/templates", {**TEMPLATE, "name": "Other"}),
        ("PATCH", path, {"name": "Other"}),
        ("DELETE", path, None),
    ):
        refused = desk.gateway.request(method, at, json=body, token=desk.key)
        assert (refused.status, refused.problem) == (403, "forbidden"), method
    assert desk.get(path).json == template


def test_campaigns_are_those_that_the_instance_alone_sends(desk: Desk) -> None:
    foreign = [
        desk.campaign(desk.other, token=desk.owner.token).json["id"],
        desk.campaign(desk.mine, desk.other, token=desk.owner.token).json["id"],
    ]
    for instances, at in (((desk.other,), 0), ((desk.mine, desk.other), 1)):
        refused = desk.campaign(*instances)
        assert (refused.status, refused.pointers) == (422, [f"#/instances/{at}"])
    made = desk.campaign(desk.mine)
    assert made.status == 201
    own = made.json["id"]
    assert [one["id"] for one in desk.get("/api/campaigns").json["items"]] == [own]
    assert len(desk.get("/api/campaigns", desk.owner.token).json["items"]) == 3

    people = {"recipients": [{"to": "+15550199"}]}
    assert desk.post(f"/api/campaigns/{own}/recipients", people).json["added"] == 1
    assert desk.post(f"/api/campaigns/{own}/start").json["status"] == "running"
    assert desk.post(f"/api/campaigns/{own}/pause").json["status"] == "paused"
    assert desk.post(f"/api/campaigns/{own}/resume").json["status"] == "running"
    assert desk.post(f"/api/campaigns/{own}/cancel").json["status"] == "cancelled"
    assert desk.get(f"/api/campaigns/{own}").json["total"] == 1
    assert len(desk.get(f"/api/campaigns/{own}/recipients").json["items"]) == 1
    for identifier in foreign:
        path = f"/api/campaigns/{identifier}"
        before = desk.get(path, desk.owner.token).json
        answers = [
            desk.get(path),
            desk.get(f"{path}/recipients"),
            desk.post(f"{path}/recipients", people),
            *(desk.post(f"{path}/{one}") for one in ("start", "pause", "resume", "cancel")),
            desk.gateway.delete(path, token=desk.key),
        ]
        assert {answer.status for answer in answers} == {404}
        assert desk.get(path, desk.owner.token).json == before
    assert desk.gateway.delete(f"/api/campaigns/{own}", token=desk.key).status == 204


def test_somebody_is_put_on_the_opt_out_list_and_nobody_seen_there(desk: Desk) -> None:
    added = desk.post("/api/opt-outs", {"person": "+15550199"})
    assert (added.status, added.json["person"]) == (200, "15550199@s.whatsapp.net")
    assert desk.get("/api/opt-outs").status == 403
    assert desk.gateway.delete("/api/opt-outs/%2B15550199", token=desk.key).status == 403
    assert len(desk.get("/api/opt-outs", desk.owner.token).json["items"]) == 1


def test_statistics_are_the_instances_own(desk: Desk) -> None:
    text = {"to": "+15550199", "text": "hello"}
    for instance, times in ((desk.mine, 1), (desk.other, 2)):
        headers = {"X-Instance-Id": instance}
        for _ in range(times):
            sent = desk.gateway.post(
                "/api/messages/text", text, token=desk.owner.token, headers=headers
            )
            assert sent.status == 202
    everything = desk.get("/api/stats", desk.owner.token).json
    assert (everything["instanceId"], everything["totals"]["accepted"]) == (None, 3)
    own = desk.get("/api/stats").json
    assert (own["instanceId"], own["totals"]["accepted"]) == (desk.mine, 1)
    assert own == desk.get(f"/api/instances/{desk.mine}/stats").json


@pytest.mark.parametrize("path", ["/api/subscription", "/api/audit", "/api/webhooks"])
def test_the_rest_of_the_subscription_is_not_for_it(desk: Desk, path: str) -> None:
    refused = desk.get(path)
    assert (refused.status, refused.problem) == (403, "forbidden")
