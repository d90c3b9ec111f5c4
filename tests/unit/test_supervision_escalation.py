"""The ordered supervisor under failures: budget, escalation, pauses, children that hang."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.supervision_lab import AT_ONCE, WAIT, Lab
from wavisor.actors.ask import ask_sync, tell
from wavisor.actors.supervision.messages import ChildFinished
from wavisor.actors.supervisor import (
    Backoff,
    ChildSpec,
    ChildStartError,
    ChildState,
    CountChildren,
    ExitReason,
    Intensity,
    IntensityExceededError,
    Strategy,
    Supervisor,
)

RUNNING, STOPPED = ChildState.RUNNING, ChildState.STOPPED


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


def ids_up(lab: Lab) -> list[str]:
    return [who for _, who in lab.lives("up")]


def exits(lab: Lab) -> list[str]:
    return [who for _, who in lab.lives("exit")]


# Intensity and escalation


def test_restarts_within_the_budget_are_borne_and_one_more_ends_the_supervisor(lab: Lab) -> None:
    root = lab.start([lab.spec("a"), lab.spec("b")], intensity=Intensity(2, 10.0))
    for round_ in (2, 3):
        lab.crash("b")
        lab.until("b", RUNNING, times=round_)
    lab.crash("b")
    reason = root.finished.result(WAIT)
    assert isinstance(reason.error, IntensityExceededError)
    assert root.exit_code == 1
    assert exits(lab)[-1] == "a"


def test_restarts_older_than_the_period_are_forgiven(lab: Lab) -> None:
    lab.start([lab.spec("a")], intensity=Intensity(1, 10.0))
    for round_ in range(2, 6):
        lab.crash("a")
        lab.until("a", RUNNING, times=round_)
        lab.clock.advance(10.1)
    assert lab.child("a").restarts == 4


def test_a_failed_restart_counts_too(lab: Lab) -> None:
    root = lab.start([lab.spec("a")], intensity=Intensity(3, 10.0))
    lab.behaviour("a").failing_starts = 100
    lab.crash("a")
    assert isinstance(root.finished.result(WAIT).error, IntensityExceededError)
    assert lab.lives("start") == [("start", "a")] * 4  # at boot, and three tries


def test_a_failed_restart_is_retried(lab: Lab) -> None:
    lab.start([lab.spec("a")], intensity=Intensity(3, 10.0))
    lab.behaviour("a").failing_starts = 2
    lab.crash("a")
    lab.until("a", RUNNING, times=2)
    assert lab.child("a").restarts == 3


def nested(lab: Lab, *, inner: Intensity) -> ChildSpec:
    return ChildSpec(
        "inner",
        lambda context: Supervisor(context, [lab.spec("x"), lab.spec("y")], intensity=inner),
        backoff=AT_ONCE,
        shutdown=60.0,
    )


def test_a_supervisor_that_gives_up_is_restarted_by_its_own(lab: Lab) -> None:
    lab.start([lab.spec("a"), nested(lab, inner=Intensity(0, 10.0)), lab.spec("z")])
    lab.crash("inner/x")
    lab.until("z", RUNNING, times=2)  # rest_for_one: the one after it came along
    assert lab.child("inner").generation == 2
    assert lab.child("inner/x").generation == 1
    assert lab.child("inner/x").state is RUNNING
    assert lab.child("a").generation == 1


def test_failure_escalates_level_by_level_to_the_root(lab: Lab) -> None:
    ends: list[ExitReason] = []
    root = lab.start(
        [lab.spec("a"), nested(lab, inner=Intensity(0, 10.0))],
        intensity=Intensity(1, 10.0),
        on_exit=ends.append,
    )
    lab.crash("inner/x")
    lab.until("inner", RUNNING, times=2)
    lab.crash("inner/y")
    reason = root.finished.result(WAIT)
    assert isinstance(reason.error, IntensityExceededError)
    assert "inner" in reason.detail
    assert root.exit_code == 1
    lab.life.wait_for(lambda _: ends == [reason])


def test_a_boot_failure_deep_down_fails_the_start_of_the_root(lab: Lab) -> None:
    lab.behaviour("y").failing_starts = 1
    root = lab.launch([lab.spec("a"), nested(lab, inner=Intensity())])
    with pytest.raises(ChildStartError, match=r"inner.*inner/y.*cannot start"):
        root.started.result(WAIT)
    assert exits(lab) == ["y", "x", "a"]


# Backoff


def test_a_child_rests_before_its_restart_and_longer_each_time(lab: Lab) -> None:
    pauses = Backoff(initial=1.0, maximum=4.0, factor=2.0, jitter=0.0, reset_after=100.0)
    lab.start([lab.spec("a", backoff=pauses)], intensity=Intensity(10, 10.0))
    for round_, pause in enumerate([1.0, 2.0, 4.0, 4.0], start=1):
        lab.crash("a")
        lab.until("a", ChildState.BACKOFF, times=round_)
        assert lab.clock.pending() == [pause]
        lab.clock.advance(pause)
        lab.until("a", RUNNING, times=round_ + 1)


def test_a_healthy_period_resets_the_pauses(lab: Lab) -> None:
    pauses = Backoff(initial=1.0, maximum=8.0, jitter=0.0, reset_after=30.0)
    lab.start([lab.spec("a", backoff=pauses)], intensity=Intensity(10, 10.0))
    for round_, pause in enumerate([1.0, 2.0], start=1):
        lab.crash("a")
        lab.until("a", ChildState.BACKOFF, times=round_)
        lab.clock.advance(pause)
        lab.until("a", RUNNING, times=round_ + 1)
    lab.clock.advance(30.0)
    lab.crash("a")
    lab.until("a", ChildState.BACKOFF, times=3)
    assert lab.clock.pending() == [1.0]


def test_a_supervisor_answers_and_stops_while_a_child_rests(lab: Lab) -> None:
    root = lab.start([lab.spec("a", backoff=Backoff(initial=600.0, maximum=600.0))])
    lab.crash("a")
    lab.until("a", ChildState.BACKOFF)
    counts = ask_sync(root.ref, CountChildren(), WAIT)
    assert counts[ChildState.BACKOFF] == 1
    assert root.stop().result(WAIT).kind == "shutdown"
    assert lab.clock.pending() == []


# Hanging, and bugs of the supervisor


def test_a_child_that_hangs_in_shutdown_is_abandoned_and_the_rest_still_stops(lab: Lab) -> None:
    lab.behaviour("b").exit_gate = lab.gate()
    root = lab.start([lab.spec("a"), lab.spec("b", shutdown=5.0)])
    finished = root.stop()
    lab.until("b", ChildState.STOPPING)
    lab.clock.advance(5.0)
    assert finished.result(WAIT).kind == "shutdown"
    assert lab.observer.abandoned == ["b"]
    assert exits(lab) == ["b", "a"]
    assert "b" in lab.environment.ledger.holders()


def test_an_abandoned_child_is_not_replaced_before_its_thread_has_ended(lab: Lab) -> None:
    gate = lab.behaviour("b").exit_gate = lab.gate()
    pause = Backoff(initial=1.0, maximum=1.0, jitter=0.0)
    lab.start(
        [lab.spec("a"), lab.spec("b", shutdown=5.0, backoff=pause)],
        strategy=Strategy.REST_FOR_ONE,
    )
    lab.crash("a")
    lab.until("b", ChildState.STOPPING)
    lab.clock.advance(5.0)
    lab.until("b", ChildState.BACKOFF)  # the first try was refused
    assert lab.lives("start").count(("start", "b")) == 1
    assert "still holds" in str(lab.child("b").last_reason)
    lab.behaviour("b").exit_gate = None
    gate.set()
    lab.join_threads("b")
    lab.clock.advance(1.0)
    lab.until("b", RUNNING, times=2)


def test_a_child_that_hangs_in_its_own_crash_is_noticed(lab: Lab) -> None:
    lab.behaviour("a").exit_gate = lab.gate()
    lab.start([lab.spec("a", shutdown=5.0, backoff=Backoff(initial=9.0, maximum=9.0, jitter=0.0))])
    lab.crash("a")
    lab.until("a", ChildState.STOPPING)
    lab.clock.advance(5.0)
    lab.until("a", ChildState.BACKOFF)
    assert lab.observer.abandoned == ["a"]


class Buggy(Supervisor):
    def handle(self, message: Any) -> Any:
        if message == "bug":
            raise ZeroDivisionError("in the supervisor")
        return super().handle(message)


def test_a_supervisor_with_a_bug_stops_its_children_before_it_is_replaced(lab: Lab) -> None:
    lab.start(
        [
            ChildSpec(
                "inner",
                lambda context: Buggy(context, [lab.spec("x"), lab.spec("y")]),
                backoff=AT_ONCE,
            )
        ]
    )
    with pytest.raises(ZeroDivisionError):
        ask_sync(lab.find("inner"), "bug", WAIT)
    lab.until("inner", RUNNING, times=2)
    assert exits(lab) == ["y", "x"]
    assert ids_up(lab) == ["x", "y", "x", "y"]


def test_an_abandoned_supervisor_leaves_no_orphan(lab: Lab) -> None:
    lab.behaviour("x").exit_gate = lab.gate()
    inner = ChildSpec(
        "inner",
        lambda context: Supervisor(context, [lab.spec("w"), lab.spec("x", shutdown=500.0)]),
        shutdown=5.0,
    )
    root = lab.start([inner])
    finished = root.stop()
    lab.until("inner/x", ChildState.STOPPING)
    lab.clock.advance(5.0)
    assert finished.result(WAIT).kind == "shutdown"
    lab.life.wait_for(lambda seen: ("exit", "w", "shutdown") in seen)


def test_reports_of_an_older_generation_are_ignored(lab: Lab) -> None:
    root = lab.start([lab.spec("a")])
    lab.crash("a")
    lab.until("a", RUNNING, times=2)
    stale = ChildFinished("a", 1, ExitReason.failure(ValueError("old news")))
    assert tell(root.ref, stale)
    lab.settle()
    assert lab.state("a") is RUNNING
    assert lab.child("a").generation == 2


def test_a_broken_observer_costs_nobody_a_supervisor(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("metrics are down")

    root = lab.start([lab.spec("a"), lab.spec("b")])
    monkeypatch.setattr(lab.observer, "on_restart", broken)
    lab.crash("b")
    lab.until("b", RUNNING, times=2)
    assert root.ref.is_alive()
    assert lab.child("a").generation == 1


def test_the_tree_shows_every_level(lab: Lab) -> None:
    root = lab.start([lab.spec("a", kind="alpha"), nested(lab, inner=Intensity())])
    lab.crash("inner/y")
    lab.until("inner/y", RUNNING, times=2)
    tree = root.tree()
    assert (tree.id, tree.state) == ("root", RUNNING)
    assert [(node.id, node.kind) for node in tree.children] == [("a", "alpha"), ("inner", "inner")]
    y = tree.children[1].children[1]
    assert (y.id, y.state, y.generation, y.restarts) == ("y", RUNNING, 2, 1)
    assert str(y.last_reason) == "error: ValueError: a bug"
    assert tree.count()[RUNNING] == 4
