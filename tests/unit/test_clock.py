"""The clocks and timers that are handed in, the real ones and those of the tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.manual_clock import ManualClock
from wavisor.clock import SystemClock, ThreadedTimers, format_time

WAIT = 60.0


@pytest.fixture
def timers() -> Iterator[ThreadedTimers]:
    timers = ThreadedTimers()
    yield timers
    timers.close()


def test_the_system_clock_is_aware_and_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


def test_a_timer_runs_once_in_the_thread_of_the_timers(timers: ThreadedTimers) -> None:
    ran: list[str] = []
    done = threading.Event()
    timers.call_later(0, lambda: ran.append(threading.current_thread().name))
    timers.call_later(0.001, done.set)
    assert done.wait(WAIT)
    assert ran == ["timers"]


def test_timers_run_in_the_order_they_fall_due(timers: ThreadedTimers) -> None:
    ran: list[int] = []
    done = threading.Event()
    timers.call_later(0.03, done.set)
    timers.call_later(0.02, lambda: ran.append(2))
    timers.call_later(0.01, lambda: ran.append(1))
    assert done.wait(WAIT)
    assert ran == [1, 2]


def test_a_sooner_timer_wakes_a_thread_that_waits_for_a_later_one(timers: ThreadedTimers) -> None:
    done = threading.Event()
    timers.call_later(600, lambda: None)
    timers.call_later(0, done.set)
    assert done.wait(WAIT)


def test_a_cancelled_timer_does_not_run(timers: ThreadedTimers) -> None:
    ran: list[str] = []
    done = threading.Event()
    timer = timers.call_later(0.01, lambda: ran.append("cancelled"))
    timer.cancel()
    timer.cancel()
    timers.call_later(0.02, done.set)
    assert done.wait(WAIT)
    assert ran == []


def test_timers_that_were_taken_back_are_not_kept_until_they_are_due(
    timers: ThreadedTimers,
) -> None:
    ran: list[int] = []
    kept = [timers.call_later(3600.0, lambda: None) for _ in range(10)]
    for _ in range(10_000):
        timers.call_later(3600.0, lambda: ran.append(1)).cancel()
    assert len(kept) <= timers.pending <= 1000
    done = threading.Event()
    timers.call_later(0.001, done.set)
    assert done.wait(WAIT)
    assert ran == []


def test_a_callback_that_raises_does_not_end_the_timers(timers: ThreadedTimers) -> None:
    done = threading.Event()

    def broken() -> None:
        raise ValueError("a bug")

    timers.call_later(0, broken)
    timers.call_later(0.001, done.set)
    assert done.wait(WAIT)


def test_a_callback_may_close_the_timers(timers: ThreadedTimers) -> None:
    closed = threading.Event()

    def close() -> None:
        timers.close()
        closed.set()

    timers.call_later(0, close)
    assert closed.wait(WAIT)


def test_nothing_runs_after_close(timers: ThreadedTimers) -> None:
    ran: list[str] = []
    timers.call_later(0.01, lambda: ran.append("before"))
    timers.close()
    timers.call_later(0, lambda: ran.append("after"))
    threads = [each for each in threading.enumerate() if each.name == "timers"]
    for thread in threads:
        thread.join(WAIT)
    assert ran == []
    assert not any(thread.is_alive() for thread in threads)


def test_times_are_written_in_utc_with_milliseconds() -> None:
    moment = datetime(2026, 1, 2, 5, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2026-01-02T03:04:05.678Z"
    assert format_time(None) is None


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9000, 1, 1)))
def test_a_written_time_reads_back_to_the_millisecond(naive: datetime) -> None:
    moment = naive.replace(tzinfo=UTC)
    text = format_time(moment)
    assert text is not None
    assert moment - datetime.fromisoformat(text) < timedelta(milliseconds=1)


def test_manual_time_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    assert clock.monotonic() == clock.monotonic() == 0.0
    clock.advance(90)
    assert clock.now() == datetime(2026, 1, 1, 0, 1, 30, tzinfo=UTC)
    assert clock.monotonic() == 90.0


def test_manual_timers_see_the_moment_they_were_due() -> None:
    clock = ManualClock()
    seen: list[float] = []
    clock.call_later(2, lambda: seen.append(clock.monotonic()))
    clock.call_later(1, lambda: seen.append(clock.monotonic()))
    clock.call_later(9, lambda: seen.append(clock.monotonic()))
    clock.advance(5)
    assert seen == [1.0, 2.0]
    assert clock.pending() == [4.0]


def test_a_manual_timer_may_set_the_next_one_within_the_same_advance() -> None:
    clock = ManualClock()
    seen: list[float] = []

    def tick() -> None:
        seen.append(clock.monotonic())
        clock.call_later(1, tick)

    clock.call_later(1, tick)
    clock.advance(3)
    assert seen == [1.0, 2.0, 3.0]


def test_a_cancelled_manual_timer_is_neither_pending_nor_run() -> None:
    clock = ManualClock()
    seen: list[str] = []
    clock.call_later(1, lambda: seen.append("ran")).cancel()
    assert clock.pending() == []
    clock.advance(2)
    assert seen == []
