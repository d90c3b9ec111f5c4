"""A disk that is really full, under the files of messages: a small file system of its own."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.forms import form
from support.live import LiveGateway, new_number
from support.live_client import Instance
from support.media_samples import picture
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.control_talk_calls import send

pytestmark = pytest.mark.e2e

NewLive = Callable[..., LiveGateway]
Mounted = Callable[[Path, str], None]
MEGABYTE = 1 << 20
LARGE = b"%PDF-1.4 " + bytes(6 * MEGABYTE)
SMALL = picture("JPEG", 400, 300)


@pytest.fixture
def cramped(new_live: NewLive, mounted: Mounted) -> LiveGateway:
    """A gateway whose files have four megabytes of disk, and all else has enough."""
    gateway = new_live()
    media = gateway.data_dir / "media"
    media.mkdir(parents=True, mode=0o700)
    gateway.data_dir.chmod(0o700)
    mounted(media, "size=4m,mode=0700")
    return gateway.start()


def make_room(gateway: LiveGateway) -> None:
    """Let the disk have 64 megabytes from now on."""
    media = str(gateway.data_dir / "media")
    subprocess.run(["mount", "-o", "remount,size=64m", media], check=True, timeout=60)


def files(gateway: LiveGateway) -> list[str]:
    """The hashes of the files that are there; nothing else may be."""
    media = gateway.data_dir / "media"
    found = [path for path in media.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(media)).replace("/", "") for path in found)


def changed(ann: Instance, told: Any, state: str, after: int = 0) -> Any:
    """Wait until the file of a message is in a state; return what is told of it."""

    def wanted(data: Any) -> bool:
        return bool(data["messageId"] == told["messageId"] and data["media"]["state"] == state)

    return ann.wait("message:media:changed", after, where=wanted)["media"]


def test_a_disk_that_fills_up_during_a_download_fails_that_file_until_there_is_room(
    cramped: LiveGateway, whatsapp: SandboxControl
) -> None:
    friend = new_number()
    whatsapp.add_contact(friend, "Rita", "receiver")
    with cramped.new_owner() as owner:
        ann = owner.create("Ann").link(whatsapp, new_number(), "Ann")

        def receive(kind: str, content: bytes) -> Any:
            data = base64.b64encode(content).decode()
            sent = whatsapp.run(send("contacts", friend, to=ann.phone, kind=kind, data=data))
            return ann.wait("message:received", where=lambda one: one["whatsappId"] == sent.id)

        told = receive("document", LARGE)
        failed = changed(ann, told, "failed")
        assert failed["failure"] == {"reason": "disk_full", "detail": "the disk is full"}
        assert owner.message(told["messageId"])["media"]["state"] == "failed"
        # What it had taken of the disk is free again, and the session goes on.
        fits = receive("image", SMALL)
        assert changed(ann, fits, "stored")["size"] == len(SMALL)
        assert files(cramped) == [hashlib.sha256(SMALL).hexdigest()]
        assert ann.status()["status"] == "connected"

        make_room(cramped)
        mark = ann.mark
        owner.api("POST", f"/api/messages/{told['messageId']}/media/retry", {}).expect(202)
        media = changed(ann, told, "stored", mark)
        assert owner.api("GET", media["url"]).body == LARGE


def upload(gateway: LiveGateway, ann: Instance, content: bytes) -> tuple[int, Any]:
    """Send a document to nobody in particular; return status and answer."""
    body, content_type = form([("to", None, b"+15550199"), ("file", "large.pdf", content)])
    address = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=90)
    headers = {
        "Authorization": f"Bearer {ann.owner.token}",
        "X-Instance-Id": ann.id,
        "Content-Type": content_type,
    }
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before it was read
            connection.request("POST", "/api/messages/document", body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_full_disk_refuses_files_to_be_sent_and_nothing_else(cramped: LiveGateway) -> None:
    with cramped.new_owner() as owner:
        ann = owner.create("Ann")
        status, problem = upload(cramped, ann, LARGE)
        assert (status, problem["type"]) == (507, "urn:wavisor:problem:storage-full")
        inline = {"to": "+15550199", "base64": base64.b64encode(LARGE).decode()}
        headers = {"X-Instance-Id": ann.id}
        refused = owner.api("POST", "/api/messages/document", inline, headers)
        assert (refused.status, refused.json["type"]) == (507, problem["type"])
        assert files(cramped) == []
        text = {"to": "+15550199", "text": "hello"}
        owner.api("POST", "/api/messages/text", text, headers).expect(202)
        make_room(cramped)
        status, message = upload(cramped, ann, LARGE)
        assert (status, message["media"]["state"]) == (202, "stored")
        assert files(cramped) == [hashlib.sha256(LARGE).hexdigest()]
