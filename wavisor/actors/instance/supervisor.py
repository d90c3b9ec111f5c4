"""The supervisor of all instances: one actor for each row, restored at every start."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import structlog

from wavisor.actors.ask import tell
from wavisor.actors.instance import payloads
from wavisor.actors.instance.actor import InstanceActor, InstanceServices
from wavisor.actors.instance.messages import LastError
from wavisor.actors.instance.state import InstanceState, state_of
from wavisor.actors.supervisor import (
    Backoff,
    ChildContext,
    ChildSpec,
    DynamicSupervisor,
    ExitReason,
    Intensity,
    StartChild,
)
from wavisor.clock import format_time
from wavisor.domain import EventType, InstanceStatus, Reason
from wavisor.storage import EventRecord, NewAudit, NewEvent, instances

__all__ = ["INSTANCE_KIND", "InstanceSupervisor", "instance_spec"]

log = structlog.get_logger(__name__)

INSTANCE_KIND = "instance"

_STARTUP_READ_TIMEOUT = 30.0

_CRASHED = "the part of the gateway that runs this instance crashed again and again"

_RESTORE_SPREAD_LIMIT = 10.0
"""Seconds within which all instances have begun to come back, however many there are."""


def instance_spec(
    instance_id: str, services: InstanceServices, restore_within: float = 0.0
) -> ChildSpec:
    """Return how the actor of an instance is started, restarted and stopped.

    Args:
        instance_id: which instance.
        services: what all instance actors share.
        restore_within: seconds within which it brings its session back after the start.
    """
    policy = services.policy
    return ChildSpec(
        id=instance_id,
        kind=INSTANCE_KIND,
        start=lambda context: InstanceActor(context, instance_id, services, restore_within),
        # The session gets its grace and is killed after it; the rest is for the last write.
        shutdown=policy.stop_grace + 3.0,
        start_timeout=policy.storage_patience + 5.0,
        backoff=Backoff(initial=0.5, maximum=30.0),
        intensity=policy.crash_budget,
    )


class InstanceSupervisor(DynamicSupervisor):
    """Starts an actor for every instance there is, and gives up on those that keep crashing.

    Args:
        context: from the root.
        services: what all instance actors share.
        intensity: the restart budget of each instance's actor.
    """

    def __init__(
        self, context: ChildContext, services: InstanceServices, intensity: Intensity | None = None
    ) -> None:
        super().__init__(
            context,
            intensity=intensity or services.policy.crash_budget,
            on_child_failed=self._give_up_instance,
        )
        self._services = services

    def on_start(self) -> None:
        """Queue the start of every instance; this does not wait for them."""
        super().on_start()
        rows = self._services.database.read_wait(instances.list_all, timeout=_STARTUP_READ_TIMEOUT)
        spread = min(_RESTORE_SPREAD_LIMIT, self._services.restore_stagger * len(rows))
        for row in rows:
            # Kept: an instance whose first start fails is tried again, not forgotten.
            spec = instance_spec(row.id, self._services, spread)
            tell(self.actor_ref, StartChild(spec, keep=True))

    def _give_up_instance(self, instance_id: str, reason: ExitReason) -> None:
        """Write that an instance is ``failed``; its actor, which would do it, is down."""
        now = self._env.clock.now()
        future = self._services.database.write(_fail_instance, instance_id, str(reason), now)

        def tell_others(done: object) -> None:
            try:
                failed = future.result(timeout=0)
            except Exception:
                log.exception("could not write that an instance failed", instance=instance_id)
                return
            if failed is not None:
                state, records = failed
                self._services.observer.on_status(instance_id, state.status, state.expected)
                self._services.publish(tuple(records))

        future.add_done_callback(tell_others)


def _fail_instance(
    instance_id: str, cause: str, now: datetime
) -> tuple[InstanceState, list[EventRecord]] | None:
    """Write the failure; return the state that follows and the events, None where it is gone."""
    record = instances.find(instance_id)
    if record is None:
        return None
    state = state_of(record)
    old, since = state.status, format_time(state.status_changed_at)
    failed = replace(
        state,
        status=InstanceStatus.FAILED,
        reason=Reason.RESTART_BUDGET_SPENT,
        status_changed_at=now,
        last_error=LastError(Reason.RESTART_BUDGET_SPENT, _CRASHED, now),
    )
    records = instances.record_transition(
        instance_id,
        {
            "status": failed.status,
            "reason": Reason.RESTART_BUDGET_SPENT.value,
            "status_changed_at": now,
            "last_error": payloads.last_error_json(failed.last_error),
        },
        [
            NewEvent(
                type=EventType.INSTANCE_STATUS_CHANGED.value,
                data=payloads.status_changed(old, since, failed),
            )
        ],
        NewAudit(
            action="instance.status",
            actor_kind="system",
            target=instance_id,
            before={"status": old.value},
            after={"status": failed.status.value, "detail": cause},
        ),
    )
    return failed, records
