"""What every actor of a tree shares, and what each child is told about its place in it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import pykka

from wavisor.actors.supervision.messages import ChildExiting, ChildFinished, ChildStarted
from wavisor.actors.supervision.spec import ChildState, ExitReason
from wavisor.clock import Clock, Timers

__all__ = [
    "ChildContext",
    "Directory",
    "Environment",
    "LifecycleNotice",
    "Observer",
    "ResourceLedger",
    "SilentObserver",
]

LifecycleNotice: TypeAlias = ChildStarted | ChildExiting | ChildFinished


class Observer(Protocol):
    """Is told what happens in the tree, for metrics. Called in supervisors' threads: be quick."""

    def on_restart(self, kind: str, reason: ExitReason) -> None:
        """Note that a child of ``kind`` will be restarted because it ended by ``reason``."""
        ...

    def on_abandoned(self, kind: str) -> None:
        """Note that a child of ``kind`` did not stop in time; its thread still runs."""
        ...

    def on_child_state(self, path: str, kind: str, old: ChildState, new: ChildState) -> None:
        """Note that the child at ``path`` went from one state to another."""
        ...


class SilentObserver:
    """Looks away."""

    def on_restart(self, kind: str, reason: ExitReason) -> None:
        """Do nothing."""

    def on_abandoned(self, kind: str) -> None:
        """Do nothing."""

    def on_child_state(self, path: str, kind: str, old: ChildState, new: ChildState) -> None:
        """Do nothing."""


class ResourceLedger:
    """Who holds which exclusive resource, kept by the threads that really hold them.

    A child's thread gives its resource back as its very last act. So a child that was abandoned,
    or whose supervisor has been replaced meanwhile, still bars its successor.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[str, str] = {}

    def claim(self, resource: str, holder: str) -> bool:
        """Take ``resource`` for ``holder``; return False when somebody has it."""
        with self._lock:
            return self._holders.setdefault(resource, holder) == holder

    def release(self, resource: str, holder: str) -> None:
        """Give ``resource`` back; harmless when ``holder`` does not have it."""
        with self._lock:
            if self._holders.get(resource) == holder:
                del self._holders[resource]

    def holders(self) -> dict[str, str]:
        """Return a copy: who holds what."""
        with self._lock:
            return dict(self._holders)


class Directory:
    """Where each running actor is to be found at this moment, by its path.

    A restart gives an actor a new ref; whoever outlives it (HTTP handlers, siblings) looks the
    ref up for each use. Written by supervisors, read from any thread.
    """

    def __init__(self) -> None:
        self._refs: dict[str, pykka.ActorRef[Any]] = {}

    def find(self, path: str) -> pykka.ActorRef[Any] | None:
        """Return the actor that is running at ``path``, for example ``instances/ins_…``."""
        return self._refs.get(path)

    def enter(self, path: str, ref: pykka.ActorRef[Any]) -> None:
        """Say that ``ref`` now runs at ``path``."""
        self._refs[path] = ref

    def leave(self, path: str) -> None:
        """Say that nobody runs at ``path`` any more."""
        self._refs.pop(path, None)


@dataclass(frozen=True, slots=True)
class Environment:
    """What a whole tree shares: time, chance, and where it reports."""

    clock: Clock
    timers: Timers
    rng: random.Random
    observer: Observer = field(default_factory=SilentObserver)
    ledger: ResourceLedger = field(default_factory=ResourceLedger)
    directory: Directory = field(default_factory=Directory)


@dataclass(frozen=True, slots=True)
class ChildContext:
    """What an actor knows about its place in the tree.

    Args:
        id: its id among its siblings.
        kind: what sort of child it is.
        path: ids from below the root down to it, joined by ``/``; empty for the root.
        generation: grows by one with every start of this child; 1 is the first.
        environment: what the whole tree shares.
        parent: its supervisor; ``None`` for the root.
        notify: takes the reports of its life; must not raise.
        resource: the exclusive resource that its thread gives back at its end.
    """

    id: str
    kind: str
    path: str
    generation: int
    environment: Environment
    parent: pykka.ActorRef[Any] | None
    notify: Callable[[LifecycleNotice], None]
    resource: str | None = None

    @property
    def holder(self) -> str:
        """Who this is in the :class:`ResourceLedger`: one particular thread of this child."""
        return f"{self.path}#{self.generation}@{id(self):x}"

    @property
    def name(self) -> str:
        """What the thread is called in a stack dump, for example ``instance:ins_…``."""
        return self.id if self.kind == self.id else f"{self.kind}:{self.id}"

    def path_of(self, child_id: str) -> str:
        """Return the path of a child of this actor."""
        return f"{self.path}/{child_id}" if self.path else child_id
