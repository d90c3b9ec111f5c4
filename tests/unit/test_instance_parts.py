from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.manual_clock import ManualClock
from wavisor.actors.instance.messages import Tick
from wavisor.actors.instance.qr import QR_LIMIT, QrCounter
from wavisor.actors.instance.reconnect import ReconnectBackoff, ReconnectPolicy
from wavisor.actors.instance.start_gate import StartGate
from wavisor.actors.instance.timers import NamedTimers
from wavisor.domain import ALLOWED_COMMANDS, InstanceStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_first_code_lives_60_seconds_and_the_next_ones_20() -> None:
    counter = QrCounter()
    lives = []
    for _ in range(QR_LIMIT):
        qr = counter.show("x", NOW)
        assert qr is not None
        lives.append((qr.expires_at - NOW).total_seconds())
    assert lives == [60.0, 20.0, 20.0]
    assert counter.show("x", NOW) is None


@given(seed=st.integers(), tries=st.integers(min_value=1, max_value=2000))
def test_waits_stay_under_their_ceiling_however_many_tries_fail(seed: int, tries: int) -> None:
    policy = ReconnectPolicy(initial=1.0, maximum=8.0)
    backoff = ReconnectBackoff(policy, random.Random(seed))
    waits = [backoff.next_delay() for _ in range(tries)]
    assert waits[0] == 0.0
    for number, wait in enumerate(waits[1:]):
        assert 0.0 <= wait <= min(8.0, 2.0 ** min(number, 10))


def test_the_gate_admits_so_many_at_once_in_the_order_they_asked() -> None:
    gate = StartGate(2, 60.0, ManualClock())
    admitted: list[str] = []
    for name in "abcd":
        gate.request(name, lambda name=name: admitted.append(name))
    assert admitted == ["a", "b"]
    gate.release("b")
    assert admitted == ["a", "b", "c"]
    gate.release("d")  # withdrawn while waiting
    gate.release("a")
    assert admitted == ["a", "b", "c"]


def test_the_gate_takes_a_slot_back_from_a_holder_that_hangs() -> None:
    clock = ManualClock()
    gate = StartGate(1, 60.0, clock)
    admitted: list[str] = []
    gate.request("hangs", lambda: admitted.append("hangs"))
    clock.advance(60)
    gate.request("next", lambda: admitted.append("next"))
    assert admitted == ["hangs", "next"]


def test_a_tick_of_a_cancelled_timer_is_stale_even_when_it_already_arrived() -> None:
    clock = ManualClock()
    ticks: list[Tick] = []
    timers = NamedTimers(clock, ticks.append)
    timers.set("one", 1.0)
    clock.advance(1.0)
    timers.set("one", 5.0)
    assert not timers.accept(ticks[0])
    clock.advance(5.0)
    assert timers.accept(ticks[1])
    assert not timers.accept(ticks[1]), "a tick counts once"


def test_an_expected_grant_that_was_cancelled_is_stale() -> None:
    ticks: list[Tick] = []
    timers = NamedTimers(ManualClock(), ticks.append)
    grant = timers.expect("slot")
    timers.cancel("slot")
    grant()
    assert not timers.accept(ticks[0])


@pytest.mark.parametrize("status", list(InstanceStatus))
def test_every_status_says_what_it_allows_and_has_a_way_on(status: InstanceStatus) -> None:
    assert {"connect", "disconnect"} & {command.value for command in ALLOWED_COMMANDS[status]}


def test_who_asks_the_gate_again_keeps_the_place_in_the_queue() -> None:
    gate = StartGate(1, 60.0, ManualClock())
    admitted: list[str] = []
    for name in ("first", "patient", "late", "patient"):
        gate.request(name, lambda name=name: admitted.append(name))
    gate.release("first")
    assert admitted == ["first", "patient"]
