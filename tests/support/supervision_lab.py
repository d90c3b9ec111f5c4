"""A supervision tree under manual time, and actors that misbehave on command."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pykka

from support.manual_clock import ManualClock
from wavisor.actors.ask import ask_sync, tell
from wavisor.actors.supervisor import (
    Backoff,
    ChildContext,
    ChildInfo,
    ChildSpec,
    ChildState,
    DynamicSupervisor,
    Environment,
    ExitReason,
    RootHandle,
    StartChild,
    SupervisedActor,
    WhichChildren,
    run_root,
)

WAIT = 60.0
"""Seconds after which a test gives up waiting for what must happen."""

AT_ONCE = Backoff.none()


class Behaviour:
    """How the generations of one child behave; shared by all of them, set by the test."""

    def __init__(self) -> None:
        self.failing_starts = 0
        self.start_gate: threading.Event | None = None
        self.exit_gate: threading.Event | None = None
        self.crash_in_exit = False


class Journal:
    """What happened, in order, and a way to wait until it has."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.entries: list[Any] = []

    def add(self, entry: Any) -> None:
        with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[list[Any]], bool]) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self.entries), WAIT):
                raise AssertionError(f"did not happen; what did: {self.entries}")

    def count(self, entry: Any) -> int:
        with self._changed:
            return self.entries.count(entry)


class RecordingObserver:
    """Keeps all that supervisors report."""

    def __init__(self) -> None:
        self.states = Journal()
        self.restarts: list[tuple[str, str]] = []
        self.abandoned: list[str] = []

    def on_restart(self, kind: str, reason: ExitReason) -> None:
        self.restarts.append((kind, reason.kind))

    def on_abandoned(self, kind: str) -> None:
        self.abandoned.append(kind)

    def on_child_state(self, path: str, kind: str, old: ChildState, new: ChildState) -> None:
        self.states.add((path, new))


