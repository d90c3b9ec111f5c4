"""Supervision: what pykka leaves out, in the terms of Erlang/OTP.

A *supervisor* is an actor that starts others, hears when they end, and decides what follows.
:class:`Supervisor` has a fixed, ordered list of children; :class:`DynamicSupervisor` gets its
children by message, each with a restart budget of its own. Whoever is supervised derives from
:class:`SupervisedActor`. :func:`run_root` starts the whole tree. The parts live in
``wavisor.actors.supervision``; questions are asked with :func:`wavisor.actors.ask.ask`.
"""

from __future__ import annotations

from wavisor.actors.errors import DomainError, UnexpectedMessageError
from wavisor.actors.supervision.actor import DeferredReply, SupervisedActor
from wavisor.actors.supervision.dynamic import DynamicSupervisor
from wavisor.actors.supervision.environment import (
    ChildContext,
    Directory,
    Environment,
    Observer,
    ResourceLedger,
    SilentObserver,
)
from wavisor.actors.supervision.messages import (
    ChildAbandonedError,
    ChildInfo,
    ChildStartError,
    CountChildren,
    DeleteChild,
    DuplicateChildError,
    GetTree,
    IntensityExceededError,
    ResourceHeldError,
    RestartChild,
    StartChild,
    StartTimeoutError,
    Stop,
    SupersededError,
    SupervisorStoppingError,
    TerminateChild,
    TooManyChildrenError,
    UnknownChildError,
    WhichChildren,
)
from wavisor.actors.supervision.root import RootHandle, run_root
from wavisor.actors.supervision.spec import (
    Backoff,
    ChildSpec,
    ChildState,
    ExitReason,
    Intensity,
    Restart,
    RestartWindow,
    Strategy,
)
from wavisor.actors.supervision.static import Supervisor

__all__ = [
    "Backoff",
    "ChildAbandonedError",
    "ChildContext",
    "ChildInfo",
    "ChildSpec",
    "ChildStartError",
    "ChildState",
    "CountChildren",
    "DeferredReply",
    "DeleteChild",
    "Directory",
    "DomainError",
    "DuplicateChildError",
    "DynamicSupervisor",
    "Environment",
    "ExitReason",
    "GetTree",
    "Intensity",
    "IntensityExceededError",
    "Observer",
    "ResourceHeldError",
    "ResourceLedger",
    "Restart",
    "RestartChild",
    "RestartWindow",
    "RootHandle",
    "SilentObserver",
    "StartChild",
    "StartTimeoutError",
    "Stop",
    "Strategy",
    "SupersededError",
    "SupervisedActor",
    "Supervisor",
    "SupervisorStoppingError",
    "TerminateChild",
    "TooManyChildrenError",
    "UnexpectedMessageError",
    "UnknownChildError",
    "WhichChildren",
    "run_root",
]
