"""The hours in which a campaign may write to people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from wavisor.actors.campaigns import SendingWindow


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(**said: Any) -> SendingWindow:
    return SendingWindow.model_validate({"start": "09:00", "end": "18:00", **said})


@pytest.mark.parametrize(
    ("moment", "within"),
    [
        ("2026-11-23T08:59:59", False),
        ("2026-11-23T09:00:00", True),
        ("2026-11-23T17:59:59", True),
        ("2026-11-23T18:00:00", False),
    ],
)
def test_it_begins_with_its_start_and_ends_before_its_end(moment: str, within: bool) -> None:
    assert window().holds(at(moment)) is within


def test_it_is_meant_in_its_time_zone_in_summer_and_winter() -> None:
    berlin = window(timeZone="Europe/Berlin")
    assert berlin.holds(at("2026-11-23T08:30:00"))
    assert not berlin.holds(at("2026-07-23T06:30:00"))
    assert berlin.holds(at("2026-07-23T07:30:00"))


def test_days_are_those_on_which_it_begins() -> None:
    night = window(start="22:00", end="06:00", days=[5])  # 2026-11-27 is a Friday
    assert night.holds(at("2026-11-27T23:00:00"))
    assert night.holds(at("2026-11-28T05:59:00"))
    assert not night.holds(at("2026-11-27T05:00:00"))
    assert not night.holds(at("2026-11-28T23:00:00"))


@pytest.mark.parametrize(
    "said",
    [
        {"start": "09:00", "end": "09:00"},
        {"start": "9 o'clock"},
        {"start": "09:00+01:00"},
        {"timeZone": "Europe/Nowhere"},
        {"days": []},
        {"days": [0]},
        {"days": [8]},
        {"more": 1},
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        window(**said)
