"""The past that a phone tells after linking, with the real client."""

from __future__ import annotations

from typing import Any

import pytest

from support.live import new_number
from support.live_client import Instance, Owner
from wavisor.sandbox.client import SandboxControl

pytestmark = pytest.mark.e2e


def write_past(whatsapp: SandboxControl, phone: str) -> tuple[str, str]:
    """Let two people talk with somebody who has not linked a device yet; return their numbers."""
    whatsapp.add_phone(phone, "Hanna")
    people = new_number(), new_number()
    for number, name in zip(people, ("Rita", "Sam"), strict=True):
        whatsapp.add_contact(number, name, "reader")
        for turn in range(3):
            whatsapp.write_as_contact(number, phone, f"{name} {turn}")
            text = f"{name} {turn}"
            whatsapp.phone_messages(phone, wait=20, count=1, text=text)
    return people


def link(instance: Instance, whatsapp: SandboxControl, phone: str) -> int:
    mark = instance.mark
    instance.phone = phone
    instance.connect()
    whatsapp.scan(phone, instance.wait_qr(mark)["code"])
    instance.wait_status("connected", mark)
    return mark


def get(instance: Instance, path: str) -> Any:
    headers = {"X-Instance-Id": instance.id}
    return instance.owner.api("GET", path, None, headers).expect(200)


def test_the_past_is_there_after_linking(owner: Owner, whatsapp: SandboxControl) -> None:
    phone = new_number()
    rita, sam = write_past(whatsapp, phone)
    hanna = owner.create("Hanna")
    hanna.api("PATCH", "", {"settings": {"history": {"perChat": 2, "total": 10}}}).expect(200)
    mark = link(hanna, whatsapp, phone)
    for number in (rita, sam):
        data = hanna.wait(
            "history:received", mark, where=lambda one, n=number: one["chat"]["phone"] == f"+{n}"
        )
        assert data["stored"] == 2
    assert not owner.feed.all("message:received", hanna.id, mark)
    chats = {one["phone"]: one for one in get(hanna, "/api/chats")["items"]}
    assert {one["name"] for one in chats.values()} == {"Rita", "Sam"}
    assert chats[f"+{rita}"]["lastMessage"]["text"] == "Rita 2"
    after = hanna.mark
    whatsapp.write_as_contact(rita, phone, "Rita now")
    hanna.wait_text("Rita now", after)
    listed = get(hanna, f"/api/messages?chat={rita}@s.whatsapp.net")["items"]
    assert [one["text"] for one in listed] == ["Rita now", "Rita 2", "Rita 1"]
    assert [one["fromHistory"] for one in listed] == [False, True, True]


def test_the_past_stays_away_unless_it_is_asked_for(owner: Owner, whatsapp: SandboxControl) -> None:
    phone = new_number()
    rita, _ = write_past(whatsapp, phone)
    hanna = owner.create("Hanna")
    link(hanna, whatsapp, phone)
    after = hanna.mark
    whatsapp.write_as_contact(rita, phone, "Rita now")
    hanna.wait_text("Rita now", after)
    assert [one["text"] for one in get(hanna, "/api/messages")["items"]] == ["Rita now"]
