"""Statistics say what a full recount of the messages says, whatever happened in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support import message_storm
from support.manual_clock import ManualClock
from support.message_storm import MessageStorm, SpoiledError, spoil
from support.queueing import NOON, new_inbound, new_text, queue_text, receive, send
from support.recounting import recount, stored_counters
from support.tenants import new_account, new_instance, new_scope
from wavisor.clock import SystemClock
from wavisor.domain import MessageStatus
from wavisor.storage import Database, InstanceRecord, Scope, instances, messages, statistics
from wavisor.storage.figures import Figure
from wavisor.storage.models import Subscription
from wavisor.storage.statistics import Grouping, Sum, hour_of

ROOT = Path(__file__).parents[2]
WAIT = 60.0
ALWAYS = {"first_hour": 0, "end_hour": 2**40}


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


@pytest.fixture
def line(database: Database, scope: Scope) -> InstanceRecord:
    return new_instance(database, scope)


def figures(database: Database, scope: Scope, **more: Any) -> dict[str, int]:
    """Every figure with its reason, over all time."""
    sums = database.read_wait(statistics.totals, scope, by=Grouping.STATUS, **{**ALWAYS, **more})
    return {f"{one.figure.value} {one.reason}".strip(): one.counter.number for one in sums}


def assert_recounts(database: Database) -> None:
    stored = database.read_wait(stored_counters, timeout=WAIT)
    assert stored == database.read_wait(recount, timeout=WAIT)


def receipt(
    database: Database, line: InstanceRecord, whatsapp_id: str, status: MessageStatus, at: Any
) -> None:
    database.write_wait(messages.apply_receipt, line.id, [whatsapp_id], status, at)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_storm_with_failing_writes_recounts(
    database: Database, storage_clock: ManualClock, scope: Scope, seed: int
) -> None:
    other = new_scope(database)
    lines = [new_instance(database, one) for one in (scope, scope, other)]
    storm = MessageStorm(database, storage_clock, lines, seed)
    for _ in range(4):
        storm.run(300)
        storage_clock.advance(1700)
    assert_recounts(database)
    counted = figures(database, scope)
    # All of it happened, or it would prove little.
    assert {figure.value for figure in Figure} <= {key.split()[0] for key in counted}


@pytest.mark.parametrize("seed", [5, 6])
def test_a_storm_with_kills_recounts(database_url: str, seed: int) -> None:
    database = Database(database_url, clock=SystemClock())
    database.open()
    try:
        for _ in range(2):
            new_instance(database, new_scope(database))
    finally:
        assert database.close(WAIT)
    for number in range(3):
        _storm_until_killed(database_url, seed * 10 + number)
    database = Database(database_url, clock=SystemClock())
    database.open()
    try:
        assert_recounts(database)
        assert len(database.read_wait(stored_counters)) > 5
    finally:
        assert database.close(WAIT)


def _storm_until_killed(url: str, seed: int) -> None:
    command = [sys.executable, message_storm.__file__, url, str(seed)]
    paths = f"{ROOT}:{ROOT / 'tests'}"
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            lines = (line.strip() for line in process.stdout)
            assert next(line for line in lines if line == "300")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(WAIT)


def test_a_life_is_counted_stage_by_stage(
    database: Database, storage_clock: ManualClock, scope: Scope, line: InstanceRecord
) -> None:
    message = queue_text(database, line)
    send(database, message, "W1")
    start = storage_clock.now()
    for status, seconds in ((MessageStatus.DELIVERED, 2), (MessageStatus.READ, 10)):
        receipt(database, line, "W1", status, start + timedelta(seconds=seconds))
    receipt(database, line, "W1", MessageStatus.READ, start + timedelta(seconds=20))
    receive(database, line, new_inbound())
    assert figures(database, scope) == {
        "accepted": 1, "sent": 1, "delivered": 1, "read": 1, "received": 1
    }  # fmt: skip
    [delivered] = [
        one for one in _sums(database, scope, Grouping.KIND) if one.figure is Figure.DELIVERED
    ]
    assert (delivered.group, delivered.counter.milliseconds) == ("text", 2000)
    assert_recounts(database)


def test_what_was_read_was_delivered_and_sent(
    database: Database, storage_clock: ManualClock, scope: Scope, line: InstanceRecord
) -> None:
    message = queue_text(database, line)
    database.write_wait(messages.mark_sending, message.id, whatsapp_id="W1")
    receipt(database, line, "W1", MessageStatus.READ, storage_clock.now())
    # The answer to the send comes last, and changes nothing more.
    database.write_wait(messages.mark_sent, message.id, whatsapp_id="W1")
    assert figures(database, scope) == {"accepted": 1, "sent": 1, "delivered": 1, "read": 1}
    assert_recounts(database)


def test_failures_are_counted_by_reason_and_tries_that_go_on_are_not(
    database: Database, storage_clock: ManualClock, scope: Scope, line: InstanceRecord
) -> None:
    first, second, third = (queue_text(database, line, str(number)) for number in range(3))
    database.write_wait(messages.mark_sending, first.id)
    database.write_wait(
        messages.requeue, first.id, retry_at=storage_clock.now(), failure={"reason": "timeout"}
    )
    database.write_wait(messages.mark_failed, first.id, {"reason": "timeout"})
    database.write_wait(messages.mark_failed, second.id, {})
    database.write_wait(messages.cancel, scope, third.id)
    database.write_wait(messages.retry, scope, first.id)
    assert figures(database, scope) == {
        "accepted": 3, "failed timeout": 1, "failed unknown": 1, "cancelled": 1
    }  # fmt: skip
    assert_recounts(database)


def test_a_write_that_fails_counts_nothing_and_others_of_its_commit_do(
    database: Database, scope: Scope, line: InstanceRecord
) -> None:
    good = [database.write(messages.enqueue, scope, line.id, new_text()) for _ in range(10)]
    bad = [database.write(spoil, messages.enqueue, scope, line.id, new_text()) for _ in range(10)]
    for future in good:
        future.result(WAIT)
    for future in bad:
        with pytest.raises(SpoiledError):
            future.result(WAIT)
    assert figures(database, scope) == {"accepted": 10}


def test_a_tenant_deleted_in_the_same_commit_harms_no_other(
    database: Database, scope: Scope, line: InstanceRecord
) -> None:
    gone = new_account(database).subscription.id
    doomed = new_instance(database, Scope(gone))

    def delete() -> None:
        Subscription.delete().where(Subscription.id == gone).execute()

    futures: list[Any] = [
        database.write(messages.enqueue, Scope(gone), doomed.id, new_text()),
        database.write(messages.enqueue, scope, line.id, new_text()),
        database.write(delete),
        database.write(messages.enqueue, scope, line.id, new_text()),
    ]
    for future in futures:
        future.exception(WAIT)
    assert figures(database, scope) == {"accepted": 2}
    assert_recounts(database)


def test_figures_stay_when_messages_and_instances_go(
    database: Database, storage_clock: ManualClock, scope: Scope, line: InstanceRecord
) -> None:
    receive(database, line, new_inbound())
    send(database, queue_text(database, line), "W1")
    before = figures(database, scope)
    storage_clock.advance(1)
    database.write_wait(messages.purge, line.id, storage_clock.now())
    assert database.read_wait(messages.list_page, scope, limit=9).items == ()
    assert figures(database, scope, instance_id=line.id) == before
    database.write_wait(instances.delete, scope, line.id)
    assert figures(database, scope) == before


def test_hours_and_days_are_those_of_utc(
    database: Database, storage_clock: ManualClock, scope: Scope, line: InstanceRecord
) -> None:
    for _ in range(30):
        receive(database, line, new_inbound())
        storage_clock.advance(3600)
    by_hour = _sums(database, scope, Grouping.HOUR)
    assert [one.counter.number for one in by_hour] == [1] * 30
    start = hour_of(storage_clock.now()) - 30
    assert [one.group for one in by_hour] == list(range(start, start + 30))
    by_day = _sums(database, scope, Grouping.DAY)
    days: dict[int, int] = {}
    for hour in range(start, start + 30):
        days[hour // 24] = days.get(hour // 24, 0) + 1
    assert {one.group: one.counter.number for one in by_day} == days
    some = database.read_wait(
        statistics.totals, scope, by=Grouping.HOUR, first_hour=start + 3, end_hour=start + 5
    )
    assert [one.group for one in some] == [start + 3, start + 4]


def test_groups_and_tenants_are_apart(
    database: Database, scope: Scope, line: InstanceRecord
) -> None:
    other_scope = new_scope(database)
    other = new_instance(database, other_scope)
    receive(database, other, new_inbound(kind="image"))
    second = new_instance(database, scope)
    receive(database, second, new_inbound(kind="image"))
    queue_text(database, line)
    assert [(one.group, one.figure) for one in _sums(database, scope, Grouping.KIND)] == [
        ("image", Figure.RECEIVED),
        ("text", Figure.ACCEPTED),
    ]
    assert [one.group for one in _sums(database, scope, Grouping.DIRECTION)] == [
        "inbound",
        "outbound",
    ]
    assert figures(database, scope, instance_id=second.id) == {"received": 1}
    assert figures(database, scope, instance_id=other.id) == {}


def test_a_receipt_by_a_clock_that_is_behind_takes_no_negative_time(
    database: Database, scope: Scope, line: InstanceRecord
) -> None:
    send(database, queue_text(database, line), "W1")
    receipt(database, line, "W1", MessageStatus.DELIVERED, NOON - timedelta(days=400))
    [delivered] = [
        one for one in _sums(database, scope, Grouping.DAY) if one.figure is Figure.DELIVERED
    ]
    assert (delivered.counter.timed, delivered.counter.milliseconds) == (1, 0)
    assert_recounts(database)


def test_one_commit_writes_each_counter_once(tmp_path: Path, storage_clock: ManualClock) -> None:
    database = Database(f"sqlite:///{tmp_path}/one.db", clock=storage_clock)
    database.open()
    try:
        scope = new_scope(database)
        line = new_instance(database, scope)

        def many() -> None:
            for _ in range(20):
                messages.enqueue(scope, line.id, new_text())

        with database.count_queries() as counter:
            database.write_wait(many)
        assert sum("message_stats" in one for one in counter.statements) == 1
    finally:
        assert database.close(WAIT)


def _sums(database: Database, scope: Scope, by: Grouping) -> list[Sum]:
    return database.read_wait(statistics.totals, scope, by=by, **ALWAYS)
