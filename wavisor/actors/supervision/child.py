"""A supervisor's record of one child."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from wavisor.actors.supervision.actor import DeferredReply, SupervisedActor
from wavisor.actors.supervision.messages import ChildInfo
from wavisor.actors.supervision.spec import (
    Backoff,
    ChildSpec,
    ChildState,
    ExitReason,
    RestartWindow,
)
from wavisor.clock import Timer

__all__ = ["Child", "Goal", "Waiter"]


class Goal(Enum):
    """What a supervisor wants of a child; a state it works towards, not one the child is in."""

    RUN = "run"
    STOP = "stop"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Waiter:
    """Somebody who commanded something and waits for it to come true."""

    goal: Goal
    reply: DeferredReply


@dataclass(slots=True, eq=False)
class Child:
    """Everything a supervisor knows about a child.

    Written in the supervisor's thread only. :meth:`snapshot` may read it from any other: each
    field is one reference, and a snapshot that is a moment old in one of them harms nobody.
    """

    spec: ChildSpec
    path: str
    window: RestartWindow
    state: ChildState = ChildState.STOPPED
    goal: Goal = Goal.RUN
    generation: int = 0
    actor: SupervisedActor | None = None
    acknowledged: bool = False
    """Whether this generation has finished ``on_start``."""
    kept: bool = True
    """Whether the spec stays when the next start fails; always so once it has started."""
    must_stop: bool = False
    """Whether it has to go down once before it may run, as in the restart of a group."""
    ending: ExitReason | None = None
    """Why it is STOPPING, if it was not told to by its supervisor."""
    restarts: int = 0
    attempt: int = 0
    """How many failures in a row; what the backoff grows with."""
    healthy_since: float = 0.0
    last_reason: ExitReason | None = None
    timer: Timer | None = None
    token: int = 0
    waiters: list[Waiter] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Its id among its siblings."""
        return self.spec.id

    @property
    def resource(self) -> str:
        """The name under which the ledger knows what this child holds."""
        return self.spec.exclusive or self.path

    @property
    def backoff(self) -> Backoff:
        """Its pauses between restarts."""
        return self.spec.backoff

    @property
    def unwanted(self) -> bool:
        """Whether it has to go down, for good or for a moment."""
        return self.must_stop or self.goal is not Goal.RUN

    def cancel_timer(self) -> None:
        """Take back whatever was due; a firing that is already in the inbox becomes void."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None
        self.token = 0

    def snapshot(self) -> ChildInfo:
        """Return what there is to know of it and of all below it, from any thread."""
        actor = self.actor
        return ChildInfo(
            id=self.id,
            kind=self.spec.kind,
            state=self.state,
            generation=self.generation,
            restarts=self.restarts,
            last_reason=self.last_reason,
            inbox_depth=0 if actor is None else actor.inbox_depth,
            children=() if actor is None else actor.snapshot_children(),
        )
