"""The dynamic supervisor against a model of it, under random commands, crashes and time."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.supervision_lab import WAIT, Lab
from wavisor.actors.ask import ask_sync
from wavisor.actors.supervisor import (
    Backoff,
    ChildState,
    DeleteChild,
    Intensity,
    RestartChild,
    StartChild,
    TerminateChild,
)

PAUSE = 2.0
PERIOD = 10.0
BUDGET = 2
IDS = ["a", "b", "c"]

children = st.sampled_from(IDS)


@dataclass
class Model:
    """What one child should be like."""

    state: ChildState = ChildState.RUNNING
    generation: int = 1
    due: float = 0.0
    restarts: list[float] = field(default_factory=list)


class DynamicSupervisorModel(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.lab = Lab()
        self.pool = self.lab.start_dynamic(intensity=Intensity(BUDGET, PERIOD))
        self.models: dict[str, Model] = {}

    def running(self) -> list[str]:
        return [each for each, m in self.models.items() if m.state is ChildState.RUNNING]

    @rule(child_id=children)
    def start(self, child_id: str) -> None:
        if child_id in self.models:
            return
        spec = self.lab.spec(child_id, backoff=Backoff(PAUSE, PAUSE, jitter=0.0))
        ask_sync(self.pool, StartChild(spec), WAIT)
        self.models[child_id] = Model()

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        child_id = data.draw(st.sampled_from(self.running()))
        model, now = self.models[child_id], self.lab.clock.monotonic()
        model.restarts.append(now)
        recent = [moment for moment in model.restarts if now - moment <= PERIOD]
        model.state = ChildState.BACKOFF if len(recent) <= BUDGET else ChildState.FAILED
        model.due = now + PAUSE
        entry = (f"pool/{child_id}", model.state)
        times = self.lab.observer.states.count(entry) + 1
        self.lab.crash(entry[0])
        self.lab.until(*entry, times=times)

    @rule(step=st.sampled_from([1.0, 2.0, 11.0]))
    def advance(self, step: float) -> None:
        now = self.lab.clock.monotonic() + step
        revived = []
        for child_id, model in self.models.items():
            if model.state is ChildState.BACKOFF and model.due <= now:
                model.state = ChildState.RUNNING
                model.generation += 1
                entry = (f"pool/{child_id}", ChildState.RUNNING)
                revived.append((entry, self.lab.observer.states.count(entry) + 1))
        self.lab.clock.advance(step)
        for entry, times in revived:
            self.lab.until(*entry, times=times)

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        child_id = data.draw(st.sampled_from(sorted(self.models)))
        ask_sync(self.pool, RestartChild(child_id), WAIT)
        model = self.models[child_id]
        model.state = ChildState.RUNNING
        model.generation += 1
        model.restarts.clear()

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def terminate(self, data: st.DataObject) -> None:
        child_id = data.draw(st.sampled_from(sorted(self.models)))
        ask_sync(self.pool, TerminateChild(child_id), WAIT)
        self.models[child_id].state = ChildState.STOPPED

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        child_id = data.draw(st.sampled_from(sorted(self.models)))
        ask_sync(self.pool, DeleteChild(child_id), WAIT)
        del self.models[child_id]

    @invariant()
    def the_tree_is_as_the_model(self) -> None:
        if not hasattr(self, "pool"):
            return
        actual = {c.id: (c.state, c.generation) for c in self.lab.child("pool").children}
        assert actual == {each: (m.state, m.generation) for each, m in self.models.items()}

    @invariant()
    def one_thread_holds_each_running_childs_resource_and_can_be_found(self) -> None:
        if not hasattr(self, "pool"):
            return
        held = set(self.lab.environment.ledger.holders()) - {"pool"}
        assert held == {f"pool/{each}" for each in self.running()}
        for each in IDS:
            found = self.lab.environment.directory.find(f"pool/{each}")
            assert (found is not None) == (each in self.running())

    @invariant()
    def only_resting_children_have_timers(self) -> None:
        if not hasattr(self, "pool"):
            return
        resting = [m for m in self.models.values() if m.state is ChildState.BACKOFF]
        assert len(self.lab.clock.pending()) == len(resting)

    def teardown(self) -> None:
        if hasattr(self, "lab"):
            self.lab.close()


TestDynamicSupervisorModel = DynamicSupervisorModel.TestCase
TestDynamicSupervisorModel.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
