"""Who is in which group, as sends need it. Runs in session processes.

Asked once for each group and kept until the group tells of a change, as the native client does for
itself (whatsmeow ``group.go``, ``getCachedGroupData``), which it does not let us see.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

__all__ = ["KEPT_FOR", "GroupMembers"]

KEPT_FOR = 3600.0
"""Seconds after which a group is asked about anew, should a change of it have been missed."""


class GroupMembers:
    """Remembers the members of groups.

    Args:
        ask: returns the JIDs of a group's members; blocks, and raises what it likes.
        capacity: groups remembered.
        now: seconds on a monotonic clock.
    """

    def __init__(
        self,
        ask: Callable[[str], Sequence[str]],
        capacity: int = 256,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._capacity = capacity
        self._now = now
        self._known: OrderedDict[str, tuple[Sequence[str], float]] = OrderedDict()
        self._changes = 0
        self._lock = threading.Lock()

    def of(self, group: str) -> Sequence[str]:
        """Return the members' JIDs, one's own among them.

        Raises:
            Exception: whatever ``ask`` raised.
        """
        with self._lock:
            known = self._known.get(group)
            if known is not None and self._now() - known[1] < KEPT_FOR:
                self._known.move_to_end(group)
                return known[0]
            changes, asked_at = self._changes, self._now()
        members = tuple(self._ask(group))
        with self._lock:
            # What was asked before a change and answered after it may be either.
            if self._changes == changes:
                self._known[group] = members, asked_at
                self._known.move_to_end(group)
                while len(self._known) > self._capacity:
                    self._known.popitem(last=False)
        return members

    def forget(self, group: str) -> None:
        """Note that a group has changed. From any thread."""
        with self._lock:
            self._changes += 1
            self._known.pop(group, None)
