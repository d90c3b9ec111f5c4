from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from support.manual_clock import ManualClock
from wavisor.actors.instance.pacing import Pacer
from wavisor.actors.instance.queue_settings import PacingSettings, pacing_of

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NO_WARM_UP = {"days": 0}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


def pacer(clock: ManualClock, seed: int = 1, **settings: Any) -> Pacer:
    given = {"warm_up": NO_WARM_UP, "jitter": 0, **settings}
    return Pacer(clock, random.Random(seed), PacingSettings.model_validate(given))


def after(pacing: Pacer, clock: ManualClock) -> float:
    return (pacing.clearance().anybody - clock.now()).total_seconds()


def strangers_after(pacing: Pacer, clock: ManualClock) -> float:
    return (pacing.clearance().strangers - clock.now()).total_seconds()


def test_first_message_waits_for_nothing_and_the_next_for_the_pause(clock: ManualClock) -> None:
    pacing = pacer(clock, messages_per_minute=20)
    assert after(pacing, clock) == 0
    pacing.on_handed_over(new_contact=False)
    assert after(pacing, clock) == 3
    clock.advance(2)
    assert after(pacing, clock) == 1
    clock.advance(1)
    assert after(pacing, clock) == 0


def test_pauses_are_uneven_and_keep_the_rate(clock: ManualClock) -> None:
    pacing = pacer(clock, messages_per_minute=20, jitter=0.5)
    pauses = []
    for _ in range(2000):
        pacing.on_handed_over(new_contact=False)
        pauses.append(after(pacing, clock))
        clock.advance(pauses[-1])
    assert len(set(pauses)) > 1900
    assert 2.85 < sum(pauses) / len(pauses) < 3.15
    assert min(pauses) >= 0.6
    assert max(pauses) <= 15


def test_pacing_switched_off_waits_for_nothing(clock: ManualClock) -> None:
    pacing = pacer(
        clock,
        enabled=False,
        messages_per_day=1,
        quiet_hours={"start": "00:00", "end": "23:59"},
    )
    pacing.on_handed_over(new_contact=True)
    assert (after(pacing, clock), strangers_after(pacing, clock)) == (0, 0)


def test_changed_settings_hold_at_once(clock: ManualClock) -> None:
    pacing = pacer(clock, messages_per_minute=0.1)
    pacing.on_handed_over(new_contact=False)
    assert after(pacing, clock) == 600
    pacing.apply(PacingSettings(messages_per_minute=60, jitter=0))
    assert after(pacing, clock) == 0
    pacing.on_handed_over(new_contact=False)
    assert after(pacing, clock) == 1


def test_daily_limits_end_at_midnight_of_the_time_zone(clock: ManualClock) -> None:
    pacing = pacer(
        clock,
        messages_per_minute=600,
        messages_per_day=2,
        new_contacts_per_day=1,
        time_zone="Asia/Kolkata",
    )
    pacing.on_handed_over(new_contact=True)
    clock.advance(1)
    assert after(pacing, clock) == 0
    midnight = datetime(2026, 3, 2, 18, 30, tzinfo=UTC)
    assert pacing.clearance().strangers == midnight
    pacing.on_handed_over(new_contact=False)
    assert pacing.clearance().anybody == midnight
    clock.advance((midnight - clock.now()).total_seconds())
    assert (after(pacing, clock), strangers_after(pacing, clock)) == (0, 0)


def test_what_was_sent_before_a_restart_counts(clock: ManualClock) -> None:
    pacing = pacer(clock, messages_per_day=5, new_contacts_per_day=2)
    pacing.restore(4, 2)
    assert after(pacing, clock) == 0
    assert strangers_after(pacing, clock) > 0
    pacing.on_handed_over(new_contact=False)
    assert pacing.clearance().anybody == datetime(2026, 3, 3, tzinfo=UTC)


def test_new_number_warms_up_by_doubling_each_day(clock: ManualClock) -> None:
    warm_up = {"days": 3, "messages": 10, "new_contacts": 2}
    pacing = pacer(clock, messages_per_minute=600, warm_up=warm_up, messages_per_day=25)
    pacing.on_linked(clock.now())

    def sendable() -> tuple[int, int]:
        """How many messages, and how many to strangers, go today."""
        everything = strangers = 0
        while (strange := strangers_after(pacing, clock) <= 1) or after(pacing, clock) <= 1:
            clock.advance(1)
            pacing.on_handed_over(new_contact=strange)
            strangers += strange
            everything += 1
            if everything > 100:
                break
        return everything, strangers

    assert sendable() == (10, 2)
    clock.advance(86_400)
    assert sendable() == (20, 4)
    clock.advance(86_400)
    assert sendable() == (25, 8), "the fixed limit holds as well"
    clock.advance(86_400)
    assert sendable() == (25, 25)


def test_number_linked_long_ago_does_not_warm_up(clock: ManualClock) -> None:
    pacing = pacer(clock, warm_up={"days": 3, "messages": 1})
    pacing.on_linked(None)
    pacing.restore(1000, 1000)
    assert after(pacing, clock) == 0


