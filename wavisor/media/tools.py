"""Running programs on files of strangers: bounded in number, time, memory and output.

A limit is set right after a program was started, from outside: code between fork and exec would
not be safe in a process with threads.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from wavisor.media.errors import MediaError, MediaReason

__all__ = ["Output", "Workshop"]

log = structlog.get_logger(__name__)

_NICENESS = 10
_MEMORY_BYTES = 2 * 1024**3
_OUTPUT_BYTES = 256 * 1024
_WAITING_PER_JOB = 16


@dataclass(frozen=True)
class Output:
    """What a program said."""

    status: int
    out: bytes
    errors: str
    """The end of what it wrote to standard error; for the log, never for users."""


class Workshop:
    """Runs programs, so many at a time; others wait, up to a bound.

    Args:
        jobs: how many at the same time.
        timeout: seconds that one may take.
    """

    def __init__(self, jobs: int, timeout: float) -> None:
        self._jobs = jobs
        self._timeout = timeout
        self._places = asyncio.Semaphore(jobs)
        self._waiting = 0

    async def run(
        self, arguments: Sequence[str | Path], *, file_limit: int, memory: int = _MEMORY_BYTES
    ) -> Output:
        """Run a program to its end.

        Args:
            arguments: its name or path, and what it is given; no shell is involved.
            file_limit: the largest file it may write, in bytes.
            memory: address space that it may have, in bytes.

        Raises:
            MediaError: it is not installed, took too long, or too many wait already.
        """
        async with self._place():
            return await self._run([str(one) for one in arguments], file_limit, memory)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._waiting >= self._jobs * _WAITING_PER_JOB:
            raise MediaError(MediaReason.BUSY, "cannot be converted now: too many others wait")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()

    async def _run(self, arguments: list[str], file_limit: int, memory: int) -> Output:
        program = Path(arguments[0]).name
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError):
            raise MediaError(
                MediaReason.TOOL_MISSING,
                f"needs {program}, which is not installed where the gateway runs",
            ) from None
        try:
            self._restrict(process.pid, file_limit, memory)
            async with asyncio.timeout(self._timeout):
                out, errors = await asyncio.gather(
                    _collect(process.stdout), _collect(process.stderr)
                )
                status = await process.wait()
        except TimeoutError:
            log.warning("conversion took too long", program=program, seconds=self._timeout)
            raise MediaError(
                MediaReason.TOOL_TIMEOUT,
                f"took {program} more than {self._timeout:g} seconds and was given up",
            ) from None
        finally:
            await _end(process)
        return Output(status, out, errors.decode("utf-8", "replace")[-2000:])

    def _restrict(self, pid: int, file_limit: int, memory: int) -> None:
        cpu = int(self._timeout) + 1
        limits = {
            resource.RLIMIT_AS: memory,
            resource.RLIMIT_FSIZE: file_limit,
            resource.RLIMIT_CPU: cpu,
            resource.RLIMIT_CORE: 0,
        }
        with suppress(ProcessLookupError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
            for kind, value in limits.items():
                resource.prlimit(pid, kind, (value, value))


async def _collect(stream: asyncio.StreamReader | None) -> bytes:
    """Read all, keep the end, up to a bound; a program is never blocked by what it says."""
    assert stream is not None  # noqa: S101 - both are pipes
    kept = b""
    while chunk := await stream.read(65536):
        kept = (kept + chunk)[-_OUTPUT_BYTES:]
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what still runs, helpers of its own included, and reap it."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())
