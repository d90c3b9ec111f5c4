"""Files of a hundred megabytes, over a real socket into a real gateway."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.live import LiveGateway
from support.live_client import Instance, Owner

pytestmark = pytest.mark.e2e

LIMIT = 100 << 20
PIECE = bytes(range(256)) * 4096
BOUNDARY = "a-boundary"


def upload(live: LiveGateway, instance: Instance, size: int) -> tuple[int, Any]:
    """Send a document of so many bytes piece by piece; return status and answer."""
    head = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{value}'
        for name, more, value in (
            ("to", "", "+15550199\r\n"),
            ("file", '; filename="large.bin"', ""),
        )
    ).encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()

    def pieces() -> Iterator[bytes]:
        yield head
        for start in range(0, size, len(PIECE)):
            yield PIECE[: size - start]
        yield tail

    address = urlsplit(live.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=90)
    headers = {
        "Authorization": f"Bearer {instance.owner.token}",
        "X-Instance-Id": instance.id,
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(len(head) + size + len(tail)),
        "Expect": "100-continue",
    }
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before it was read
            connection.request("POST", "/api/messages/document", pieces(), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def peak_memory(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def test_a_hundred_megabytes_go_to_the_disk_and_not_into_memory(
    live: LiveGateway, owner: Owner
) -> None:
    instance = owner.create()
    before = peak_memory(live.pid)
    status, message = upload(live, instance, LIMIT)
    assert status == 202, message
    assert message["content"]["file"]["size"] == LIMIT
    digest = hashlib.sha256()
    for _ in range(LIMIT // len(PIECE)):
        digest.update(PIECE)
    (stored,) = [path for path in (live.data_dir / "media").rglob("*") if path.is_file()]
    assert digest.hexdigest().endswith(stored.name)
    assert stored.stat().st_size == LIMIT
    assert peak_memory(live.pid) - before < 30 << 20


def test_one_byte_more_than_is_allowed_is_refused_and_leaves_nothing(
    live: LiveGateway, owner: Owner
) -> None:
    instance = owner.create()
    before = sorted(path for path in (live.data_dir / "media").rglob("*") if path.is_file())
    status, problem = upload(live, instance, LIMIT + 1)
    assert (status, problem["type"]) == (413, "urn:wavisor:problem:body-too-large"), problem
    after = sorted(path for path in (live.data_dir / "media").rglob("*") if path.is_file())
    assert after == before
    assert owner.api("GET", "/api/messages").expect(200)["items"] == []
