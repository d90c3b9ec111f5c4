"""Processes that die or hang, one by one: sessions, the gateway, the forkserver."""

from __future__ import annotations

import os
import signal
import time

import pytest

from support.live import LiveGateway, new_number
from support.live_client import Instance, Owner
from support.processes import is_running, wait_gone, wait_stopped
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.people import ECHO_NUMBER

pytestmark = pytest.mark.e2e

LIVE_SETTINGS = {
    "liveness_ping_interval_seconds": "1",
    "liveness_ping_timeout_seconds": "4",
    "backoff_maximum_seconds": "1",
    "restore_stagger_seconds": "0.01",
    "instance_max_restarts": "2",
}

SENT = {"sent", "delivered", "read"}


@pytest.fixture
def ann(owner: Owner, whatsapp: SandboxControl) -> Instance:
    return owner.create("Ann").link(whatsapp, new_number())


@pytest.fixture
def bob(owner: Owner, whatsapp: SandboxControl) -> Instance:
    return owner.create("Bob").link(whatsapp, new_number(), "Bob")


def session_of(live: LiveGateway, instance: Instance) -> int:
    pid = live.session_pid(instance.id)
    assert pid is not None
    return pid


def test_a_killed_session_comes_back_and_no_other_notices(
    live: LiveGateway, ann: Instance, bob: Instance, whatsapp: SandboxControl
) -> None:
    victim, other = session_of(live, ann), session_of(live, bob)
    connections = whatsapp.stats().attempts_total
    mark = ann.mark
    os.kill(victim, signal.SIGKILL)
    lost = ann.wait_status("reconnecting", mark)
    assert lost["reason"] == "session_crashed"
    assert ann.wait_status("connected", mark)["lastError"] is None
    assert session_of(live, ann) != victim
    assert session_of(live, bob) == other
    assert bob.statuses(mark) == []
    assert owner_events(bob, mark) == []
    # One connection was made: the other instance's socket is the one that it had.
    assert whatsapp.stats().attempts_total == connections + 1
    assert ann.owner.feed.all("instance:qr:updated", ann.id, mark) == []
    assert ann.send(bob.phone, "I am back", wait=30)["status"] in SENT
    bob.wait_text("I am back")


def owner_events(instance: Instance, mark: int) -> list[object]:
    return list(instance.owner.feed.all(instance=instance.id, after=mark))


def test_a_stopped_session_is_noticed_killed_and_replaced(
    live: LiveGateway, ann: Instance, bob: Instance
) -> None:
    victim, other = session_of(live, ann), session_of(live, bob)
    mark = ann.mark
    os.kill(victim, signal.SIGSTOP)
    wait_stopped(victim)
    lost = ann.wait_status("reconnecting", mark)
    assert lost["reason"] == "session_unresponsive"
    assert wait_gone([victim], 5) == []
    ann.wait_status("connected", mark)
    assert session_of(live, ann) != victim
    assert (session_of(live, bob), bob.statuses(mark)) == (other, [])


def test_a_session_that_keeps_crashing_fails_until_somebody_connects(
    live: LiveGateway, ann: Instance, bob: Instance
) -> None:
    other, mark = session_of(live, bob), ann.mark
    for _ in range(2):
        crash = ann.mark
        os.kill(session_of(live, ann), signal.SIGKILL)
        ann.wait_status("connected", crash)
    os.kill(session_of(live, ann), signal.SIGKILL)
    failed = ann.wait_status("failed", mark)
    assert failed["reason"] == "restart_budget_spent"
    assert failed["lastError"]["reason"] == "restart_budget_spent"
    assert live.session_pids == [other]
    assert ann.api("POST", "/restart", {}).status == 409
    mark = ann.mark
    ann.connect()
    ann.wait_status("connected", mark)
    assert ann.status()["lastError"] is None
    # With a full budget: one more crash is survived.
    crash = ann.mark
    os.kill(session_of(live, ann), signal.SIGKILL)
    ann.wait_status("connected", crash)
    assert (bob.statuses(mark), session_of(live, bob)) == ([], other)


