"""Tells long-lived connections at once that somebody's rights may have changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

__all__ = ["AccessChanges"]


class AccessChanges:
    """Who is to be asked again who they are. Used on the event loop only.

    A connection watches the ids that its rights hang on: its user, key, instance and subscription.
    Whoever changes one of them announces it after the commit. Nothing is decided here: those who
    are told ask the database, which alone knows.
    """

    def __init__(self) -> None:
        self._watching: dict[str, dict[object, Callable[[], None]]] = defaultdict(dict)

    def watch(self, ids: Iterable[str], changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` when one of the ids is announced; return what ends that."""
        token = object()
        watched = tuple(ids)
        for one in watched:
            self._watching[one][token] = changed

        def leave() -> None:
            for one in watched:
                self._watching[one].pop(token, None)
                if not self._watching[one]:
                    del self._watching[one]

        return leave

    def announce(self, *ids: str) -> None:
        """Tell everybody who watches one of these ids."""
        told: dict[object, Callable[[], None]] = {}
        for one in ids:
            told |= self._watching.get(one, {})
        for changed in told.values():
            changed()
