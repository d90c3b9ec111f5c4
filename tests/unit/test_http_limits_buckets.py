"""Token buckets: never more than the quota at once and the rate in the long run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.manual_clock import ManualClock
from wavisor.http.limits import Buckets, Rate
from wavisor.http.limits.fields import limit_field, place_of, policy_field

FIVE = Rate(5, 10.0)
RATES = st.builds(Rate, st.integers(1, 50), st.integers(1, 600).map(float))
PAUSES = st.lists(st.integers(0, 5000).map(lambda number: number / 100), max_size=80)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def taken(buckets: Buckets, key: str, rate: Rate, times: int) -> int:
    return sum(buckets.take(key, rate).allowed for _ in range(times))


def test_the_quota_passes_at_once_and_no_more(clock: ManualClock) -> None:
    buckets = Buckets(clock, capacity=10)
    verdicts = [buckets.take("a", FIVE) for _ in range(6)]
    assert [one.remaining for one in verdicts] == [4, 3, 2, 1, 0, 0]
    assert [one.allowed for one in verdicts] == [True] * 5 + [False]
    assert verdicts[-1].wait == 2.0
    assert verdicts[-1].reset == 10.0


def test_one_comes_back_after_its_wait_and_not_before(clock: ManualClock) -> None:
    buckets = Buckets(clock, capacity=10)
    assert taken(buckets, "a", FIVE, 9) == 5
    clock.advance(1.99)
    assert not buckets.take("a", FIVE).allowed
    clock.advance(0.01)
    assert buckets.take("a", FIVE).allowed
    assert not buckets.take("a", FIVE).allowed
    clock.advance(3600)
    assert taken(buckets, "a", FIVE, 9) == 5


def test_keys_are_apart(clock: ManualClock) -> None:
    buckets = Buckets(clock, capacity=10)
    assert taken(buckets, "a", FIVE, 9) == 5
    assert taken(buckets, "b", FIVE, 9) == 5


def test_a_rate_that_changes_takes_effect_at_once(clock: ManualClock) -> None:
    buckets = Buckets(clock, capacity=10)
    assert taken(buckets, "a", Rate(2, 600.0), 9) == 2
    # The bucket is empty, but from now on it fills by the new rate.
    assert taken(buckets, "a", FIVE, 9) == 0
    clock.advance(4)
    assert taken(buckets, "a", FIVE, 9) == 2
    assert taken(buckets, "a", Rate(1, 10.0), 9) == 0


def test_memory_is_bounded_and_the_busy_are_remembered(clock: ManualClock) -> None:
    buckets = Buckets(clock, capacity=100)
    assert taken(buckets, "busy", Rate(50, 1000.0), 50) == 50
    for number in range(1000):
        buckets.take(f"key {number}", FIVE)
        if number % 50 == 0:
            clock.advance(20)
            assert buckets.take("busy", Rate(50, 1000.0)).allowed
    assert len(buckets) == 100
    assert not buckets.take("busy", Rate(50, 1000.0)).allowed


@pytest.mark.parametrize(("quota", "window"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0)])
def test_a_rate_that_makes_no_sense_is_refused(quota: int, window: float) -> None:
    with pytest.raises(ValueError, match="quota"):
        Rate(quota, window)


@given(RATES, PAUSES)
def test_it_does_what_a_bucket_of_tokens_does(rate: Rate, pauses: list[float]) -> None:
    clock = ManualClock()
    buckets = Buckets(clock, capacity=10)
    # The textbook's bucket, with a count of tokens that is filled up with time.
    tokens = float(rate.quota)
    for pause in pauses:
        clock.advance(pause)
        tokens = min(rate.quota, tokens + pause * rate.quota / rate.window)
        verdict = buckets.take("a", rate)
        if abs(tokens - 1) > 1e-3:  # on the very edge either answer is right
            assert verdict.allowed == (tokens > 1)
        if verdict.allowed:
            tokens -= 1
            assert verdict.remaining == pytest.approx(tokens, abs=1.001)
        else:
            assert verdict.wait == pytest.approx((1 - tokens) * rate.window / rate.quota, abs=0.1)


@given(RATES, PAUSES)
def test_no_window_lets_more_than_twice_the_quota_through(rate: Rate, pauses: list[float]) -> None:
    clock = ManualClock()
    buckets = Buckets(clock, capacity=10)
    passed: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        if buckets.take("a", rate).allowed:
            passed.append(clock.monotonic())
    for start in passed:
        inside = [one for one in passed if start <= one < start + rate.window]
        assert len(inside) <= 2 * rate.quota


@given(RATES, st.integers(1, 200))
def test_waiting_as_told_is_enough(rate: Rate, times: int) -> None:
    clock = ManualClock()
    buckets = Buckets(clock, capacity=10)
    for _ in range(times):
        verdict = buckets.take("a", rate)
        if not verdict.allowed:
            clock.advance(verdict.wait)
            assert buckets.take("a", rate).allowed


def test_fields_are_those_of_the_draft() -> None:
    assert policy_field("tenant", 100, 10.0) == '"tenant";q=100;w=10'
    assert limit_field("tenant", 7, 1.2) == '"tenant";r=7;t=2'


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_network_of_ipv6_is_one_place(address: str, place: str) -> None:
    assert place_of(address) == place
