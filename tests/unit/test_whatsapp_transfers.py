"""Files to and from WhatsApp, with the native client's part scripted."""

from __future__ import annotations

import base64
import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.native_events import native_protobufs
from support.native_messages import new_message
from wavisor.whatsapp import transfers
from wavisor.whatsapp.connection import Connection
from wavisor.whatsapp.content import MediaFile, MediaKind
from wavisor.whatsapp.events import Failure
from wavisor.whatsapp.transfers import REUSED_FOR, STUCK_AFTER, Downloads, TransferError, Uploads

PATIENCE = 60.0


@pytest.fixture(scope="module")
def pb() -> Any:
    return native_protobufs()


class Server:
    """Remembers what was uploaded."""

    def __init__(self) -> None:
        self.uploads: list[tuple[bytes, MediaKind]] = []
        self.now = 0.0

    def upload(self, content: bytes, kind: MediaKind) -> object:
        self.uploads.append((content, kind))
        return len(self.uploads)

    def files(self, capacity: int = 64) -> Uploads:
        return Uploads(self.upload, capacity, lambda: self.now)


def saved(path: Path, content: bytes = b"content") -> MediaFile:
    path.write_bytes(content)
    return MediaFile(path=str(path), mime_type="image/png", size=len(content))


def test_the_same_file_is_uploaded_again_only_after_a_while(tmp_path: Path) -> None:
    server = Server()
    files, file = server.files(), saved(tmp_path / "a")
    assert files.take(file, "image", PATIENCE) == files.take(file, "image", PATIENCE) == 1
    server.now = REUSED_FOR + 1
    assert files.take(file, "image", PATIENCE) == 2


def test_another_kind_or_another_content_is_another_upload(tmp_path: Path) -> None:
    server = Server()
    files, file = server.files(), saved(tmp_path / "a")
    files.take(file, "image", PATIENCE)
    # Every kind is encrypted with keys of its own.
    assert files.take(file, "document", PATIENCE) == 2
    (tmp_path / "a").unlink()
    changed = saved(tmp_path / "b", b"CONTENT")
    (tmp_path / "b").rename(tmp_path / "a")
    files.take(changed.model_copy(update={"path": file.path}), "image", PATIENCE)
    assert server.uploads[2:] == [(b"CONTENT", "image")]


def test_only_so_many_uploads_are_remembered(tmp_path: Path) -> None:
    server = Server()
    files = server.files(capacity=2)
    one, two, three = (saved(tmp_path / name) for name in "abc")
    for file in (one, two, one, three, one):
        files.take(file, "image", PATIENCE)
    assert len(server.uploads) == 3
    files.take(two, "image", PATIENCE)
    assert len(server.uploads) == 4


@pytest.mark.parametrize(
    ("content", "claimed", "why"),
    [(None, 7, "cannot be read"), (b"shorter", 9, "not the one"), (b"", 0, "0 bytes")],
)
def test_a_file_that_is_not_as_accepted_is_not_uploaded(
    tmp_path: Path, content: bytes | None, claimed: int, why: str
) -> None:
    server, path = Server(), tmp_path / "a"
    if content is not None:
        path.write_bytes(content)
    file = MediaFile(path=str(path), mime_type="image/png", size=claimed)
    with pytest.raises(TransferError, match=why) as caught:
        server.files().take(file, "image", PATIENCE)
    assert caught.value.failure.reason == "invalid"
    assert server.uploads == []


def test_a_file_larger_than_can_be_sent_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "MAX_UPLOAD", 6)
    with pytest.raises(TransferError, match="7 bytes cannot be sent"):
        Server().files().take(saved(tmp_path / "a"), "image", PATIENCE)


def test_a_failed_upload_is_tried_again(tmp_path: Path) -> None:
    results: list[Any] = [TransferError(Failure(reason="upload_failed", detail="x")), "there"]

    def upload(_content: bytes, _kind: MediaKind) -> Any:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    files, file = Uploads(upload), saved(tmp_path / "a")
    with pytest.raises(TransferError):
        files.take(file, "image", PATIENCE)
    assert files.take(file, "image", PATIENCE) == "there"


def test_a_slow_upload_goes_on_and_serves_the_next_try(tmp_path: Path) -> None:
    release, uploads = threading.Event(), []

    def upload(content: bytes, _kind: MediaKind) -> str:
        uploads.append(content)
        assert release.wait(PATIENCE)
        return "there"

    files, file = Uploads(upload), saved(tmp_path / "a")
    for _ in range(2):
        with pytest.raises(TransferError, match="within 0 s") as caught:
            files.take(file, "image", 0.01)
        assert caught.value.failure == Failure(
            reason="timeout", detail="the file could not be uploaded within 0 s"
        )
    release.set()
    assert files.take(file, "image", PATIENCE) == "there"
    assert uploads == [b"content"]


