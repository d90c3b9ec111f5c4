"""The ordered supervisor: start and stop, restart types, strategies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.supervision_lab import WAIT, Lab
from wavisor.actors.ask import ask_sync
from wavisor.actors.supervisor import (
    Backoff,
    ChildSpec,
    ChildStartError,
    ChildState,
    ExitReason,
    Restart,
    Strategy,
    WhichChildren,
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


# Start and stop


def test_children_start_left_to_right_each_when_the_one_before_is_up(lab: Lab) -> None:
    gate = lab.behaviour("b").start_gate = lab.gate()
    root = lab.launch([lab.spec("a"), lab.spec("b"), lab.spec("c")])
    lab.life.wait_for(lambda seen: ("start", "b", 1) in seen)
    lab.settle()
    assert not root.started.done()
    assert lab.lives("start") == [("start", "a"), ("start", "b")]
    gate.set()
    root.started.result(WAIT)
    assert ids_up(lab) == ["a", "b", "c"]


def test_children_stop_in_reverse_each_when_the_one_after_is_gone(lab: Lab) -> None:
    gate = lab.behaviour("b").exit_gate = lab.gate()
    root = lab.start([lab.spec("a"), lab.spec("b"), lab.spec("c")])
    finished = root.stop()
    lab.life.wait_for(lambda seen: ("exit", "b", "shutdown") in seen)
    lab.settle()
    assert exits(lab) == ["c", "b"]
    assert lab.state("a") is RUNNING
    gate.set()
    assert finished.result(WAIT) == ExitReason.shutdown()
    assert exits(lab) == ["c", "b", "a"]
    assert root.exit_code == 0


@pytest.mark.parametrize("strategy", Strategy)
def test_the_order_of_the_stop_does_not_depend_on_the_strategy(
    lab: Lab, strategy: Strategy
) -> None:
    gate = lab.behaviour("b").exit_gate = lab.gate()
    root = lab.start([lab.spec("a"), lab.spec("b")], strategy=strategy)
    finished = root.stop()
    lab.life.wait_for(lambda seen: ("exit", "b", "shutdown") in seen)
    lab.settle()
    assert lab.state("a") is RUNNING
    gate.set()
    finished.result(WAIT)
    assert exits(lab) == ["b", "a"]


def test_a_failure_at_boot_stops_what_was_started_and_fails_the_start(lab: Lab) -> None:
    lab.behaviour("c").failing_starts = 1
    root = lab.launch([lab.spec("a"), lab.spec("b"), lab.spec("c"), lab.spec("d")])
    with pytest.raises(ChildStartError, match="cannot start"):
        root.started.result(WAIT)
    assert root.finished.result(WAIT).abnormal
    assert root.exit_code == 1
    assert exits(lab) == ["c", "b", "a"]
    assert ("start", "d") not in lab.lives("start")


def test_a_constructor_that_raises_fails_the_start(lab: Lab) -> None:
    def unmakeable(_: Any) -> Any:
        raise OSError("no such thing")

    root = lab.launch([lab.spec("a"), ChildSpec("b", unmakeable)])
    with pytest.raises(ChildStartError, match="no such thing"):
        root.started.result(WAIT)


def test_a_start_that_forgets_the_context_is_refused(lab: Lab) -> None:
    def forgetful(_: Any) -> Any:
        return object()

    root = lab.launch([ChildSpec("a", forgetful)])
    with pytest.raises(ChildStartError, match="given the context"):
        root.started.result(WAIT)


def test_a_start_that_takes_too_long_is_stopped_and_fails_the_boot(lab: Lab) -> None:
    gate = lab.behaviour("a").start_gate = lab.gate()
    root = lab.launch([lab.spec("a", start_timeout=3.0, shutdown=2.0)])
    lab.until("a", ChildState.STARTING)
    lab.clock.advance(3.0)
    lab.until("a", ChildState.STOPPING)
    gate.set()  # it comes up after all, and then finds that it was told to stop
    with pytest.raises(ChildStartError, match="not started within 3 s"):
        root.started.result(WAIT)


def test_a_stop_while_starting_ends_without_starting_the_rest(lab: Lab) -> None:
    gate = lab.behaviour("a").start_gate = lab.gate()
    root = lab.launch([lab.spec("a"), lab.spec("b")])
    lab.life.wait_for(lambda seen: ("start", "a", 1) in seen)
    finished = root.stop()
    gate.set()
    assert finished.result(WAIT).kind == "shutdown"
    assert ("start", "b") not in lab.lives("start")


def test_a_supervisor_without_children_starts(lab: Lab) -> None:
    lab.start([])


def test_two_children_of_one_id_are_refused(lab: Lab) -> None:
    with pytest.raises(ValueError, match="different ids"):
        lab.launch([lab.spec("a"), lab.spec("a")])


# Restart types


@pytest.mark.parametrize(
    ("restart", "abnormal", "comes_back"),
    [
        (Restart.PERMANENT, True, True),
        (Restart.PERMANENT, False, True),
        (Restart.TRANSIENT, True, True),
        (Restart.TRANSIENT, False, False),
        (Restart.TEMPORARY, True, False),
        (Restart.TEMPORARY, False, False),
    ],
)
def test_restart_type_decides_who_comes_back(
    lab: Lab, restart: Restart, abnormal: bool, comes_back: bool
) -> None:
    root = lab.start([lab.spec("a", restart=restart)])
    if abnormal:
        lab.crash("a")
    else:
        lab.do("a", lambda actor: actor.exit(ExitReason.normal()))
    if comes_back:
        lab.until("a", RUNNING, times=2)
        assert lab.child("a").generation == 2
        assert lab.child("a").restarts == 1
    else:
        lab.until("a", STOPPED)
        infos = ask_sync(root.ref, WhichChildren(), WAIT)
        remaining = [] if restart is Restart.TEMPORARY else [("a", STOPPED)]
        assert [(info.id, info.state) for info in infos] == remaining


def test_an_exit_by_shutdown_of_its_own_choice_is_not_abnormal(lab: Lab) -> None:
    lab.start([lab.spec("a", restart=Restart.TRANSIENT)])
    lab.do("a", lambda actor: actor.exit(ExitReason.shutdown()))
    lab.until("a", STOPPED)
    assert lab.child("a").last_reason == ExitReason.shutdown()


def test_the_restarted_actor_is_found_under_the_same_path(lab: Lab) -> None:
    lab.start([lab.spec("a")])
    old = lab.find("a")
    lab.crash("a")
    lab.until("a", RUNNING, times=2)
    assert lab.find("a") is not old
    assert lab.do("a", lambda actor: actor.generation) == 2


# Strategies


@pytest.mark.parametrize(
    ("strategy", "stopped", "started"),
    [
        (Strategy.ONE_FOR_ONE, [], ["b"]),
        (Strategy.ONE_FOR_ALL, ["d", "c", "a"], ["a", "b", "c", "d"]),
        (Strategy.REST_FOR_ONE, ["d", "c"], ["b", "c", "d"]),
    ],
)
def test_strategy_decides_who_is_restarted_along(
    lab: Lab, strategy: Strategy, stopped: list[str], started: list[str]
) -> None:
    lab.start([lab.spec(name) for name in "abcd"], strategy=strategy)
    lab.life.entries.clear()
    lab.crash("b")
    lab.until(started[-1], RUNNING, times=2)
    assert exits(lab) == ["b", *stopped]
    assert ids_up(lab) == started
    assert lab.observer.restarts == [("b", "error")]


def test_a_group_waits_for_the_pause_of_the_child_that_failed(lab: Lab) -> None:
    pause = Backoff(initial=8.0, maximum=8.0, jitter=0.0)
    lab.start(
        [lab.spec("a"), lab.spec("b", backoff=pause), lab.spec("c")],
        strategy=Strategy.ONE_FOR_ALL,
    )
    lab.crash("b")
    lab.until("a", STOPPED)
    assert [lab.state(name) for name in "abc"] == [STOPPED, ChildState.BACKOFF, STOPPED]
    lab.clock.advance(7.9)
    lab.settle()
    assert lab.state("a") is STOPPED
    lab.clock.advance(0.1)
    lab.until("c", RUNNING, times=2)


def test_a_temporary_sibling_is_stopped_with_the_group_and_forgotten(lab: Lab) -> None:
    root = lab.start(
        [lab.spec("a"), lab.spec("b", restart=Restart.TEMPORARY), lab.spec("c")],
        strategy=Strategy.REST_FOR_ONE,
    )
    lab.crash("a")
    lab.until("c", RUNNING, times=2)
    infos = ask_sync(root.ref, WhichChildren(), WAIT)
    assert [info.id for info in infos] == ["a", "c"]


def test_a_resting_child_comes_back_with_the_group_that_is_restarted(lab: Lab) -> None:
    slow = Backoff(initial=600.0, maximum=600.0, jitter=0.0)
    lab.start([lab.spec("a"), lab.spec("b", backoff=slow)], strategy=Strategy.REST_FOR_ONE)
    lab.crash("b")
    lab.until("b", ChildState.BACKOFF)
    lab.crash("a")
    lab.until("b", RUNNING, times=2)
    assert lab.clock.pending() == []


def test_one_for_one_restarts_a_child_while_a_sibling_still_rests(lab: Lab) -> None:
    slow = Backoff(initial=50.0, maximum=50.0, jitter=0.0)
    lab.start([lab.spec("a", backoff=slow), lab.spec("b")], strategy=Strategy.ONE_FOR_ONE)
    lab.crash("a")
    lab.until("a", ChildState.BACKOFF)
    lab.crash("b")
    lab.until("b", RUNNING, times=2)
    assert lab.state("a") is ChildState.BACKOFF
