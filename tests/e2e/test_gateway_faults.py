"""What WhatsApp can do to an instance, and what the gateway makes of it. Nobody helps it back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.live import LiveGateway, new_number
from support.live_client import Instance, Owner
from support.processes import wait_until
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.people import ECHO_NUMBER

pytestmark = pytest.mark.e2e

# Impatient, so that what takes a minute in production takes seconds here.
LIVE_SETTINGS = {
    "connect_timeout_seconds": "5",
    "liveness_probe_interval_seconds": "1",
    "liveness_probe_timeout_seconds": "4",
    "backoff_maximum_seconds": "2",
}

BACK_WITHIN = 30.0
"""The target of the product: seconds from the return of the network to being connected."""


@pytest.fixture
def ann(owner: Owner, whatsapp: SandboxControl) -> Instance:
    """A connected instance."""
    return owner.create("Ann").link(whatsapp, new_number())


@pytest.fixture
def bob(owner: Owner, whatsapp: SandboxControl) -> Instance:
    """Another one, whom nothing that happens to the first may touch."""
    return owner.create("Bob").link(whatsapp, new_number(), "Bob")


def sends(instance: Instance) -> bool:
    """Whether it really works: a text goes out."""
    return instance.send(ECHO_NUMBER, "still there?", wait=30)["status"] in {
        "sent",
        "delivered",
        "read",
    }


def last_error(instance: Instance) -> Any:
    error = instance.status()["lastError"]
    return error["reason"] if error else None


def test_a_dropped_socket_comes_back_and_harms_no_other(
    live: LiveGateway, ann: Instance, bob: Instance, whatsapp: SandboxControl
) -> None:
    pids = {instance.id: live.session_pid(instance.id) for instance in (ann, bob)}
    assert None not in pids.values()
    mark = ann.mark
    assert whatsapp.cause("drop", phone=ann.phone).hit == 1
    lost = ann.wait_status("reconnecting", mark)
    assert lost["reason"] == "connection_lost"
    assert lost["lastError"]["reason"] == "connection_lost"
    back = ann.wait_status("connected", mark)
    assert back["lastError"] is None
    assert back["connection"]["phone"] == f"+{ann.phone}"
    assert back["connection"]["pushName"] == "Ann"
    assert sends(ann)
    assert sends(bob)
    assert bob.statuses(mark) == []
    assert live.session_pid(bob.id) == pids[bob.id]
    # The client's own quick reconnection sufficed: no process was lost for it.
    assert live.session_pid(ann.id) == pids[ann.id]


@pytest.mark.parametrize(
    "incident",
    [
        {"kind": "close"},
        {"kind": "stream_error", "code": 503},
    ],
    ids=["close", "stream_error"],
)
def test_a_connection_that_the_server_ends_comes_back(
    ann: Instance, whatsapp: SandboxControl, incident: dict[str, Any]
) -> None:
    mark = ann.mark
    whatsapp.cause(phone=ann.phone, **incident)
    ann.wait_status("reconnecting", mark)
    ann.wait_status("connected", mark)
    assert last_error(ann) is None


def test_all_sockets_dropped_at_once_come_back(
    ann: Instance, bob: Instance, whatsapp: SandboxControl
) -> None:
    # WhatsApp may still be about to notice that the sessions of earlier tests are gone.
    wait_until(lambda: len(whatsapp.stats().clients) == 2)
    mark = ann.mark
    assert whatsapp.cause("drop").hit == 2
    for instance in (ann, bob):
        instance.wait_status("reconnecting", mark)
        instance.wait_status("connected", mark)
    assert sends(ann)
    assert sends(bob)


def test_refused_connections_are_retried_until_the_network_is_back(
    live: LiveGateway, ann: Instance, whatsapp: SandboxControl
) -> None:
    mark, whatsapp_was = ann.mark, whatsapp.stats().attempts_total
    whatsapp.inject("refuse", seconds=5)
    refused_until = time.monotonic() + 5
    whatsapp.cause("drop")
    assert ann.wait_status("reconnecting", mark)["reason"] == "connection_lost"
    # Accepted while it is away: kept, and sent when it is back.
    message = ann.send(ECHO_NUMBER, "when you are back")
    assert message["status"] == "queued"
    ann.wait_status("connected", mark, patience=5 + BACK_WITHIN)
    assert time.monotonic() - refused_until < BACK_WITHIN
    ann.wait_text("echo: when you are back")
    ann.wait_message(message["id"], "read")
    assert last_error(ann) is None
    # A bounded number of attempts, with pauses between them.
    assert whatsapp.stats().attempts_total - whatsapp_was < 40
    assert len(live.session_pids) == 1


def test_a_mute_server_is_noticed_and_the_session_replaced(
    live: LiveGateway, ann: Instance, bob: Instance, whatsapp: SandboxControl
) -> None:
    pids = {instance.id: live.session_pid(instance.id) for instance in (ann, bob)}
    mark = ann.mark
    whatsapp.inject("mute", phone=ann.phone)
    lost = ann.wait_status("reconnecting", mark)
    assert lost["reason"] == "keepalive_timeout"
    whatsapp.clear_faults()
    ann.wait_status("connected", mark)
    assert live.session_pid(ann.id) != pids[ann.id]
    assert live.session_pid(bob.id) == pids[bob.id]
    assert bob.statuses(mark) == []
    assert sends(ann)


@pytest.mark.parametrize("kind", ["silent_dial", "silent_handshake", "silent_login"])
def test_an_attempt_that_nobody_answers_is_given_up_and_repeated(
    live: LiveGateway, ann: Instance, whatsapp: SandboxControl, kind: str
) -> None:
    mark, log_mark = ann.mark, live.log.mark
    target = {"phone": ann.phone} if kind == "silent_login" else {"label": ann.id}
    whatsapp.inject(kind, **target)
    ann.command("restart")
    live.log.wait(
        "instance tries again",
        after=log_mark,
        instance=ann.id,
        reason="connect_timeout",
        patience=40,
    )
    assert ann.status()["status"] == "reconnecting"
    whatsapp.clear_faults()
    ann.wait_status("connected", mark, patience=BACK_WITHIN)
    assert len(live.session_pids) == 1


def test_a_replaced_stream_stays_down_until_somebody_connects(
    live: LiveGateway, ann: Instance, bob: Instance, whatsapp: SandboxControl
) -> None:
    pid = live.session_pid(bob.id)
    mark = ann.mark
    whatsapp.cause("replace_stream", phone=ann.phone)
    replaced = ann.wait_status("replaced", mark)
    assert (replaced["reason"], replaced["desired"]) == ("stream_replaced", "connected")
    state = ann.status()
    assert state["account"]["phone"] == f"+{ann.phone}"
    assert "connect" in state["allowed"]
    assert live.session_pid(ann.id) is None
    refused = ann.api("POST", "/restart", {})
    assert refused.status == 409
    assert refused.json["instanceStatus"] == "replaced"
    assert sorted(refused.json["allowed"]) == ["connect", "disconnect", "logout"]
    # Back without a QR code.
    mark = ann.mark
    ann.connect()
    ann.wait_status("connected", mark)
    assert ann.owner.feed.all("instance:qr:updated", ann.id, mark) == []
    assert (bob.statuses(mark), live.session_pid(bob.id)) == ([], pid)


def test_unlinking_on_the_phone_discards_the_keys_and_keeps_the_slot(
    live: LiveGateway, ann: Instance, bob: Instance, whatsapp: SandboxControl
) -> None:
    pid, mark = live.session_pid(bob.id), ann.mark
    assert live.key_files(ann.id) != []
    whatsapp.unlink(ann.phone)
    out = ann.wait_status("logged_out", mark)
    assert (out["reason"], out["desired"]) == ("logged_out_by_phone", "disconnected")
    assert live.key_files(ann.id) == []
    state = ann.status()
    assert (state["account"], state["lastError"]["reason"]) == (None, "logged_out_by_phone")
    mark = ann.mark
    ann.connect()
    whatsapp.scan(ann.phone, ann.wait_qr(mark)["code"])
    assert ann.wait_status("connected", mark)["lastError"] is None
    assert (bob.statuses(mark), live.session_pid(bob.id)) == ([], pid)


def reconnect_under(ann: Instance, whatsapp: SandboxControl, **failure: Any) -> int:
    """Disconnect it and connect it while its login is answered by a failure."""
    mark = ann.mark
    ann.command("disconnect")
    ann.wait_status("disconnected", mark)
    whatsapp.inject("login_failure", phone=ann.phone, **failure)
    mark = ann.mark
    ann.connect()
    return mark


def test_a_login_that_finds_the_device_gone_is_a_logout(
    live: LiveGateway, ann: Instance, whatsapp: SandboxControl
) -> None:
    mark = reconnect_under(ann, whatsapp, code=401)
    ann.wait_status("logged_out", mark)
    assert live.key_files(ann.id) == []
    assert live.session_pids == []


def test_a_temporary_ban_says_until_when_and_forbids_to_connect(
    live: LiveGateway, ann: Instance, whatsapp: SandboxControl
) -> None:
    mark = reconnect_under(ann, whatsapp, code=402, ban_code=101, ban_seconds=3600)
    banned = ann.wait_status("banned", mark)
    until = datetime.fromisoformat(banned["bannedUntil"])
    assert abs(until - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=2)
    state = ann.status()
    assert state["bannedUntil"] == banned["bannedUntil"]
    assert state["lastError"]["until"] == banned["bannedUntil"]
    refused = ann.api("POST", "/connect", {})
    assert refused.status == 409
    assert f"{until:%Y-%m-%dT%H:%M:%SZ}" in refused.json["detail"]
    assert "connect" not in refused.json["allowed"]
    # A restart of the gateway neither forgets it nor tries.
    whatsapp.clear_faults()
    live.restart()
    ann.owner.reopen_feed()
    assert ann.status()["bannedUntil"] == banned["bannedUntil"]
    assert ann.api("POST", "/connect", {}).status == 409
    assert live.session_pids == []


def test_a_ban_that_is_over_lets_the_instance_connect(
    ann: Instance, whatsapp: SandboxControl
) -> None:
    mark = reconnect_under(ann, whatsapp, code=402, ban_code=101, ban_seconds=0)
    ann.wait_status("banned", mark)
    whatsapp.clear_faults()
    ann.connect()
    assert ann.wait_status("connected", mark)["bannedUntil"] is None


def test_an_outdated_client_is_told_and_not_repeated(
    live: LiveGateway, ann: Instance, whatsapp: SandboxControl
) -> None:
    mark = reconnect_under(ann, whatsapp, code=405)
    outdated = ann.wait_status("outdated", mark)
    assert (outdated["reason"], outdated["desired"]) == ("client_outdated", "connected")
    assert live.session_pids == []
    # After the upgrade, that is.
    whatsapp.clear_faults()
    mark = ann.mark
    ann.connect()
    ann.wait_status("connected", mark)


def test_a_server_that_is_unavailable_at_login_is_tried_again(
    ann: Instance, whatsapp: SandboxControl
) -> None:
    mark = reconnect_under(ann, whatsapp, code=503, uses=2)
    ann.wait_status("connected", mark, patience=BACK_WITHIN)
    assert not {"failed", "logged_out", "outdated"} & set(ann.statuses(mark))


def test_another_refusal_fails_the_instance(
    live: LiveGateway, ann: Instance, whatsapp: SandboxControl
) -> None:
    mark = reconnect_under(ann, whatsapp, code=415)
    failed = ann.wait_status("failed", mark)
    assert failed["reason"] == "connect_refused"
    assert live.session_pids == []


def test_delayed_receipts_move_the_message_when_they_come(
    ann: Instance, whatsapp: SandboxControl
) -> None:
    whatsapp.inject("delay_receipts", phone=ann.phone, delay=2)
    sent = ann.send(ECHO_NUMBER, "take your time", wait=30)
    assert sent["status"] == "sent"
    ann.wait_message(sent["id"], "read")
    assert ann.owner.message(sent["id"])["deliveredAt"] is not None


def test_a_drop_before_the_answer_leaves_a_message_sent_once(
    ann: Instance, whatsapp: SandboxControl
) -> None:
    assert sends(ann)  # fetches keys and devices, so that only the message is left to send
    whatsapp.inject("delay_acks", phone=ann.phone, delay=60)
    mark = ann.mark
    message = ann.send(ECHO_NUMBER, "once, please")
    ann.wait_text("echo: once, please", mark)
    whatsapp.clear_faults()
    whatsapp.cause("drop", phone=ann.phone)
    ann.wait_status("connected", mark)
    # The client asks again after it is back and is told that the server had it already.
    ann.wait(
        "message:status:changed",
        mark,
        where=lambda data: (
            data["messageId"] == message["id"] and data["status"] in {"sent", "delivered", "read"}
        ),
    )
    assert sends(ann)
    arrived = whatsapp.contact_messages(ECHO_NUMBER, sender=ann.phone, text="once, please")
    assert len(arrived) == 1
