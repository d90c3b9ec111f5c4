"""Linking that is interrupted: by the network, by a crash, by the user who changes his mind."""

from __future__ import annotations

import os
import signal

import pytest

from support.live import LiveGateway, new_number
from support.live_client import Instance, Owner
from support.processes import wait_gone, wait_stopped
from wavisor.sandbox.client import SandboxControl

pytestmark = pytest.mark.e2e

LIVE_SETTINGS = {"backoff_maximum_seconds": "1", "restore_stagger_seconds": "0.01"}


def test_a_drop_while_a_code_is_shown_shows_the_next_and_the_third_is_the_last(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create()
    mark = ann.mark
    ann.connect()
    for attempt in (1, 2, 3):
        shown = ann.wait(
            "instance:qr:updated", mark, where=lambda qr, n=attempt: qr["attempt"] == n
        )
        assert shown["limit"] == 3
        assert ann.status()["status"] == "qr"
        whatsapp.cause("drop", label=ann.id)
    ended = ann.wait_status("force_disconnected", mark)
    assert ended["reason"] == "qr_limit_reached"
    assert ended["lastError"]["detail"] == "none of 3 QR codes was scanned"
    codes = [event["data"]["code"] for event in owner.feed.all("instance:qr:updated", ann.id)]
    assert len(set(codes)) == 3
    assert live.session_pids == []
    # Three new ones.
    mark = ann.mark
    ann.connect()
    again = ann.wait_qr(mark)
    assert again["attempt"] == 1
    assert again["code"] not in codes


def in_the_middle_of_pairing(owner: Owner, whatsapp: SandboxControl, number: str) -> Instance:
    """An instance whose code a phone of this number has scanned, and that is not connected yet."""
    whatsapp.add_phone(number, "Ann")
    ann = owner.create()
    ann.connect()
    whatsapp.scan(number, ann.wait_qr()["code"])
    ann.wait("instance:paired")
    return ann


def test_a_gateway_killed_in_the_middle_of_pairing_needs_no_second_scan(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    number = new_number()
    ann = in_the_middle_of_pairing(owner, whatsapp, number)
    mark = ann.mark
    live.kill()
    live.start()
    owner.reopen_feed()
    assert ann.wait_status("connected", mark)["connection"]["phone"] == f"+{number}"
    assert owner.feed.all("instance:qr:updated", ann.id, mark) == []


def test_a_session_killed_in_the_middle_of_pairing_needs_no_second_scan(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = in_the_middle_of_pairing(owner, whatsapp, new_number())
    mark, pid = ann.mark, live.session_pid(ann.id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    ann.wait_status("connected", mark)
    assert owner.feed.all("instance:qr:updated", ann.id, mark) == []


def test_disconnecting_in_the_middle_of_pairing_keeps_the_account(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = in_the_middle_of_pairing(owner, whatsapp, new_number())
    mark = ann.mark
    ann.command("disconnect")
    ann.wait_status("disconnected", mark)
    assert live.session_pids == []
    mark = ann.mark
    ann.connect()
    ann.wait_status("connected", mark)
    assert owner.feed.all("instance:qr:updated", ann.id, mark) == []


def test_a_restart_while_a_code_is_shown_begins_anew(owner: Owner) -> None:
    ann = owner.create()
    ann.connect()
    first = ann.wait_qr()
    mark = ann.mark
    ann.command("restart")
    second = ann.wait_qr(mark)
    assert (first["attempt"], second["attempt"]) == (1, 1)
    assert second["code"] != first["code"]


def test_logout_without_a_network_discards_the_keys_all_the_same(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    mark = ann.mark
    whatsapp.inject("refuse")
    whatsapp.cause("drop", phone=ann.phone)
    ann.wait_status("reconnecting", mark)
    assert ann.command("logout")["status"] == "logged_out"
    assert live.key_files(ann.id) == []
    assert live.session_pids == []
    # WhatsApp could not be told, so the phone still lists the device.
    assert len(whatsapp.phone(ann.phone).companions) == 1


@pytest.mark.parametrize("command", ["disconnect", "delete"])
def test_a_session_that_hangs_is_ended_all_the_same(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl, command: str
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    pid, mark = live.session_pid(ann.id), ann.mark
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    wait_stopped(pid)
    if command == "delete":
        assert ann.api("DELETE").status == 204
        assert live.key_files(ann.id) == []
    else:
        assert ann.command("disconnect")["desired"] == "disconnected"
        ann.wait_status("disconnected", mark)
        assert live.key_files(ann.id) != []
    assert wait_gone([pid], 5) == []


def test_restarts_in_quick_succession_end_with_one_session(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    mark = ann.mark
    for _ in range(5):
        assert ann.command("restart")["desired"] == "connected"
    ann.wait_status("connected", ann.mark)  # after the last of them
    assert owner.feed.all("instance:qr:updated", ann.id, mark) == []
    assert live.session_pids == [live.session_pid(ann.id)]
    assert len(whatsapp.phone(ann.phone).companions) == 1
