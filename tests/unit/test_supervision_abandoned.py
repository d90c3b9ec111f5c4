"""The supervisor of many when children do not end, and when it ends itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.supervision_lab import AT_ONCE, WAIT, Journal, Lab
from wavisor.actors.ask import ask_sync
from wavisor.actors.supervisor import (
    ChildAbandonedError,
    ChildSpec,
    ChildStartError,
    ChildState,
    DeleteChild,
    DuplicateChildError,
    DynamicSupervisor,
    RestartChild,
    StartChild,
    SupervisorStoppingError,
    TerminateChild,
    WhichChildren,
)

RUNNING, STOPPED, FAILED = ChildState.RUNNING, ChildState.STOPPED, ChildState.FAILED
ABANDONED, BACKOFF, STOPPING = ChildState.ABANDONED, ChildState.BACKOFF, ChildState.STOPPING


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


def children_of(pool: Any) -> list[str]:
    return [info.id for info in ask_sync(pool, WhichChildren(), WAIT)]


# Hanging


def hang_in_stop(lab: Lab, pool: Any, command: Any) -> Any:
    """Start ``a`` so that it hangs when stopped, command it, and let its time run out."""
    gate = lab.behaviour("a").exit_gate = lab.gate()
    ask_sync(pool, StartChild(lab.spec("a", shutdown=5.0)), WAIT)
    pending = pool.ask(command, block=False)
    lab.until("pool/a", STOPPING)
    lab.clock.advance(5.0)
    lab.until("pool/a", ABANDONED)
    with pytest.raises(ChildAbandonedError, match="within 5 s"):
        pending.get(timeout=WAIT)
    lab.behaviour("a").exit_gate = None
    return gate


def test_an_abandoned_child_is_counted_and_refused_until_its_thread_ends(lab: Lab) -> None:
    pool = lab.start_dynamic()
    gate = hang_in_stop(lab, pool, TerminateChild("a"))
    assert lab.observer.abandoned == ["a"]
    with pytest.raises(ChildAbandonedError):
        ask_sync(pool, RestartChild("a"), WAIT)
    with pytest.raises(ChildAbandonedError):
        ask_sync(pool, TerminateChild("a"), WAIT)
    with pytest.raises(DuplicateChildError, match="abandoned"):
        ask_sync(pool, StartChild(lab.spec("a")), WAIT)
    gate.set()
    lab.until("pool/a", STOPPED)
    ask_sync(pool, RestartChild("a"), WAIT)


def test_an_abandoned_child_to_be_deleted_is_forgotten_when_its_thread_ends(lab: Lab) -> None:
    pool = lab.start_dynamic()
    gate = hang_in_stop(lab, pool, DeleteChild("a"))
    assert children_of(pool) == ["a"]
    gate.set()
    lab.until("pool/a", STOPPED)
    assert children_of(pool) == []


def test_an_abandoned_child_to_be_restarted_starts_when_its_thread_ends(lab: Lab) -> None:
    pool = lab.start_dynamic()
    gate = hang_in_stop(lab, pool, RestartChild("a"))
    gate.set()
    lab.until("pool/a", RUNNING, times=2)


def test_the_resource_of_an_abandoned_child_is_refused_to_another_id_too(lab: Lab) -> None:
    pool = lab.start_dynamic()
    gate = lab.behaviour("a").exit_gate = lab.gate()
    store = {"exclusive": "keys.db", "shutdown": 5.0}
    ask_sync(pool, StartChild(lab.spec("a", **store)), WAIT)
    pool.ask(TerminateChild("a"), block=False)
    lab.until("pool/a", STOPPING)
    lab.clock.advance(5.0)
    lab.until("pool/a", ABANDONED)
    with pytest.raises(ChildStartError, match=r"still holds keys\.db"):
        ask_sync(pool, StartChild(lab.spec("b", **store)), WAIT)
    gate.set()
    lab.until("pool/a", STOPPED)
    ask_sync(pool, StartChild(lab.spec("b", **store)), WAIT)


def test_a_child_that_hangs_in_its_own_crash_is_given_up_until_its_thread_ends(lab: Lab) -> None:
    failures = Journal()
    pool = lab.start_dynamic(on_child_failed=lambda child_id, _: failures.add(child_id))
    gate = lab.behaviour("a").exit_gate = lab.gate()
    ask_sync(pool, StartChild(lab.spec("a", shutdown=5.0)), WAIT)
    lab.crash("pool/a")
    lab.until("pool/a", STOPPING)
    lab.clock.advance(5.0)
    lab.until("pool/a", ABANDONED)
    assert failures.entries == ["a"]
    lab.behaviour("a").exit_gate = None
    gate.set()
    lab.until("pool/a", RUNNING, times=2)
    assert lab.child("pool/a").restarts == 1  # and so it counts against its budget


def test_a_start_that_hangs_counts_as_a_failed_start(lab: Lab) -> None:
    pool = lab.start_dynamic()
    gate = lab.behaviour("a").start_gate = lab.gate()
    pending = pool.ask(StartChild(lab.spec("a", start_timeout=3.0)), block=False)
    lab.until("pool/a", ChildState.STARTING)
    lab.clock.advance(3.0)
    lab.until("pool/a", STOPPING)
    gate.set()
    with pytest.raises(ChildStartError, match="not started within 3 s"):
        pending.get(timeout=WAIT)
    assert children_of(pool) == []


# Shutdown


def test_children_stop_concurrently(lab: Lab) -> None:
    lab.start_dynamic("a", "b", "c")
    gate = lab.gate()
    for name in "abc":
        lab.behaviour(name).exit_gate = gate
    finished = lab.roots[0].stop()
    # All are on their way out at once, although none of them has finished.
    lab.life.wait_for(lambda seen: len([e for e in seen if e[0] == "exit"]) == 3)
    assert not finished.done()
    gate.set()
    assert finished.result(WAIT).kind == "shutdown"


def test_each_child_has_its_own_time_to_stop_in(lab: Lab) -> None:
    pool = lab.start_dynamic()
    for name, seconds in (("a", 2.0), ("b", 9.0)):
        lab.behaviour(name).exit_gate = lab.gate()
        ask_sync(pool, StartChild(lab.spec(name, shutdown=seconds)), WAIT)
    finished = lab.roots[0].stop()
    lab.until("pool/b", STOPPING)
    lab.clock.advance(2.0)
    lab.until("pool/a", ABANDONED)
    assert lab.state("pool/b") is STOPPING
    lab.clock.advance(7.0)
    finished.result(WAIT)
    assert lab.observer.abandoned == ["a", "b"]


def test_a_stopping_supervisor_starts_nothing_and_tells_who_waits(lab: Lab) -> None:
    pool = lab.start_dynamic("a")
    gate = lab.behaviour("a").exit_gate = lab.gate()
    slow = lab.behaviour("slow").start_gate = lab.gate()
    waiting = pool.ask(StartChild(lab.spec("slow")), block=False)
    lab.life.wait_for(lambda seen: ("start", "slow", 1) in seen)
    finished = lab.roots[0].stop()
    lab.until("pool/a", STOPPING)
    with pytest.raises(SupervisorStoppingError):
        ask_sync(pool, StartChild(lab.spec("late")), WAIT)
    with pytest.raises(SupervisorStoppingError):
        waiting.get(timeout=WAIT)
    slow.set()
    gate.set()
    finished.result(WAIT)


def test_a_new_supervisor_starts_no_second_child_beside_an_orphan(lab: Lab) -> None:
    """The ledger outlives the supervisor: a thread that hangs bars its successor."""

    def pool_with_a_bug(context: Any) -> DynamicSupervisor:
        class Buggy(DynamicSupervisor):
            def handle(self, message: Any) -> Any:
                if message == "bug":
                    raise ZeroDivisionError
                return super().handle(message)

        return Buggy(context)

    lab.start([ChildSpec("pool", pool_with_a_bug, backoff=AT_ONCE, shutdown=100.0)])
    gate = lab.behaviour("a").exit_gate = lab.gate()
    ask_sync(lab.find("pool"), StartChild(lab.spec("a", shutdown=5.0)), WAIT)
    with pytest.raises(ZeroDivisionError):
        ask_sync(lab.find("pool"), "bug", WAIT)
    lab.life.wait_for(lambda seen: ("exit", "a", "shutdown") in seen)
    lab.settle("pool")
    lab.clock.advance(5.0)
    lab.until("pool", RUNNING, times=2)
    with pytest.raises(ChildStartError, match="still holds pool/a"):
        ask_sync(lab.find("pool"), StartChild(lab.spec("a")), WAIT)
    lab.behaviour("a").exit_gate = None
    gate.set()
    lab.join_threads("a")
    ask_sync(lab.find("pool"), StartChild(lab.spec("a")), WAIT)
