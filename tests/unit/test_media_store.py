"""Files of messages on disk: whole or not at all, shared, bounded."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from wavisor.media import MediaError, MediaReason, MediaStore, StoredFile
from wavisor.media import store as store_module
from wavisor.media.store import KEEP_SECONDS, Incoming


class Time:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(tmp_path: Path, time: Time) -> Iterator[MediaStore]:
    made = MediaStore(tmp_path / "media", now=time)
    made.open()
    yield made
    made.close()


async def put(store: MediaStore, content: bytes, *, limit: int = 10**6) -> StoredFile:
    async with store.incoming(limit) as received:
        for start in range(0, len(content), 1000):
            await received.write(content[start : start + 1000])
        await received.finish()
        assert received.sha256 == hashlib.sha256(content).hexdigest()
        return await store.keep(received.path)


def leftovers(store: MediaStore) -> list[Path]:
    return list((store.root / "incoming").iterdir())


def files(store: MediaStore) -> list[str]:
    return sorted(
        str(one.relative_to(store.root)) for one in store.root.rglob("*") if one.is_file()
    )


def test_file_is_named_by_its_hash(store: MediaStore) -> None:
    content = bytes(range(256)) * 3000
    stored = asyncio.run(put(store, content))
    digest = hashlib.sha256(content).hexdigest()
    assert stored.sha256 == digest
    assert stored.size == len(content)
    assert stored.relative == f"{digest[:2]}/{digest[2:]}"
    assert stored.path.read_bytes() == content
    assert store.find(digest) == stored
    assert leftovers(store) == []


def test_same_content_is_stored_once(store: MediaStore) -> None:
    async def run() -> None:
        first, *others = await asyncio.gather(*[put(store, b"same" * 500) for _ in range(20)])
        assert all(one == first for one in others)

    asyncio.run(run())
    assert len(files(store)) == 1
    assert leftovers(store) == []


def test_file_that_grows_too_large_leaves_nothing(store: MediaStore) -> None:
    with pytest.raises(MediaError) as caught:
        asyncio.run(put(store, b"x" * 5001, limit=5000))
    assert caught.value.reason is MediaReason.TOO_LARGE
    assert files(store) == []


def test_file_as_large_as_allowed_is_taken(store: MediaStore) -> None:
    assert asyncio.run(put(store, b"x" * 5000, limit=5000)).size == 5000


def test_empty_file_is_refused(store: MediaStore) -> None:
    with pytest.raises(MediaError) as caught:
        asyncio.run(put(store, b""))
    assert caught.value.reason is MediaReason.EMPTY
    assert files(store) == []


def test_disk_that_fills_up_leaves_nothing(
    store: MediaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Incoming, batch: bytes) -> None:
        with store_module._telling_of_full_disk():
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Incoming, "_append", full)
    with pytest.raises(MediaError) as caught:
        asyncio.run(put(store, b"x" * 300_000))
    assert caught.value.reason is MediaReason.DISK_FULL
    assert files(store) == []


def test_disk_that_is_really_full_is_told(store: MediaStore) -> None:
    """The kernel's own ENOSPC, from the device that is always full."""

    async def run(full: FileIO) -> None:
        async with store.incoming(10**6) as received:
            received._stream.close()
            received._stream = full
            await received.write(b"x" * 300_000)

    with FileIO("/dev/full", "wb") as full, pytest.raises(MediaError) as caught:
        asyncio.run(run(full))
    assert caught.value.reason is MediaReason.DISK_FULL
    assert leftovers(store) == []


def test_receiving_that_is_cancelled_leaves_nothing(store: MediaStore) -> None:
    async def run() -> None:
        begun = asyncio.Event()

        async def receive() -> None:
            async with store.incoming(10**6) as received:
                await received.write(b"x" * 300_000)
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(receive())
        await asyncio.wait_for(begun.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert files(store) == []


def test_receiving_that_is_cancelled_before_its_file_is_there_leaves_nothing(
    store: MediaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    new_file = store._new_file

    def slow_new_file(suffix: str) -> Path:
        begun.set()
        assert go_on.wait(60)
        return new_file(suffix)

    monkeypatch.setattr(store, "_new_file", slow_new_file)

    async def run() -> None:
        task = asyncio.create_task(put(store, b"never"))
        assert await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    asyncio.run(run())
    store.close()  # waits for the thread
    assert files(store) == []


def test_start_drops_what_a_crash_left(store: MediaStore) -> None:
    (store.root / "incoming" / "half").write_bytes(b"half")
    stored = asyncio.run(put(store, b"whole"))
    store.open()
    assert files(store) == [stored.relative]


def test_preview_lies_beside_its_file_and_goes_with_it(store: MediaStore, time: Time) -> None:
    async def run() -> StoredFile:
        async with store.incoming(100) as received, store.incoming(100) as preview:
            await received.write(b"film")
            await received.finish()
            await preview.write(b"jpeg")
            await preview.finish()
            return await store.keep(received.path, preview=preview.path)

    stored = asyncio.run(run())
    assert stored.preview is not None
    assert stored.preview.read_bytes() == b"jpeg"
    assert store.find(stored.sha256) == stored
    time.now += KEEP_SECONDS
    assert asyncio.run(store.purge([stored.sha256])) == 1
    assert files(store) == []


def test_file_that_was_just_shared_is_not_purged(store: MediaStore, time: Time) -> None:
    stored = asyncio.run(put(store, b"content"))
    time.now += KEEP_SECONDS + 1
    asyncio.run(put(store, b"content"))
    assert asyncio.run(store.purge([stored.sha256])) == 0
    assert stored.path.exists()
    time.now += KEEP_SECONDS
    assert asyncio.run(store.purge([stored.sha256, "0" * 64])) == 1
    assert not stored.path.exists()
    assert store.find(stored.sha256) is None


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_hashes_name_files(store: MediaStore, name: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        store.find(name)
    with pytest.raises(ValueError, match="SHA-256"):
        asyncio.run(store.purge([name]))
