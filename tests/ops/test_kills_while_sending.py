"""The gateway, or a session, killed while messages go out, with the real client."""

from __future__ import annotations

import base64
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.live import LiveGateway, new_number
from support.live_client import Instance, Owner
from support.processes import wait_gone, wait_until
from wavisor.sandbox.client import SandboxControl

pytestmark = pytest.mark.e2e

LIVE_SETTINGS = {
    "restore_stagger_seconds": "0.01",
    "backoff_initial_seconds": "0.1",
    "backoff_maximum_seconds": "1",
    "instance_max_restarts": "20",
}

CHATS = 4
IN_EACH = 250
KILLS = 6
SETTLED = {"sent", "delivered", "read"}


def queue(instance: Instance, number: str, count: int) -> list[str]:
    return [instance.send(number, f"{index}")["id"] for index in range(count)]


def outbound(owner: Owner) -> dict[str, Any]:
    """All messages of the tenant by their ids."""
    found: dict[str, Any] = {}
    cursor = ""
    while True:
        page = owner.api("GET", f"/api/messages?limit=200{cursor}").expect(200)
        found |= {item["id"]: item for item in page["items"]}
        if page["nextCursor"] is None:
            return found
        cursor = f"&cursor={page['nextCursor']}"


@pytest.mark.timeout(600)
def test_a_thousand_queued_messages_go_out_once_and_in_order_through_many_kills(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl
) -> None:
    rng = random.Random(20260101)
    ann = owner.create().link(whatsapp, new_number())
    numbers = [new_number() for _ in range(CHATS)]
    for number in numbers:
        whatsapp.add_contact(number, "Receiver", "receiver")
    mark = ann.mark
    ann.command("disconnect")
    ann.wait_status("disconnected", mark)
    with ThreadPoolExecutor(CHATS) as pool:
        ids = pool.map(lambda number: queue(ann, number, IN_EACH), numbers)
        accepted = dict(zip(numbers, ids, strict=True))
    ann.connect()

    for arrived in sorted(rng.sample(range(1, IN_EACH - 10), KILLS)):
        whatsapp.contact_messages(numbers[0], sender=ann.phone, count=arrived, wait=60)
        time.sleep(rng.uniform(0, 0.02))  # so that any step of a send may be hit
        family = live.family
        live.kill()
        assert wait_gone(family, 5) == []
        live.start()

    assert in_doubt(owner, whatsapp, ann, accepted) <= KILLS


def in_doubt(
    owner: Owner, whatsapp: SandboxControl, ann: Instance, accepted: dict[str, list[str]]
) -> int:
    """Check that all went out once and in order; return of how many nobody can tell.

    Args:
        owner: the tenant.
        whatsapp: where they arrived.
        ann: who sent them.
        accepted: the ids of the messages "0", "1" and so on, by the recipient's number.
    """
    for number in accepted:
        assert ann.send(number, "the last one", wait=60)["status"] in SETTLED
    life = outbound(owner)
    doubtful = 0
    for number, ids in accepted.items():
        got = [one.text for one in whatsapp.contact_messages(number, sender=ann.phone)]
        assert got.pop() == "the last one"
        assert len(got) == len(set(got)), "something was sent twice"
        assert got == sorted(got, key=int), "the order was not kept"
        for index, identifier in enumerate(ids):
            status = life[identifier]["status"]
            if status == "uncertain":
                doubtful += 1
            else:
                assert status in SETTLED, life[identifier]
                assert str(index) in got
    # One at a time is handed over, so a kill leaves at most one in doubt.
    return doubtful


@pytest.fixture
def ann(owner: Owner, whatsapp: SandboxControl) -> Instance:
    return owner.create().link(whatsapp, new_number())


@pytest.fixture
def bob(whatsapp: SandboxControl) -> str:
    number = new_number()
    whatsapp.add_contact(number, "Receiver", "receiver")
    return number


def kill_session(live: LiveGateway, instance: Instance) -> None:
    pid = live.session_pid(instance.id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_a_queue_goes_out_once_and_in_order_through_many_kills_of_its_session(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl, ann: Instance, bob: str
) -> None:
    rng = random.Random(20260102)
    accepted = {bob: queue(ann, bob, 200)}
    for arrived in sorted(rng.sample(range(1, 190), 4)):
        whatsapp.contact_messages(bob, sender=ann.phone, count=arrived, wait=60)
        time.sleep(rng.uniform(0, 0.02))
        mark = ann.mark
        kill_session(live, ann)
        ann.wait_status("connected", mark)
    assert in_doubt(owner, whatsapp, ann, accepted) <= 4


def test_a_session_killed_before_a_hand_over_leaves_the_message_to_the_next(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl, ann: Instance, bob: str
) -> None:
    whatsapp.inject("slow_uploads", delay=60, uses=1)
    mark = ann.mark
    body = {"to": f"+{bob}", "base64": base64.b64encode(os.urandom(500)).decode()}
    headers = {"X-Instance-Id": ann.id}
    message = owner.api("POST", "/api/messages/document", body, headers).expect(202)["id"]
    ann.wait_message(message, "sending", mark)
    # Only once the upload hangs: the next session's is to find no fault left.
    wait_until(lambda: not whatsapp.faults())
    kill_session(live, ann)
    ann.wait_message(message, "queued", mark)
    ann.wait_message(message, "delivered", mark)
    assert len(whatsapp.contact_messages(bob, sender=ann.phone)) == 1


def test_a_session_killed_during_a_hand_over_sends_nothing_twice(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl, ann: Instance, bob: str
) -> None:
    whatsapp.inject("delay_acks", phone=ann.phone, delay=60)
    whatsapp.inject("delay_receipts", phone=ann.phone, delay=1)
    mark = ann.mark
    message = ann.send(bob, "one")["id"]
    whatsapp.contact_messages(bob, sender=ann.phone, count=1, wait=30)
    kill_session(live, ann)
    whatsapp.clear_faults()
    ann.wait_message(message, "uncertain", mark)
    # The receipt comes to the next session, and proves that it arrived.
    ann.wait_message(message, "delivered", mark)
    assert ann.send(bob, "two", wait=30)["status"] in SETTLED
    texts = [one.text for one in whatsapp.contact_messages(bob, sender=ann.phone)]
    assert texts == ["one", "two"]
    assert owner.message(message)["failure"] is None


def test_a_session_killed_after_a_hand_over_loses_nothing(
    live: LiveGateway, whatsapp: SandboxControl, ann: Instance, bob: str
) -> None:
    whatsapp.inject("delay_receipts", phone=ann.phone, delay=1)
    mark = ann.mark
    message = ann.send(bob, "one", wait=30)
    assert message["status"] == "sent"
    kill_session(live, ann)
    ann.wait_status("connected", mark)
    ann.wait_message(message["id"], "delivered", mark)
    assert ann.send(bob, "two", wait=30)["status"] in SETTLED
    texts = [one.text for one in whatsapp.contact_messages(bob, sender=ann.phone)]
    assert texts == ["one", "two"]
