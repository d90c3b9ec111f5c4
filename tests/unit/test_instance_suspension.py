"""Instances of a suspended subscription stand still, and go on afterwards as they were wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.instance_lab import InstanceLab, instance_lab
from wavisor.actors.ask import ask_sync, tell
from wavisor.actors.instance.messages import (
    CommandForbiddenError,
    Connect,
    Disconnect,
    Restart,
    SetSuspended,
)
from wavisor.actors.supervisor import ChildContext
from wavisor.actors.suspensions import LookNow, Suspensions
from wavisor.domain import InstanceStatus, Reason, WantedState
from wavisor.storage import platform
from wavisor.whatsapp.events import LoggedOut, TemporaryBan
from wavisor.whatsapp.scripted_defects import SlowSession


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[InstanceLab]:
    with instance_lab(tmp_path) as one:
        yield one


def suspend(lab: InstanceLab, instance: str, suspended: bool = True) -> None:
    tell(lab.ref(instance), SetSuspended(suspended))


def test_a_connected_instance_stops_and_comes_back_without_a_scan(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    suspend(lab, instance)
    assert lab.look(instance).status is InstanceStatus.DISCONNECTED
    row = lab.row(instance)
    assert (row.reason, row.desired) == (
        Reason.SUBSCRIPTION_SUSPENDED.value,
        WantedState.CONNECTED,
    )
    assert row.jid is not None
    assert not session.alive
    suspend(lab, instance, suspended=False)
    assert lab.look(instance).status is InstanceStatus.CONNECTING
    lab.advance(instance, 0.0)
    lab.driver.wait_for(2)
    lab.session(instance).connect()
    assert lab.look(instance).status is InstanceStatus.CONNECTED


def test_a_suspended_instance_cannot_be_started(lab: InstanceLab) -> None:
    instance = lab.create()
    suspend(lab, instance)
    for command in (Connect(), Restart()):
        with pytest.raises(CommandForbiddenError):
            lab.ask(instance, command)
    assert lab.look(instance).status is InstanceStatus.DISCONNECTED


def test_what_nobody_wanted_connected_stays_down(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    lab.ask(instance, Disconnect())
    suspend(lab, instance)
    suspend(lab, instance, suspended=False)
    assert lab.advance(instance, 0.0).status is InstanceStatus.DISCONNECTED


def test_a_resumption_during_the_stop_starts_anew(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    lab.link(instance)
    suspend(lab, instance)
    suspend(lab, instance, suspended=False)
    assert lab.look(instance).status is InstanceStatus.CONNECTED  # it is still stopping
    lab.advance(instance, lab.policy.stop_grace)
    lab.driver.wait_for(2)
    assert lab.look(instance).status is InstanceStatus.CONNECTING


def test_an_instance_that_starts_while_suspended_rests(tmp_path: Path) -> None:
    lab = InstanceLab(tmp_path)
    instance = lab.create_row()
    jid = "15550100:1@s.whatsapp.net"
    lab.set_row(instance, desired=WantedState.CONNECTED, status=InstanceStatus.CONNECTED, jid=jid)
    lab.database.write_wait(platform.set_suspended, lab.scope.subscription_id, suspended=True)
    try:
        lab.start()
        lab.wait_for_actor(instance)
        shown = lab.look(instance)
    finally:
        lab.close()
    assert (shown.status, shown.reason, shown.desired) == (
        InstanceStatus.DISCONNECTED,
        Reason.SUBSCRIPTION_SUSPENDED,
        WantedState.CONNECTED,
    )
    assert lab.driver.sessions == []


class DiesSlowly(SlowSession):
    """Outlives a kill until a test lets it end."""

    def kill(self) -> None:
        self.killed = True

    def stop(self, grace: float) -> None:
        self.stopped = grace


def test_a_suspension_does_not_keep_keys_that_are_being_discarded(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(DiesSlowly)
    session = lab.link(instance)
    session.emit(LoggedOut(instance=instance, on_connect=False))
    lab.look(instance)
    suspend(lab, instance)
    lab.look(instance)
    session.exit(-9)
    shown = lab.look(instance)
    assert (shown.status, shown.jid) == (InstanceStatus.LOGGED_OUT, None)


def test_a_resumption_does_not_undo_a_ban(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(DiesSlowly)
    session = lab.link(instance)
    session.emit(TemporaryBan(instance=instance, code=101, detail="too many", expires_in=None))
    lab.look(instance)
    suspend(lab, instance)
    suspend(lab, instance, suspended=False)
    lab.look(instance)
    session.exit(-9)
    assert lab.look(instance).status is InstanceStatus.BANNED
    lab.advance(instance, 60.0)
    assert len(lab.driver.sessions) == 1


def test_a_resumption_waits_for_a_process_that_could_not_be_killed(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(DiesSlowly)
    session = lab.link(instance)
    suspend(lab, instance)
    lab.look(instance)
    lab.advance(instance, lab.policy.stop_grace + lab.policy.kill_timeout)
    assert lab.look(instance).status is InstanceStatus.DISCONNECTED
    suspend(lab, instance, suspended=False)
    lab.look(instance)
    lab.advance(instance, 60.0)
    assert len(lab.driver.sessions) == 1
    session.exit(-9)
    lab.look(instance)
    lab.driver.wait_for(2)
    lab.session(instance).connect()
    assert lab.look(instance).status is InstanceStatus.CONNECTED


def test_a_resumption_that_nobody_saw_is_told_by_the_next_who_looks(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    suspend(lab, instance)
    assert lab.look(instance).status is InstanceStatus.DISCONNECTED
    actor = Suspensions.start(
        ChildContext(
            id="suspensions",
            kind="suspensions",
            path="suspensions",
            generation=2,
            environment=lab.environment,
            parent=None,
            notify=lambda notice: None,
        ),
        lab.database,
        "instances",
    )
    try:
        ask_sync(actor, LookNow(), 10.0)
    finally:
        actor.stop()
    assert lab.look(instance).status is InstanceStatus.CONNECTING
