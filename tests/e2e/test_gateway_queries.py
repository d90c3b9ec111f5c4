"""The whole gateway asked about people, groups and itself, with real clients on both ends."""

from __future__ import annotations

from typing import Any

import pytest

from support.live import new_number
from support.live_client import Answer, Instance, Owner
from support.processes import wait_until
from wavisor.sandbox.client import SandboxControl

pytestmark = pytest.mark.e2e

LIVE_SETTINGS = {"backoff_maximum_seconds": "2"}


def ask(instance: Instance, method: str, path: str, body: Any = None) -> Answer:
    return instance.owner.api(method, path, body, {"X-Instance-Id": instance.id})


def test_two_instances_meet_in_a_group(owner: Owner, whatsapp: SandboxControl) -> None:
    ann = owner.create("Ann").link(whatsapp, new_number(), "Ann")
    ben = owner.create("Ben").link(whatsapp, new_number(), "Ben")

    checked = ask(ann, "POST", "/api/contacts/check", {"numbers": [f"+{ben.phone}", "+4930123456"]})
    known, unknown = checked.expect(200)["items"]
    assert (known["onWhatsapp"], unknown["onWhatsapp"]) == (True, False)
    assert known["person"]["phone"] == f"+{ben.phone}"
    assert ask(ann, "GET", f"/api/lids/{known['person']['lid']}").expect(200) == known["person"]

    mark = ben.mark
    body = {"name": "Both", "participants": [f"+{ben.phone}"]}
    group = ask(ann, "POST", "/api/groups", body).expect(201)
    assert group["notAdded"] == []
    path = f"/api/groups/{group['jid']}"
    told = ben.wait("group:updated", mark, where=lambda data: data["joined"])
    assert told["group"] == group["jid"]

    seen = ask(ben, "GET", path).expect(200)
    assert (seen["name"], seen["role"]) == ("Both", "member")
    assert ask(ben, "PATCH", path, {"announce": True}).status == 403
    promote = {"change": "promote", "people": [known["person"]["lid"]]}
    (outcome,) = ask(ann, "POST", f"{path}/participants", promote).expect(200)["items"]
    assert (outcome["person"]["phone"], outcome["reason"]) == (f"+{ben.phone}", None)
    ask(ben, "PATCH", path, {"name": "Ours", "announce": True}).expect(204)
    (listed,) = ask(ann, "GET", "/api/groups").expect(200)["items"]
    assert (listed["name"], listed["announce"]) == ("Ours", True)

    link = ask(ben, "GET", f"{path}/invite").expect(200)["link"]
    ask(ann, "POST", f"{path}/leave", {}).expect(204)
    assert ask(ann, "GET", path).status == 403
    assert ask(ann, "POST", "/api/groups/join", {"link": link}).expect(200)["jid"] == group["jid"]


def test_an_admin_takes_back_what_a_member_wrote(owner: Owner, whatsapp: SandboxControl) -> None:
    ann = owner.create("Ann").link(whatsapp, new_number(), "Ann")
    ben = owner.create("Ben").link(whatsapp, new_number(), "Ben")
    mark = ben.mark
    body = {"name": "Both", "participants": [f"+{ben.phone}"]}
    group = ask(ann, "POST", "/api/groups", body).expect(201)["jid"]
    ben.wait("group:updated", mark, where=lambda data: data["joined"])

    mark = ann.mark
    text = {"to": group, "text": "Advertisement"}
    headers = {"X-Instance-Id": ben.id, "Prefer": "wait=30"}
    written = owner.api("POST", "/api/messages/text", text, headers).expect(202)
    heard = ann.wait_text("Advertisement", mark)
    revoked = owner.api(
        "POST", f"/api/messages/{heard['messageId']}/revoke", {}, {"Prefer": "wait=30"}
    )
    assert revoked.expect(202)["status"] in {"sent", "delivered", "read"}
    told = ben.wait("message:revoked", where=lambda data: data["chat"]["jid"] == group)
    assert (told["messageId"], told["byAdmin"]) == (written["id"], True)
    for one in (written["id"], heard["messageId"]):
        assert owner.message(one)["revokedAt"] is not None

    def name(member: Instance) -> object:
        return ask(member, "GET", f"/api/chats/{group}").json.get("name")

    # Where no event told it, WhatsApp is asked.
    wait_until(lambda: [name(ann), name(ben)] == ["Both", "Both"])


def test_the_account_shows_itself_and_watches_others(
    owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create("Ann").link(whatsapp, new_number(), "Ann")
    ben = owner.create("Ben").link(whatsapp, new_number(), "Ben")
    ask(ann, "PATCH", "/api/profile", {"about": "At work"}).expect(204)
    assert ask(ann, "GET", "/api/profile").expect(200)["about"] == "At work"
    about = ask(ben, "GET", f"/api/contacts/+{ann.phone}/about").expect(200)
    assert about["about"] == "At work"
    privacy = ask(ann, "PATCH", "/api/privacy", {"lastSeen": "contacts"}).expect(200)
    assert privacy["lastSeen"] == "contacts"
    assert ask(ben, "GET", f"/api/contacts/+{ann.phone}/picture").status == 404

    mark = ben.mark
    ask(ann, "PUT", "/api/presence", {"available": True}).expect(204)
    ask(ben, "PUT", "/api/presence", {"available": True}).expect(204)
    typing = {"chat": f"+{ben.phone}", "state": "composing"}
    ask(ann, "POST", "/api/presence/typing", typing).expect(204)
    shown = ben.wait("presence:updated", mark, where=lambda data: data["state"] == "composing")
    assert shown["person"]["phone"] == f"+{ann.phone}"

    ask(ann, "POST", f"/api/contacts/+{ben.phone}/block", {}).expect(204)
    (blocked,) = ask(ann, "GET", "/api/contacts/blocked").expect(200)["items"]
    assert blocked["phone"] == f"+{ben.phone}"


def test_who_is_disconnected_is_not_asked(owner: Owner, whatsapp: SandboxControl) -> None:
    ann = owner.create("Ann").link(whatsapp, new_number(), "Ann")
    ask(ann, "GET", "/api/groups").expect(200)
    mark = ann.mark
    ann.command("disconnect")
    ann.wait_status("disconnected", mark)
    refused = ask(ann, "GET", "/api/groups")
    assert refused.status == 409
    assert refused.json["instanceStatus"] == "disconnected"
    assert "connect" in refused.json["allowed"]
