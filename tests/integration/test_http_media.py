"""Downloading files of messages: whole, in parts, only one's own, and nothing that runs."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tornado.simple_httpclient import HTTPStreamClosedError

from support.gateway import GatewayLab
from support.http import Answer, Member
from wavisor.http.media import routes
from wavisor.http.routing import FilePart
from wavisor.ids import Kind, new_id
from wavisor.storage import ExpectedFile, Scope, media

BYTES = bytes(range(256)) * 4096  # 1 MiB, so that it takes several chunks


@dataclass
class Downloader:
    """Somebody whose messages have files."""

    gateway: GatewayLab
    member: Member

    def store(
        self, content: bytes = BYTES, mime_type: str = "image/jpeg", name: str | None = None
    ) -> str:
        """Return the id of a file that is stored."""
        digest = hashlib.sha256(content).hexdigest()
        relative = f"{digest[:2]}/{digest[2:]}"
        path = self.gateway.application.services.media.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        record = self.gateway.database.write_wait(
            media.put,
            self.scope,
            sha256=digest,
            size=len(content),
            mime_type=mime_type,
            path=relative,
            file_name=name,
        )
        return record.id

    @property
    def scope(self) -> Scope:
        return Scope(self.member.subscription_id)

    def get(self, identifier: str, method: str = "GET", **headers: str) -> Answer:
        return self.gateway.request(
            method,
            f"/api/media/{identifier}",
            token=self.member.token,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )


@pytest.fixture
def downloader(gateway: GatewayLab) -> Downloader:
    return Downloader(gateway, gateway.register())


def test_a_file_is_sent_whole_with_its_type(gateway_on_both: GatewayLab) -> None:
    downloader = Downloader(gateway_on_both, gateway_on_both.register())
    answer = downloader.get(downloader.store(name='naïve "1".jpg'))
    assert (answer.status, answer.body) == (200, BYTES)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Content-Length"] == str(len(BYTES))
    assert (
        answer.headers["Content-Disposition"] == "inline; filename*=UTF-8''na%C3%AFve%20%221%22.jpg"
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_only_the_header_is_sent_when_only_that_is_asked_for(downloader: Downloader) -> None:
    identifier = downloader.store()
    answer = downloader.get(identifier, "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(BYTES))
    assert answer.headers["ETag"] == downloader.get(identifier).headers["ETag"]


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-300099", 100, 300_099),
        ("bytes=1048570-", 1_048_570, 1_048_575),
        ("bytes=1048570-9999999999", 1_048_570, 1_048_575),
        ("bytes=-6", 1_048_570, 1_048_575),
        ("bytes=-99999999", 0, 1_048_575),
        (f"bytes=0-{10**30}", 0, 1_048_575),
        (f"bytes=-{10**30}", 0, 1_048_575),
    ],
)
def test_a_part_is_sent(downloader: Downloader, asked: str, first: int, last: int) -> None:
    answer = downloader.get(downloader.store(), Range=asked)
    assert answer.status == 206
    assert answer.body == BYTES[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/1048576"


@pytest.mark.parametrize("asked", ["bytes=0-5", "bytes=9999999-"])
def test_only_get_has_parts(downloader: Downloader, asked: str) -> None:
    answer = downloader.get(downloader.store(), "HEAD", Range=asked)
    assert (answer.status, answer.headers["Content-Length"]) == (200, "1048576")


@pytest.mark.parametrize(
    "asked", ["bytes=1048576-", "bytes=9999999-99999999", "bytes=-0", f"bytes={10**30}-"]
)
def test_a_part_behind_the_end_is_refused(downloader: Downloader, asked: str) -> None:
    answer = downloader.get(downloader.store(), Range=asked)
    assert (answer.status, answer.problem) == (416, "range-not-satisfiable")
    assert answer.headers["Content-Range"] == "bytes */1048576"


@pytest.mark.parametrize("asked", ["bytes=5-1", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "what"])
def test_what_is_no_single_part_gets_everything(downloader: Downloader, asked: str) -> None:
    answer = downloader.get(downloader.store(), Range=asked)
    assert (answer.status, answer.body) == (200, BYTES)


def test_the_same_version_is_not_sent_again(downloader: Downloader) -> None:
    identifier = downloader.store()
    etag = downloader.get(identifier).headers["ETag"]
    for named in (etag, f'"other", W/{etag}', "*"):
        answer = downloader.get(identifier, If_None_Match=named)
        assert (answer.status, answer.body) == (304, b"")
    assert downloader.get(identifier, If_None_Match='"other"').status == 200
    assert downloader.get(identifier, Range="bytes=0-1", If_Range=etag).status == 206
    assert downloader.get(identifier, Range="bytes=0-1", If_Range='"other"').status == 200


@pytest.mark.parametrize(
    ("mime_type", "sent_as"),
    [
        ("text/html", "text/html"),
        ("image/svg+xml", "image/svg+xml"),
        ("application/pdf", "application/pdf"),
        ("text/html\r\nX-Evil: 1", "application/octet-stream"),
        ("nonsense", "application/octet-stream"),
        ("Text/HTML; charset=utf-8", "text/html"),
    ],
)
def test_what_could_run_is_only_saved(downloader: Downloader, mime_type: str, sent_as: str) -> None:
    answer = downloader.get(downloader.store(b"<script>", mime_type, "a.html"))
    assert answer.headers["Content-Type"] == sent_as
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.html"
    assert "X-Evil" not in answer.headers
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_voice_is_played_in_place(downloader: Downloader) -> None:
    answer = downloader.get(downloader.store(b"OggS", "audio/ogg; codecs=opus"))
    assert answer.headers["Content-Type"] == "audio/ogg"
    assert answer.headers["Content-Disposition"] == "inline"


def test_a_file_of_another_tenant_is_not_found(downloader: Downloader) -> None:
    identifier = downloader.store()
    other = Downloader(downloader.gateway, downloader.gateway.register())
    assert other.get(identifier).problem == "not-found"
    assert other.get(new_id(Kind.MEDIA)).problem == "not-found"
    assert downloader.gateway.get(f"/api/media/{identifier}").status == 401


def test_a_file_that_is_not_here_says_why(downloader: Downloader) -> None:
    database = downloader.gateway.database
    expected = database.write_wait(
        media.expect,
        downloader.scope,
        ExpectedFile(descriptor={"source": "s"}, mime_type="image/png"),
    )
    answer = downloader.get(expected.id)
    assert (answer.problem, answer.json["state"]) == ("media-unavailable", "pending")
    database.write_wait(media.mark_failed, expected.id, {"reason": "media_gone"})
    assert downloader.get(expected.id).json["state"] == "failed"


def test_a_file_that_is_gone_from_the_disk_is_not_found(downloader: Downloader) -> None:
    identifier = downloader.store()
    record = downloader.gateway.database.read_wait(media.get, downloader.scope, identifier)
    assert record is not None
    assert record.path is not None
    (downloader.gateway.application.services.media.root / record.path).unlink()
    assert downloader.get(identifier).problem == "not-found"


def test_a_client_that_leaves_in_the_middle_harms_nobody(downloader: Downloader) -> None:
    large = bytes(32 * 1024 * 1024)
    identifier = downloader.store(large)
    gateway = downloader.gateway
    head = (
        f"GET /api/media/{identifier} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {downloader.member.token}\r\n\r\n"
    )

    async def leave() -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head.encode())
        begun = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.transport.abort()
        return begun

    assert gateway.run(leave()).startswith(b"HTTP/1.1 200")
    assert len(downloader.get(identifier).body) == len(large)


def test_a_file_that_became_shorter_is_not_passed_off_as_whole(
    downloader: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = downloader.store()
    monkeypatch.setattr(routes, "FilePart", _longer)
    with pytest.raises(HTTPStreamClosedError):
        downloader.get(identifier)


def _longer(path: Path, start: int, length: int) -> FilePart:
    return FilePart(path, start, length + 1)
