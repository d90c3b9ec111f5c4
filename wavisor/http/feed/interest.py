"""Which events a client wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wavisor.event_filter import EVERYTHING, fitting_types
from wavisor.http.feed.frames import InvalidFrameError
from wavisor.storage import EventRecord

__all__ = ["STATISTICS_UPDATED", "Interest"]

STATISTICS_UPDATED = "stats:updated"
"""The figures of the day; no event, and sent only to those who ask for it by its name."""

_STATISTICS = frozenset({STATISTICS_UPDATED, "stats:*"})


@dataclass(frozen=True)
class Interest:
    """Events of one tenant, of some instances, of some types. None stands for all."""

    subscription_id: str
    instances: frozenset[str] | None
    types: frozenset[str] | None
    statistics: bool = False
    """Whether the figures of the day are wanted as well."""

    @classmethod
    def of(
        cls, subscription_id: str, instances: Sequence[str], patterns: Sequence[str]
    ) -> Interest:
        """Return what a client asks for.

        Args:
            subscription_id: the client's tenant.
            instances: canonical ids, or ``*``.
            patterns: types of events, ``*``, or a beginning such as ``message:*``.

        Raises:
            InvalidFrameError: a pattern fits no type that there is.
        """
        every_type = EVERYTHING in patterns
        of_events = [one for one in patterns if one not in _STATISTICS]
        types = frozenset[str]().union(*(_expand(pattern) for pattern in of_events))
        return cls(
            subscription_id,
            None if EVERYTHING in instances else frozenset(instances),
            None if every_type else types,
            statistics=len(of_events) < len(patterns),
        )

    @property
    def names(self) -> list[str]:
        """What is wanted, by name."""
        events = {EVERYTHING} if self.types is None else self.types
        return sorted(events | {STATISTICS_UPDATED}) if self.statistics else sorted(events)

    def covers_instance(self, subscription_id: str, instance_id: str) -> bool:
        """Tell whether an instance is one of those that are meant."""
        return subscription_id == self.subscription_id and (
            self.instances is None or instance_id in self.instances
        )

    def covers(self, record: EventRecord) -> bool:
        """Tell whether an event is wanted."""
        wanted = self.types is None or record.type in self.types
        return wanted and self.covers_instance(record.subscription_id, record.instance_id)


def _expand(pattern: str) -> frozenset[str]:
    fitting = fitting_types(pattern)
    if not fitting:
        raise InvalidFrameError(f"events: no type of event is {pattern[:60]!r}")
    return fitting
