"""Campaigns over HTTP: from a template and a list to messages, each person once."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from support.forms import form
from support.gateway import GatewayLab
from support.http import Answer, Member
from wavisor.actors.instances import InstanceUnavailableError
from wavisor.storage import campaign_recipients

PATH = "/api/campaigns"
TEMPLATE = {
    "name": "Offer",
    "content": {"text": "Hi {{name}}, {{amount}} off"},
    "variables": [{"name": "name"}, {"name": "amount", "type": "number", "default": 5}],
}


class Desk:
    """A tenant with a linked instance and a template."""

    def __init__(self, gateway: GatewayLab, *, linked: bool = True) -> None:
        self.gateway = gateway
        self.owner: Member = gateway.register()
        self.instance = gateway.create_instance(self.owner)
        settings = {"settings": {"pacing": {"enabled": False}}}
        self.patch(f"/api/instances/{self.instance}", settings)
        if linked:
            gateway.link(self.owner, self.instance)
        assert self.post("/api/templates", TEMPLATE).status == 201

    def get(self, path: str) -> Any:
        answer = self.gateway.get(path, token=self.owner.token)
        assert answer.status == 200, answer.body
        return answer.json

    def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.gateway.post(path, {} if body is None else body, token=self.owner.token, **more)

    def patch(self, path: str, body: Any) -> None:
        answer = self.gateway.patch(path, body, token=self.owner.token)
        assert answer.status == 200, answer.body

    def create(self, **changes: Any) -> str:
        body = {"name": "Spring", "template": "Offer", "instances": [self.instance], **changes}
        answer = self.post(PATH, body)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    def add(self, campaign: str, *recipients: Any, **more: Any) -> Answer:
        return self.post(f"{PATH}/{campaign}/recipients", {"recipients": recipients, **more})

    def upload(self, campaign: str, content: str | bytes, **fields: str) -> Answer:
        data = content.encode() if isinstance(content, str) else content
        parts = [(name, None, value.encode()) for name, value in fields.items()]
        body, content_type = form([*parts, ("file", "list.csv", data)])
        return self.gateway.request(
            "POST",
            f"{PATH}/{campaign}/recipients",
            token=self.owner.token,
            body=body,
            headers={"Content-Type": content_type},
        )

    def act(self, campaign: str, action: str) -> Answer:
        return self.post(f"{PATH}/{campaign}/{action}")

    def wait(self, campaign: str, **wanted: Any) -> Any:
        """Look until the campaign has these members; each look follows an event."""

        def fits(record: Any) -> bool:
            data = record.data
            return (
                record.type == "campaign:progress"
                and data["campaignId"] == campaign
                and all(data[name] == value for name, value in wanted.items())
            )

        self.gateway.seen.wait_for(fits)
        return self.get(f"{PATH}/{campaign}")


def person(number: int, **variables: Any) -> dict[str, Any]:
    return {"to": f"+1555010{number:04}", "variables": {"name": f"P{number}", **variables}}


@pytest.fixture
def desk(gateway: GatewayLab) -> Desk:
    return Desk(gateway)


def test_everybody_gets_their_message_once(gateway_on_both: GatewayLab) -> None:
    desk = Desk(gateway_on_both)
    campaign = desk.create()
    added = desk.add(campaign, *(person(number) for number in range(50)), person(3)).json
    assert (added["added"], added["duplicates"], added["refused"]) == (50, 1, 0)
    again = desk.add(campaign, person(7, amount=1), person(51, amount=10)).json
    assert (again["added"], again["duplicates"], again["campaign"]["total"]) == (1, 1, 51)
    assert desk.act(campaign, "start").status == 200

    done = desk.wait(campaign, status="completed")
    assert (done["released"], done["total"], done["duplicates"]) == (51, 51, 2)
    assert done["results"] == {"sent": 51}
    sent = desk.get("/api/messages?limit=200")["items"]
    assert {one["createdBy"] for one in sent} == {desk.owner.user_id}
    texts = sorted(one["text"] for one in sent)
    assert texts == sorted([*(f"Hi P{number}, 5 off" for number in range(50)), "Hi P51, 10 off"])
    page = desk.get(f"{PATH}/{campaign}/recipients?limit=2")
    assert [one["number"] for one in page["items"]] == [0, 1]
    assert page["items"][0]["recipient"] == "+15550100000"
    assert page["items"][0]["status"] == "sent"
    rest = desk.get(f"{PATH}/{campaign}/recipients?cursor={page['nextCursor']}&limit=200")
    assert len(rest["items"]) == 49


def test_a_file_is_taken_in_whole_or_not_at_all(desk: Desk) -> None:
    campaign = desk.create()
    bad = "to,name\n+15550100001,Ann\nnobody,Ben\n+15550100003,\n+15550100004,Dan,x\n"
    refused = desk.upload(campaign, bad)
    assert (refused.status, refused.pointers) == (422, ["#/file", "#/file", "#/file"])
    details = [one["detail"] for one in refused.json["errors"]]
    assert details[0].startswith("line 3:")
    assert details[1] == "line 4: #/variables/name: is needed: it has no default"
    assert details[2] == "line 5: has more cells than there are columns"
    assert desk.get(f"{PATH}/{campaign}")["total"] == 0

    skipped = desk.upload(campaign, bad, skipInvalid="true").json
    assert (skipped["added"], skipped["refused"]) == (1, 3)
    assert [one["number"] for one in skipped["problems"]] == [3, 4, 5]

    table = "to;name\r\n" + "".join(f"+1555011{n:04};P{n}\r\n" for n in range(1200))
    added = desk.upload(campaign, table).json
    assert (added["added"], added["campaign"]["total"]) == (1200, 1201)
    results = f"{PATH}/{campaign}/recipients?format=csv"
    part = desk.gateway.get(f"{results}&limit=2", token=desk.owner.token)
    assert len(part.body.splitlines()) == 3
    everybody = desk.gateway.get(results, token=desk.owner.token)
    assert "X-Next-Cursor" in part.headers and "X-Next-Cursor" not in everybody.headers
    header, *rows = csv.reader(io.StringIO(everybody.body.decode()))
    assert header[:4] == ["number", "recipient", "chat", "status"]
    assert len(rows) == 1201
    assert {row[3] for row in rows} == {"pending"}
    # A number that begins with + would be a formula to a spreadsheet.
    assert rows[1][1] == "'+15550110000"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        ("to,name\n+1555,J\xfcrgen".encode("latin-1"), "is not UTF-8"),
        ("name\nAnn\n", "needs one column"),
        ("to,name,more\n+1555,Ann,x\n", "has columns that are no variables: more"),
    ],
)
def test_a_file_that_is_no_list_is_refused(desk: Desk, content: Any, words: str) -> None:
    campaign = desk.create()
    refused = desk.upload(campaign, content)
    assert (refused.status, refused.pointers) == (422, ["#/file"])
    assert words in refused.json["errors"][0]["detail"]
    # Nothing is left of the attempt that would be in the way of the next one.
    assert desk.add(campaign, person(1)).status == 200


def test_who_opted_out_is_left_out_however_they_said_so(desk: Desk) -> None:
    assert desk.post("/api/opt-outs", {"person": "+15550100001"}).json["source"] == "api"
    assert desk.post("/api/opt-outs", {"person": "+15550100001"}).status == 200
    desk.gateway.receive(desk.instance, " stop ")  # from +15550199
    desk.gateway.seen.wait_for(lambda record: record.type == "message:received")
    listed = desk.get("/api/opt-outs")["items"]
    assert {one["person"]: one["source"] for one in listed} == {
        "15550100001@s.whatsapp.net": "api",
        "15550199@s.whatsapp.net": "keyword",
    }
    campaign = desk.create()
    willing_not = {"to": "+15550199", "variables": {"name": "x"}}
    desk.add(campaign, person(1), willing_not, person(3))
    desk.act(campaign, "start")
    done = desk.wait(campaign, status="completed")
    assert done["results"] == {"opted_out": 2, "sent": 1}
    assert (done["released"], done["optedOut"]) == (1, 2)
    path = "/api/opt-outs/%2B15550100001"
    assert desk.gateway.delete(path, token=desk.owner.token).status == 204
    assert desk.gateway.delete(path, token=desk.owner.token).status == 404
    assert desk.post("/api/opt-outs", {"person": "nobody"}).pointers == ["#/person"]
    told = desk.get("/api/audit?action=optOut.*")["items"]
    assert [(one["action"], one["target"]) for one in told] == [
        ("optOut.remove", "15550100001@s.whatsapp.net"),
        ("optOut.add", "15550100001@s.whatsapp.net"),
    ]
    assert told[0]["before"]["source"] == "api"


def test_a_campaign_waits_for_an_instance_and_pauses_and_goes_on(gateway: GatewayLab) -> None:
    desk = Desk(gateway, linked=False)
    campaign = desk.create()
    desk.add(campaign, *(person(number) for number in range(30)))
    desk.act(campaign, "start")
    assert desk.wait(campaign, waiting="instances")["released"] == 0
    paused = desk.act(campaign, "pause")
    assert (paused.status, paused.json["status"]) == (200, "paused")
    assert desk.act(campaign, "pause").problem == "campaign-state"
    assert desk.act(campaign, "start").problem == "campaign-state"
    gateway.link(desk.owner, desk.instance)
    assert desk.act(campaign, "resume").status == 200
    assert desk.wait(campaign, status="completed")["results"] == {"sent": 30}


def test_cancelling_takes_back_what_waits(gateway: GatewayLab) -> None:
    desk = Desk(gateway)
    desk.patch(
        f"/api/instances/{desk.instance}",
        {"settings": {"pacing": {"enabled": True, "messagesPerMinute": 0.01, "jitter": 0}}},
    )
    campaign = desk.create()
    desk.add(campaign, *(person(number) for number in range(100)))
    desk.act(campaign, "start")
    desk.wait(campaign, released=20)  # no more stand in a queue than that
    cancelled = desk.act(campaign, "cancel")
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    results = desk.get(f"{PATH}/{campaign}")["results"]
    assert results["pending"] == 80
    assert results["cancelled"] >= 19
    assert results.get("queued", 0) == 0
    assert desk.act(campaign, "resume").problem == "campaign-state"
    path = f"{PATH}/{campaign}"
    assert gateway.delete(path, token=desk.owner.token).status == 204
    assert gateway.get(path, token=desk.owner.token).status == 404


def test_a_cancellation_that_an_instance_did_not_hear_is_repeated(
    gateway: GatewayLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(gateway)
    campaign = desk.create()
    desk.add(campaign, *(person(number) for number in range(30)))
    desk.patch(
        f"/api/instances/{desk.instance}",
        {"settings": {"pacing": {"enabled": True, "messagesPerMinute": 0.01, "jitter": 0}}},
    )
    desk.act(campaign, "start")
    desk.wait(campaign, released=20)
    asked = []

    async def silent(*told: Any) -> None:
        asked.append(told)
        raise InstanceUnavailableError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(gateway.services.instances, "cancel_message", silent)
        assert (desk.act(campaign, "cancel").status, len(asked)) == (503, 1)
    half = desk.get(f"{PATH}/{campaign}")
    assert (half["status"], half["results"]["queued"] >= 19) == ("cancelled", True)
    again = desk.act(campaign, "cancel")
    assert (again.status, again.json["status"]) == (200, "cancelled")
    whole = desk.get(f"{PATH}/{campaign}")
    assert whole["results"].get("queued", 0) == 0
    assert whole["finishedAt"] == half["finishedAt"]


def test_it_starts_when_it_is_to_and_within_its_window(desk: Desk) -> None:
    later = desk.create(startAt="2999-01-01T00:00:00Z")
    desk.add(later, person(1))
    desk.act(later, "start")
    assert desk.wait(later, waiting="start")["released"] == 0


def test_the_template_may_change_afterwards(desk: Desk) -> None:
    campaign = desk.create()
    (template,) = desk.get("/api/templates")["items"]
    desk.patch(f"/api/templates/{template['id']}", {"content": {"text": "other"}, "variables": []})
    desk.add(campaign, person(1))
    desk.act(campaign, "start")
    desk.wait(campaign, status="completed")
    assert desk.get("/api/messages")["items"][0]["text"] == "Hi P1, 5 off"


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"name": ""}, ["#/name"]),
        ({"template": "No such"}, ["#/template"]),
        ({"version": 7}, ["#/template"]),
        ({"instances": []}, ["#/instances"]),
        ({"instances": ["x"]}, ["#/instances"]),
        ({"instances": [f"ins_{'0' * 26}"]}, ["#/instances/0"]),
        ({"messagesPerMinute": 0}, ["#/messagesPerMinute"]),
        ({"window": {"start": "09:00", "end": "09:00"}}, ["#/window"]),
        ({"window": {"start": "09:00"}}, ["#/window/end"]),
        ({"startAt": "tomorrow"}, ["#/startAt"]),
        ({"more": 1}, ["#/more"]),
    ],
)
def test_a_campaign_that_makes_no_sense_is_refused(
    desk: Desk, changes: dict[str, Any], pointers: list[str]
) -> None:
    body = {"name": "Spring", "template": "Offer", "instances": [desk.instance], **changes}
    refused = desk.post(PATH, body)
    assert (refused.status, refused.pointers) == (422, pointers)
    assert desk.get(PATH)["items"] == []


@pytest.mark.parametrize(
    ("recipients", "pointers"),
    [
        ([], ["#/recipients"]),
        ([{"to": "nobody", "variables": {"name": "x"}}], ["#/recipients/0"]),
        ([person(1), {"to": "+15550100002"}], ["#/recipients/1"]),
        ([person(1, more="x")], ["#/recipients/0"]),
        ([{"to": "1234567@newsletter", "variables": {"name": "x"}}], ["#/recipients/0"]),
    ],
)
def test_recipients_that_do_not_fit_are_named_and_nobody_is_added(
    desk: Desk, recipients: list[Any], pointers: list[str]
) -> None:
    campaign = desk.create()
    refused = desk.add(campaign, *recipients)
    assert (refused.status, refused.pointers) == (422, pointers)
    assert desk.get(f"{PATH}/{campaign}")["total"] == 0
    empty = desk.act(campaign, "start")
    assert (empty.status, empty.problem) == (409, "campaign-state")


def test_there_is_a_bound_on_recipients(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign_recipients, "RECIPIENT_LIMIT", 2)
    campaign = desk.create()
    refused = desk.add(campaign, *(person(number) for number in range(3)))
    assert (refused.status, refused.problem) == (409, "limit-reached")
    assert desk.add(campaign, person(1), person(2)).json["added"] == 2


def test_a_running_campaign_is_neither_filled_nor_deleted(gateway: GatewayLab) -> None:
    desk = Desk(gateway, linked=False)
    campaign = desk.create()
    desk.add(campaign, person(1))
    desk.act(campaign, "start")
    assert desk.add(campaign, person(2)).problem == "campaign-state"
    deleted = gateway.delete(f"{PATH}/{campaign}", token=desk.owner.token)
    assert (deleted.status, deleted.problem) == (409, "campaign-state")
