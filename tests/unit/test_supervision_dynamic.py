"""The supervisor of many: its commands, and a restart budget for each child."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from support.supervision_lab import WAIT, Journal, Lab
from wavisor.actors.ask import ask, ask_sync
from wavisor.actors.supervision.messages import ChildExiting, ChildFinished, ChildTimer
from wavisor.actors.supervisor import (
    Backoff,
    ChildSpec,
    ChildStartError,
    ChildState,
    CountChildren,
    DeleteChild,
    DuplicateChildError,
    ExitReason,
    GetTree,
    Intensity,
    IntensityExceededError,
    Restart,
    RestartChild,
    StartChild,
    SupersededError,
    TerminateChild,
    TooManyChildrenError,
    UnknownChildError,
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


# Commands


def test_a_started_child_is_answered_with_its_ref_and_can_be_found(lab: Lab) -> None:
    pool = lab.start_dynamic()
    ref = ask_sync(pool, StartChild(lab.spec("a")), WAIT)
    assert lab.find("pool/a") is ref
    assert ask_sync(ref, lambda actor: actor.context.path, WAIT) == "pool/a"


def test_the_supervisor_answers_while_a_child_starts(lab: Lab) -> None:
    pool = lab.start_dynamic()
    gate = lab.behaviour("slow").start_gate = lab.gate()
    pending = pool.ask(StartChild(lab.spec("slow")), block=False)
    ask_sync(pool, StartChild(lab.spec("quick")), WAIT)
    assert lab.state("pool/slow") is ChildState.STARTING
    gate.set()
    assert pending.get(timeout=WAIT) is lab.find("pool/slow")


def test_a_first_start_that_fails_is_the_askers_to_judge(lab: Lab) -> None:
    pool = lab.start_dynamic()
    lab.behaviour("a").failing_starts = 1
    with pytest.raises(ChildStartError, match="cannot start") as caught:
        ask_sync(pool, StartChild(lab.spec("a")), WAIT)
    assert isinstance(caught.value.reason.error, ValueError)
    assert children_of(pool) == []
    ask_sync(pool, StartChild(lab.spec("a")), WAIT)


def test_a_kept_child_is_retried_when_its_first_start_fails(lab: Lab) -> None:
    pool = lab.start_dynamic()
    lab.behaviour("a").failing_starts = 2
    with pytest.raises(ChildStartError):
        ask_sync(pool, StartChild(lab.spec("a"), keep=True), WAIT)
    lab.until("pool/a", RUNNING)
    assert lab.child("pool/a").restarts == 2


def test_a_constructor_that_raises_harms_only_the_asker(lab: Lab) -> None:
    pool = lab.start_dynamic("a")

    def unmakeable(_: Any) -> Any:
        raise OSError("disk full")

    with pytest.raises(ChildStartError, match="disk full"):
        ask_sync(pool, StartChild(ChildSpec("b", unmakeable)), WAIT)
    assert children_of(pool) == ["a"]


def test_a_second_child_of_the_same_id_is_refused(lab: Lab) -> None:
    pool = lab.start_dynamic("a")
    with pytest.raises(DuplicateChildError, match="running"):
        ask_sync(pool, StartChild(lab.spec("a")), WAIT)


def test_more_children_than_the_limit_are_refused(lab: Lab) -> None:
    pool = lab.start_dynamic("a", "b", max_children=2)
    with pytest.raises(TooManyChildrenError):
        ask_sync(pool, StartChild(lab.spec("c")), WAIT)


@pytest.mark.parametrize("command", [TerminateChild, RestartChild, DeleteChild])
def test_commands_for_an_unknown_child_are_refused(lab: Lab, command: Any) -> None:
    pool = lab.start_dynamic()
    with pytest.raises(UnknownChildError):
        ask_sync(pool, command("nobody"), WAIT)


def test_terminate_is_answered_when_the_thread_is_gone_and_keeps_the_spec(lab: Lab) -> None:
    pool = lab.start_dynamic("a")
    gate = lab.behaviour("a").exit_gate = lab.gate()
    pending = pool.ask(TerminateChild("a"), block=False)
    lab.until("pool/a", STOPPING)
    assert lab.environment.directory.find("pool/a") is None
    gate.set()
    pending.get(timeout=WAIT)
    assert lab.state("pool/a") is STOPPED
    assert "pool/a" not in lab.environment.ledger.holders()


def test_terminate_forgets_a_temporary_child(lab: Lab) -> None:
    pool = lab.start_dynamic()
    ask_sync(pool, StartChild(lab.spec("a", restart=Restart.TEMPORARY)), WAIT)
    ask_sync(pool, TerminateChild("a"), WAIT)
    assert children_of(pool) == []


def test_a_terminated_child_can_be_restarted(lab: Lab) -> None:
    pool = lab.start_dynamic("a")
    ask_sync(pool, TerminateChild("a"), WAIT)
    ref = ask_sync(pool, RestartChild("a"), WAIT)
    assert lab.find("pool/a") is ref


def test_restarting_a_running_child_replaces_it(lab: Lab) -> None:
    pool = lab.start_dynamic("a")
    old = lab.find("pool/a")
    new = ask_sync(pool, RestartChild("a"), WAIT)
    assert new is not old
    assert not old.is_alive()
    assert lab.observer.restarts == []  # a command is no failure


def test_restart_cuts_a_pause_short(lab: Lab) -> None:
    pool = lab.start_dynamic()
    ask_sync(pool, StartChild(lab.spec("a", backoff=Backoff(600.0, 600.0, jitter=0.0))), WAIT)
    lab.crash("pool/a")
    lab.until("pool/a", BACKOFF)
    ask_sync(pool, RestartChild("a"), WAIT)
    assert lab.clock.pending() == []


def test_delete_stops_and_forgets(lab: Lab) -> None:
    pool = lab.start_dynamic("a", "b")
    ask_sync(pool, DeleteChild("a"), WAIT)
    assert children_of(pool) == ["b"]
    assert ("exit", "a", "shutdown") in lab.life.entries


def test_delete_of_a_resting_child_takes_its_timer_back(lab: Lab) -> None:
    pool = lab.start_dynamic()
    ask_sync(pool, StartChild(lab.spec("a", backoff=Backoff(600.0, 600.0, jitter=0.0))), WAIT)
    lab.crash("pool/a")
    lab.until("pool/a", BACKOFF)
    ask_sync(pool, DeleteChild("a"), WAIT)
    assert lab.clock.pending() == []


def test_a_later_command_overtakes_an_earlier_one_of_another_aim(lab: Lab) -> None:
    pool = lab.start_dynamic()
    gate = lab.behaviour("a").start_gate = lab.gate()
    start = pool.ask(StartChild(lab.spec("a")), block=False)
    lab.life.wait_for(lambda seen: ("start", "a", 1) in seen)
    delete = pool.ask(DeleteChild("a"), block=False)
    with pytest.raises(SupersededError, match="delete"):
        start.get(timeout=WAIT)
    gate.set()
    delete.get(timeout=WAIT)
    assert children_of(pool) == []


def test_equal_commands_are_all_answered(lab: Lab) -> None:
    pool = lab.start_dynamic("a")

    async def scenario() -> list[Any]:
        return await asyncio.gather(*(ask(pool, RestartChild("a"), timeout=WAIT) for _ in range(5)))

    refs = asyncio.run(scenario())
    assert lab.find("pool/a") in refs


def test_counts_are_by_state(lab: Lab) -> None:
    pool = lab.start_dynamic("a", "b", "c")
    ask_sync(pool, TerminateChild("b"), WAIT)
    counts = ask_sync(pool, CountChildren(), WAIT)
    assert counts[RUNNING] == 2
    assert counts[STOPPED] == 1
    assert sum(counts.values()) == 3


def test_the_tree_can_be_asked_for(lab: Lab) -> None:
    pool = lab.start_dynamic("a", "b")
    tree = ask_sync(pool, GetTree(), WAIT)
    assert tree.id == "pool"
    assert [child.id for child in tree.children] == ["a", "b"]
    assert tree.children == ask_sync(pool, WhichChildren(), WAIT)


# Failures: each child has its own budget


def test_a_crash_restarts_one_child_and_no_sibling(lab: Lab) -> None:
    lab.start_dynamic("a", "b")
    lab.crash("pool/a")
    lab.until("pool/a", RUNNING, times=2)
    assert lab.child("pool/b").generation == 1
    assert lab.observer.restarts == [("a", "error")]


def test_a_child_that_spends_its_budget_fails_alone(lab: Lab) -> None:
    failures = Journal()
    pool = lab.start_dynamic(
        "a",
        "b",
        intensity=Intensity(1, 60.0),
        on_child_failed=lambda child_id, reason: failures.add((child_id, reason)),
    )
    lab.crash("pool/a")
    lab.until("pool/a", RUNNING, times=2)
    lab.crash("pool/a")
    lab.until("pool/a", FAILED)
    [(child_id, reason)] = failures.entries
    assert child_id == "a"
    assert isinstance(reason.error, IntensityExceededError)
    assert "ValueError: a bug" in reason.detail
    assert lab.child("pool/b").generation == 1
    assert pool.is_alive()
    assert lab.clock.pending() == []


def test_budgets_are_not_shared(lab: Lab) -> None:
    lab.start_dynamic("a", "b", "c", intensity=Intensity(1, 60.0))
    for name in "abc":
        lab.crash(f"pool/{name}")
        lab.until(f"pool/{name}", RUNNING, times=2)
    assert [lab.state(f"pool/{name}") for name in "abc"] == [RUNNING] * 3


def test_a_spec_may_bring_a_budget_of_its_own(lab: Lab) -> None:
    pool = lab.start_dynamic(intensity=Intensity(5, 60.0))
    ask_sync(pool, StartChild(lab.spec("a", intensity=Intensity(0, 60.0))), WAIT)
    lab.crash("pool/a")
    lab.until("pool/a", FAILED)


def test_restarting_a_failed_child_gives_it_a_full_budget(lab: Lab) -> None:
    pool = lab.start_dynamic("a", intensity=Intensity(1, 60.0))
    lab.crash("pool/a")
    lab.until("pool/a", RUNNING, times=2)
    lab.crash("pool/a")
    lab.until("pool/a", FAILED)
    ask_sync(pool, RestartChild("a"), WAIT)
    lab.crash("pool/a")
    lab.until("pool/a", RUNNING, times=4)


def test_a_failed_child_can_be_deleted(lab: Lab) -> None:
    pool = lab.start_dynamic("a", intensity=Intensity(0, 60.0))
    lab.crash("pool/a")
    lab.until("pool/a", FAILED)
    ask_sync(pool, DeleteChild("a"), WAIT)
    assert children_of(pool) == []


def test_a_callback_that_raises_harms_nobody(lab: Lab) -> None:
    def broken(_: str, __: ExitReason) -> None:
        raise RuntimeError("cannot write the status")

    pool = lab.start_dynamic("a", "b", intensity=Intensity(0, 60.0), on_child_failed=broken)
    lab.crash("pool/a")
    lab.until("pool/a", FAILED)
    assert pool.is_alive()


def test_a_child_that_ends_normally_stays_where_it_can_be_restarted(lab: Lab) -> None:
    pool = lab.start_dynamic()
    ask_sync(pool, StartChild(lab.spec("a", restart=Restart.TRANSIENT)), WAIT)
    lab.do("pool/a", lambda actor: actor.exit(ExitReason.normal()))
    lab.until("pool/a", STOPPED)
    ask_sync(pool, RestartChild("a"), WAIT)


def test_a_child_that_once_ran_is_retried_when_its_restart_fails(lab: Lab) -> None:
    pool = lab.start_dynamic("a")
    lab.behaviour("a").failing_starts = 1
    lab.crash("pool/a")
    lab.until("pool/a", RUNNING, times=2)
    assert lab.child("pool/a").restarts == 2
    assert children_of(pool) == ["a"]


@pytest.mark.parametrize("notice", [ChildExiting, ChildFinished])
def test_news_of_an_earlier_life_change_nothing(lab: Lab, notice: Any) -> None:
    pool = lab.start_dynamic("a")
    lab.crash("pool/a")
    lab.until("pool/a", RUNNING, times=2)
    pool.tell(notice("a", 1, ExitReason.failure(RuntimeError("of the first life"))))
    lab.settle("pool")
    present = lab.child("pool/a")
    assert (present.state, present.restarts, present.generation) == (RUNNING, 1, 2)


def test_a_timer_of_the_past_changes_nothing(lab: Lab) -> None:
    pool = lab.start_dynamic()
    ask_sync(pool, StartChild(lab.spec("a", backoff=Backoff(600.0, 600.0, jitter=0.0))), WAIT)
    lab.crash("pool/a")
    lab.until("pool/a", BACKOFF)
    pool.tell(ChildTimer("a", token=1))  # that of its start, long taken back
    lab.settle("pool")
    assert lab.state("pool/a") is BACKOFF


def test_restart_of_a_child_that_is_just_ending_spares_it_the_pause(lab: Lab) -> None:
    pool = lab.start_dynamic()
    gate = lab.behaviour("a").exit_gate = lab.gate()
    ask_sync(pool, StartChild(lab.spec("a", backoff=Backoff(600.0, 600.0, jitter=0.0))), WAIT)
    lab.crash("pool/a")
    lab.until("pool/a", STOPPING)
    restart = pool.ask(RestartChild("a"), block=False)
    gate.set()
    assert restart.get(timeout=WAIT) is lab.find("pool/a")
    assert lab.child("pool/a").restarts == 0
