"""Files on their way to and from WhatsApp's media servers. Runs in session processes.

The native client encrypts, decrypts and checks; it holds a file in memory as a whole. Sources:
whatsmeow ``upload.go``, ``download.go``.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from wavisor.whatsapp.content import MediaFile, MediaKind
from wavisor.whatsapp.events import Failure

__all__ = ["MAX_UPLOAD", "Downloads", "TransferError", "Uploads"]

MAX_UPLOAD = 128 * 1024 * 1024
"""Bytes of a file that is sent; the client needs about three times as much memory for it."""
REUSED_FOR = 3600.0
"""Seconds for which an upload serves further messages. WhatsApp keeps files for weeks."""
STUCK_AFTER = 900.0
"""Seconds after which an upload that is still under way is begun anew."""

P = ParamSpec("P")
T = TypeVar("T")
_Key = tuple[str, int, int, int, MediaKind]


class TransferError(Exception):
    """A file that did not get through."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class Uploads:
    """Uploads files, each content only once in a while however many messages carry it.

    Args:
        upload: uploads bytes as a kind of media and returns where they are; blocks, and raises
            :class:`TransferError`.
        capacity: uploads remembered.
        now: seconds on a monotonic clock.
    """

    def __init__(
        self,
        upload: Callable[[bytes, MediaKind], Any],
        capacity: int = 64,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upload = upload
        self._capacity = capacity
        self._now = now
        self._known: OrderedDict[_Key, tuple[Future[Any], float]] = OrderedDict()
        self._lock = threading.RLock()

    def take(self, file: MediaFile, kind: MediaKind, patience: float) -> Any:
        """Return where a file is at WhatsApp, uploading it when needed.

        Args:
            file: which file.
            kind: as what; every kind is encrypted with keys of its own.
            patience: in seconds. The client cannot be interrupted: an upload that takes longer
                goes on, and whoever wants the same file later waits for that one.

        Raises:
            TransferError: it cannot be read, is too large, or WhatsApp did not take it (in time).
        """
        upload = self._begun(_key(file, kind), file.path, kind)
        finished, _ = wait((upload,), max(0.0, patience))
        if not finished:
            detail = f"the file could not be uploaded within {patience:.0f} s"
            raise TransferError(Failure(reason="timeout", detail=detail))
        return upload.result()

    def _begun(self, key: _Key, path: str, kind: MediaKind) -> Future[Any]:
        """Return the upload of a file: one that is done or under way, or else a new one."""
        with self._lock:
            known = self._known.get(key)
            if known is not None and self._now() - known[1] < self._serves(known[0]):
                self._known.move_to_end(key)
                return known[0]
            upload = _in_background("upload", self._read_and_upload, path, kind)
            self._known[key] = upload, self._now()
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)
            # Not kept: its traceback holds the file as a whole.
            upload.add_done_callback(partial(self._forget_failed, key))
            return upload

    @staticmethod
    def _serves(upload: Future[Any]) -> float:
        """Return for how many seconds from its beginning an upload is used."""
        if not upload.done():
            return STUCK_AFTER
        return REUSED_FOR if upload.exception() is None else 0.0

    def _forget_failed(self, key: _Key, upload: Future[Any]) -> None:
        if upload.exception() is None:
            return
        with self._lock:
            if key in self._known and self._known[key][0] is upload:
                del self._known[key]

    def _read_and_upload(self, path: str, kind: MediaKind) -> Any:
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise TransferError(_invalid(f"the file cannot be read: {error.strerror}")) from error
        return self._upload(content, kind)


def _key(file: MediaFile, kind: MediaKind) -> _Key:
    try:
        status = Path(file.path).stat()
    except OSError as error:
        raise TransferError(_invalid(f"the file cannot be read: {error.strerror}")) from error
    if status.st_size != file.size:
        raise TransferError(_invalid("the file on disk is not the one that was accepted"))
    if not 0 < status.st_size <= MAX_UPLOAD:
        raise TransferError(_invalid(f"a file of {status.st_size} bytes cannot be sent"))
    return file.path, status.st_size, status.st_mtime_ns, status.st_ino, kind


class Downloads:
    """Downloads files that came with messages.

    Args:
        new_message: makes an empty ``waE2E.Message``.
        download: fetches, decrypts and checks the file that a message names; blocks, and raises
            :class:`TransferError`.
    """

    def __init__(self, new_message: Callable[[], Any], download: Callable[[Any], bytes]) -> None:
        self._new = new_message
        self._download = download

    def fetch(self, source: str, path: str, max_size: int, timeout: float) -> None:
        """Put the file that ``source`` names at ``path``, whole or not at all.

        Args:
            source: the opaque text of a media descriptor.
            path: where to put it.
            max_size: in bytes.
            timeout: in seconds; the client itself cannot be interrupted, so its thread goes on
                in vain until it gives up.

        Raises:
            TransferError: it is not there now.
        """
        message = self._read(source)
        claimed = max(
            (getattr(part, "fileLength", 0) for _, part in message.ListFields()), default=0
        )
        if claimed > max_size:
            raise TransferError(_too_large(claimed))
        content = self._within(timeout, message)
        if len(content) > max_size:
            raise TransferError(_too_large(len(content)))
        _write(Path(path), content)

    def _read(self, source: str) -> Any:
        message = self._new()
        try:
            message.ParseFromString(base64.b64decode(source, validate=True))
        except (binascii.Error, ValueError) as error:
            raise TransferError(_invalid("the source of the file is malformed")) from error
        except Exception as error:
            # The parser's own exception, whose class depends on how it was built.
            raise TransferError(_invalid("the source of the file is malformed")) from error
        if not message.ListFields():
            raise TransferError(_invalid("the source names no file"))
        return message

    def _within(self, timeout: float, message: Any) -> bytes:
        future = _in_background("download", self._download, message)
        finished, _ = wait((future,), timeout)
        if not finished:
            detail = f"the file did not arrive within {timeout:g} s"
            raise TransferError(Failure(reason="timeout", detail=detail))
        return future.result()


def _in_background(name: str, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> Future[T]:
    pool = ThreadPoolExecutor(1, name)
    future = pool.submit(work, *args, **named)
    pool.shutdown(wait=False)
    return future


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full:
            failure = Failure(reason="disk_full", detail="the disk is full")
        else:
            detail = f"the file cannot be written: {error.strerror}"
            failure = Failure(reason="disk", detail=detail)
        raise TransferError(failure) from error


def _invalid(detail: str) -> Failure:
    return Failure(reason="invalid", detail=detail)


def _too_large(size: int) -> Failure:
    return Failure(reason="too_large", detail=f"the file has {size} bytes")
