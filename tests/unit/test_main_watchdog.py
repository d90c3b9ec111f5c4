"""A gateway whose tree has failed ends, whatever holds up its stop."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import asyncio, concurrent.futures, threading, types
from wavisor import main

finished = concurrent.futures.Future()
finished.set_result("a disk that hangs")
root = types.SimpleNamespace(finished=finished)

async def serve():
    await main._wait(asyncio.Event(), root, 0.1)

asyncio.run(serve())
threading.Event().wait(60)
"""


def test_a_failed_tree_ends_the_process_although_its_stop_hangs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, timeout=45, check=False
    )
    assert done.returncode == 1
    assert b"did not stop in time" in done.stdout + done.stderr
