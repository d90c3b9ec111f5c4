"""Those who keep account over time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from support.manual_clock import ManualClock
from wavisor import metrics
from wavisor.actors.supervision.environment import Observer
from wavisor.actors.supervision.spec import ChildState, ExitReason
from wavisor.domain import InstanceStatus, Reason, WantedState
from wavisor.observers import (
    ActorObserver,
    InstanceObserver,
    LoopLagMonitor,
    SessionObserver,
    UptimeAccount,
    observe_mailboxes,
    proportional_memory,
)

WANTED, UNWANTED = WantedState.CONNECTED, WantedState.DISCONNECTED


def value(name: str, **labels: str) -> float:
    found = metrics.REGISTRY.get_sample_value(name, labels)
    assert found is not None, f"{name}{labels} does not exist"
    return found


def exists(name: str, **labels: str) -> bool:
    return metrics.REGISTRY.get_sample_value(name, labels) is not None


class Seconds:
    """How many seconds the two counters grew since this was made."""

    def __init__(self) -> None:
        self._start = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        return (
            value("wavisor_instance_expected_seconds_total"),
            value("wavisor_instance_connected_seconds_total"),
        )

    @property
    def grown(self) -> tuple[float, float]:
        expected, connected = self._now()
        return expected - self._start[0], connected - self._start[1]


def test_uptime_accrues_with_each_change_of_status() -> None:
    clock, seconds = ManualClock(), Seconds()
    account = UptimeAccount(clock)
    account.on_status("a", InstanceStatus.CONNECTED, WANTED)
    clock.advance(90)
    account.on_status("a", InstanceStatus.RECONNECTING, WANTED)
    clock.advance(10)
    account.on_status("a", InstanceStatus.CONNECTED, WANTED)
    assert seconds.grown == pytest.approx((100, 90))


def test_uptime_accrues_at_a_scrape_without_any_change() -> None:
    clock, seconds = ManualClock(), Seconds()
    account = UptimeAccount(clock)
    account.on_status("a", InstanceStatus.CONNECTED, WANTED)
    account.on_status("b", InstanceStatus.FAILED, WANTED)
    clock.advance(7)
    account.accrue()
    assert seconds.grown == pytest.approx((14, 7))
    account.accrue()
    assert seconds.grown == pytest.approx((14, 7))


@pytest.mark.parametrize("status", list(InstanceStatus))
def test_only_time_in_which_the_gateway_alone_could_act_is_expected(status: InstanceStatus) -> None:
    ours = {
        InstanceStatus.CONNECTING,
        InstanceStatus.CONNECTED,
        InstanceStatus.RECONNECTING,
        InstanceStatus.FAILED,
    }
    clock, seconds = ManualClock(), Seconds()
    account = UptimeAccount(clock)
    account.on_status("a", status, WANTED)
    clock.advance(5)
    account.on_status("a", status, UNWANTED)
    clock.advance(5)
    account.accrue()
    connected = 5 if status is InstanceStatus.CONNECTED else 0
    assert seconds.grown == pytest.approx((5 if status in ours else 0, connected))


def test_deleted_instances_accrue_nothing_more() -> None:
    clock, seconds = ManualClock(), Seconds()
    account = UptimeAccount(clock)
    account.on_status("a", InstanceStatus.CONNECTED, WANTED)
    clock.advance(3)
    account.forget("a")
    account.forget("a")
    clock.advance(100)
    account.accrue()
    assert seconds.grown == pytest.approx((3, 3))


def test_the_account_is_right_when_many_threads_report() -> None:
    clock, seconds = ManualClock(), Seconds()
    account = UptimeAccount(clock)

    def report(name: str) -> None:
        for _ in range(200):
            account.on_status(name, InstanceStatus.RECONNECTING, WANTED)
            account.on_status(name, InstanceStatus.CONNECTED, WANTED)

    threads = [threading.Thread(target=report, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    clock.advance(10)
    account.accrue()
    assert seconds.grown == pytest.approx((80, 80))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def instances(clock: ManualClock) -> Iterator[InstanceObserver]:
    observer = InstanceObserver(clock)
    yield observer
    observer.close()


def test_instances_are_counted_by_status(instances: InstanceObserver) -> None:
    instances.on_status("a", InstanceStatus.CONNECTING, WANTED)
    instances.on_status("b", InstanceStatus.CONNECTING, WANTED)
    instances.on_status("a", InstanceStatus.CONNECTED, WANTED)
    instances.on_status("a", InstanceStatus.CONNECTED, WANTED)
    assert value("wavisor_instances", status="connecting") == 1
    assert value("wavisor_instances", status="connected") == 1
    instances.on_deleted("a")
    assert value("wavisor_instances", status="connected") == 0


def test_a_scrape_brings_the_uptime_up_to_date(
    instances: InstanceObserver, clock: ManualClock
) -> None:
    instances.on_status("a", InstanceStatus.CONNECTED, WANTED)
    seconds = Seconds()
    clock.advance(60)
    metrics.render()
    assert seconds.grown == pytest.approx((60, 60))


def test_closing_takes_everything_out(clock: ManualClock) -> None:
    observer = InstanceObserver(clock)
    observer.on_status("a", InstanceStatus.QR, WANTED)
    observer.close()
    assert value("wavisor_instances", status="qr") == 0
    seconds = Seconds()
    clock.advance(5)
    metrics.render()
    assert seconds.grown == (0, 0)


def test_drops_are_counted_by_reason_and_without_the_instance(instances: InstanceObserver) -> None:
    before = value("wavisor_instance_drops_total", reason="connection_lost")
    instances.on_drop("ins_1", Reason.CONNECTION_LOST)
    assert value("wavisor_instance_drops_total", reason="connection_lost") == before + 1
    assert b"ins_1" not in metrics.render()


def test_the_label_of_instances_is_capped_and_goes_with_them(clock: ManualClock) -> None:
    observer = InstanceObserver(clock, label=True, label_limit=2)
    try:
        for name in ("ins_1", "ins_2", "ins_3"):
            observer.on_status(name, InstanceStatus.CONNECTED, WANTED)
            observer.on_drop(name, Reason.CONNECTION_LOST)
        observer.on_status("ins_2", InstanceStatus.RECONNECTING, WANTED)
        assert value("wavisor_instance_connected", instance_id="ins_1") == 1
        assert value("wavisor_instance_connected", instance_id="ins_2") == 0
        assert not exists("wavisor_instance_connected", instance_id="ins_3")
        assert not exists("wavisor_instance_connected", instance_id="other")
        assert value("wavisor_instance_label_drops_total", instance_id="other") == 1

        observer.on_deleted("ins_1")
        assert not exists("wavisor_instance_connected", instance_id="ins_1")
        assert not exists("wavisor_instance_label_drops_total", instance_id="ins_1")
        observer.on_status("ins_3", InstanceStatus.CONNECTED, WANTED)
        assert value("wavisor_instance_connected", instance_id="ins_3") == 1
    finally:
        observer.close()
    assert not exists("wavisor_instance_connected", instance_id="ins_3")


def test_actors_are_observed_as_the_tree_wants_it() -> None:
    observer: Observer = ActorObserver()
    restarts = {"kind": "instance", "reason": "error"}
    before = value("wavisor_actor_restarts_total", **restarts)
    abandoned = value("wavisor_actors_abandoned_total", kind="instance")
    observer.on_restart("instance", ExitReason("error", ValueError("x")))
    observer.on_abandoned("instance")
    assert value("wavisor_actor_restarts_total", **restarts) == before + 1
    assert value("wavisor_actors_abandoned_total", kind="instance") == abandoned + 1


def test_actors_are_counted_by_state_until_they_stop() -> None:
    observer = ActorObserver()
    path = "instances/ins_1"
    labels = {"kind": "instance", "state": "running"}
    observer.on_child_state(path, "instance", ChildState.STARTING, ChildState.STARTING)
    observer.on_child_state(path, "instance", ChildState.STARTING, ChildState.RUNNING)
    assert value("wavisor_actors", **labels) == 1
    assert value("wavisor_actors", **labels | {"state": "starting"}) == 0
    observer.on_child_state(path, "instance", ChildState.RUNNING, ChildState.STOPPED)
    assert value("wavisor_actors", **labels) == 0
    assert not exists("wavisor_actors", kind="instance", state="stopped")


def test_ids_do_not_become_kinds_without_end() -> None:
    observer = ActorObserver()
    for number in range(100):
        observer.on_abandoned(f"ins_{number}")
    kinds = {
        sample.labels["kind"]
        for family in metrics.ACTORS_ABANDONED.collect()
        for sample in family.samples
    }
    assert "other" in kinds
    assert len(kinds) <= len(metrics.ACTOR_KINDS) + 33


def test_mailboxes_are_summed_and_the_fullest_told() -> None:
    observe_mailboxes([("instance", 3), ("instance", 5), ("http", 1), ("ins_1", 4)])
    assert value("wavisor_actor_mailbox_messages", kind="instance") == 8
    assert value("wavisor_actor_mailbox_messages_max", kind="instance") == 5
    assert value("wavisor_actor_mailbox_messages", kind="event_bus") == 0
    assert value("wavisor_actor_mailbox_messages", kind="other") == 4
    observe_mailboxes([])
    assert value("wavisor_actor_mailbox_messages", kind="instance") == 0


def test_session_processes_and_their_memory_are_counted_while_they_run() -> None:
    memory = {11: 1000, 12: 500}
    observer = SessionObserver(memory.get)
    try:
        attempts = value("wavisor_connect_attempts_total")
        observer.on_started(11)
        observer.on_started(12)
        observer.on_started(13)  # gone before anybody looked
        assert value("wavisor_session_processes") == 3
        assert value("wavisor_connect_attempts_total") == attempts + 3
        assert b"wavisor_session_memory_bytes 1500.0" in metrics.render()
        killed = value("wavisor_session_exits_total", code="SIGKILL")
        observer.on_exited(12, -9)
        observer.on_exited(None, None)
        assert value("wavisor_session_processes") == 2
        assert value("wavisor_session_exits_total", code="SIGKILL") == killed + 1
        assert b"wavisor_session_memory_bytes 1000.0" in metrics.render()
    finally:
        observer.close()
    assert b"wavisor_session_memory_bytes 0.0" in metrics.render()
    assert value("wavisor_session_processes") == 0


def test_memory_is_that_of_the_process_and_none_when_it_is_gone() -> None:
    own = proportional_memory(os.getpid())
    assert own is not None
    assert 5_000_000 < own < 2_000_000_000
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait(timeout=30)
    assert proportional_memory(child.pid) is None


class StalledLoop:
    """A loop whose timers run when a test says so, as late as it says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[StalledTimer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback) -> StalledTimer:
        self.timers.append(StalledTimer(when, callback))
        return self.timers[-1]

    def run_last_timer(self, late: float) -> None:
        timer = self.timers[-1]
        assert not timer.cancelled
        self.now = timer.when + late
        timer.callback()


