"""What waits for one websocket client: bounded by frames and by bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from wavisor.http.feed.outflow import Outflow


class Client:
    """Reads nothing until it is let."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.ended = asyncio.Event()
        self.got: list[bytes] = []
        self.overflows = 0

    async def send(self, data: bytes) -> None:
        await self.reads.wait()
        self.got.append(data)
        if data == b"end":
            self.ended.set()

    def overflow(self) -> None:
        self.overflows += 1


def run(
    work: Callable[[Outflow, Client], Awaitable[None]], *, frames: int = 1000, size: int = 1000
) -> Client:
    async def inside() -> Client:
        client = Client()
        outflow = Outflow(client.send, frames, size, client.overflow)
        try:
            await work(outflow, client)
        finally:
            outflow.close()
        return client

    return asyncio.run(inside())


@pytest.mark.parametrize(
    ("frames", "size", "fitting"),
    [(3, 1000, ["a", "b", "c"]), (1000, 10, ["12345", "67890"]), (1000, 10, ["x" * 50])],
    ids=["frames", "bytes", "one longer than all"],
)
def test_more_than_fits_overflows_once(frames: int, size: int, fitting: list[str]) -> None:
    async def fill(outflow: Outflow, client: Client) -> None:
        for frame in fitting:
            outflow.put(frame)
        assert client.overflows == 0
        outflow.put("!")
        outflow.put("!")  # closed already
        assert client.overflows == 1

    run(fill, frames=frames, size=size)


def test_what_was_read_makes_room() -> None:
    async def fill(outflow: Outflow, client: Client) -> None:
        client.reads.set()
        for number in range(100):
            await outflow.put_patiently(f"{number:05}")
        await outflow.put_patiently("end")
        await asyncio.wait_for(client.ended.wait(), 10)

    client = run(fill, size=10)
    assert client.overflows == 0
    assert client.got == [*(f"{number:05}".encode() for number in range(100)), b"end"]


def test_a_patient_frame_waits_for_room_and_no_longer_than_the_client() -> None:
    async def wait(outflow: Outflow, client: Client) -> None:
        outflow.put("12345678")
        late = asyncio.create_task(outflow.put_patiently("90123"))
        await asyncio.sleep(0)
        assert not late.done()
        outflow.close()
        await asyncio.wait_for(late, 10)

    assert run(wait, size=10).got == []
