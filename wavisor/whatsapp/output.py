"""What session processes print, line by line into the log.

The native library prints past logging (pointer numbers, hints about Ctrl+C, Go's crash reports);
none of it may reach the terminal or the wire.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable

import structlog

__all__ = ["MAX_LINE", "OutputPipe", "read_line"]

log = structlog.get_logger(__name__)

MAX_LINE = 2000
"""Characters of a line that are kept."""

_READ_SIZE = 65_536
_DRAIN_READS = 16
_LOGGING = re.compile(r"\A(DEBUG|INFO|WARNING|ERROR|CRITICAL) (\S+) (.*)\Z")
_CRASH = re.compile(
    r"\A(fatal error|panic|runtime error|SIG[A-Z]+:|unexpected fault|Fatal Python|[\w.]+Error: )"
)
_NOISE = re.compile(r"\A(Press Ctrl\+C|Login event|[\d…]+\Z|\s*\Z)")
_NATIVE = ("whatsmeow", "Whatsmeow")
# Phone numbers and LIDs, which the library likes to name; nobody needs them in a log.
_NUMBERS = re.compile(r"\d{6,}")


def read_line(line: str) -> tuple[int, str, str | None]:
    """Return level, text and, if a logger wrote it, its name, of a line of a session's output.

    Long numbers are masked.
    """
    line = _NUMBERS.sub("…", line)
    logged = _LOGGING.match(line)
    if logged:
        level_name, name, text = logged.groups()
        level = logging.getLevelNamesMapping()[level_name]
        # To the native client every lost connection is an error; to us it is daily business.
        return min(level, logging.WARNING) if name.startswith(_NATIVE) else level, text, name
    if _CRASH.match(line):
        return logging.ERROR, line, None
    if _NOISE.match(line):
        return logging.DEBUG, line, None
    return logging.INFO, line, None


class OutputPipe:
    """Reads one pipe on the event loop until its end and logs what comes.

    Args:
        loop: the loop to read on.
        descriptor: the reading end; closed here at the end of file.
        on_crash: called with lines that say why a process dies.
        context: what every log line names, such as the instance.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        descriptor: int,
        on_crash: Callable[[str], None] | None = None,
        **context: str,
    ) -> None:
        self._loop = loop
        self._descriptor: int | None = descriptor
        self._on_crash = on_crash
        self._log = log.bind(**context)
        self._rest = ""
        self._skipping = False
        os.set_blocking(descriptor, False)
        loop.add_reader(descriptor, self._on_readable)

    def drain(self) -> None:
        """Read what is there, then close: for when the writer is known to be gone."""
        for _ in range(_DRAIN_READS):
            if self._descriptor is None or not self._on_readable():
                break
        self.close()

    def close(self) -> None:
        """Stop reading and close the pipe; harmless when it has ended."""
        if self._descriptor is None:
            return
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = None
        if self._rest:
            self._on_line(self._rest)
            self._rest = ""

    def _on_readable(self) -> bool:
        """Read once and tell whether there may be more."""
        if self._descriptor is None:
            return False
        try:
            data = os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        *lines, self._rest = (self._rest + data.decode(errors="replace")).split("\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
            else:
                self._on_line(line)
        if len(self._rest) > MAX_LINE:
            # The rest of an overlong line is dropped as it comes, never collected.
            if not self._skipping:
                self._on_line(self._rest)
            self._skipping = True
            self._rest = ""
        return True

    def _on_line(self, line: str) -> None:
        level, text, name = read_line(line.rstrip("\r")[:MAX_LINE])
        if not text.strip():
            return
        if level >= logging.ERROR and name is None and self._on_crash is not None:
            self._on_crash(text)
        extra = {"source": name} if name else {}
        self._log.log(level, "session output", line=text, **extra)
