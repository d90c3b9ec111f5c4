"""Commands, and what stays: wanted against observed over restarts, logout, delete."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.live import LiveGateway, new_number
from support.live_client import Instance, Owner
from support.processes import wait_gone
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.people import ECHO_NUMBER

pytestmark = pytest.mark.e2e

LIVE_SETTINGS = {"backoff_maximum_seconds": "2", "restore_stagger_seconds": "0.01"}


def disconnect(instance: Instance) -> None:
    mark = instance.mark
    instance.command("disconnect")
    instance.wait_status("disconnected", mark)


def test_a_restart_of_the_gateway_restores_what_was_wanted_and_nothing_else(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    up = owner.create("Up").link(whatsapp, new_number(), "Ann")
    down = owner.create("Down").link(whatsapp, new_number())
    taken = owner.create("Taken over").link(whatsapp, new_number())
    fresh = owner.create("Never connected")
    disconnect(down)
    whatsapp.cause("replace_stream", phone=taken.phone)
    taken.wait_status("replaced")
    before = {one.id: one.status() for one in (down, taken, fresh)}
    pids, mark, log_mark = live.family, owner.feed.mark, live.log.mark

    assert live.stop() == 0
    assert wait_gone(pids, 10) == []
    live.start()
    owner.reopen_feed()

    back = up.wait_status("connected", mark)
    assert back["connection"]["phone"] == f"+{up.phone}"
    assert back["connection"]["pushName"] == "Ann"
    assert back["lastError"] is None
    # It stopped and came back as itself: no other status, no new code to scan.
    assert up.statuses(mark) == ["connecting", "connected"]
    for one in (down, taken, fresh):
        assert one.status() == before[one.id]
        assert one.statuses(mark) == []
    assert owner.feed.all("instance:qr:updated", after=mark) == []
    assert live.log.all("session process started", after=log_mark, instance=up.id) != []
    assert len(live.session_pids) == 1
    assert up.send(ECHO_NUMBER, "back again", wait=30)["status"] in {"sent", "delivered", "read"}
    # What was at rest still connects without a code.
    down.connect()
    down.wait_status("connected", mark)
    assert owner.feed.all("instance:qr:updated", after=mark) == []


def test_messages_that_wait_are_sent_after_a_restart_of_the_gateway(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    disconnect(ann)
    waiting = [ann.send(ECHO_NUMBER, f"waiting {number}")["id"] for number in range(3)]
    live.restart()
    owner.reopen_feed()
    assert [owner.message(one)["status"] for one in waiting] == ["queued"] * 3
    mark = ann.mark
    ann.connect()
    for one in waiting:
        ann.wait_message(one, "read", mark)
    arrived = whatsapp.contact_messages(ECHO_NUMBER, sender=ann.phone)
    assert [message.text for message in arrived] == [f"waiting {n}" for n in range(3)]


def test_restart_replaces_the_session_and_keeps_the_account(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    pid, mark = live.session_pid(ann.id), ann.mark
    ann.command("restart")
    assert ann.wait_status("connected", mark)["connection"]["phone"] == f"+{ann.phone}"
    assert live.session_pid(ann.id) != pid
    assert live.session_pids == [live.session_pid(ann.id)]
    assert owner.feed.all("instance:qr:updated", ann.id, mark) == []


def test_logout_unlinks_the_device_and_keeps_the_slot(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create("Kept").link(whatsapp, new_number())
    pid = live.session_pid(ann.id)
    assert pid is not None
    answer = ann.command("logout")
    assert (answer["status"], answer["account"]) == ("logged_out", None)
    assert whatsapp.phone(ann.phone).companions == []
    assert live.key_files(ann.id) == []
    assert wait_gone([pid], 5) == []
    detail = ann.api("GET").expect(200)
    assert (detail["name"], detail["desired"]) == ("Kept", "disconnected")
    for command in ("logout", "restart", "pairing-code"):
        body = {"phone": f"+{ann.phone}"} if command == "pairing-code" else {}
        refused = ann.api("POST", f"/{command}", body)
        assert refused.status == 409
        assert refused.headers["content-type"] == "application/problem+json"
        assert sorted(refused.json["allowed"]) == ["connect", "disconnect"]
    mark = ann.mark
    ann.connect()
    whatsapp.scan(ann.phone, ann.wait_qr(mark)["code"])
    ann.wait_status("connected", mark)


def test_delete_leaves_no_process_file_or_key(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    other = owner.create("Other").link(whatsapp, new_number())
    ann.send(ECHO_NUMBER, "hello", wait=30)
    pid, mark = live.session_pid(ann.id), ann.mark
    assert pid is not None
    assert live.key_files(ann.id) != []
    assert ann.api("DELETE").status == 204
    assert wait_gone([pid], 5) == []
    assert live.key_files(ann.id) == []
    assert live.session_pids == [live.session_pid(other.id)]
    for method, path in (("GET", ""), ("GET", "/status"), ("GET", "/events"), ("DELETE", "")):
        assert ann.api(method, path).status == 404
    assert ann.api("POST", "/connect", {}).status == 404
    items = owner.api("GET", "/api/instances").expect(200)["items"]
    assert [item["id"] for item in items] == [other.id]
    assert other.statuses(mark) == []


@pytest.mark.parametrize("moment", ["connecting", "qr"])
def test_delete_while_it_connects_leaves_nothing(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl, moment: str
) -> None:
    ann = owner.create()
    if moment == "connecting":
        whatsapp.inject("silent_dial", label=ann.id)
    log_mark = live.log.mark
    ann.connect()
    pid = live.wait_new_session(ann.id, log_mark)
    if moment == "qr":
        ann.wait_qr()
    assert ann.api("DELETE").status == 204
    assert wait_gone([pid], 5) == []
    assert live.session_pids == []
    assert live.key_files(ann.id) == []
    assert ann.api("GET").status == 404


def test_disconnect_while_it_connects_ends_the_session(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create()
    whatsapp.inject("silent_dial", label=ann.id)
    log_mark = live.log.mark
    ann.connect()
    pid = live.wait_new_session(ann.id, log_mark)
    ann.command("disconnect")
    ann.wait_status("disconnected")
    assert wait_gone([pid], 5) == []
    assert ann.status()["desired"] == "disconnected"


def test_connect_from_many_sides_at_once_starts_one_process(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create()
    together, log_mark = threading.Barrier(6), live.log.mark

    def connect() -> int:
        together.wait(60)
        return ann.api("POST", "/connect", {}).status

    with ThreadPoolExecutor(6) as pool:
        answers = [future.result(30) for future in [pool.submit(connect) for _ in range(6)]]
    assert answers == [202] * 6
    ann.wait_qr()
    assert len(live.log.all("session process started", after=log_mark, instance=ann.id)) == 1
    assert len(live.session_pids) == 1
    assert ann.statuses() == ["connecting", "qr"]
    # And again when it is up: nothing happens.
    number = new_number()
    whatsapp.add_phone(number, "Ann")
    whatsapp.scan(number, ann.wait_qr()["code"])
    ann.wait_status("connected")
    mark = ann.mark
    assert ann.connect()["status"] == "connected"
    assert ann.statuses(mark) == []
    assert len(live.log.all("session process started", after=log_mark, instance=ann.id)) == 1


def test_commands_that_the_status_forbids_say_what_is_allowed(
    owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create()
    for command in ("restart", "pairing-code"):
        body = {"phone": "+12025550110"} if command == "pairing-code" else {}
        refused = ann.api("POST", f"/{command}", body)
        assert refused.status == 409
        problem = refused.json
        assert problem["type"] == "urn:wavisor:problem:command-forbidden"
        assert (problem["command"], problem["instanceStatus"]) == (command, "disconnected")
        assert sorted(problem["allowed"]) == ["connect", "disconnect", "logout"]
    qr = ann.api("GET", "/qr")
    assert (qr.status, qr.json["instanceStatus"]) == (409, "disconnected")
    # Repeating what already holds is harmless.
    assert ann.command("disconnect")["status"] == "disconnected"
    ann.link(whatsapp, new_number())
    refused = ann.api("POST", "/pairing-code", {"phone": "+12025550110"})
    assert refused.status == 409
    assert sorted(refused.json["allowed"]) == ["connect", "disconnect", "logout", "restart"]


def test_a_disconnected_instance_forgets_nothing_and_hears_what_it_missed(
    owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create().link(whatsapp, new_number())
    bob = owner.create("Bob").link(whatsapp, new_number(), "Bob")
    disconnect(bob)
    sent = ann.send(bob.phone, "while you were away", wait=30)
    mark = bob.mark
    bob.connect()
    bob.wait_status("connected", mark)
    assert bob.wait_text("while you were away", mark)["whatsappId"] == sent["whatsappId"]
    ann.wait_message(sent["id"], "delivered")
    assert owner.feed.all("instance:qr:updated", bob.id, mark) == []
