"""Files of messages on disk, named by the SHA-256 of their content.

A file lies in ``<root>/ab/cdef…`` and is there entirely or not at all: it is received under
``<root>/incoming``, synced, and renamed. Messages that have the same content share it. Beside it
may lie its preview picture, ``cdef….jpg``, which goes when it goes.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import ParamSpec, TypeVar

from wavisor.media.errors import MediaError, MediaReason
from wavisor.media.sniff import type_of

__all__ = ["Arrived", "Incoming", "MediaStore", "StoredFile"]

P = ParamSpec("P")
T = TypeVar("T")

HEAD_BYTES = 8192
"""How much of a file's beginning is kept at hand, to tell its type."""
_BATCH_BYTES = 256 * 1024
_THREADS = 2
_HASH = re.compile(r"\A[0-9a-f]{64}\Z")
_BUCKET = re.compile(r"\A[0-9a-f]{2}\Z")
_PREVIEW = ".jpg"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
KEEP_SECONDS = 3600.0
"""What was stored or shared so lately is not purged: the row that names it may not be there yet."""


@dataclass(frozen=True)
class StoredFile:
    """A file in the store."""

    sha256: str
    """Of its content, in lower-case hexadecimal digits."""
    size: int
    """In bytes."""
    path: Path
    """Absolute."""
    relative: str
    """The same, from the root of the store."""
    preview: Path | None = None
    """A small JPEG of what is to be seen in it."""

    @property
    def relative_preview(self) -> str | None:
        """Where that lies, from the root of the store."""
        return None if self.preview is None else self.relative + _PREVIEW


@dataclass(frozen=True)
class Arrived:
    """A file in the store that came with a message."""

    stored: StoredFile
    media_type: str
    """What its content says it is."""


class Incoming:
    """A file that is being received, or made, outside of the store's names.

    Made by :meth:`MediaStore.incoming`, and gone at the end of its context unless it was kept.
    """

    def __init__(self, path: Path, limit: int, threads: ThreadPoolExecutor) -> None:
        self.path = path
        self.size = 0
        """Bytes received."""
        self.head = b""
        """Its first bytes, :data:`HEAD_BYTES` at most."""
        self.limit = limit
        """In bytes."""
        self._threads = threads
        self._waiting = bytearray()
        self._digest = hashlib.sha256()
        self._stream = path.open("wb", buffering=0)

    @property
    def sha256(self) -> str:
        """Of what was received, once it was finished."""
        return self._digest.hexdigest()

    async def write(self, chunk: bytes) -> None:
        """Take in a part.

        Raises:
            MediaError: it became too large, or the disk is full.
        """
        self.size += len(chunk)
        if self.size > self.limit:
            raise MediaError(MediaReason.TOO_LARGE, f"is larger than {self.limit} bytes")
        if len(self.head) < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - len(self.head)]
        self._waiting += chunk
        if len(self._waiting) >= _BATCH_BYTES:
            await self._flush()

    async def finish(self) -> None:
        """Write out what still waits.

        Raises:
            MediaError: nothing was received, or the disk is full.
        """
        if self.size == 0:
            raise MediaError(MediaReason.EMPTY, "is empty")
        await self._flush()

    def close(self) -> None:
        """Close the file; harmless when it is closed."""
        self._stream.close()

    async def _flush(self) -> None:
        batch, self._waiting = bytes(self._waiting), bytearray()
        await _off_loop(self._threads, self._append, batch)

    def _append(self, batch: bytes) -> None:
        self._digest.update(batch)
        with _telling_of_full_disk():
            rest = memoryview(batch)
            while rest:
                rest = rest[self._stream.write(rest) :]


