from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import bcrypt
import pytest

from wavisor.http.accounts.passwords import PasswordHasher
from wavisor.http.problems import BUSY, ProblemError

Use = Callable[[PasswordHasher], Awaitable[Any]]


def using(work: Use, **settings: int) -> Any:
    async def main() -> Any:
        hasher = PasswordHasher(4, **settings)
        try:
            async with asyncio.timeout(20):
                return await work(hasher)
        finally:
            hasher.close()

    return asyncio.run(main())


@pytest.mark.parametrize("password", ["p", "x" * 1024, "nul\0inside", "пароль🔑", " spaces "])
def test_password_is_proved_by_itself_only(password: str) -> None:
    async def work(hasher: PasswordHasher) -> None:
        stored = await hasher.hash(password)
        assert await hasher.verify(password, stored)
        assert not await hasher.verify(password + "!", stored)
        assert not await hasher.verify(password[:-1], stored)

    using(work)


def test_what_comes_after_72_bytes_counts() -> None:
    async def work(hasher: PasswordHasher) -> None:
        stored = await hasher.hash("a" * 72 + "b")
        assert not await hasher.verify("a" * 72 + "c", stored)
        assert not await hasher.verify("a" * 72, stored)

    using(work)


def test_what_comes_after_a_nul_counts() -> None:
    async def work(hasher: PasswordHasher) -> None:
        assert not await hasher.verify("a\0c", await hasher.hash("a\0b"))

    using(work)


def test_composed_and_decomposed_letters_are_the_same() -> None:
    async def work(hasher: PasswordHasher) -> None:
        assert await hasher.verify("Zoe\u0308", await hasher.hash("Zo\u00eb"))

    using(work)


def test_hash_is_salted_and_has_the_configured_cost() -> None:
    async def work(hasher: PasswordHasher) -> None:
        first, second = await hasher.hash("same"), await hasher.hash("same")
        assert first != second
        assert first.startswith("$2b$04$")

    using(work)


def test_unknown_account_costs_a_check_of_the_same_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bytes] = []
    real = bcrypt.checkpw

    def spy(password: bytes, digest: bytes) -> bool:
        checked.append(digest)
        return real(password, digest)

    monkeypatch.setattr(bcrypt, "checkpw", spy)

    async def work(hasher: PasswordHasher) -> None:
        assert not await hasher.verify("whatever", None)
        assert not await hasher.verify("whatever", await hasher.hash("other"))

    using(work)
    assert [digest[:7] for digest in checked] == [b"$2b$04$"] * 2


def test_more_than_the_queue_holds_is_refused_and_the_place_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()
    real = bcrypt.checkpw

    def slow(password: bytes, digest: bytes) -> bool:
        assert gate.wait(60)
        return real(password, digest)

    monkeypatch.setattr(bcrypt, "checkpw", slow)

    async def work(hasher: PasswordHasher) -> None:
        waiting = [asyncio.ensure_future(hasher.verify("x", None)) for _ in range(3)]
        await asyncio.sleep(0)  # lets each of them take its place
        with pytest.raises(ProblemError) as caught:
            await hasher.verify("x", None)
        assert caught.value.kind is BUSY
        assert "Retry-After" in caught.value.headers
        gate.set()
        assert await asyncio.gather(*waiting) == [False] * 3
        assert not await hasher.verify("x", None)

    using(work, threads=1, limit=3)


def test_the_loop_goes_on_while_a_password_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def until_told(password: bytes, salt: bytes) -> bytes:
        assert gate.wait(60)
        return b"$2b$04$" + b"." * 53

    monkeypatch.setattr(bcrypt, "hashpw", until_told)

    async def work(hasher: PasswordHasher) -> None:
        hashing = asyncio.ensure_future(hasher.hash("x"))
        await asyncio.sleep(0)
        gate.set()  # reached only because nothing blocks
        assert (await hashing).startswith("$2b$")

    using(work)
