"""Deletes what has been kept for long enough.

Old events, messages, files and audit entries, expired tokens, and the keys of requests after
their day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from wavisor.actors.ask import tell
from wavisor.actors.media_upkeep import MediaUpkeep
from wavisor.actors.supervisor import ChildContext, SupervisedActor
from wavisor.storage import (
    Database,
    StorageError,
    audit,
    deliveries,
    events,
    idempotency,
    instances,
    invitations,
    keys,
    messages,
    quotas,
    tokens,
)

__all__ = ["Housekeeping", "Retention", "kept_for"]

log = structlog.get_logger(__name__)

_PORTION = 1000
_TIMEOUT = 60.0
_MOST_DAYS = 36_500
_REVOKED_KEYS = timedelta(days=30)
_ENDED_INVITATIONS = timedelta(days=30)


EVENT_DAYS = "eventRetentionDays"
MESSAGE_DAYS = "messageRetentionDays"


@dataclass(frozen=True)
class Retention:
    """How long things are kept; of events and messages an instance may say otherwise."""

    events: timedelta
    audit: timedelta
    messages: timedelta | None = None
    """None for as long as their instance exists."""
    deliveries: timedelta = timedelta(days=30)
    """Of webhooks, from their end on."""


def kept_for(
    settings: dict[str, Any],
    default: timedelta | None,
    most: int | None = None,
    *,
    name: str = MESSAGE_DAYS,
) -> timedelta | None:
    """Return how long an instance's messages, or events, are kept; None for as long as it exists.

    Args:
        settings: the instance's.
        default: for an instance that says nothing, or nothing that makes sense.
        most: days that its subscription allows; None for any.
        name: of the setting, a whole number of days; 0 for ever.
    """
    days = settings.get(name)
    if not isinstance(days, int) or isinstance(days, bool) or not 0 <= days <= _MOST_DAYS:
        kept = default
    else:
        kept = timedelta(days=days) if days else None
    if most is None:
        return kept
    allowed = timedelta(days=min(most, _MOST_DAYS))
    return allowed if kept is None else min(kept, allowed)


@dataclass(frozen=True)
class _Sweep:
    """A round is due."""


class Housekeeping(SupervisedActor):
    """Sweeps at its start and at intervals, in small portions, so that other writes get through.

    Args:
        context: from the root.
        database: what is swept.
        retention: how long things are kept.
        files: sweeps the files of messages.
        interval: seconds between two rounds.
    """

    def __init__(
        self,
        context: ChildContext,
        database: Database,
        retention: Retention,
        files: MediaUpkeep,
        interval: float = 3600.0,
    ) -> None:
        super().__init__(context)
        self._env = context.environment
        self._database = database
        self._retention = retention
        self._files = files
        self._interval = interval

    def on_start(self) -> None:
        """Let the first round come soon, but not in the way of the start."""
        self._schedule(min(60.0, self._interval))

    def handle(self, message: Any) -> Any:
        """Sweep when it is time."""
        if not isinstance(message, _Sweep):
            return super().handle(message)
        try:
            self._sweep()
        except (StorageError, OSError) as error:
            log.warning("housekeeping put off", error=str(error))
        except Exception:
            # Not let through: the root would restart all instances along with this actor.
            log.exception("housekeeping failed")
        self._schedule(self._interval)
        return None

    def _sweep(self) -> None:
        now = self._env.clock.now()
        old_events, old_messages = self._purge_of_instances()
        old_entries = self._repeat(audit.purge, now - self._retention.audit)
        old_keys = self._repeat(idempotency.purge, now - idempotency.KEPT_FOR)
        self._repeat(invitations.purge, now - _ENDED_INVITATIONS)
        revoked_keys = self._repeat(keys.purge, now - _REVOKED_KEYS)
        old_rows, old_files = self._files.sweep(now)
        old_tokens = self._database.write_wait(tokens.purge_expired, timeout=_TIMEOUT)
        log.info(
            "housekeeping done",
            events=old_events,
            messages=old_messages,
            media=old_rows,
            files=old_files,
            audit_entries=old_entries,
            request_keys=old_keys,
            tokens_expired=old_tokens,
            api_keys_revoked=revoked_keys,
            deliveries=self._purge_deliveries(),
        )

    def _purge_deliveries(self) -> int:
        before = self._env.clock.now() - self._retention.deliveries
        self._repeat(deliveries.cancel_abandoned, before)
        return self._repeat(deliveries.purge, before)

    def _purge_of_instances(self) -> tuple[int, int]:
        """Delete old events and messages of every instance; return how many of each."""
        read = self._database.read_wait
        limits = read(quotas.retention_days, timeout=_TIMEOUT)
        of_events = of_messages = 0
        for instance in read(instances.list_all, timeout=_TIMEOUT):
            most = limits.get(instance.subscription_id)
            kept = kept_for(instance.settings, self._retention.events, most, name=EVENT_DAYS)
            of_events += self._purge(partial(events.purge, instance.id), kept)
            kept = kept_for(instance.settings, self._retention.messages, most)
            of_messages += self._purge(partial(messages.purge, instance.id), kept)
        return of_events, of_messages

    def _purge(self, purge: Callable[..., int], kept: timedelta | None) -> int:
        return 0 if kept is None else self._repeat(purge, self._env.clock.now() - kept)

    def _repeat(self, purge: Callable[..., int], before: datetime) -> int:
        total = 0
        while True:
            deleted = self._database.write_wait(purge, before, limit=_PORTION, timeout=_TIMEOUT)
            total += deleted
            if deleted < _PORTION:
                return total

    def _schedule(self, delay: float) -> None:
        ref = self.actor_ref

        def post() -> None:
            tell(ref, _Sweep())

        self._env.timers.call_later(delay, post)
