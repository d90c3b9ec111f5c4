"""Password hashes: bcrypt, off the event loop, for passwords of any length."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from wavisor.http.problems import BUSY, ProblemError

__all__ = ["PasswordHasher"]

T = TypeVar("T")

# Keyed, so that hashes are not those of plain SHA-256 lists and cannot be tried against them.
_PREHASH_KEY = b"wavisor.password.v1"
_BCRYPT_DIGEST_LENGTH = 31


class PasswordHasher:
    """Hashes and verifies passwords on a small pool of threads of its own.

    bcrypt reads 72 bytes and stops at a NUL. A password is therefore first made into 44
    characters by HMAC-SHA-256 and base64, so that all of it counts, however long it is.

    Args:
        rounds: bcrypt's cost; each step doubles the time.
        threads: how many passwords are worked on at the same time.
        limit: how many may be worked on or wait; more are refused with 503, because a queue of
            costly work without a bound would be an invitation.
    """

    def __init__(self, rounds: int, *, threads: int = 2, limit: int = 32) -> None:
        self._rounds = rounds
        self._limit = limit
        self._pending = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        # No password has this hash, and checking against it costs the same as against any other.
        self._nobody = bcrypt.gensalt(rounds) + b"." * _BCRYPT_DIGEST_LENGTH

    async def hash(self, password: str) -> str:
        """Return the hash to be stored.

        Raises:
            ProblemError: too many passwords wait already (503).
        """
        prepared = _prepare(password)
        digest = await self._run(lambda: bcrypt.hashpw(prepared, bcrypt.gensalt(self._rounds)))
        return digest.decode("ascii")

    async def verify(self, password: str, stored: str | None) -> bool:
        """Tell whether the password is the one of the stored hash.

        Args:
            password: as it was typed.
            stored: the hash; None where there is no such account, which takes the same time and
                is never right.

        Raises:
            ProblemError: too many passwords wait already (503).
        """
        prepared = _prepare(password)
        digest = self._nobody if stored is None else stored.encode("ascii")
        matches = await self._run(lambda: bcrypt.checkpw(prepared, digest))
        return matches and stored is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= self._limit:
            raise ProblemError(
                BUSY, "Too many people are logging in at once.", headers={"Retry-After": "2"}
            )
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # The place is free when the work is done, also where its request went away before.
        future.add_done_callback(self._release)
        return await future

    def _release(self, _: asyncio.Future[T]) -> None:
        self._pending -= 1

    def close(self) -> None:
        """End the threads; what still waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _prepare(password: str) -> bytes:
    # The same password may arrive composed or decomposed, depending on the keyboard.
    text = unicodedata.normalize("NFC", password)
    return base64.b64encode(hmac.digest(_PREHASH_KEY, text.encode("utf-8"), hashlib.sha256))
