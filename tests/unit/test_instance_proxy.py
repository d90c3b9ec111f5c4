"""An instance with a proxy of its own: which way it goes, when it changes, when it is dead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.instance_lab import InstanceLab, instance_lab
from wavisor.actors.instance.messages import Disconnect, SettingsChanged
from wavisor.domain import InstanceStatus, Reason
from wavisor.whatsapp.events import ConnectFailed
from wavisor.whatsapp.scripted_defects import NeverConnects

PROXY = "socks5://somebody:secret@proxy.example:1080"
OTHER = "http://proxy.example:3128"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[InstanceLab]:
    with instance_lab(tmp_path) as one:
        yield one


def test_the_session_is_opened_with_the_proxy_of_the_settings(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.configure(instance, {"proxy": PROXY})
    assert lab.driver.sessions == []
    assert lab.link(instance).spec.proxy == PROXY
    assert "secret" not in repr(lab.session(instance).spec)
    assert "secret" not in repr(SettingsChanged({"proxy": PROXY}))


def test_another_proxy_means_another_session_and_the_same_one_does_not(lab: InstanceLab) -> None:
    instance = lab.create()
    first = lab.link(instance)
    lab.driver.connects_by_itself = True
    lab.configure(instance, {"proxy": PROXY})
    lab.driver.wait_for(2)
    lab.look(instance)
    second = lab.session(instance)
    assert first.stopped is not None, "it was not asked politely"
    assert (second.spec.proxy, second.spec.jid) == (PROXY, "15550100:1@s.whatsapp.net")
    assert lab.look(instance).status is InstanceStatus.CONNECTED
    reasons = [
        one.data["reason"]
        for one in lab.stored_events(instance)
        if one.type == "instance:status:changed"
    ]
    assert reasons[-2:] == ["proxy_changed", "logged_in"]
    lab.configure(instance, {"proxy": PROXY, "presence": {"alwaysOnline": True}})
    assert lab.session(instance) is second
    lab.configure(instance, {"proxy": None})
    lab.driver.wait_for(3)
    assert lab.session(instance).spec.proxy is None


def test_an_instance_at_rest_is_not_started_by_a_proxy(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    lab.ask(instance, Disconnect())
    lab.look(instance)
    lab.configure(instance, {"proxy": PROXY})
    assert lab.look(instance).status is InstanceStatus.DISCONNECTED
    assert len(lab.driver.sessions) == 1


def test_a_dead_proxy_is_tried_again_by_the_backoff_and_costs_no_process(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.configure(instance, {"proxy": PROXY})
    session = lab.link(instance)
    lab.driver.dead_proxies.add(PROXY)
    session.drop()
    session.kill()
    for _ in range(5):
        lab.advance(instance, 30)
    state = lab.look(instance)
    assert state.status is InstanceStatus.RECONNECTING
    assert state.last_error is not None
    assert state.last_error.reason is Reason.PROXY_UNREACHABLE
    assert "proxy.example" not in state.last_error.detail
    assert len(lab.driver.sessions) == 1
    lab.driver.connects_by_itself = True
    lab.driver.dead_proxies.clear()
    lab.advance(instance, 60)
    lab.driver.wait_for(2)
    assert lab.look(instance).status is InstanceStatus.CONNECTED


def test_what_all_share_decides_for_none_that_has_a_proxy(lab: InstanceLab) -> None:
    lab.driver.network_up = False
    lab.driver.connects_by_itself = True
    own, shared = lab.create("own"), lab.create("shared")
    lab.configure(own, {"proxy": PROXY})
    for instance in (own, shared):
        session = lab.link(instance)
        session.drop()
        session.exit(1)
    for instance in (own, shared):
        lab.advance(instance, 60)
    assert lab.look(own).status is InstanceStatus.CONNECTED
    assert lab.look(shared).status is InstanceStatus.RECONNECTING


def test_a_proxy_that_refuses_is_a_transient_failure_of_its_own(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.configure(instance, {"proxy": OTHER})
    session = lab.connect(instance)
    detail = "the proxy refuses to connect to WhatsApp (407)"
    session.emit(ConnectFailed(instance=instance, cause="proxy", detail=detail))
    session.exit(2)
    state = lab.look(instance)
    assert (state.status, state.reason) == (InstanceStatus.CONNECTING, Reason.PROXY_UNREACHABLE)
    assert state.last_error is not None
    assert state.last_error.detail == detail
    assert state.next_attempt_at is not None


def test_a_proxy_that_never_answers_holds_up_no_other_start(tmp_path: Path) -> None:
    with instance_lab(tmp_path, slots=1) as lab:
        stuck, other = lab.create("stuck"), lab.create("other")
        lab.configure(stuck, {"proxy": PROXY})
        lab.driver.script(NeverConnects, NeverConnects)
        lab.connect(stuck)  # waits for a login, and needs no slot any more
        lab.connect(other)
        assert lab.look(stuck).status is InstanceStatus.CONNECTING