@pytest.mark.parametrize(
    ("now", "start", "end", "free"),
    [
        ("2026-03-02T21:59:59", "22:00", "07:00", "2026-03-02T21:59:59"),
        ("2026-03-02T22:00:00", "22:00", "07:00", "2026-03-03T07:00:00"),
        ("2026-03-03T06:59:00", "22:00", "07:00", "2026-03-03T07:00:00"),
        ("2026-03-03T07:00:00", "22:00", "07:00", "2026-03-03T07:00:00"),
        ("2026-03-02T13:00:00", "12:30", "14:00", "2026-03-02T14:00:00"),
        ("2026-03-02T14:00:00", "12:30", "14:00", "2026-03-02T14:00:00"),
        ("2026-03-02T14:00:00", "10:00", "10:00", "2026-03-02T14:00:00"),
    ],
)
def test_quiet_hours(now: str, start: str, end: str, free: str) -> None:
    clock = ManualClock(datetime.fromisoformat(now).replace(tzinfo=UTC))
    pacing = pacer(clock, quiet_hours={"start": start, "end": end})
    assert pacing.clearance().anybody == datetime.fromisoformat(free).replace(tzinfo=UTC)


def test_quiet_hours_follow_the_time_zone_through_the_change_of_the_clocks() -> None:
    # On 29 March 2026 Berlin goes from UTC+1 to UTC+2 at 01:00 UTC.
    clock = ManualClock(datetime(2026, 3, 28, 22, 0, tzinfo=UTC))
    pacing = pacer(clock, quiet_hours={"start": "22:00", "end": "07:00"}, time_zone="Europe/Berlin")
    assert pacing.clearance().anybody == datetime(2026, 3, 29, 5, 0, tzinfo=UTC)


@pytest.mark.parametrize(("now", "free"), [("00:15", "00:30"), ("01:15", "01:30")])
def test_quiet_hours_hold_in_both_of_the_hours_that_come_twice(now: str, free: str) -> None:
    # On 25 October 2026 Berlin goes from UTC+2 to UTC+1 at 01:00 UTC: 02:15 is at both times.
    clock = ManualClock(datetime.fromisoformat(f"2026-10-25T{now}:00+00:00"))
    pacing = pacer(clock, quiet_hours={"start": "22:00", "end": "02:30"}, time_zone="Europe/Berlin")
    assert pacing.clearance().anybody == datetime.fromisoformat(f"2026-10-25T{free}:00+00:00")


def test_limit_of_the_day_and_quiet_hours_add_up(clock: ManualClock) -> None:
    pacing = pacer(clock, messages_per_day=1, quiet_hours={"start": "22:00", "end": "07:00"})
    pacing.on_handed_over(new_contact=False)
    assert pacing.clearance().anybody == datetime(2026, 3, 3, 7, tzinfo=UTC)


def test_whatsapps_stop_of_strangers_holds_even_without_pacing(clock: ManualClock) -> None:
    pacing = pacer(clock, enabled=False)
    pacing.stop_strangers(clock.now() + timedelta(hours=1))
    assert (after(pacing, clock), strangers_after(pacing, clock)) == (0, 3600)
    pacing.stop_strangers(None)
    assert strangers_after(pacing, clock) == 0


def test_too_high_a_rate_cools_everything_down(clock: ManualClock) -> None:
    pacing = pacer(clock, enabled=False)
    pacing.cool_down(30)
    assert (after(pacing, clock), strangers_after(pacing, clock)) == (30, 30)
    clock.advance(30)
    assert after(pacing, clock) == 0


def test_settings_of_an_instance_override_the_defaults_one_by_one() -> None:
    defaults = PacingSettings(messages_per_minute=5, jitter=0.1)
    assert pacing_of({}, defaults) == defaults
    assert pacing_of({"pacing": {"enabled": False}}, defaults) == PacingSettings(
        enabled=False, messages_per_minute=5, jitter=0.1
    )
    stored = {"pacing": {"messagesPerMinute": 7, "quietHours": {"start": "22:00", "end": "06:00"}}}
    merged = pacing_of(stored, defaults)
    assert (merged.messages_per_minute, merged.jitter) == (7, 0.1)
    assert merged.quiet_hours is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"messagesPerMinute": 0},
        {"messagesPerMinute": 1e-300},
        {"timeZone": "Mars/Olympus"},
        {"timeZone": "../../etc/passwd"},
        {"unknown": 1},
        {"quietHours": {"start": "25:00", "end": "06:00"}},
        {"quietHours": {"start": "22:00Z", "end": "06:00"}},
        "nonsense",
    ],
)
def test_settings_that_make_no_sense_are_refused_and_change_nothing_when_stored(
    wrong: Any,
) -> None:
    with pytest.raises(ValidationError):
        PacingSettings.model_validate(wrong)
    defaults = PacingSettings(messages_per_minute=5)
    assert pacing_of({"pacing": wrong}, defaults) == defaults
