"""QR codes that nobody scans, for as long as the real client shows them: 100 seconds.

They began to run when the first live test did, beside all the others (see the fixture).
"""

from __future__ import annotations

from datetime import datetime

import pytest

from support.live import LiveGateway
from support.live_client import Instance, Owner
from support.processes import children_of, wait_gone

pytestmark = pytest.mark.e2e

QR_PHASE_SECONDS = 60 + 20 + 20


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


@pytest.mark.timeout(300)
def test_exactly_three_codes_are_shown_and_then_nothing_happens_by_itself(
    unscanned: tuple[LiveGateway, Owner, Instance],
) -> None:
    gateway, owner, instance = unscanned
    ended = instance.wait_status("force_disconnected", patience=QR_PHASE_SECONDS + 60)

    assert (ended["old"], ended["reason"]) == ("qr", "qr_limit_reached")
    assert ended["desired"] == "disconnected"
    assert ended["lastError"]["reason"] == "qr_limit_reached"
    shown = owner.feed.all("instance:qr:updated", instance.id)
    assert [event["data"]["attempt"] for event in shown] == [1, 2, 3]
    assert {event["data"]["limit"] for event in shown} == {3}
    assert len({event["data"]["code"] for event in shown}) == 3
    first, second, third = (event["timestamp"] for event in shown)
    assert seconds_between(first, second) == pytest.approx(60, abs=5)
    assert seconds_between(second, third) == pytest.approx(20, abs=5)
    assert seconds_between(third, ended["newSince"]) == pytest.approx(20, abs=5)
    attempts = [line["qr_attempt"] for line in gateway.log.all("QR code shown")]
    assert attempts == ["#1 of 3", "#2 of 3", "#3 of 3"]
    assert gateway.log.wait("QR limit reached")["qr_attempts"] == 3

    # The process is gone, and none follows it, not even over a restart.
    started = gateway.log.all("session process started")
    assert wait_gone([line["pid"] for line in started], 5) == []
    assert len(started) == 1
    mark, log_mark = instance.mark, gateway.log.mark
    assert instance.api("GET", "/qr").status == 409
    gateway.restart()
    owner.reopen_feed()
    state = instance.status()
    assert (state["status"], state["desired"]) == ("force_disconnected", "disconnected")
    assert state["statusChangedAt"] == ended["newSince"]
    assert sorted(state["allowed"]) == ["connect", "disconnect", "logout"]
    assert instance.statuses(mark) == []
    assert gateway.session_pids == []
    assert gateway.log.all("session process started", after=log_mark) == []

    # Connect begins anew, with the first of three other codes.
    instance.connect()
    again = instance.wait_qr(mark)
    assert (again["attempt"], again["limit"]) == (1, 3)
    assert again["code"] not in {event["data"]["code"] for event in shown}
    assert len(children_of(gateway.forkserver_pid)) == 1
