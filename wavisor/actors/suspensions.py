"""Stops the instances of suspended subscriptions, and lets them go on afterwards.

The database is the truth, so that it does not matter who suspended a subscription: the HTTP
interface, which gives a hint, or the command line, whose process knows nothing of this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog

from wavisor.actors.ask import tell
from wavisor.actors.instance.messages import SetSuspended
from wavisor.actors.supervisor import ChildContext, SupervisedActor
from wavisor.storage import Database, StorageError, instances, platform

__all__ = ["SUSPENSIONS", "LookNow", "Suspensions"]

log = structlog.get_logger(__name__)

SUSPENSIONS = "suspensions"
"""Where the one actor of this kind is found in the directory."""

_TIMEOUT = 10.0


@dataclass(frozen=True)
class LookNow:
    """A subscription was suspended, or is no longer."""


@dataclass(frozen=True)
class _Look:
    """A look is due."""


class Suspensions(SupervisedActor):
    """Looks which instances must stand still, at intervals and when told to.

    An instance's actor looks by itself when it starts, so only changes are told to it.

    Args:
        context: from the root.
        database: where it looks.
        instances_path: where the supervisor of instances is found in the directory.
        interval: seconds between two looks.
    """

    def __init__(
        self,
        context: ChildContext,
        database: Database,
        instances_path: str,
        interval: float = 10.0,
    ) -> None:
        super().__init__(context)
        self._env = context.environment
        self._database = database
        self._instances_path = instances_path
        self._interval = interval
        self._suspended: frozenset[str] | None = None
        self._resumed: frozenset[str] = frozenset()

    def on_start(self) -> None:
        """Look at once: a subscription may have been suspended while nobody looked."""
        self._schedule(0.0)

    def handle(self, message: Any) -> Any:
        """Look when it is time, or when told to."""
        match message:
            case _Look():
                self._look()
                self._schedule(self._interval)
            case LookNow():
                self._look()
            case _:
                return super().handle(message)
        return None

    def _look(self) -> None:
        try:
            suspended = self._database.read_wait(platform.suspended_instances, timeout=_TIMEOUT)
            before = self._suspended
            if before is None:  # some may have been resumed while nobody looked
                rows = self._database.read_wait(instances.list_all, timeout=_TIMEOUT)
                before = frozenset(row.id for row in rows)
        except StorageError as error:
            log.warning("suspensions not looked at", error=str(error))
            return
        for instance_id in suspended:  # again each time: its actor may have been down
            self._tell(instance_id, suspended=True)
        resumed = before - suspended
        for instance_id in (resumed | self._resumed) - suspended:
            self._tell(instance_id, suspended=False)
        self._resumed = resumed  # once more the next time: its actor may just be starting
        self._suspended = suspended

    def _tell(self, instance_id: str, *, suspended: bool) -> None:
        ref = self._env.directory.find(f"{self._instances_path}/{instance_id}")
        if ref is not None:
            tell(ref, SetSuspended(suspended))

    def _schedule(self, delay: float) -> None:
        ref = self.actor_ref

        def post() -> None:
            tell(ref, _Look())

        self._env.timers.call_later(delay, post)