class StalledTimer:
    def __init__(self, when: float, callback) -> None:
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self) -> None:
        self.cancelled = True


def test_loop_lag_is_how_late_a_timer_runs() -> None:
    loop = StalledLoop()
    monitor = LoopLagMonitor(loop, interval=0.25)
    name = "wavisor_event_loop_lag_seconds"
    count, total = value(f"{name}_count"), value(f"{name}_sum")
    monitor.start()
    monitor.start()
    assert len(loop.timers) == 1
    assert loop.timers[0].when == 100.25
    loop.run_last_timer(late=0.0)
    loop.run_last_timer(late=1.5)
    assert value(f"{name}_count") == count + 2
    assert value(f"{name}_sum") == pytest.approx(total + 1.5)
    monitor.stop()
    assert loop.timers[-1].cancelled
    monitor.stop()


def test_loop_lag_is_measured_on_a_real_loop() -> None:
    async def watch() -> None:
        measured = asyncio.Event()
        loop = asyncio.get_running_loop()
        before = value("wavisor_event_loop_lag_seconds_count")

        def look() -> None:
            if value("wavisor_event_loop_lag_seconds_count") >= before + 3:
                measured.set()
            else:
                loop.call_later(0.001, look)

        monitor = LoopLagMonitor(loop, interval=0.001)
        monitor.start()
        look()
        await asyncio.wait_for(measured.wait(), timeout=60)
        monitor.stop()

    asyncio.run(watch())
