"""The settings by which an instance reads, is online and rejects calls, with the real client."""

from __future__ import annotations

from typing import Any

import pytest

from support.live import new_number
from support.live_client import Instance, Owner
from wavisor.sandbox import control_talk_calls as talk
from wavisor.sandbox.client import SandboxControl

pytestmark = pytest.mark.e2e

LIVE_SETTINGS = {"backoff_maximum_seconds": "2"}


def configure(instance: Instance, **settings: Any) -> None:
    instance.api("PATCH", "", {"settings": settings}).expect(200)


@pytest.fixture
def ann(owner: Owner, whatsapp: SandboxControl) -> Instance:
    return owner.create("Ann").link(whatsapp, new_number(), "Ann")


@pytest.fixture
def rita(whatsapp: SandboxControl) -> str:
    number = new_number()
    whatsapp.add_contact(number, "Rita", "reader")
    return number


def unread(instance: Instance, chat: str) -> int:
    headers = {"X-Instance-Id": instance.id}
    found = instance.owner.api("GET", f"/api/chats/{chat}", None, headers).expect(200)
    return int(found["unread"])


def test_an_author_sees_that_the_message_was_read(
    ann: Instance, rita: str, whatsapp: SandboxControl
) -> None:
    configure(ann, receiving={"autoRead": True})
    written = whatsapp.write_as_contact(rita, ann.phone, "Are you there?")
    read = whatsapp.contact_sent(rita, written.id, status="read", wait=20)
    assert read.receipts[ann.phone] == "read"
    # The count is written after WhatsApp has taken the receipt; a further event comes after it.
    configure(ann, receiving=None)
    mark = ann.mark
    whatsapp.write_as_contact(rita, ann.phone, "And now?")
    ann.wait_text("And now?", mark)
    assert unread(ann, f"{rita}@s.whatsapp.net") == 1


def test_a_member_of_a_group_sees_that_the_message_was_read(
    ann: Instance, rita: str, whatsapp: SandboxControl
) -> None:
    configure(ann, receiving={"autoRead": True})
    mark = ann.mark
    group = whatsapp.run(talk.found_group(actor=rita, subject="Club", members=[ann.phone]))
    ann.wait("group:updated", mark, where=lambda data: data["joined"])
    written = whatsapp.run(talk.send("contacts", rita, to=group.jid, kind="text", text="All?"))
    assert whatsapp.contact_sent(rita, written.id, status="read", wait=20).receipts[ann.phone] == (
        "read"
    )


def test_an_ignored_group_says_nothing(ann: Instance, rita: str, whatsapp: SandboxControl) -> None:
    configure(ann, receiving={"ignoreGroups": True})
    mark = ann.mark
    group = whatsapp.run(talk.found_group(actor=rita, subject="Club", members=[ann.phone]))
    whatsapp.run(talk.send("contacts", rita, to=group.jid, kind="text", text="Everybody?"))
    whatsapp.write_as_contact(rita, ann.phone, "Only you?")
    ann.wait_text("Only you?", mark)
    kinds = {one["type"] for one in ann.owner.feed.all("", ann.id, mark)}
    assert kinds == {"message:received"}
    headers = {"X-Instance-Id": ann.id}
    listed = ann.owner.api("GET", "/api/messages", None, headers).expect(200)["items"]
    assert [one["text"] for one in listed] == ["Only you?"]


def test_who_watches_sees_the_account_come_online_and_go(
    ann: Instance, owner: Owner, whatsapp: SandboxControl
) -> None:
    ben = owner.create("Ben").link(whatsapp, new_number(), "Ben")
    headers = {"X-Instance-Id": ben.id}
    owner.api("PUT", "/api/presence", {"available": True}, headers).expect(204)
    owner.api("POST", "/api/presence/subscribe", {"person": f"+{ann.phone}"}, headers).expect(204)

    def seen(state: str, after: int) -> None:
        ben.wait("presence:updated", after, where=lambda data: data["state"] == state)

    mark = ben.mark
    configure(ann, presence={"alwaysOnline": True})
    seen("available", mark)
    mark = ben.mark
    configure(ann, presence={"alwaysOnline": False})
    seen("unavailable", mark)


def test_a_caller_is_rejected_and_answered_in_writing(
    ann: Instance, rita: str, whatsapp: SandboxControl
) -> None:
    configure(ann, calls={"autoReject": True, "replyText": "Please write."})
    mark = ann.mark
    call = whatsapp.run(talk.ring("contacts", rita, to=ann.phone))
    told = ann.wait("call:offered", mark, where=lambda data: data["callId"] == call.id)
    assert (told["rejected"], told["caller"]["phone"]) == (True, f"+{rita}")
    [heard] = whatsapp.contact_messages(rita, wait=20, count=1)
    assert heard.text == "Please write."
    [ended] = whatsapp.run(talk.calls("contacts", rita)).items
    assert ended.status == "rejected"
