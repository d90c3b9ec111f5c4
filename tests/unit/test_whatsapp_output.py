from __future__ import annotations

import asyncio
import logging
import os

import pytest
from structlog.testing import capture_logs

from wavisor.whatsapp.output import MAX_LINE, OutputPipe, read_line


@pytest.mark.parametrize(
    ("line", "level", "text", "source"),
    [
        ("WARNING wavisor.x hello there", logging.WARNING, "hello there", "wavisor.x"),
        ("ERROR whatsmeow.Client lost", logging.WARNING, "lost", "whatsmeow.Client"),
        ("fatal error: oops", logging.ERROR, "fatal error: oops", None),
        ("ImportError: failed to find libmagic.", logging.ERROR, None, None),
        ("Press Ctrl+C to exit", logging.DEBUG, None, None),
        ("140234", logging.DEBUG, None, None),
        ("Session 15550100123@lid broke", logging.INFO, "Session …@lid broke", None),
    ],
)
def test_a_line_gets_its_level_and_loses_long_numbers(
    line: str, level: int, text: str | None, source: str | None
) -> None:
    found_level, found_text, found_source = read_line(line)
    assert (found_level, found_source) == (level, source)
    if text is not None:
        assert found_text == text


def read(*pieces: bytes) -> tuple[list[str], list[str]]:
    """Return the lines logged and the crash reports for what is written to a pipe."""
    crashes: list[str] = []

    async def run() -> None:
        reader, writer = os.pipe()
        pipe = OutputPipe(asyncio.get_running_loop(), reader, crashes.append, instance="i")
        for piece in pieces:
            os.write(writer, piece)
            await asyncio.sleep(0)  # lets the loop run; nothing is waited for by time
        os.close(writer)
        pipe.drain()
        pipe.close()

    with capture_logs() as logs:
        asyncio.run(run())
    assert all(log["instance"] == "i" for log in logs)
    return [log["line"] for log in logs], crashes


def test_lines_are_logged_whatever_pieces_they_arrive_in() -> None:
    assert read(b"one\ntw", b"o\n", b"\n  \nthree") == (["one", "two", "three"], [])


def test_a_crash_is_reported() -> None:
    lines, crashes = read(b"panic: boom\n", b"goroutine 1 [running]:\n")
    assert lines == ["panic: boom", "goroutine 1 [running]:"]
    assert crashes == ["panic: boom"]


def test_an_endless_line_is_cut_and_the_next_one_is_whole() -> None:
    lines, _ = read(b"x" * 5000, b"y" * 5000, b"z\nnext\n")
    assert lines == ["x" * MAX_LINE, "next"]


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert read(b"\xff\xfe\n")[0] == ["\ufffd\ufffd"]
