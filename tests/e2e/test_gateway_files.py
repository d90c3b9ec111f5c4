"""Files from somebody's phone through the real client to HTTP, and on to somebody else."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.live import new_number
from support.live_client import Instance, Owner
from support.media_samples import needs_ffmpeg, picture, recording
from wavisor.sandbox.client import SandboxControl

pytestmark = pytest.mark.e2e

LIVE_SETTINGS = {"pacing_enabled": "false"}
PICTURE = picture("JPEG", 400, 300)


def post(whatsapp: SandboxControl, path: str, body: dict[str, Any]) -> Any:
    address = urlsplit(whatsapp.endpoints().control_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        assert response.status < 300, content
        return json.loads(content)
    finally:
        connection.close()


class Friend:
    """Somebody who sends files to an instance."""

    def __init__(self, whatsapp: SandboxControl, instance: Instance) -> None:
        self.whatsapp, self.instance = whatsapp, instance
        self.number = new_number()
        whatsapp.add_contact(self.number, "Rita", "receiver")

    def send(self, kind: str, content: bytes, **more: Any) -> Any:
        """Send a file; return the data of the event that it was received."""
        data = base64.b64encode(content).decode()
        body = {"to": self.instance.phone, "kind": kind, "data": data, **more}
        sent = post(self.whatsapp, f"/contacts/{self.number}/send", body)
        return self.instance.wait(
            "message:received", where=lambda told: told["whatsappId"] == sent["id"]
        )

    def changed(self, told: Any, state: str, after: int = 0) -> Any:
        return self.instance.wait(
            "message:media:changed",
            after,
            where=lambda data: (
                data["messageId"] == told["messageId"] and data["media"]["state"] == state
            ),
        )["media"]


@pytest.fixture
def friend(owner: Owner, whatsapp: SandboxControl) -> Friend:
    return Friend(whatsapp, owner.create().link(whatsapp, new_number()))


def download(owner: Owner, media: Any, asked: str | None = None) -> Any:
    return owner.api("GET", media["url"], headers={"Range": asked} if asked else None)


def check(friend: Friend, kind: str, content: bytes, media_type: str, **more: Any) -> None:
    """Send a file and compare what is downloaded with it, whole and in parts, byte for byte."""
    told = friend.send(kind, content, **more)
    media = friend.changed(told, "stored")
    assert (media["size"], media["mimeType"]) == (len(content), media_type)
    owner = friend.instance.owner
    assert owner.message(told["messageId"])["media"]["state"] == "stored"
    whole = download(owner, media)
    assert (whole.status, whole.headers["content-type"]) == (200, media_type)
    assert hashlib.sha256(whole.body).digest() == hashlib.sha256(content).digest()
    third = len(content) // 3
    parts = [f"bytes=0-{third - 1}", f"bytes={third}-{2 * third - 1}", f"bytes={2 * third}-"]
    answers = [download(owner, media, one) for one in parts]
    assert [one.status for one in answers] == [206, 206, 206]
    assert b"".join(one.body for one in answers) == content


def test_pictures_documents_and_stickers_are_downloaded_as_they_were_sent(friend: Friend) -> None:
    check(friend, "image", PICTURE, "image/jpeg", text="cat")
    check(friend, "document", b"%PDF-1.4 " + bytes(3_000_000), "application/pdf")
    check(friend, "sticker", picture("WEBP", 512, 512), "image/webp")


@needs_ffmpeg
def test_films_and_sound_are_downloaded_as_they_were_sent(friend: Friend) -> None:
    check(friend, "video", recording("mp4"), "video/mp4")
    check(friend, "audio", recording("mp3"), "audio/mpeg")
    check(friend, "voice", recording("ogg"), "audio/ogg")


def test_a_file_that_whatsapp_does_not_give_is_fetched_when_it_does(friend: Friend) -> None:
    owner = friend.instance.owner
    fault = friend.whatsapp.inject("refuse_downloads", code=410)
    try:
        told = friend.send("image", PICTURE)
        failed = friend.changed(told, "failed")
    finally:
        friend.whatsapp.clear_faults(fault.id)
    assert failed["failure"]["reason"] == "media_gone"
    assert download(owner, failed).json["state"] == "failed"
    mark = friend.instance.mark
    again = owner.api("POST", f"/api/messages/{told['messageId']}/media/retry", {}).expect(202)
    assert again["media"]["state"] == "pending"
    assert download(owner, friend.changed(told, "stored", mark)).body == PICTURE


def test_a_file_that_is_not_what_was_promised_is_refused(friend: Friend) -> None:
    told = friend.send("image", PICTURE, wrongHash=True)
    assert friend.changed(told, "failed")["failure"]["reason"] == "media_corrupt"


def test_a_received_picture_is_forwarded_byte_for_byte(
    friend: Friend, whatsapp: SandboxControl
) -> None:
    eve = new_number()
    whatsapp.add_phone(eve, "Eve")
    told = friend.send("image", PICTURE, text="cat", forwarded=True)
    friend.changed(told, "stored")
    sent = friend.instance.owner.api(
        "POST",
        f"/api/messages/{told['messageId']}/forward",
        {"to": f"+{eve}"},
        {"Prefer": "wait=30"},
    ).expect(202)
    assert sent["status"] in {"sent", "delivered", "read"}, sent
    (got,) = whatsapp.phone_messages(eve, count=1, wait=30)
    assert got.media is not None
    assert got.media.sha256 == hashlib.sha256(PICTURE).hexdigest()
    assert (got.text, got.forwarded) == ("cat", True)
