"""Whether the gateway is well: its database, its supervision tree, its instances."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version

from pydantic import Field

from wavisor import __version__
from wavisor.actors.supervisor import ChildState
from wavisor.domain import InstanceStatus
from wavisor.http.schemas import ApiModel
from wavisor.http.services import Services
from wavisor.storage import StorageError, instances

__all__ = ["Health", "HealthReporter", "HealthState"]

_FRESH_SECONDS = 1.0
_PING_SECONDS = 2.0


class HealthState(StrEnum):
    """How something is."""

    UP = "up"
    DOWN = "down"


class DatabaseHealth(ApiModel):
    """The database, as a question to it went."""

    status: HealthState
    engine: str
    seconds: float | None = Field(description="How long its answer took; null without one.")


class SupervisionHealth(ApiModel):
    """The supervision tree. It is up while every part directly below its root runs."""

    status: HealthState
    parts: dict[str, ChildState] = Field(description="The parts directly below the root.")
    actors: dict[ChildState, int] = Field(description="How many actors are in each state.")


class Versions(ApiModel):
    """What runs."""

    wavisor: str
    neonize: str | None


class Health(ApiModel):
    """How the gateway is."""

    status: HealthState
    database: DatabaseHealth
    supervision: SupervisionHealth
    sessions: dict[InstanceStatus, int] | None = Field(
        description="How many instances are in each status; null while the database is down."
    )
    versions: Versions


class HealthReporter:
    """Looks how the gateway is, at most once a second however often it is asked.

    Args:
        services: the rest of the gateway.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looking: asyncio.Task[Health] | None = None
        self._looked_at = 0.0
        self._versions = Versions(wavisor=__version__, neonize=_neonize_version())

    async def report(self) -> Health:
        """Return how the gateway is, or was up to a second ago."""
        now = asyncio.get_running_loop().time()
        stale = now - self._looked_at > _FRESH_SECONDS
        if self._looking is None or (stale and self._looking.done()):
            self._looked_at = now
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> Health:
        database = await self._ask_database()
        supervision = self._look_at_tree()
        up = database.status is HealthState.UP and supervision.status is HealthState.UP
        return Health(
            status=HealthState.UP if up else HealthState.DOWN,
            database=database,
            supervision=supervision,
            sessions=await self._count_sessions() if database.seconds is not None else None,
            versions=self._versions,
        )

    async def _ask_database(self) -> DatabaseHealth:
        database = self._services.database
        try:
            seconds = await database.ping(_PING_SECONDS)
        except StorageError:
            return DatabaseHealth(
                status=HealthState.DOWN, engine=database.engine_name, seconds=None
            )
        return DatabaseHealth(
            status=HealthState.UP, engine=database.engine_name, seconds=round(seconds, 6)
        )

    def _look_at_tree(self) -> SupervisionHealth:
        root = self._services.tree()
        if root is None:
            return SupervisionHealth(status=HealthState.DOWN, parts={}, actors={})
        parts = {child.id: child.state for child in root.children}
        running = all(state is ChildState.RUNNING for state in parts.values())
        return SupervisionHealth(
            status=HealthState.UP if running else HealthState.DOWN,
            parts=parts,
            actors=dict(root.count()),
        )

    async def _count_sessions(self) -> dict[InstanceStatus, int] | None:
        try:
            return await self._services.database.fetch(
                instances.count_by_status, None, timeout=_PING_SECONDS
            )
        except StorageError:
            return None


def _neonize_version() -> str | None:
    try:
        return version("neonize")  # from its metadata: importing it would load the Go runtime
    except PackageNotFoundError:
        return None
