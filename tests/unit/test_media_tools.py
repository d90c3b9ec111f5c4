"""Programs on files of strangers: bounded in number, time and output."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from support.processes import wait_gone
from wavisor.media import MediaError, MediaReason
from wavisor.media.tools import Output, Workshop


def run(program: str, *arguments: str, timeout: float = 20.0, **more: Any) -> Output:
    command = [sys.executable, "-I", "-c", program, *arguments]
    return asyncio.run(Workshop(1, timeout).run(command, **{"file_limit": 1000, **more}))


def test_output_and_status_are_told() -> None:
    output = run("import sys; print('out'); print('bad', file=sys.stderr); sys.exit(3)")
    assert (output.status, output.out, output.errors) == (3, b"out\n", "bad\n")


def test_program_that_is_not_installed_is_named() -> None:
    with pytest.raises(MediaError) as caught:
        asyncio.run(Workshop(1, 5).run(["/nowhere/ffmpeg", "-version"], file_limit=0))
    assert caught.value.reason is MediaReason.TOOL_MISSING
    assert "ffmpeg" in caught.value.detail
    assert "/nowhere" not in caught.value.detail


def test_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    # A shell is there within that, however slow the machine.
    program = 'sleep 600 & echo $$ $! > "$0"; wait'
    # Through a directory that the limit on files does not concern: the note is small.
    note = tmp_path / "pids"
    work = Workshop(1, 6.0).run(["/bin/sh", "-c", program, str(note)], file_limit=10**6)
    with pytest.raises(MediaError) as caught:
        asyncio.run(work)
    assert caught.value.reason is MediaReason.TOOL_TIMEOUT
    assert wait_gone(map(int, note.read_text().split()), 30) == []


def test_caller_who_gives_up_leaves_no_program_behind(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    os.mkfifo(note)
    program = (
        "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    )

    async def leave() -> int:
        command = [sys.executable, "-I", "-c", program, str(note)]
        job = asyncio.create_task(Workshop(1, 60).run(command, file_limit=1000))
        pid = int(await asyncio.wait_for(asyncio.to_thread(note.read_text), 20))
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        return pid

    assert wait_gone([asyncio.run(leave())], 30) == []


def test_file_that_grows_too_large_ends_the_program(tmp_path: Path) -> None:
    target = tmp_path / "large"
    program = (
        "import resource, sys, time\n"
        "sys.stdin.close()\n"
        # The limit is set just after the start.
        "while resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 5000: time.sleep(0.001)\n"
        "open(sys.argv[1], 'wb', buffering=0).write(b'x' * 100_000)\n"
        "open(sys.argv[1], 'ab', buffering=0).write(b'x')\n"
    )
    assert run(program, str(target), file_limit=5000).status != 0
    assert target.stat().st_size <= 5000


def test_memory_is_limited() -> None:
    program = (
        "import resource, time\n"
        f"while resource.getrlimit(resource.RLIMIT_AS)[0] != {600 * 1024**2}: time.sleep(0.001)\n"
        "bytearray(900 * 1024 * 1024)\n"
    )
    output = run(program, memory=600 * 1024**2)
    assert output.status == 1
    assert "MemoryError" in output.errors


def test_program_is_not_stopped_by_what_it_says() -> None:
    output = run("import sys; sys.stdout.write('x' * 3_000_000 + 'end')")
    assert output.status == 0
    assert output.out.endswith(b"xend")
    assert len(output.out) <= 256 * 1024


def test_program_gives_way_to_others() -> None:
    program = (
        "import os, time\n"
        "while os.getpriority(os.PRIO_PROCESS, 0) < 10: time.sleep(0.001)\n"
        "print(os.getpriority(os.PRIO_PROCESS, 0))\n"
    )
    assert int(run(program).out) >= 10


def test_no_more_run_at_once_than_allowed_and_too_many_are_refused(tmp_path: Path) -> None:
    """One place: sixteen may wait for it, the next one is refused at once."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    async def crowd() -> tuple[list[MediaError], int]:
        workshop = Workshop(1, 60)
        command = [sys.executable, "-I", "-c", "import sys; open(sys.argv[1]).read()", str(gate)]
        first = asyncio.create_task(workshop.run(command, file_limit=0))
        # Opens only when the program has opened its end: it runs.
        writer = await asyncio.wait_for(asyncio.to_thread(gate.open, "w"), 20)
        quick = [sys.executable, "-I", "-S", "-c", ""]
        others = [asyncio.create_task(workshop.run(quick, file_limit=0)) for _ in range(17)]
        done, _ = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        refused = [one.exception() for one in done]
        writer.close()
        outcomes = await asyncio.gather(first, *others, return_exceptions=True)
        errors = [one for one in refused if isinstance(one, MediaError)]
        return errors, sum(isinstance(one, Output) and one.status == 0 for one in outcomes)

    errors, finished = asyncio.run(crowd())
    assert [one.reason for one in errors] == [MediaReason.BUSY]
    assert finished == 17
