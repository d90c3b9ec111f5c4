"""Processes as /proc tells of them, waited for by their own handles instead of by time."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = [
    "children_of",
    "descendants_of",
    "is_running",
    "wait_gone",
    "wait_stopped",
    "wait_until",
]


def children_of(pid: int) -> list[int]:
    """The children of a process, whichever of its threads made them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def descendants_of(pid: int) -> list[int]:
    """The children of a process, their children, and so on."""
    found = children_of(pid)
    return [*found, *(deeper for child in found for deeper in descendants_of(child))]


def is_running(pid: int) -> bool:
    """Whether a process is there, and not merely waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_gone(pids: Iterable[int], seconds: float) -> list[int]:
    """Wait until these processes are gone; return those that are still there after ``seconds``."""
    handles: dict[int, int] = {}
    for pid in pids:
        try:
            handles[os.pidfd_open(pid)] = pid
        except ProcessLookupError:
            continue
    poller = select.poll()
    for handle in handles:
        poller.register(handle, select.POLLIN)
    waiting = dict(handles)
    deadline = time.monotonic() + seconds
    try:
        while waiting and (left := deadline - time.monotonic()) > 0:
            for handle, _ in poller.poll(left * 1000):
                poller.unregister(handle)
                waiting.pop(handle)
    finally:
        for handle in handles:
            os.close(handle)
    return sorted(waiting.values())


def wait_stopped(pid: int) -> None:
    """Wait until a child of somebody else's, sent SIGSTOP, really stands still."""
    stat = Path(f"/proc/{pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until a condition holds that nobody announces."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
