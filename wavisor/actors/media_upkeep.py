"""Deletes files of messages that have been kept for long enough, and files that nobody names.

Used by housekeeping, in its thread, which may wait for the disk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

from wavisor.actors.instance.settings import MediaSettings
from wavisor.media import MediaStore
from wavisor.storage import Database, InstanceRecord, MediaRecord, instances, media, quotas

__all__ = ["MediaUpkeep", "files_kept_for"]

_PORTION = 500
_PORTIONS = 50
"""How much of the store one round looks through for files that nobody names."""
_TIMEOUT = 60.0
_MOST_DAYS = 36_500
_UNUSED = timedelta(days=1)
"""How long a file is kept that no message has any more."""


def files_kept_for(
    instance: InstanceRecord, default: timedelta | None, most: int | None = None
) -> timedelta | None:
    """Return how long an instance's files are kept after their last use; None for ever.

    Args:
        instance: its settings come first.
        default: where they say nothing.
        most: days that its subscription allows; None for any.
    """
    days = MediaSettings.of(instance.settings).retention_days
    kept = default if days is None else timedelta(days=days) if days else None
    if most is None:
        return kept
    allowed = timedelta(days=min(most, _MOST_DAYS))
    return allowed if kept is None else min(kept, allowed)


class MediaUpkeep:
    """Purges rows of files, and then the files; used in one thread only.

    Args:
        database: where the rows are.
        store: where the files are.
        default: how long files are kept where their instance says nothing; None for ever.
    """

    def __init__(self, database: Database, store: MediaStore, default: timedelta | None) -> None:
        self._database = database
        self._store = store
        self._default = default
        self._seen = ""

    def sweep(self, now: datetime) -> tuple[int, int]:
        """Do one round; return how many rows and how many files are gone.

        Raises:
            StorageError: the database is busy; the next round goes on.
        """
        rows = self._repeat(partial(media.purge, now - _UNUSED))
        for same_tenant in self._by_tenant().values():
            rows += self._purge_tenant(now, same_tenant)
        # Also those of the rows that are gone, and of deleted tenants. What was stored lately
        # stays, whoever names it: a later round looks at it again.
        return rows, self._purge_unnamed()

    def _by_tenant(self) -> dict[str, list[tuple[str, timedelta | None]]]:
        limits = self._database.read_wait(quotas.retention_days, timeout=_TIMEOUT)
        found: dict[str, list[tuple[str, timedelta | None]]] = defaultdict(list)
        for instance in self._database.read_wait(instances.list_all, timeout=_TIMEOUT):
            most = limits.get(instance.subscription_id)
            kept = files_kept_for(instance, self._default, most)
            found[instance.subscription_id].append((instance.id, kept))
        return found

    def _purge_tenant(self, now: datetime, kept: list[tuple[str, timedelta | None]]) -> int:
        """Purge what each instance of a tenant keeps no longer, and no other one keeps."""
        rows = 0
        for instance_id, mine in kept:
            if mine is None:
                continue
            keepers = [one for one, theirs in kept if theirs is None or theirs > mine]
            rows += self._repeat(
                partial(media.purge, now - mine, instance_id=instance_id, keepers=keepers)
            )
        return rows

    def _repeat(self, purge: Callable[..., list[MediaRecord]]) -> int:
        total = 0
        while True:
            gone = self._database.write_wait(partial(purge, limit=_PORTION), timeout=_TIMEOUT)
            self.remove_unnamed({one.path for one in gone if one.path is not None})
            total += len(gone)
            if len(gone) < _PORTION:
                return total

    def _purge_unnamed(self) -> int:
        """Remove files of the store that no row names, from where the last round ended."""
        removed = 0
        for _ in range(_PORTIONS):
            paths = self._store.list_files(self._seen, _PORTION)
            removed += self.remove_unnamed(paths)
            self._seen = paths[-1] if len(paths) == _PORTION else ""
            if not self._seen:
                break
        return removed

    def remove_unnamed(self, paths: Iterable[str]) -> int:
        """Remove those of some files that no row names; return how many. For any thread.

        What was stored within the last hour stays for a later round.

        Raises:
            StorageError: the database is busy; a later round finds them.
        """
        looked_at = set(paths)
        if not looked_at:
            return 0
        named = self._database.read_wait(partial(media.paths_in_use, looked_at), timeout=_TIMEOUT)
        return self._store.purge_now(path.replace("/", "") for path in looked_at - named)