class Probe(SupervisedActor):
    """Writes its life into the lab's journal; a message is a function that it calls."""

    def __init__(self, context: ChildContext, lab: Lab, behaviour: Behaviour) -> None:
        super().__init__(context)
        self.lab = lab
        self.behaviour = behaviour

    def on_start(self) -> None:
        self.lab.threads.append(threading.current_thread())
        self.lab.life.add(("start", self.context.id, self.generation))
        if self.behaviour.start_gate is not None:
            self.behaviour.start_gate.wait(WAIT * 2)
        if self.behaviour.failing_starts > 0:
            self.behaviour.failing_starts -= 1
            raise ValueError("cannot start")
        self.lab.life.add(("up", self.context.id, self.generation))

    def handle(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        return super().handle(message)

    def on_exit(self, reason: ExitReason) -> None:
        self.lab.life.add(("exit", self.context.id, reason.kind))
        if self.behaviour.exit_gate is not None:
            self.behaviour.exit_gate.wait(WAIT * 2)
        if self.behaviour.crash_in_exit:
            raise ValueError("cannot clean up")


class Lab:
    """One tree under test. Time stands still unless ``clock.advance`` is called."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.observer = RecordingObserver()
        self.life = Journal()
        self.environment = Environment(
            self.clock, self.clock, random.Random(7), observer=self.observer
        )
        self.behaviours: dict[str, Behaviour] = {}
        self.roots: list[RootHandle] = []
        self.gates: list[threading.Event] = []
        self.threads: list[threading.Thread] = []

    def behaviour(self, child_id: str) -> Behaviour:
        return self.behaviours.setdefault(child_id, Behaviour())

    def gate(self) -> threading.Event:
        """A closed gate, opened at the latest when the test is over."""
        gate = threading.Event()
        self.gates.append(gate)
        return gate

    def spec(self, child_id: str, **fields: Any) -> ChildSpec:
        behaviour = self.behaviour(child_id)
        fields.setdefault("backoff", AT_ONCE)
        return ChildSpec(child_id, lambda context: Probe(context, self, behaviour), **fields)

    def launch(self, children: Sequence[ChildSpec], **options: Any) -> RootHandle:
        root = run_root(children, environment=self.environment, **options)
        self.roots.append(root)
        return root

    def start(self, children: Sequence[ChildSpec], **options: Any) -> RootHandle:
        root = self.launch(children, **options)
        root.started.result(WAIT)
        return root

    def start_dynamic(self, *ids: str, **options: Any) -> pykka.ActorRef[DynamicSupervisor]:
        """A root with one dynamic supervisor, ``pool``, that has children of these ids."""
        self.start(
            [
                ChildSpec(
                    "pool",
                    lambda context: DynamicSupervisor(context, **options),
                    shutdown=100.0,
                )
            ]
        )
        pool = self.find("pool")
        for child_id in ids:
            ask_sync(pool, StartChild(self.spec(child_id)), WAIT)
        return pool

    def find(self, path: str) -> pykka.ActorRef[Any]:
        ref = self.environment.directory.find(path)
        assert ref is not None, f"nobody runs at {path}"
        return ref

    def do(self, path: str, deed: Callable[[Any], Any]) -> Any:
        """Have the actor at ``path`` call ``deed`` with itself; return the answer."""
        return ask_sync(self.find(path), deed, WAIT)

    def crash(self, path: str) -> None:
        """Make the actor at ``path`` end by a bug."""

        def bug(_: Any) -> None:
            raise ValueError("a bug")

        assert tell(self.find(path), bug)

    def until(self, path: str, state: ChildState, *, times: int = 1) -> None:
        """Wait until the child at ``path`` has come into ``state`` for the n-th time.

        And until its supervisor has done all that follows from it, timers included. A child
        that is to hang in its ``on_exit`` has come there: its supervisor calls it stopping as
        soon as it was told to, which its own thread may not have heard of yet.
        """
        self.observer.states.wait_for(lambda seen: seen.count((path, state)) >= times)
        supervisor, _, child_id = path.rpartition("/")
        if state is ChildState.STOPPING and self.behaviour(child_id).exit_gate is not None:
            self.life.wait_for(
                lambda lives: any((what, who) == ("exit", child_id) for what, who, _ in lives)
            )
        self.settle(supervisor)

    def settle(self, path: str = "") -> None:
        """Wait until the supervisor at ``path`` has handled what was in its inbox."""
        ref = self.roots[-1].ref if not path else self.environment.directory.find(path)
        if ref is not None and ref.is_alive():
            try:
                ask_sync(ref, WhichChildren(), WAIT)
            except pykka.ActorDeadError:
                return

    def child(self, path: str) -> ChildInfo:
        """The node of the tree at ``path``."""
        node = self.roots[-1].tree()
        for part in path.split("/"):
            node = next(child for child in node.children if child.id == part)
        return node

    def state(self, path: str) -> ChildState:
        return self.child(path).state

    def lives(self, *words: str) -> list[tuple[str, str]]:
        """What the journal of lives says of these words, without generations and reasons."""
        return [(what, who) for what, who, _ in list(self.life.entries) if what in words]

    def join_threads(self, name: str = "") -> None:
        """Wait until the threads of all probes, or of those of that name, have ended."""
        for thread in list(self.threads):
            if not name or thread.name == name:
                thread.join(WAIT)
                assert not thread.is_alive(), f"{thread.name} still runs"

    def join_root(self) -> None:
        """Wait until the threads of all root supervisors have ended."""
        for thread in threading.enumerate():
            if thread.name == "root":
                thread.join(WAIT)
                assert not thread.is_alive()

    def close(self) -> None:
        """Open all gates and stop everything; complain about what does not end."""
        for gate in self.gates:
            gate.set()
        for root in self.roots:
            root.stop().result(WAIT)
        self.join_root()
        self.join_threads()
        assert self.environment.ledger.holders() == {}
