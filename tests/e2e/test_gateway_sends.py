"""Every kind of message from HTTP to somebody's phone, by the real client."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from support.live import new_number
from support.live_client import Instance, Owner
from support.media_samples import needs_ffmpeg, picture, recording
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.control_models import Message

pytestmark = pytest.mark.e2e

LIVE_SETTINGS = {"pacing_enabled": "false"}
PICTURE = picture("JPEG", 400, 300)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def send(instance: Instance, kind: str, body: dict[str, Any]) -> Any:
    headers = {"X-Instance-Id": instance.id, "Prefer": "wait=30"}
    answer = instance.owner.api("POST", f"/api/messages/{kind}", body, headers).expect(202)
    assert answer["status"] in {"sent", "delivered", "read"}, answer
    return answer


def received(whatsapp: SandboxControl, number: str, count: int) -> dict[str, Message]:
    """What somebody's phone got, by WhatsApp's id."""
    return {one.id: one for one in whatsapp.phone_messages(number, count=count, wait=30)}


def test_every_kind_arrives_as_it_was_sent(owner: Owner, whatsapp: SandboxControl) -> None:
    ann = owner.create().link(whatsapp, new_number())
    bob = new_number()
    whatsapp.add_phone(bob, "Bob")
    to = f"+{bob}"
    text = send(ann, "text", {"to": to, "text": "hello"})
    sent = {
        "image": send(ann, "image", {"to": to, "base64": encoded(PICTURE), "caption": "cat"}),
        "document": send(
            ann, "document", {"to": to, "base64": encoded(b"%PDF-1.4"), "fileName": "a.pdf"}
        ),
        "sticker": send(ann, "sticker", {"to": to, "base64": encoded(PICTURE)}),
        "location": send(ann, "location", {"to": to, "latitude": 52.5, "longitude": 13.4}),
        "contact": send(ann, "contact", {"to": to, "contacts": [{"name": "Eve", "phone": to}]}),
        "poll": send(ann, "poll", {"to": to, "question": "When?", "options": ["a", "b"]}),
        "reaction": send(ann, "reaction", {"messageId": text["id"], "emoji": "👍"}),
        "reply": send(ann, "text", {"to": to, "text": "again", "quoted": text["id"]}),
    }
    got = received(whatsapp, bob, 1 + len(sent))
    by_kind = {kind: got[one["whatsappId"]] for kind, one in sent.items()}
    assert got[text["whatsappId"]].text == "hello"
    image, document = by_kind["image"], by_kind["document"]
    assert image.media is not None
    assert image.media.sha256 == hashlib.sha256(PICTURE).hexdigest()
    assert (image.media.mime_type, image.text) == ("image/jpeg", "cat")
    assert document.media is not None
    assert (document.media.file_name, document.media.mime_type) == ("a.pdf", "application/pdf")
    assert by_kind["sticker"].media is not None
    assert by_kind["sticker"].media.mime_type == "image/webp"
    assert by_kind["location"].position == (52.5, 13.4)
    assert by_kind["reaction"].target == text["whatsappId"]
    assert by_kind["reply"].quoted == text["whatsappId"]


@needs_ffmpeg
def test_recordings_arrive_with_their_length(owner: Owner, whatsapp: SandboxControl) -> None:
    ann = owner.create().link(whatsapp, new_number())
    bob = new_number()
    whatsapp.add_phone(bob, "Bob")
    sent = {
        kind: send(ann, kind, {"to": f"+{bob}", "base64": encoded(recording(suffix))})
        for kind, suffix in (("video", "mp4"), ("audio", "mp3"), ("voice", "wav"))
    }
    got = received(whatsapp, bob, 3)
    types = {}
    for kind, one in sent.items():
        media = got[one["whatsappId"]].media
        assert media is not None
        assert media.seconds in (2, 3)
        types[kind] = media.mime_type
    assert types == {
        "video": "video/mp4",
        "audio": "audio/mpeg",
        "voice": "audio/ogg; codecs=opus",
    }


def test_message_is_edited_taken_back_and_forwarded(owner: Owner, whatsapp: SandboxControl) -> None:
    ann = owner.create().link(whatsapp, new_number())
    bob, eve = new_number(), new_number()
    for number in (bob, eve):
        whatsapp.add_phone(number, "Somebody")
    first = send(ann, "text", {"to": f"+{bob}", "text": "hello"})
    headers = {"Prefer": "wait=30"}
    for action, body in (
        ("edit", {"text": "hullo"}),
        ("forward", {"to": f"+{eve}"}),
        ("revoke", {}),
    ):
        path = f"/api/messages/{first['id']}/{action}"
        done = owner.api("POST", path, body, headers).expect(202)
        assert done["status"] in {"sent", "delivered", "read"}, done
    kinds = [one.kind for one in whatsapp.phone_messages(bob, count=3, wait=30)]
    assert sorted(kinds) == ["edit", "revoke", "text"]
    (forwarded,) = whatsapp.phone_messages(eve, count=1, wait=30)
    assert forwarded.forwarded
    assert forwarded.text == "hullo"  # as it was edited


def test_group_message_is_read_when_everybody_has_read_it(
    owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    reader, silent = new_number(), new_number()
    whatsapp.add_contact(reader, "Reader", "reader")
    whatsapp.add_contact(silent, "Silent", "silent")
    headers = {"X-Instance-Id": ann.id}
    body = {"name": "Team", "participants": [f"+{reader}", f"+{silent}"]}
    group = owner.api("POST", "/api/groups", body, headers).expect(201)
    first = send(ann, "text", {"to": group["jid"], "text": "hello"})
    assert first["recipients"] == 2

    body = {"change": "remove", "people": [f"+{silent}"]}
    path = f"/api/groups/{group['jid']}/participants"
    mark = ann.mark
    owner.api("POST", path, body, headers).expect(200)
    ann.wait("group:participants:changed", mark)
    second = send(ann, "text", {"to": group["jid"], "text": "are you there?"})
    assert second["recipients"] == 1
    ann.wait_message(second["id"], "read", mark)
    # The reader's receipts for the first one are older than those for the second.
    life = owner.message(first["id"])
    assert life["status"] == "sent"
    assert [one["status"] for one in life["receipts"]] == ["read"]
