from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.instance_lab import InstanceLab, instance_lab
from wavisor.actors.ask import ask_sync
from wavisor.actors.errors import ActorDeadError
from wavisor.actors.instance.messages import (
    CommandForbiddenError,
    Connect,
    Delete,
    Disconnect,
    Logout,
    PairingCode,
    PairingFailedError,
    RequestPairingCode,
    Restart,
    SettingsChanged,
)
from wavisor.actors.instance.state import state_without_actor
from wavisor.actors.supervisor import RestartChild
from wavisor.clock import format_time
from wavisor.domain import InstanceCommand, InstanceStatus, Reason, WantedState
from wavisor.storage import EventRecord
from wavisor.whatsapp.commands import Command, Probe
from wavisor.whatsapp.commands import Logout as LogoutCommand
from wavisor.whatsapp.events import (
    ClientOutdated,
    ConnectFailed,
    Failure,
    KeepAliveTimeout,
    LoggedOut,
    QrPhaseEnded,
    StreamReplaced,
    TemporaryBan,
)
from wavisor.whatsapp.scripted import ScriptedDriver, ScriptedSession
from wavisor.whatsapp.scripted_defects import NeverConnects, SlowSession


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[InstanceLab]:
    with instance_lab(tmp_path) as one:
        yield one


def test_linking_goes_through_every_status_and_publishes_each(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    assert lab.statuses(instance) == ["connecting", "qr", "pairing", "connected"]
    last = lab.stored_events(instance)[-1].data
    assert last["old"] == "pairing"
    assert last["reason"] == "logged_in"
    assert last["connection"]["phone"] == "+15550100"
    assert last["connection"]["lid"] == "915550100@lid"
    assert last["connection"]["pushName"] == "Scripted"
    assert last["connection"]["platform"] == "android"
    assert last["lastError"] is None
    row = lab.row(instance)
    assert (row.status, row.jid, row.phone) == (
        InstanceStatus.CONNECTED,
        "15550100:1@s.whatsapp.net",
        "+15550100",
    )


def test_a_change_says_since_when_the_old_and_the_new_status_hold(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    since = lab.clock.now()
    lab.advance(instance, 5.0)
    session.drop()
    assert lab.look(instance).status is InstanceStatus.RECONNECTING
    change = lab.stored_events(instance)[-1].data
    assert (change["old"], change["oldSince"]) == ("connected", format_time(since))
    assert (change["new"], change["newSince"]) == ("reconnecting", format_time(lab.clock.now()))
    assert change["lastError"]["reason"] == change["reason"] == "connection_lost"
    assert change["connection"] is None


def test_sequence_numbers_have_no_gap_and_events_reach_listeners_in_order(
    lab: InstanceLab,
) -> None:
    instance = lab.create()
    lab.link(instance)
    stored = lab.stored_events(instance)
    assert [record.seq for record in stored] == list(range(1, len(stored) + 1))
    lab.stop()  # the bus has handed out everything before it stopped
    assert [record.id for record in lab.seen] == [record.id for record in stored]


def test_every_transition_is_in_the_audit_trail(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    reached = [entry.after["status"] for entry in lab.audit_of(instance)]
    assert {"connecting", "qr", "pairing", "connected"} <= set(reached)


def test_third_qr_expiry_forces_disconnect(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.connect(instance)
    session.show_qr("one")
    assert lab.look(instance).qr.attempt == 1
    lab.clock.advance(60)
    session.show_qr("two")
    assert lab.look(instance).qr.attempt == 2
    lab.clock.advance(20)
    session.show_qr("three")
    snapshot = lab.look(instance)
    assert (snapshot.qr.attempt, snapshot.qr.limit) == (3, 3)
    assert lab.advance(instance, 19).status is InstanceStatus.QR
    snapshot = lab.advance(instance, 1.1)
    assert snapshot.status is InstanceStatus.FORCE_DISCONNECTED
    assert snapshot.reason is Reason.QR_LIMIT_REACHED
    assert snapshot.desired is WantedState.DISCONNECTED
    assert session.killed
    assert not session.alive
    assert (lab.observer.qr_shown, lab.observer.qr_limits) == (3, 1)
    lab.advance(instance, 3600)
    assert len(lab.driver.sessions) == 1, "nothing reconnects by itself"


def test_a_fourth_qr_code_is_never_shown(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.connect(instance)
    for text in ("one", "two", "three", "four"):
        session.show_qr(text)
    assert lab.look(instance).status is InstanceStatus.FORCE_DISCONNECTED
    codes = [e.data["code"] for e in lab.stored_events(instance) if "code" in e.data]
    assert codes == ["one", "two", "three"]


def test_connecting_again_after_the_limit_shows_three_new_codes(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.connect(instance)
    for text in ("one", "two", "three", "four"):
        session.show_qr(text)
    session = lab.connect(instance)
    session.show_qr("five")
    assert lab.look(instance).qr.attempt == 1


def test_a_drop_while_codes_are_shown_does_not_renew_the_limit(lab: InstanceLab) -> None:
    instance = lab.create()
    first = lab.connect(instance)
    first.show_qr("one")
    first.show_qr("two")
    first.drop()
    lab.look(instance)
    lab.advance(instance, 0.1)
    lab.driver.wait_for(2)
    second = lab.session(instance)
    second.show_qr("three")
    assert lab.look(instance).qr.attempt == 3
    second.show_qr("four")
    assert lab.look(instance).status is InstanceStatus.FORCE_DISCONNECTED


def test_the_clients_own_end_after_the_third_code_forces_disconnect(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.connect(instance)
    for code in ("one", "two", "three"):
        session.show_qr(code)
    session.emit(QrPhaseEnded(instance=instance, outcome="timeout"))
    assert lab.look(instance).status is InstanceStatus.FORCE_DISCONNECTED


def test_the_clients_own_end_before_the_third_code_is_a_lost_connection(lab: InstanceLab) -> None:
    instance = lab.create()
    first = lab.connect(instance)
    first.show_qr("one")
    first.emit(QrPhaseEnded(instance=instance, outcome="timeout"))
    snapshot = lab.look(instance)
    assert snapshot.status is InstanceStatus.CONNECTING
    assert snapshot.last_error.reason is Reason.CONNECTION_LOST
    lab.advance(instance, 0.1)
    lab.driver.wait_for(2)
    lab.session(instance).show_qr("two")
    assert lab.look(instance).qr.attempt == 2


def test_a_missing_next_code_restarts_the_session(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.connect(instance).show_qr()
    lab.look(instance)
    lab.advance(instance, 63)
    assert lab.look(instance).qr is None
    lab.advance(instance, lab.policy.connect_timeout)
    lab.advance(instance, 0.1)
    lab.driver.wait_for(2)


def test_a_passkey_demand_ends_the_attempt(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.connect(instance)
    session.show_qr()
    session.emit(QrPhaseEnded(instance=instance, outcome="passkey_required"))
    snapshot = lab.look(instance)
    assert snapshot.status is InstanceStatus.PASSKEY_REQUIRED
    assert snapshot.last_error.reason is Reason.PASSKEY_REQUIRED


def test_connect_twice_opens_one_session(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.connect(instance)
    assert lab.ask(instance, Connect()).status is InstanceStatus.CONNECTING
    lab.look(instance)
    assert len(lab.driver.sessions) == 1


def test_disconnect_keeps_the_keys_and_connect_resumes_them(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    lab.ask(instance, Disconnect())
    snapshot = lab.look(instance)
    assert snapshot.status is InstanceStatus.DISCONNECTED
    assert instance in lab.driver.keys
    session = lab.connect(instance)
    assert session.spec.jid == "15550100:1@s.whatsapp.net"


def test_disconnect_is_not_claimed_before_the_process_is_gone(tmp_path: Path) -> None:
    with instance_lab(tmp_path) as lab:
        instance = lab.create()
        lab.driver.script(SlowSession)
        lab.link(instance)
        snapshot = lab.ask(instance, Disconnect())
        assert snapshot.status is InstanceStatus.CONNECTED
        assert snapshot.desired is WantedState.DISCONNECTED
        snapshot = lab.advance(instance, lab.policy.stop_grace)
        assert snapshot.status is InstanceStatus.DISCONNECTED


def test_connect_while_disconnecting_starts_anew_after_the_process_is_gone(
    tmp_path: Path,
) -> None:
    with instance_lab(tmp_path) as lab:
        instance = lab.create()
        lab.driver.script(SlowSession)
        lab.link(instance)
        lab.ask(instance, Disconnect())
        lab.ask(instance, Connect())
        assert len(lab.driver.sessions) == 1, "never two processes on one key store"
        lab.advance(instance, lab.policy.stop_grace)
        lab.driver.wait_for(2)
        assert not lab.driver.sessions[0].alive


def test_a_drop_is_first_left_to_the_client(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    session.drop()
    snapshot = lab.look(instance)
    assert snapshot.status is InstanceStatus.RECONNECTING
    assert snapshot.last_error.reason is Reason.CONNECTION_LOST
    lab.clock.advance(1.5)
    session.connect()
    snapshot = lab.look(instance)
    assert snapshot.status is InstanceStatus.CONNECTED
    assert snapshot.last_error is None
    assert lab.observer.reconnects == [1.5]
    assert len(lab.driver.sessions) == 1


def test_a_client_that_does_not_come_back_is_replaced(lab: InstanceLab) -> None:
    instance = lab.create()
    first = lab.link(instance)
    first.drop()
    lab.look(instance)
    lab.advance(instance, lab.policy.library_grace)
    assert first.killed
    lab.advance(instance, lab.policy.reconnect.initial)
    lab.driver.wait_for(2)
    second = lab.session(instance)
    assert second.spec.jid == "15550100:1@s.whatsapp.net"
    second.connect()
    assert lab.look(instance).status is InstanceStatus.CONNECTED
    assert len(lab.observer.reconnects) == 1


def test_reconnecting_waits_with_jitter_under_a_ceiling(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    lab.driver.session_type = NeverConnects
    lab.session(instance).exit(-9)
    lab.look(instance)
    lab.advance(instance, 0)
    waits = []
    for number in range(2, 12):
        lab.driver.wait_for(number)
        failure = ConnectFailed(instance=instance, detail="connection refused")
        lab.session(instance).emit(failure)
        snapshot = lab.look(instance)
        assert snapshot.status is InstanceStatus.RECONNECTING
        wait = (snapshot.next_attempt_at - lab.clock.now()).total_seconds()
        waits.append(wait)
        lab.advance(instance, wait + 0.001)
    assert all(0 <= wait <= lab.policy.reconnect.maximum for wait in waits)
    assert len(set(waits)) == len(waits), "the waits are drawn, not fixed"
    assert lab.look(instance).status is InstanceStatus.RECONNECTING


def test_no_process_is_started_while_whatsapp_cannot_be_reached(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    lab.driver.network_up = False
    lab.session(instance).exit(-9)
    lab.look(instance)
    for _ in range(60):
        lab.advance(instance, 1.0)
    snapshot = lab.look(instance)
    assert snapshot.status is InstanceStatus.RECONNECTING
    assert snapshot.last_error.detail == "WhatsApp cannot be reached"
    assert snapshot.attempt > 5
    assert len(lab.driver.sessions) == 1
    lab.driver.network_up = True
    lab.advance(instance, lab.policy.reconnect.maximum)
    lab.driver.wait_for(2)
    lab.session(instance).connect()
    assert lab.look(instance).status is InstanceStatus.CONNECTED
    assert 60 < lab.observer.reconnects[0] <= 60 + lab.policy.reconnect.maximum


def test_an_outage_is_one_transition_however_often_it_is_tried(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    lab.driver.network_up = False
    before = len(lab.audit_of(instance))
    lab.session(instance).exit(-9)
    for _ in range(60):
        lab.advance(instance, 1.0)
    assert lab.statuses(instance)[-1] == "reconnecting"
    assert len(lab.audit_of(instance)) == before + 1


def test_a_killed_session_process_comes_back_at_once(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance).exit(-9)
    lab.look(instance)
    lab.advance(instance, 0)
    lab.driver.wait_for(2)
    lab.session(instance).connect()
    assert lab.look(instance).status is InstanceStatus.CONNECTED
    assert lab.observer.drops == [Reason.SESSION_CRASHED]
    assert lab.observer.exits == [-9]


def test_the_restart_budget_ends_in_failed_and_connect_renews_it(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    budget = lab.policy.crash_budget.max_restarts
    for crash in range(budget + 1):
        lab.session(instance).exit(-6)
        lab.look(instance)
        if crash < budget:
            lab.advance(instance, lab.policy.reconnect.maximum)
            lab.driver.wait_for(crash + 2)
            lab.session(instance).connect()
    snapshot = lab.look(instance)
    assert snapshot.status is InstanceStatus.FAILED
    assert snapshot.last_error.reason is Reason.RESTART_BUDGET_SPENT
    lab.advance(instance, 30.0)  # far less than what the budget is for
    assert len(lab.driver.sessions) == budget + 1
    lab.connect(instance)
    lab.session(instance).connect()
    assert lab.look(instance).status is InstanceStatus.CONNECTED
    lab.session(instance).exit(-6)
    assert lab.look(instance).status is InstanceStatus.RECONNECTING


def test_a_connection_that_lasted_starts_the_pauses_anew_and_a_short_one_does_not(
    lab: InstanceLab,
) -> None:
    instance = lab.create()
    lab.link(instance)
    for number, (lasted, attempt) in enumerate(
        [(59.0, 1), (59.0, 2), (1.0, 3), (lab.policy.backoff_reset_after, 1)]
    ):
        for _ in range(int(lasted)):  # in steps, so that the session's pings are answered
            lab.advance(instance, lasted / int(lasted))
        lab.session(instance).exit(-9)
        assert lab.look(instance).attempt == attempt
        lab.advance(instance, lab.policy.reconnect.maximum)
        lab.driver.wait_for(number + 2)
        lab.session(instance).connect()
        assert lab.look(instance).status is InstanceStatus.CONNECTED


class Undead(ScriptedSession):
    """Outlives SIGKILL, as a process does that hangs in the kernel."""

    def kill(self) -> None:
        self.killed = True


def test_a_process_that_outlives_sigkill_bars_its_keys_until_it_is_gone(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(Undead)
    undead = lab.link(instance)
    undead.emit(KeepAliveTimeout(instance=instance, failures=1))
    lab.look(instance)
    assert undead.killed
    snapshot = lab.advance(instance, lab.policy.stop_grace + lab.policy.kill_timeout)
    assert (snapshot.status, snapshot.reason) == (
        InstanceStatus.FAILED,
        Reason.SESSION_UNRESPONSIVE,
    )
    with pytest.raises(CommandForbiddenError, match="still hangs"):
        lab.ask(instance, Connect())
    lab.advance(instance, 3600)
    assert len(lab.driver.sessions) == 1
    undead.exit(-9)
    lab.look(instance)
    lab.connect(instance).connect()
    assert lab.look(instance).status is InstanceStatus.CONNECTED


def test_a_process_that_does_not_answer_is_killed_and_replaced(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    first = lab.link(instance)
    lab.advance(instance, lab.policy.ping_interval)
    assert lab.look(instance).status is InstanceStatus.CONNECTED
    lab.advance(instance, lab.policy.ping_timeout)
    assert first.killed
    lab.advance(instance, 0)
    lab.driver.wait_for(2)
    lab.session(instance).connect()
    assert lab.look(instance).status is InstanceStatus.CONNECTED
    assert lab.observer.drops == [Reason.SESSION_UNRESPONSIVE]


def test_a_hanging_process_is_noticed_while_a_qr_code_is_shown(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    first = lab.connect(instance)
    first.show_qr()
    lab.look(instance)
    lab.advance(instance, lab.policy.ping_interval)
    lab.advance(instance, lab.policy.ping_timeout)
    assert first.killed


def test_a_mute_whatsapp_is_noticed_by_the_probe(lab: InstanceLab) -> None:
    class AnswersPingsOnly(SlowSession):
        def on_command(self, command: object) -> None:
            from wavisor.whatsapp.commands import Ping

            if isinstance(command, Ping):
                self.emit(self.answer(command.id))

    instance = lab.create()
    lab.driver.script(AnswersPingsOnly)
    session = lab.link(instance)
    waited = 0.0
    while lab.look(instance).status is InstanceStatus.CONNECTED and waited < 120:
        lab.advance(instance, 1.0)
        waited += 1.0
    assert session.killed
    assert waited <= lab.policy.probe_interval + lab.policy.probe_timeout + 1
    assert lab.observer.drops == [Reason.KEEPALIVE_TIMEOUT]


class RefusesProbes(ScriptedSession):
    """Lets WhatsApp's query fail at once, as while the client looks for its connection."""

    def on_command(self, command: Command) -> None:
        if isinstance(command, Probe):
            failure = Failure(reason="not_connected", detail="no connection")
            self.emit(self.answer(command.id, failure=failure))
        else:
            super().on_command(command)


def test_a_probe_that_fails_counts_as_no_answer(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(RefusesProbes)
    session = lab.link(instance)
    for _ in range(int(lab.policy.probe_interval)):
        lab.advance(instance, 1.0)
    assert lab.look(instance).status is InstanceStatus.CONNECTED, "its deadline is to come"
    for _ in range(int(lab.policy.probe_timeout)):
        lab.advance(instance, 1.0)
    assert session.killed
    assert lab.observer.drops == [Reason.KEEPALIVE_TIMEOUT]


def test_a_pairing_that_leads_to_no_login_is_tried_again(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.connect(instance)
    session.show_qr()
    session.pair()
    assert lab.look(instance).status is InstanceStatus.PAIRING
    for _ in range(int(lab.policy.pairing_timeout) - 1):
        lab.advance(instance, 1.0)
    assert session.alive
    lab.advance(instance, 1.0)
    assert session.killed
    snapshot = lab.look(instance)
    assert snapshot.last_error is not None
    assert snapshot.last_error.reason is Reason.CONNECT_TIMEOUT
    lab.advance(instance, lab.policy.reconnect.maximum)
    lab.driver.wait_for(2)
    assert lab.session(instance).spec.jid == snapshot.jid is not None


def test_a_keepalive_timeout_replaces_the_session(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    session.emit(KeepAliveTimeout(instance=instance, failures=1))
    assert lab.look(instance).status is InstanceStatus.RECONNECTING
    assert session.killed


def test_no_login_in_time_is_tried_again(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.connect(instance)
    lab.advance(instance, lab.policy.connect_timeout)
    assert session.killed
    assert lab.look(instance).last_error.reason is Reason.CONNECT_TIMEOUT
    lab.advance(instance, 0)
    lab.driver.wait_for(2)


@pytest.mark.parametrize(
    ("event", "status", "reason"),
    [
        (lambda i: StreamReplaced(instance=i), "replaced", "stream_replaced"),
        (lambda i: ClientOutdated(instance=i), "outdated", "client_outdated"),
        (
            lambda i: ConnectFailed(instance=i, code=403, detail="banned for good", permanent=True),
            "failed",
            "connect_refused",
        ),
    ],
)
def test_a_permanent_end_is_not_followed_by_a_reconnection(
    lab: InstanceLab, event: object, status: str, reason: str
) -> None:
    instance = lab.create()
    session = lab.link(instance)
    session.emit(event(instance))  # type: ignore[operator]
    snapshot = lab.look(instance)
    assert (snapshot.status.value, snapshot.last_error.reason.value) == (status, reason)
    assert snapshot.desired is WantedState.CONNECTED
    assert instance in lab.driver.keys
    lab.advance(instance, 3600)
    assert len(lab.driver.sessions) == 1


def test_a_ban_forbids_connecting_until_it_ends(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    session.emit(TemporaryBan(instance=instance, code=101, detail="spam", expires_in=3600))
    snapshot = lab.look(instance)
    assert snapshot.status is InstanceStatus.BANNED
    assert InstanceCommand.CONNECT not in snapshot.allowed
    with pytest.raises(CommandForbiddenError, match="banned this account until"):
        lab.ask(instance, Connect())
    assert InstanceCommand.CONNECT in lab.advance(instance, 3601).allowed
    lab.connect(instance).connect()
    assert lab.look(instance).banned_until is None


def test_disconnecting_what_is_down_keeps_why_and_until_when(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    session.emit(TemporaryBan(instance=instance, code=101, detail="spam", expires_in=3600))
    before = lab.look(instance)
    after = lab.ask(instance, Disconnect())
    assert after.desired is WantedState.DISCONNECTED
    assert (after.status, after.banned_until) == (InstanceStatus.BANNED, before.banned_until)
    with pytest.raises(CommandForbiddenError, match="banned this account until"):
        lab.ask(instance, Connect())
    assert lab.row(instance).desired is WantedState.DISCONNECTED


def test_being_unlinked_discards_the_keys_and_keeps_the_slot(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    lab.driver.keys.add(instance)
    session.emit(LoggedOut(instance=instance, on_connect=False))
    snapshot = lab.look(instance)
    assert snapshot.status is InstanceStatus.LOGGED_OUT
    assert instance not in lab.driver.keys
    row = lab.row(instance)
    assert (row.jid, row.phone) == (None, None)
    assert lab.connect(instance).spec.jid is None


def test_logout_unlinks_at_whatsapp_and_answers_when_the_keys_are_gone(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    snapshot = lab.ask(instance, Logout())
    assert snapshot.status is InstanceStatus.LOGGED_OUT
    assert len(session.commands(LogoutCommand)) == 1
    assert instance not in lab.driver.keys


def test_logout_without_a_connection_still_discards_the_keys(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    lab.ask(instance, Disconnect())
    lab.look(instance)
    assert lab.ask(instance, Logout()).status is InstanceStatus.LOGGED_OUT
    assert instance not in lab.driver.keys
    with pytest.raises(CommandForbiddenError):
        lab.ask(instance, Logout())


def test_logout_that_whatsapp_never_confirms_ends_all_the_same(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    lab.link(instance)
    future = lab.ref(instance).ask(Logout(), block=False)
    lab.look(instance)
    lab.advance(instance, lab.policy.logout_timeout)
    assert future.get(timeout=60).status is InstanceStatus.LOGGED_OUT


def test_delete_leaves_no_process_and_no_key(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    assert lab.ask(instance, Delete()) is None
    assert not session.alive
    assert instance not in lab.driver.keys
    with pytest.raises(CommandForbiddenError, match="being deleted"):
        lab.ask(instance, Connect())


def test_delete_while_connecting_leaves_nothing(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.connect(instance)
    lab.ask(instance, Delete())
    assert not session.alive
    lab.advance(instance, 3600)
    assert len(lab.driver.sessions) == 1


def test_a_pairing_code_is_asked_of_whatsapp(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.connect(instance)
    session.show_qr()
    code = lab.ask(instance, RequestPairingCode("15550100"))
    assert isinstance(code, PairingCode)
    assert code.code == "ABCD-1234"
    assert lab.look(instance).pairing_code == code
    assert lab.stored_events(instance)[-1].type == "instance:pairing:code"
    session.pair()
    assert lab.look(instance).reason is Reason.CODE_ENTERED


def test_a_pairing_code_ends_with_the_last_qr_code(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.connect(instance)
    session.show_qr()
    assert lab.look(instance).status is InstanceStatus.QR
    began = lab.clock.now()
    lab.advance(instance, 50.0)
    early = lab.ask(instance, RequestPairingCode("15550100"))
    assert early.expires_at == began + timedelta(seconds=60 + 20 + 20)
    for text in ("two", "three"):
        session.show_qr(text)
    lab.look(instance)
    lab.advance(instance, 5.0)
    late = lab.ask(instance, RequestPairingCode("15550100"))
    last = lab.look(instance).qr
    assert last is not None
    assert late.expires_at == last.expires_at
    lab.advance(instance, (late.expires_at - lab.clock.now()).total_seconds())
    assert lab.look(instance).status is InstanceStatus.FORCE_DISCONNECTED


def test_a_pairing_code_that_never_comes_is_an_error(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    lab.connect(instance).show_qr()
    future = lab.ref(instance).ask(RequestPairingCode("15550100"), block=False)
    lab.look(instance)
    lab.advance(instance, lab.policy.pairing_code_timeout)
    with pytest.raises(PairingFailedError):
        future.get(timeout=60)


def test_restart_replaces_the_session_process(lab: InstanceLab) -> None:
    instance = lab.create()
    first = lab.link(instance)
    lab.ask(instance, Restart())
    lab.driver.wait_for(2)
    assert not first.alive
    lab.session(instance).connect()
    assert lab.look(instance).status is InstanceStatus.CONNECTED


def test_boot_restores_what_was_wanted_and_nothing_else(tmp_path: Path) -> None:
    driver = ScriptedDriver(connects_by_itself=True)
    lab = InstanceLab(tmp_path, driver=driver)
    jid = "15550100:1@s.whatsapp.net"
    wanted, unwanted, forced = (lab.create_row(name) for name in ("a", "b", "c"))
    lab.set_row(wanted, desired=WantedState.CONNECTED, status=InstanceStatus.CONNECTED, jid=jid)
    lab.set_row(
        unwanted, desired=WantedState.DISCONNECTED, status=InstanceStatus.CONNECTED, jid=jid
    )
    lab.set_row(forced, desired=WantedState.CONNECTED, status=InstanceStatus.REPLACED, jid=jid)
    try:
        lab.start()
        for one in (wanted, unwanted, forced):
            lab.wait_for_actor(one)
            lab.advance(one, 0.001)
        assert lab.look(wanted).status is InstanceStatus.CONNECTED
        assert lab.look(unwanted).status is InstanceStatus.DISCONNECTED
        assert lab.look(forced).status is InstanceStatus.REPLACED
        assert [session.spec.instance_id for session in driver.sessions] == [wanted]
    finally:
        lab.close()


def test_a_crash_of_the_actor_ends_the_session_and_a_new_actor_takes_over(
    lab: InstanceLab,
) -> None:
    instance = lab.create()
    first = lab.link(instance)
    old = lab.ref(instance)
    original = lab.services.driver.discard_keys
    lab.services.driver.discard_keys = None  # type: ignore[method-assign, assignment]
    with pytest.raises(ActorDeadError):
        lab.ask(instance, Logout())
    lab.services.driver.discard_keys = original  # type: ignore[method-assign]
    assert not first.alive
    lab.wait_for_actor(instance, other_than=old)
    assert lab.look(instance).desired is WantedState.DISCONNECTED


def test_a_crash_of_the_actor_is_a_drop_like_any_other(tmp_path: Path) -> None:
    with instance_lab(tmp_path, driver=ScriptedDriver(connects_by_itself=True)) as lab:
        instance = lab.create()
        first = lab.link(instance)
        crashed = lab.ref(instance)
        crashed.tell(SettingsChanged(None))  # type: ignore[arg-type]
        lab.wait_for_actor(instance, other_than=crashed)
        assert first.killed
        lab.advance(instance, 0.001)
        assert lab.look(instance).status is InstanceStatus.CONNECTED
        assert lab.observer.drops == [Reason.ACTOR_RESTARTED]
        assert len(lab.observer.reconnects) == 1
        changes = [e.data for e in lab.stored_events(instance) if "new" in e.data][-2:]
        assert [(data["new"], data["reason"]) for data in changes] == [
            ("connecting", "actor_restarted"),
            ("connected", "logged_in"),
        ]


def test_an_instance_whose_actor_keeps_crashing_fails_alone_until_it_is_connected_again(
    lab: InstanceLab,
) -> None:
    instance, sibling = lab.create("one"), lab.create("two")
    lab.link(instance)
    untouched = lab.link(sibling)
    failed = threading.Event()

    def hear(record: EventRecord) -> None:
        if record.data.get("new") == "failed":
            failed.set()

    lab.hub.subscribe(hear)
    for _ in range(lab.policy.crash_budget.max_restarts):
        crashed = lab.ref(instance)
        crashed.tell(SettingsChanged(None))  # type: ignore[arg-type]
        lab.wait_for_actor(instance, other_than=crashed)
    lab.ref(instance).tell(SettingsChanged(None))  # type: ignore[arg-type]
    assert failed.wait(60)
    row = lab.row(instance)
    assert (row.status, row.desired) == (InstanceStatus.FAILED, WantedState.CONNECTED)
    assert row.last_error["reason"] == "restart_budget_spent"
    assert "Error" not in row.last_error["detail"]  # the exception is for the operator
    assert "Error" in lab.audit_of(instance)[0].after["detail"]
    assert lab.observer.statuses[instance] == (InstanceStatus.FAILED, WantedState.CONNECTED)
    assert untouched.alive
    assert lab.look(sibling).status is InstanceStatus.CONNECTED
    supervisor = lab.environment.directory.find("instances")
    ask_sync(supervisor, RestartChild(instance), 60)
    assert lab.look(instance).status is InstanceStatus.FAILED, "only `connect` leaves it"
    lab.connect(instance).connect()
    assert lab.look(instance).status is InstanceStatus.CONNECTED


@pytest.mark.parametrize(
    ("desired", "stored", "told"),
    [
        ("connected", "connected", "connecting"),
        ("connected", "reconnecting", "connecting"),
        ("disconnected", "connected", "disconnected"),
        ("connected", "banned", "banned"),
        ("disconnected", "logged_out", "logged_out"),
    ],
)
def test_an_instance_without_an_actor_is_not_connected_whatever_its_row_says(
    tmp_path: Path, desired: str, stored: str, told: str
) -> None:
    with instance_lab(tmp_path) as lab:
        instance = lab.create_row()
        lab.set_row(instance, desired=WantedState(desired), status=InstanceStatus(stored))
        assert state_without_actor(lab.row(instance)).status is InstanceStatus(told)


def test_shutdown_keeps_the_wish_and_ends_the_process(tmp_path: Path) -> None:
    lab = InstanceLab(tmp_path)
    lab.start()
    instance = lab.create()
    session = lab.link(instance)
    assert lab.stop().kind == "shutdown"
    assert not session.alive
    row = lab.row(instance)
    assert row.desired is WantedState.CONNECTED
    assert lab.statuses(instance)[-1] == "connected"
    lab.close()
