"""Linking instances and writing to each other, through the whole gateway as its user sees it."""

from __future__ import annotations

import itertools
from datetime import datetime

import pytest

from support.live import LiveGateway, new_number
from support.live_client import Owner
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.people import ABSENT_NUMBER, ECHO_NUMBER, SILENT_NUMBER

pytestmark = pytest.mark.e2e


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_scanned_qr_code_connects_the_instance(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    number = new_number()
    account = whatsapp.add_phone(number, "Ann")
    ann = owner.create()
    assert ann.connect()["status"] == "connecting"
    shown = ann.wait_qr()
    assert (shown["attempt"], shown["limit"]) == (1, 3)
    assert ann.status()["qr"] == {
        "attempt": 1,
        "limit": 3,
        "expiresAt": shown["expiresAt"],
    }
    assert ann.api("GET", "/qr").expect(200)["code"] == shown["code"]
    whatsapp.scan(number, shown["code"])
    paired = ann.wait("instance:paired")
    connected = ann.wait_status("connected")

    assert paired["jid"] == f"{number}:1@s.whatsapp.net"
    assert (connected["old"], connected["reason"]) == ("pairing", "logged_in")
    assert connected["lastError"] is None
    connection = connected["connection"]
    assert {name: connection[name] for name in ("jid", "lid", "phone", "pushName", "platform")} == {
        "jid": f"{number}:1@s.whatsapp.net",
        "lid": f"{account.lid}@lid",
        "phone": f"+{number}",
        "pushName": "Ann",
        "platform": "android",
    }
    assert moment(connection["connectedAt"]) <= moment(connected["newSince"])
    assert ann.statuses() == ["connecting", "qr", "pairing", "connected"]
    events = owner.feed.all(instance=ann.id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len({event["id"] for event in events}) == len(events)
    kinds = [event["type"] for event in events]
    assert kinds.index("instance:qr:updated") < kinds.index("instance:paired")
    changes = owner.feed.all("instance:status:changed", ann.id)
    for before, after in itertools.pairwise(changes):
        assert after["data"]["old"] == before["data"]["new"]
        assert after["data"]["oldSince"] == before["data"]["newSince"]
        assert moment(after["data"]["newSince"]) >= moment(after["data"]["oldSince"])
    stored = ann.api("GET", "/events?limit=200").expect(200)["items"]
    assert stored == events[::-1]
    detail = ann.api("GET").expect(200)
    assert (detail["status"], detail["qr"]) == ("connected", None)
    assert detail["account"] == connection
    assert live.log.wait("QR code shown", instance=ann.id)["qr_attempt"] == "#1 of 3"
    assert ann.api("GET", "/qr").status == 409


def test_a_code_typed_on_the_phone_connects_the_instance(
    owner: Owner, whatsapp: SandboxControl
) -> None:
    number = new_number()
    whatsapp.add_phone(number, "Bob")
    bob = owner.create("Bob")
    refused = bob.api("POST", "/pairing-code", {"phone": f"+{number}"})
    assert refused.status == 409
    assert "connect" in refused.json["allowed"]
    bob.connect()
    bob.wait_qr()
    given = bob.api("POST", "/pairing-code", {"phone": f"+{number}"}).expect(200)
    told = bob.wait("instance:pairing:code")
    assert (told["code"], told["phone"]) == (given["code"], number)
    assert bob.status()["pairingCode"]["code"] == given["code"]
    whatsapp.enter_code(number, given["code"])
    assert bob.wait_status("connected")["connection"]["phone"] == f"+{number}"
    assert bob.status()["pairingCode"] is None
    bad = bob.api("POST", "/pairing-code", {"phone": "0151"})
    assert bad.status in {409, 422}


def test_an_echo_comes_back_and_the_message_is_read(owner: Owner, whatsapp: SandboxControl) -> None:
    ann = owner.create().link(whatsapp, new_number())
    sent = ann.send(ECHO_NUMBER, "Is anybody there? ☃", wait=30)
    assert sent["status"] in {"sent", "delivered", "read"}
    assert sent["whatsappId"]
    reply = ann.wait_text("echo: Is anybody there? ☃")
    assert (reply["kind"], reply["fromMe"], reply["isGroup"]) == ("text", False, False)
    assert reply["sender"]["phone"] == f"+{ECHO_NUMBER}"
    assert reply["chat"] == reply["sender"]
    ann.wait_message(sent["id"], "read")
    resource = owner.message(sent["id"])
    assert resource["status"] == "read"
    # WhatsApp's times are in whole seconds.
    assert moment(resource["createdAt"]).replace(microsecond=0) <= moment(resource["readAt"])
    seen = [
        event["data"]["status"]
        for event in owner.feed.all("message:status:changed", ann.id)
        if event["data"]["messageId"] == sent["id"]
    ]
    order = ["sending", "sent", "delivered", "read"]
    assert seen == [status for status in order if status in seen]


def test_two_instances_write_to_each_other(owner: Owner, whatsapp: SandboxControl) -> None:
    ann = owner.create("Ann").link(whatsapp, new_number(), "Ann")
    bob = owner.create("Bob").link(whatsapp, new_number(), "Bob", reads=True)
    sent = ann.send(bob.phone, "Hello, Bob", wait=30)
    assert sent["status"] in {"sent", "delivered", "read"}
    received = bob.wait_text("Hello, Bob")
    assert received["whatsappId"] == sent["whatsappId"]
    assert received["sender"]["phone"] == f"+{ann.phone}"
    assert received["pushName"] == "Ann"
    stored = owner.message(received["messageId"])
    assert (stored["status"], stored["text"], stored["instanceId"]) == (
        "received",
        "Hello, Bob",
        bob.id,
    )
    assert stored["sender"]["phone"] == f"+{ann.phone}"
    ann.wait_message(sent["id"], "read")
    answer = bob.send(ann.phone, "Hello, Ann", wait=30)
    ann.wait_text("Hello, Ann")
    bob.wait_message(answer["id"], "delivered")
    assert owner.message(answer["id"])["deliveredAt"] is not None
    for instance in (ann, bob):
        own = [e for e in owner.feed.all("message:received", instance.id) if e["data"]["fromMe"]]
        assert own == []


def test_texts_arrive_in_the_order_in_which_they_were_accepted(
    owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    texts = [f"number {count}" for count in range(8)]
    for text in texts:
        ann.send(ECHO_NUMBER, text)
    whatsapp.contact_messages(ECHO_NUMBER, sender=ann.phone, count=len(texts), wait=30)
    arrived = whatsapp.contact_messages(ECHO_NUMBER, sender=ann.phone)
    assert [message.text for message in arrived] == texts


def test_a_silent_contact_never_confirms(owner: Owner, whatsapp: SandboxControl) -> None:
    ann = owner.create().link(whatsapp, new_number())
    quiet = ann.send(SILENT_NUMBER, "hello?", wait=30)
    # What comes after it is confirmed, so the silence is not a delay.
    loud = ann.send(ECHO_NUMBER, "hello!", wait=30)
    ann.wait_message(loud["id"], "read")
    assert owner.message(quiet["id"])["status"] == "sent"
    (message,) = whatsapp.contact_messages(SILENT_NUMBER, sender=ann.phone, count=1, wait=10)
    assert message.text == "hello?"


def test_a_number_that_is_not_on_whatsapp_fails_with_its_reason(
    owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    failed = ann.send(ABSENT_NUMBER, "hello?", wait=30)
    assert failed["status"] == "failed"
    assert failed["failure"]["reason"] == "not_on_whatsapp"
    assert ann.send(ECHO_NUMBER, "go on", wait=30)["status"] in {"sent", "delivered", "read"}


def test_a_reach_out_timelock_holds_messages_to_new_contacts_back(
    owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    whatsapp.inject("reject_messages", phone=ann.phone, code=463, uses=1)
    held = ann.send(ECHO_NUMBER, "hello?", wait=60)
    assert held["status"] == "queued"
    assert (held["failure"]["reason"], held["failure"]["code"]) == ("reach_out_timelock", 463)
    state = ann.status()
    assert state["status"] == "connected"
    assert state["queuePauseReason"] == "reach_out_timelock"
    assert state["queuePausedUntil"] is not None


def test_a_tenant_sees_nothing_of_another(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    with live.new_owner() as stranger:
        assert stranger.api("GET", f"/api/instances/{ann.id}/status").status == 404
        assert stranger.api("POST", f"/api/instances/{ann.id}/disconnect", {}).status == 404
        sent = ann.send(ECHO_NUMBER, "in private", wait=30)
        ann.wait_text("echo: in private")
        assert stranger.api("GET", f"/api/messages/{sent['id']}").status == 404
        mine = stranger.create("Mine")
        mine.connect()
        mine.wait_status("connecting")  # by now the feed would have told what came before
        assert stranger.feed.all(instance=ann.id) == []