def test_a_killed_gateway_leaves_no_process_and_loses_no_message(
    live: LiveGateway, owner: Owner, ann: Instance, bob: Instance, whatsapp: SandboxControl
) -> None:
    """What was accepted is sent, or is told to be uncertain; nothing is sent twice."""
    assert ann.send(ECHO_NUMBER, "first", wait=30)["status"] in SENT
    whatsapp.inject("delay_acks", phone=ann.phone, delay=60)
    mark = ann.mark
    handed_over = ann.send(ECHO_NUMBER, "handed over")["id"]
    ann.wait_text("echo: handed over", mark)
    waiting = [ann.send(ECHO_NUMBER, f"waiting {number}")["id"] for number in range(5)]
    assert owner.message(handed_over)["status"] == "sending"
    assert [owner.message(one)["status"] for one in waiting] == ["queued"] * 5
    family = live.family
    assert len(family) == 3

    mark = owner.feed.mark
    live.kill()
    assert wait_gone(family, 5) == []
    whatsapp.clear_faults()
    owner.feed.wait_closed()
    live.start()
    owner.reopen_feed()

    for instance in (ann, bob):
        instance.wait_status("connected", mark)
        assert instance.statuses(mark) == ["connecting", "connected"]
    assert owner.feed.all("instance:qr:updated", after=mark) == []
    for one in waiting:
        ann.wait_message(one, "read", mark)
    uncertain = owner.message(handed_over)
    assert uncertain["status"] == "uncertain"
    assert uncertain["failure"]["detail"]
    arrived = whatsapp.contact_messages(ECHO_NUMBER, sender=ann.phone)
    expected = ["first", "handed over", *(f"waiting {number}" for number in range(5))]
    assert [message.text for message in arrived] == expected


def test_every_message_that_was_accepted_before_a_kill_is_there_after_it(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    accepted = [ann.send(ECHO_NUMBER, f"text {number}")["id"] for number in range(20)]
    mark = owner.feed.mark
    live.kill()
    live.start()
    owner.reopen_feed()
    ann.wait_status("connected", mark)
    last = ann.send(ECHO_NUMBER, "the last one", wait=60)
    assert last["status"] in SENT
    statuses = [owner.message(one)["status"] for one in accepted]
    assert set(statuses) <= SENT | {"uncertain"}
    # One at a time is handed over, so at most one can be in doubt.
    assert statuses.count("uncertain") <= 1
    texts = [m.text for m in whatsapp.contact_messages(ECHO_NUMBER, sender=ann.phone)]
    assert len(texts) == len(set(texts))
    certain = {f"text {n}" for n, status in enumerate(statuses) if status in SENT}
    assert certain <= set(texts)


def test_a_killed_forkserver_takes_no_instance_with_it_for_long(
    live: LiveGateway, ann: Instance, bob: Instance
) -> None:
    family, forkserver, mark = live.family, live.forkserver_pid, ann.mark
    os.kill(forkserver, signal.SIGKILL)
    for instance in (ann, bob):
        assert instance.wait_status("reconnecting", mark)["reason"] == "session_crashed"
        instance.wait_status("connected", mark)
    assert wait_gone(family, 5) == []
    assert live.forkserver_pid != forkserver
    assert len(live.session_pids) == 2
    assert ann.send(bob.phone, "still here", wait=30)["status"] in SENT
    bob.wait_text("still here")


def test_a_stopped_forkserver_is_noticed_and_replaced(
    live: LiveGateway, ann: Instance, bob: Instance
) -> None:
    forkserver, mark = live.forkserver_pid, ann.mark
    os.kill(forkserver, signal.SIGSTOP)
    wait_stopped(forkserver)
    # Nobody needs it until a session is to end or to start.
    os.kill(session_of(live, ann), signal.SIGSTOP)
    ann.wait_status("connected", mark, patience=45)
    bob.wait_status("connected", mark, patience=45)
    assert not is_running(forkserver)
    assert len(live.session_pids) == 2


def test_killing_a_session_while_it_shows_a_code_shows_another(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create()
    ann.connect()
    first = ann.wait_qr()
    mark, begun = ann.mark, time.monotonic()
    os.kill(session_of(live, ann), signal.SIGKILL)
    second = ann.wait_qr(mark)
    assert time.monotonic() - begun < 20
    assert second["code"] != first["code"]
    # Still the same attempt of the user's: three codes in all.
    assert (first["attempt"], second["attempt"]) == (1, 2)
    number = new_number()
    whatsapp.add_phone(number, "Ann")
    whatsapp.scan(number, second["code"])
    ann.wait_status("connected", mark)
