"""Posting a status with the real client: who is in the address book sees it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from support.live import new_number
from support.live_client import Instance, Owner
from support.media_samples import picture
from wavisor.sandbox import control_talk_calls as talk
from wavisor.sandbox.client import SandboxControl

pytestmark = pytest.mark.e2e

STATUS = "status@broadcast"
LIVE_SETTINGS = {"pacing_enabled": "false"}


def post(instance: Instance, kind: str, body: Any) -> Any:
    headers = {"X-Instance-Id": instance.id, "Prefer": "wait=20"}
    return instance.owner.api("POST", f"/api/status/{kind}", body, headers).expect(202)


def test_a_status_reaches_a_contact_and_is_taken_back(
    owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create("Ann").link(whatsapp, new_number(), "Ann")
    rita = new_number()
    whatsapp.add_contact(rita, "Rita", "reader")
    whatsapp.run(talk.set_shared(ann.phone, ["contact", f"{rita}@s.whatsapp.net"], "Rita"))
    # The client tells nobody when it has read its address book.
    for number in range(10):
        made = post(ann, "text", {"text": f"Away {number}", "font": "bold"})
        assert made["status"] in ("sent", "delivered", "read"), made
        found = whatsapp.contact_messages(rita, wait=2, count=1, text=f"Away {number}")
        if found:
            break
    assert [(one.chat, one.text) for one in found] == [(STATUS, made["text"])]
    image = base64.b64encode(picture("JPEG", 40, 30)).decode()
    post(ann, "image", {"base64": image, "caption": "The sea"})
    [seen] = whatsapp.contact_messages(rita, wait=20, count=1, text="The sea")
    assert (seen.chat, seen.kind) == (STATUS, "image")
    headers = {"X-Instance-Id": ann.id, "Prefer": "wait=20"}
    path = f"/api/messages/{made['id']}/revoke"
    revoked = owner.api("POST", path, {}, headers).expect(202)
    assert revoked["status"] in ("sent", "delivered", "read"), revoked
    assert owner.message(made["id"])["revokedAt"] is not None
    listed = owner.api(
        "GET", f"/api/messages?chat={STATUS}&direction=outbound&kind=image", None, headers
    ).expect(200)
    assert [one["text"] for one in listed["items"]] == ["The sea"]
