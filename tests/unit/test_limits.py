"""The table of tiers, and what overrides it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavisor.domain import Tier
from wavisor.limits import TIERS, Limits, Resource, check_overrides, limits_of

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
NAMES = [field.name for field in fields(Limits)]


@dataclass(frozen=True)
class Tenant:
    tier: Tier
    overrides: dict[str, Any] | None = None


def test_tiers_allow_5_20_and_40_instances() -> None:
    assert [TIERS[tier].instances for tier in Tier] == [5, 20, 40]


def test_no_limit_falls_with_a_higher_tier() -> None:
    for name in NAMES:
        values = [getattr(TIERS[tier], name) for tier in Tier]
        most = [float("inf") if value is None else value for value in values]
        assert most == sorted(most), name


def test_resources_are_limits() -> None:
    assert {one.value for one in Resource} <= set(NAMES)
    assert all(one.noun for one in Resource)


def test_documented_limits_are_those_of_the_table() -> None:
    rows = {}
    tiers, _, _ = PAGE.read_text(encoding="utf-8").partition("## At the limit")
    for line in tiers.splitlines():
        match = re.match(r"\| `(\w+)` \|(.+)\|$", line)
        if match:
            rows[match[1]] = [cell.strip() for cell in match[2].split("|")[1:]]
    camel = {re.sub(r"_(\w)", lambda found: found[1].upper(), name): name for name in NAMES}
    assert set(rows) == set(camel)
    for wire, name in camel.items():
        values = [getattr(TIERS[tier], name) for tier in Tier]
        assert rows[wire] == ["none" if one is None else f"{one:,}" for one in values]


def test_overrides_replace_single_limits() -> None:
    own = limits_of(Tenant(Tier.BASIC, {"instances": 7, "messages_per_day": None}))
    assert (own.instances, own.messages_per_day) == (7, None)
    assert own.webhooks == TIERS[Tier.BASIC].webhooks


def test_an_override_of_a_newer_version_is_left_alone() -> None:
    assert limits_of(Tenant(Tier.PRO, {"campaigns": 3})) == TIERS[Tier.PRO]


@pytest.mark.parametrize(
    "wrong",
    [
        {"instance": 1},
        {"instances": -1},
        {"instances": 1.5},
        {"instances": "5"},
        {"instances": True},
        {"instances": 10**12},
        {"keys": [1]},
        {"retention_days": 0},
        {"requests_per_minute": 0},
    ],
)
def test_overrides_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        check_overrides(wrong)


@given(st.dictionaries(st.sampled_from(NAMES), st.none() | st.integers(1, 10**9)))
def test_every_good_override_is_in_force(overrides: dict[str, int | None]) -> None:
    limits = limits_of(Tenant(Tier.BASIC, check_overrides(overrides)))
    for name in NAMES:
        assert getattr(limits, name) == overrides.get(name, getattr(TIERS[Tier.BASIC], name))
