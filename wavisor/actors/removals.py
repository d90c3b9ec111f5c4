"""Removes what is to go for good: an instance with all it has, a subscription bit by bit.

The database says which subscriptions are to go, so it does not matter who wanted it: the HTTP
interface, which gives a hint, or the command line, whose process knows nothing of this one. After a
crash the next process goes on with what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from wavisor.actors.instances import InstanceUnavailableError
from wavisor.actors.loop_job import LoopJob
from wavisor.actors.media_upkeep import MediaUpkeep
from wavisor.actors.supervisor import ChildContext
from wavisor.media import MediaStore
from wavisor.storage import (
    Database,
    NotFound,
    Scope,
    StorageError,
    deletions,
    instances,
    messages,
    webhooks,
)

__all__ = ["REMOVALS", "LookForRemovals", "Removal", "Removals", "remove_instance"]

log = structlog.get_logger(__name__)

REMOVALS = "removals"
"""Where the one actor of this kind is found in the directory."""


@dataclass(frozen=True)
class LookForRemovals:
    """A subscription is to be removed."""


class Sessions(Protocol):
    """What ends instances; :class:`~wavisor.actors.instances.SupervisedInstances`."""

    async def delete(self, instance_id: str) -> None:
        """End session and actor and remove the keys."""
        ...

    async def forget(self, instance_id: str) -> None:
        """End an actor that was started anew before the row was gone."""
        ...


async def remove_instance(
    scope: Scope, instance_id: str, *, database: Database, sessions: Sessions, media: MediaStore
) -> None:
    """End an instance, and delete it with its keys, messages and events.

    In short transactions, so that nobody else waits for long. Done again after it was broken off,
    it goes on with what is left.

    Raises:
        InstanceUnavailableError: its actor did not answer in time.
        NotFound: somebody else was quicker.
        StorageError: the database is busy or away.
    """
    await sessions.delete(instance_id)
    await media.drop_rooms(instance_id)
    while await database.commit(messages.shed, scope, instance_id):
        pass
    try:
        await database.commit(instances.delete, scope, instance_id)
    finally:
        # A request that was admitted before may have started the actor again meanwhile.
        await sessions.forget(instance_id)


class Removal:
    """Removes subscriptions, one after the other. Lives on one event loop.

    Args:
        database: says which, and has what they have.
        sessions: ends their instances.
        media: has their files.
        files: removes those that nobody else has.
        on_endpoint_gone: is told the id of each webhook that is gone.
        interval: seconds between two looks.
    """

    def __init__(
        self,
        *,
        database: Database,
        sessions: Sessions,
        media: MediaStore,
        files: MediaUpkeep,
        on_endpoint_gone: Callable[[str], None],
        interval: float = 10.0,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._media = media
        self._files = files
        self._on_endpoint_gone = on_endpoint_gone
        self._interval = interval
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Look at once, whenever woken, and at intervals; until cancelled."""
        while True:
            self._woken.clear()
            await self.look()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._interval)

    def wake(self) -> None:
        """Look soon. To be called on the loop."""
        self._woken.set()

    async def look(self) -> None:
        """Remove what is to go; what cannot go now is left to the next look."""
        try:
            begun = await self._database.fetch(deletions.list_begun)
        except StorageError as error:
            log.warning("removals put off", error=str(error))
            return
        for subscription_id in begun:
            try:
                await self.remove(Scope(subscription_id))
                log.info("subscription removed", tenant=subscription_id)
            except (StorageError, InstanceUnavailableError, OSError) as error:
                # One that cannot go yet must not keep the others.
                log.warning(
                    "a subscription cannot be removed yet", tenant=subscription_id, error=str(error)
                )

    async def remove(self, scope: Scope) -> None:
        """Remove a subscription with all that it has.

        Raises:
            InstanceUnavailableError: one of its instances did not answer in time.
            StorageError: the database is busy or away.
            OSError: files could not be removed.
        """
        finished = False
        # What a request adds that was under way at the mark is found by the next round.
        while not finished:
            await self._remove_webhooks(scope)
            await self._remove_instances(scope)
            await self._remove_files(scope)
            while await self._database.commit(deletions.shed, scope):
                pass
            finished = await self._database.commit(deletions.finish, scope)

    async def _remove_webhooks(self, scope: Scope) -> None:
        while (found := await self._database.fetch(deletions.next_endpoint, scope)) is not None:
            instance_id, endpoint_id = found
            with suppress(NotFound):  # it went in this moment
                while await self._database.commit(webhooks.shed, scope, instance_id, endpoint_id):
                    pass
                await self._database.commit(webhooks.delete, scope, instance_id, endpoint_id)
            self._on_endpoint_gone(endpoint_id)

    async def _remove_instances(self, scope: Scope) -> None:
        while (found := await self._database.fetch(deletions.next_instance, scope)) is not None:
            with suppress(NotFound):  # likewise
                await remove_instance(
                    scope,
                    found,
                    database=self._database,
                    sessions=self._sessions,
                    media=self._media,
                )

    async def _remove_files(self, scope: Scope) -> None:
        while (paths := await self._database.commit(deletions.shed_files, scope)) is not None:
            await asyncio.to_thread(self._files.remove_unnamed, paths)


class Removals(LoopJob):
    """Runs a :class:`Removal` on the loop while it lives.

    Args:
        context: from the root.
        loop: where it runs.
        make: returns a new one; called on the loop.
    """

    def __init__(
        self,
        context: ChildContext,
        loop: asyncio.AbstractEventLoop,
        make: Callable[[], Removal],
    ) -> None:
        super().__init__(context, loop, "removal of subscriptions")
        self._make = make
        self._current: Removal | None = None

    async def work(self) -> None:
        """Remove until cancelled."""
        self._current = self._make()
        await self._current.run()

    def handle(self, message: Any) -> Any:
        """Look when told to."""
        if not isinstance(message, LookForRemovals):
            return super().handle(message)
        if self._current is not None:
            self._loop.call_soon_threadsafe(self._current.wake)
        return None
