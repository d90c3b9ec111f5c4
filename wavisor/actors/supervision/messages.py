"""What is said between supervisors, their children and those who ask about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wavisor.actors.errors import DomainError
from wavisor.actors.supervision.spec import ChildSpec, ChildState, ExitReason

__all__ = [
    "ChildAbandonedError",
    "ChildExiting",
    "ChildFinished",
    "ChildInfo",
    "ChildStartError",
    "ChildStarted",
    "ChildTimer",
    "CountChildren",
    "DeleteChild",
    "DuplicateChildError",
    "GetTree",
    "IntensityExceededError",
    "ResourceHeldError",
    "RestartChild",
    "StartChild",
    "StartTimeoutError",
    "Stop",
    "SupersededError",
    "SupervisorStoppingError",
    "TerminateChild",
    "TooManyChildrenError",
    "UnknownChildError",
    "WhichChildren",
]


# From a child to its supervisor, and from a supervisor to itself.


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """``on_start`` has finished; the child handles messages now."""

    id: str
    generation: int


@dataclass(frozen=True, slots=True)
class ChildExiting:
    """The child is ending without having been told to; ``on_exit`` is about to run."""

    id: str
    generation: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class ChildFinished:
    """The child's thread has done its last act. Only now may it be replaced."""

    id: str
    generation: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class ChildTimer:
    """The timer ``token`` of a child ran out; which one it was follows from the child's state."""

    id: str
    token: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Told by the supervisor: finish. Queued behind what was accepted before."""


# From anybody to a supervisor.


@dataclass(frozen=True, slots=True)
class WhichChildren:
    """Ask for ``tuple[ChildInfo, …]`` of the supervisor's own children, in start order."""


@dataclass(frozen=True, slots=True)
class CountChildren:
    """Ask for a mapping from :class:`ChildState` to the number of children in that state."""


@dataclass(frozen=True, slots=True)
class GetTree:
    """Ask for the :class:`ChildInfo` of the supervisor itself, with everything below it."""


@dataclass(frozen=True, slots=True)
class StartChild:
    """Add a child and start it. Answered, once it runs, with its ref.

    Unless ``keep`` is set, a first start that fails drops the spec, and the asker decides. With
    ``keep`` it counts as a crash and is retried within the child's budget, which is what
    restoring many children at boot wants.
    """

    spec: ChildSpec
    keep: bool = False


@dataclass(frozen=True, slots=True)
class TerminateChild:
    """Stop a child and keep its spec (unless temporary). Answered when its thread has finished."""

    id: str


@dataclass(frozen=True, slots=True)
class RestartChild:
    """Start a child afresh, stopping it before if need be, with a full restart budget.

    Answered, once it runs, with its new ref. The way out of ``FAILED``.
    """

    id: str


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Stop a child if need be, and forget it. Answered when its thread has finished."""

    id: str


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One node of the supervision tree at one moment."""

    id: str
    kind: str
    state: ChildState
    generation: int
    restarts: int
    last_reason: ExitReason | None
    inbox_depth: int
    children: tuple[ChildInfo, ...] = ()

    def count(self) -> Mapping[ChildState, int]:
        """Return how many nodes below this one are in each state; all states are present."""
        counts = dict.fromkeys(ChildState, 0)
        for child in self.children:
            counts[child.state] += 1
            for state, number in child.count().items():
                counts[state] += number
        return counts


# Refusals, and reasons of supervisors' own exits.


class UnknownChildError(DomainError):
    """There is no child of that id."""


class DuplicateChildError(DomainError):
    """There is already a child of that id."""


class TooManyChildrenError(DomainError):
    """The supervisor has as many children as it may."""


class SupervisorStoppingError(DomainError):
    """The supervisor is stopping and starts nothing any more."""


class SupersededError(DomainError):
    """A later command for the same child wants something else."""


class ChildAbandonedError(DomainError):
    """The child did not stop in time; its thread still runs and holds its resource."""


class ChildStartError(DomainError):
    """The child did not start; the reason is in :attr:`reason`."""

    def __init__(self, child_id: str, reason: ExitReason) -> None:
        super().__init__(f"{child_id} did not start ({reason})")
        self.reason = reason


class ResourceHeldError(Exception):
    """A start was refused: the thread of a predecessor still holds the exclusive resource."""


class StartTimeoutError(Exception):
    """``on_start`` took longer than the child's ``start_timeout``."""


class IntensityExceededError(Exception):
    """More restarts within the period than the intensity allows."""
