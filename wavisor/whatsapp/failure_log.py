"""What only the native client's log tells of failures. Runs in session processes."""

from __future__ import annotations

import logging
import re
import sys

__all__ = ["FailureLog"]

_FAILURE_STANZA = re.compile(r"connect failure: (<failure .*>)")
_UNAVAILABLE = re.compile(r"\AGot (?P<reason>\d+)/(?P<message>.*) connect failure, assuming")
_ATTRIBUTE = re.compile(r"(\w+)=\"([^\"]*)\"")


class FailureLog(logging.Handler):
    """Remembers the last ``<failure>`` that the native client logged.

    Its events do not tell of failures after which it tries again by itself, and cannot carry
    reasons that neonize has no value for (encoding those fails): the log line is all there is.
    Source of the lines: whatsmeow ``connectionevents.go``.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._refused: dict[str, str] | None = None
        self._unavailable: dict[str, str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a line."""
        line = record.getMessage()
        if refused := _FAILURE_STANZA.search(line):
            self._refused = dict(_ATTRIBUTE.findall(refused.group(1)))
        elif unavailable := _UNAVAILABLE.match(line):
            self._unavailable = unavailable.groupdict()

    def take_refused(self) -> dict[str, str] | None:
        """Return, once, the attributes of a failure that ended the attempts."""
        _settle_log()
        last, self._refused = self._refused, None
        return last

    def take_unavailable(self) -> dict[str, str] | None:
        """Return, once, reason and message of a failure that is tried again."""
        _settle_log()
        last, self._unavailable = self._unavailable, None
        return last


def _settle_log() -> None:
    """Wait until what the native client logged so far has reached Python's logging."""
    # Not an attribute of its package, where a logger of the same name hides the module.
    queue = sys.modules["neonize.utils.log"]._log_queue
    with queue.all_tasks_done:
        queue.all_tasks_done.wait_for(lambda: not queue.unfinished_tasks, timeout=1.0)
