"""Reasons, budgets and pauses: the arithmetic of supervision, against models of it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavisor.actors.supervisor import (
    Backoff,
    ChildSpec,
    Directory,
    ExitReason,
    Intensity,
    ResourceLedger,
    RestartWindow,
    SupervisedActor,
)


def test_a_reason_says_what_failed_and_can_drop_the_exception() -> None:
    reason = ExitReason.failure(ValueError("a bug"))
    assert str(reason) == "error: ValueError: a bug"
    assert reason.abnormal
    assert reason.without_error().error is None
    assert reason.without_error().detail == reason.detail


def test_the_detail_of_a_reason_is_bounded() -> None:
    assert len(ExitReason.failure(ValueError("x" * 10_000)).detail) == 500


@pytest.mark.parametrize("reason", [ExitReason.normal(), ExitReason.shutdown()])
def test_orderly_reasons_are_not_abnormal(reason: ExitReason) -> None:
    assert not reason.abnormal
    assert str(reason) == reason.kind


@given(
    steps=st.lists(st.integers(min_value=0, max_value=50), max_size=60),
    max_restarts=st.integers(min_value=0, max_value=5),
    period=st.integers(min_value=1, max_value=100),
)
def test_a_restart_is_allowed_while_those_within_the_period_are_few_enough(
    steps: list[int], max_restarts: int, period: int
) -> None:
    window = RestartWindow(Intensity(max_restarts, float(period)))
    now, times = 0, []
    for step in steps:
        now += step
        times.append(now)
        recent = [moment for moment in times if now - moment <= period]
        assert window.record(float(now)) is (len(recent) <= max_restarts)


def test_a_cleared_window_has_its_full_budget() -> None:
    window = RestartWindow(Intensity(1, 10.0))
    assert [window.record(0.0), window.record(0.0)] == [True, False]
    window.clear()
    assert window.record(0.0)


@given(
    initial=st.floats(min_value=0, max_value=100),
    extra=st.floats(min_value=0, max_value=1e4),
    factor=st.floats(min_value=1, max_value=10),
    attempt=st.integers(min_value=0, max_value=100_000),
    seed=st.integers(),
)
def test_full_jitter_stays_between_nothing_and_the_growing_cap(
    initial: float, extra: float, factor: float, attempt: int, seed: int
) -> None:
    backoff = Backoff(initial, initial + extra, factor)
    pause = backoff.delay(attempt, random.Random(seed))
    assert 0 <= pause <= backoff.maximum
    if attempt < 20:
        assert pause <= initial * factor**attempt * (1 + 1e-9)


def test_full_jitter_uses_the_whole_range() -> None:
    rng = random.Random(1)
    pauses = [Backoff(8.0, 8.0).delay(0, rng) for _ in range(1000)]
    assert min(pauses) < 0.1
    assert max(pauses) > 7.9
    assert 3.7 < sum(pauses) / len(pauses) < 4.3


@given(jitter=st.floats(min_value=0, max_value=1), seed=st.integers())
def test_less_jitter_leaves_a_floor(jitter: float, seed: int) -> None:
    pause = Backoff(10.0, 10.0, jitter=jitter).delay(0, random.Random(seed))
    assert 10.0 * (1 - jitter) - 1e-9 <= pause <= 10.0


def test_without_jitter_the_pauses_double_up_to_the_maximum() -> None:
    backoff = Backoff(1.0, 5.0, jitter=0.0)
    assert [backoff.delay(n, random.Random(1)) for n in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


@pytest.mark.parametrize(
    "fields",
    [
        {"initial": -1.0},
        {"initial": 2.0, "maximum": 1.0},
        {"factor": 0.5},
        {"jitter": 1.1},
        {"reset_after": -1.0},
    ],
)
def test_an_impossible_backoff_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        Backoff(**fields)


@pytest.mark.parametrize("fields", [(-1, 1.0), (1, 0.0)])
def test_an_impossible_intensity_is_refused(fields: tuple[int, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Intensity(*fields)


@pytest.mark.parametrize("child_id", ["", "a/b"])
def test_an_id_that_would_break_paths_is_refused(child_id: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        ChildSpec(child_id, SupervisedActor)


@pytest.mark.parametrize("fields", [{"shutdown": -1.0}, {"start_timeout": 0.0}])
def test_impossible_times_of_a_child_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ChildSpec("a", SupervisedActor, **fields)  # type: ignore[arg-type]  # mypy sees only floats


def test_only_one_holder_has_a_resource() -> None:
    ledger = ResourceLedger()
    assert ledger.claim("keys", "first")
    assert not ledger.claim("keys", "second")
    ledger.release("keys", "second")  # not its to give
    assert ledger.holders() == {"keys": "first"}
    ledger.release("keys", "first")
    assert ledger.claim("keys", "second")


def test_the_directory_forgets_who_left() -> None:
    directory = Directory()
    ref = SupervisedActor().actor_ref
    directory.enter("a", ref)
    assert directory.find("a") is ref
    directory.leave("a")
    directory.leave("a")
    assert directory.find("a") is None