class MediaStore:
    """The store. Its methods may be called from any event loop; the disk has threads of its own.

    Args:
        root: its directory; made when needed.
        now: seconds since the epoch.
    """

    def __init__(self, root: Path, *, now: Callable[[], float] = time.time) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._now = now
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="media-disk")
        # Between finding a file and sharing it, it must not be purged.
        self._lock = Lock()

    def open(self) -> None:
        """Make the directory and drop what a crash left half-done. Blocks; before anything else.

        Raises:
            OSError: the directory cannot be made.
        """
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            _remove_all(leftover)

    def close(self) -> None:
        """Give back the threads, when nothing is received any more."""
        self._threads.shutdown(wait=True)

    @asynccontextmanager
    async def incoming(self, limit: int, suffix: str = "") -> AsyncIterator[Incoming]:
        """Give a new file to be received; what is left of it at the end is removed.

        Args:
            limit: in bytes.
            suffix: of its name, for programs that go by it.

        Raises:
            MediaError: the disk is full.
        """
        path = await self._make(suffix)
        received = Incoming(path, limit, self._threads)
        try:
            yield received
        finally:
            received.close()
            await asyncio.shield(_off_loop(self._threads, _remove, path))

    async def keep(self, path: Path, *, preview: Path | None = None) -> StoredFile:
        """Move a finished file into the store, or share the one that is there already.

        Args:
            path: the file; on the disk of the store, as those of :meth:`incoming` are.
            preview: a JPEG to be kept with it.

        Raises:
            MediaError: the disk is full, or the file is empty.
        """
        return await _off_loop(self._threads, self._keep, path, preview)

    def new_room(self, owner: str) -> Future[Path]:
        """Make a directory on the store's disk for somebody to put files into.

        Args:
            owner: whose; earlier ones of theirs are removed. No dot in it.

        Returns:
            Its absolute path; raises :class:`MediaError` when the disk is full.
        """
        return self._threads.submit(self._new_room, owner)

    def drop_room(self, room: Path) -> None:
        """Remove such a directory with what is in it, as soon as possible."""
        self._threads.submit(_remove_all, room)

    async def drop_rooms(self, owner: str) -> None:
        """Remove all such directories of somebody; they are gone when this returns.

        Args:
            owner: whose, as for :meth:`new_room`; nobody may put files there any more.
        """
        await _off_loop(self._threads, self._drop_rooms, owner)

    def take_in(self, path: Path, file_name: str | None = None) -> Future[Arrived]:
        """Move a file that somebody received into the store, as :meth:`keep` does; for threads.

        Args:
            path: the file, which is gone from there afterwards in any case.
            file_name: what its sender calls it.
        """
        return self._threads.submit(self._take_in, path, file_name)

    def find(self, sha256: str) -> StoredFile | None:
        """Return a file by its hash; None when it is not there. Blocks shortly."""
        path = self._path_of(sha256)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return None
        return self._stored(sha256, size)

    async def purge(self, hashes: Iterable[str]) -> int:
        """Remove files that nobody refers to any more; return how many.

        Those stored or shared within :data:`KEEP_SECONDS` stay: ask for them again later.

        Args:
            hashes: SHA-256 of each, in hexadecimal digits.
        """
        return await _off_loop(self._threads, self.purge_now, hashes)

    def purge_now(self, hashes: Iterable[str]) -> int:
        """Do the same in the caller's thread."""
        return self._purge(list(hashes))

    def list_files(self, after: str, limit: int) -> list[str]:
        """Return files of the store in the order of their names. Blocks.

        Args:
            after: the last one of the portion before; empty for the first.
            limit: how many at most.

        Returns:
            Their paths from the root of the store, without previews.
        """
        found: list[str] = []
        for bucket in sorted(one.name for one in self.root.iterdir() if _BUCKET.match(one.name)):
            if bucket < after[:2]:
                continue
            names = sorted(f"{bucket}/{one.name}" for one in (self.root / bucket).iterdir())
            found += [one for one in names if one > after and _HASH.match(one.replace("/", ""))]
            if len(found) >= limit:
                break
        return found[:limit]

    def _new_room(self, owner: str) -> Path:
        with _telling_of_full_disk():
            self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._drop_rooms(owner)
            return Path(tempfile.mkdtemp(dir=self._incoming, prefix=f"{owner}.")).absolute()

    def _drop_rooms(self, owner: str) -> None:
        for room in self._incoming.glob(f"{owner}.*"):
            _remove_all(room)

    def _take_in(self, path: Path, file_name: str | None) -> Arrived:
        try:
            with path.open("rb") as stream:
                media_type = type_of(stream.read(HEAD_BYTES), file_name)
            return Arrived(self._keep(path, None), media_type)
        finally:
            _remove(path)

    async def _make(self, suffix: str) -> Path:
        making = self._threads.submit(self._new_file, suffix)
        try:
            return await asyncio.wrap_future(making)
        except asyncio.CancelledError:
            # A thread that has begun makes the file all the same.
            making.add_done_callback(_remove_made)
            raise

    def _new_file(self, suffix: str) -> Path:
        with _telling_of_full_disk():
            self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._incoming, suffix=suffix)
        os.close(descriptor)
        return Path(name)

    def _keep(self, path: Path, preview: Path | None) -> StoredFile:
        with _telling_of_full_disk():
            sha256, size = _hash_and_sync(path)
            if size == 0:
                raise MediaError(MediaReason.EMPTY, "is empty")
            final = self._path_of(sha256)
            with self._lock:
                final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not _is_there(final, size):
                    path.replace(final)
                os.utime(final, (self._now(), self._now()))
                if preview is not None:
                    _hash_and_sync(preview)
                    preview.replace(_preview_of(final))
                _sync_directory(final.parent)
                _sync_directory(self.root)
        return self._stored(sha256, size)

    def _stored(self, sha256: str, size: int) -> StoredFile:
        path = self._path_of(sha256)
        preview = _preview_of(path)
        return StoredFile(
            sha256=sha256,
            size=size,
            path=path,
            relative=str(path.relative_to(self.root)),
            preview=preview if preview.exists() else None,
        )

    def _path_of(self, sha256: str) -> Path:
        if not _HASH.match(sha256):
            raise ValueError("no SHA-256 in lower-case hexadecimal digits")
        return self.root / sha256[:2] / sha256[2:]

    def _purge(self, hashes: list[str]) -> int:
        removed = 0
        for sha256 in hashes:
            path = self._path_of(sha256)
            with self._lock:
                try:
                    if self._now() - path.stat().st_mtime < KEEP_SECONDS:
                        continue
                except FileNotFoundError:
                    continue
                path.unlink()
                _preview_of(path).unlink(missing_ok=True)
            removed += 1
        return removed


async def _off_loop(
    threads: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **_: P.kwargs
) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, work, *args)


@contextmanager
def _telling_of_full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise MediaError(MediaReason.DISK_FULL, "cannot be stored: the disk is full") from error


def _hash_and_sync(path: Path) -> tuple[str, int]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
        return digest, stream.tell()


def _is_there(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _preview_of(path: Path) -> Path:
    return path.with_name(path.name + _PREVIEW)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


def _remove_all(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        _remove(path)


def _remove_made(making: Future[Path]) -> None:
    if not making.cancelled() and making.exception() is None:
        _remove(making.result())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
