"""Which fault hits whom and for how long, and how attempts are counted."""

from __future__ import annotations

import pytest

from wavisor.sandbox.faults import Fault, FaultBoard, FaultKind, Target
from wavisor.sandbox.statistics import Attempt, Attempts, Outcome, peak_rate


class Now:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.mark.parametrize(
    ("target", "hit"),
    [
        (Target(), True),
        (Target(phone="1"), True),
        (Target(phone="2"), False),
        (Target(phone="1", device=3), True),
        (Target(phone="1", device=4), False),
        (Target(label="x"), True),
        (Target(label="y"), False),
        (Target(phone="1", label="y"), False),
    ],
)
def test_fault_hits_only_its_target(target, hit):
    board = FaultBoard()
    board.inject(Fault(FaultKind.MUTE, target))
    assert bool(board.find(FaultKind.MUTE, phone="1", device=3, label="x")) is hit


def test_fault_for_an_account_does_not_hit_a_client_that_is_not_known_yet():
    board = FaultBoard()
    board.inject(Fault(FaultKind.REFUSE, Target(phone="1")))
    assert board.find(FaultKind.REFUSE, label="x") is None
    assert board.find(FaultKind.MUTE, phone="1") is None


def test_fault_ends_when_its_time_is_over():
    now = Now()
    board = FaultBoard(now)
    board.inject(Fault(FaultKind.REFUSE, seconds=5.0))
    now.at += 4.9
    assert board.find(FaultKind.REFUSE) is not None
    now.at += 0.1
    assert board.find(FaultKind.REFUSE) is None
    assert board.active() == []


def test_fault_ends_when_its_uses_are_spent_but_looking_does_not_spend_them():
    board = FaultBoard()
    board.inject(Fault(FaultKind.LOGIN_FAILURE, uses=2))
    for _ in range(5):
        assert board.find(FaultKind.LOGIN_FAILURE) is not None
    assert board.strike(FaultKind.LOGIN_FAILURE) is not None
    assert board.strike(FaultKind.LOGIN_FAILURE) is not None
    assert board.strike(FaultKind.LOGIN_FAILURE) is None


def test_newest_fault_of_a_kind_wins_and_clearing_it_uncovers_the_older():
    board = FaultBoard()
    board.inject(Fault(FaultKind.REJECT_MESSAGES, code=463))
    newer = board.inject(Fault(FaultKind.REJECT_MESSAGES, code=479))
    found = board.find(FaultKind.REJECT_MESSAGES)
    assert found is not None
    assert found.code == 479
    assert board.clear(newer) == 1
    assert board.clear(newer) == 0
    older = board.find(FaultKind.REJECT_MESSAGES)
    assert older is not None
    assert older.code == 463
    assert board.clear() == 1
    assert board.find(FaultKind.REJECT_MESSAGES) is None


def test_attempts_are_remembered_with_their_times():
    now = Now()
    attempts = Attempts(now, lambda: 1_700_000_000.0)
    first = attempts.begin("x")
    now.at += 10
    second = attempts.begin()
    second.outcome = Outcome.LOGGED_IN
    assert attempts.since() == [first, second]
    assert attempts.since(105.0) == [second]
    assert (first.label, first.outcome, first.wall) == ("x", Outcome.DIALED, 1_700_000_000.0)
    attempts.clear()
    assert (attempts.since(), attempts.total) == ([], 0)


@pytest.mark.parametrize(
    ("times", "peak"),
    [
        ([], 0),
        ([1.0], 1),
        ([1.0, 2.0, 3.0], 1),
        ([1.0, 1.5, 1.99, 2.0], 3),
        ([5.0, 1.0, 5.1, 1.2, 5.2], 3),
    ],
)
def test_peak_rate_is_the_fullest_second(times, peak):
    assert peak_rate(Attempt(at, 0.0) for at in times) == peak