def test_an_upload_that_hangs_for_long_is_begun_anew(tmp_path: Path) -> None:
    begun, release, server = threading.Event(), threading.Event(), Server()

    def upload(content: bytes, kind: MediaKind) -> object:
        number = server.upload(content, kind)
        begun.set()
        assert number == 2 or release.wait(PATIENCE)
        return number

    files, file = Uploads(upload, now=lambda: server.now), saved(tmp_path / "a")
    with pytest.raises(TransferError):
        files.take(file, "image", 0.01)
    assert begun.wait(PATIENCE)  # which its thread may not have come to in that time
    server.now = STUCK_AFTER
    assert files.take(file, "image", PATIENCE) == 2
    release.set()


def source(pb: Any, length: int = 7) -> str:
    message = new_message(pb)
    message.imageMessage.directPath, message.imageMessage.fileLength = "/f", length
    return base64.b64encode(message.SerializeToString()).decode()


def downloads(pb: Any, download: Callable[[Any], bytes]) -> Downloads:
    return Downloads(lambda: new_message(pb), download)


def test_a_file_appears_whole_under_its_name(pb: Any, tmp_path: Path) -> None:
    asked: list[str] = []

    def download(message: Any) -> bytes:
        asked.append(message.imageMessage.directPath)
        return b"content"

    downloads(pb, download).fetch(source(pb), str(tmp_path / "f"), 100, PATIENCE)
    assert asked == ["/f"]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"content"


def never(_message: Any) -> bytes:
    raise AssertionError("nothing was to be fetched")


@pytest.mark.parametrize("text", ["", "!!", base64.b64encode(b"\xff\xff\xff").decode(), "AAAA"])
def test_a_malformed_source_is_refused(pb: Any, tmp_path: Path, text: str) -> None:
    with pytest.raises(TransferError) as caught:
        downloads(pb, never).fetch(text, str(tmp_path / "f"), 100, PATIENCE)
    assert caught.value.failure.reason == "invalid"


def test_what_claims_to_be_too_large_is_not_fetched_and_what_is_not_kept(
    pb: Any, tmp_path: Path
) -> None:
    target = str(tmp_path / "f")
    with pytest.raises(TransferError) as claimed:
        downloads(pb, never).fetch(source(pb, 101), target, 100, PATIENCE)
    with pytest.raises(TransferError) as lied:
        downloads(pb, lambda _: bytes(101)).fetch(source(pb), target, 100, PATIENCE)
    assert claimed.value.failure.reason == lied.value.failure.reason == "too_large"
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_hangs_is_given_up(pb: Any, tmp_path: Path) -> None:
    release = threading.Event()

    def hang(_message: Any) -> bytes:
        release.wait(PATIENCE)
        return b"late"

    with pytest.raises(TransferError) as caught:
        downloads(pb, hang).fetch(source(pb), str(tmp_path / "f"), 100, 0.01)
    release.set()
    assert caught.value.failure.reason == "timeout"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "reason", "detail"),
    [(errno.ENOSPC, "disk_full", "disk is full"), (errno.EACCES, "disk", "cannot be written")],
)
def test_a_disk_that_fails_leaves_nothing_behind(
    pb: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    reason: str,
    detail: str,
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(TransferError, match=detail) as caught:
        downloads(pb, lambda _: b"content").fetch(source(pb), str(tmp_path / "f"), 100, PATIENCE)
    assert caught.value.failure.reason == reason
    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_stays_is_waited_with() -> None:
    connection = Connection()
    assert not connection.stays(0)
    connection.gain()
    assert connection.connected
    assert connection.stays(0.01)


@pytest.mark.parametrize("happening", ["lose", "end"])
def test_the_end_of_a_connection_is_told_at_once(happening: str) -> None:
    connection = Connection()
    connection.gain()
    told: list[bool] = []
    thread = threading.Thread(target=lambda: told.append(connection.stays(PATIENCE * 6)))
    thread.start()
    getattr(connection, happening)()
    thread.join(PATIENCE)
    assert told == [False]
    connection.gain()
    # A session that is being ended is not to begin anything, connected or not.
    assert connection.stays(0) == (happening == "lose")
