"""A gateway whose disk is full or whose database somebody else holds: refusals, and no losses."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.live import LiveGateway, new_number
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.people import ECHO_NUMBER

pytestmark = pytest.mark.e2e

NewLive = Callable[..., LiveGateway]


@contextlib.contextmanager
def locked(gateway: LiveGateway) -> Iterator[None]:
    """Hold the write lock of the gateway's database, as a careless backup would."""
    database = sqlite3.connect(gateway.data_dir / "wavisor.db", isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")
    finally:
        database.close()


def test_a_locked_database_refuses_what_it_cannot_keep_and_costs_no_session(
    new_live: NewLive, whatsapp: SandboxControl
) -> None:
    gateway = new_live(database_busy_timeout_seconds="0.2").start()
    with gateway.new_owner() as owner:
        ann = owner.create().link(whatsapp, new_number())
        fresh = owner.create("Fresh")
        assert ann.send(ECHO_NUMBER, "hello", wait=30)["status"] in {"sent", "delivered", "read"}
        ann.wait_text("echo: hello")
        pid, mark = gateway.session_pid(ann.id), ann.mark
        with locked(gateway):
            body = {"to": f"+{ECHO_NUMBER}", "text": "not accepted"}
            refused = [
                owner.api("POST", "/api/instances", {"name": "No room"}),
                owner.api("POST", "/api/messages/text", body, {"X-Instance-Id": ann.id}),
                fresh.api("POST", "/connect", {}),
            ]
            for answer in refused:
                assert answer.status == 503, answer
                assert answer.headers["retry-after"] in {"1", "5"}
                assert answer.headers["content-type"] == "application/problem+json"
            # Reading goes on, and so does the session.
            assert ann.status()["status"] == "connected"
            assert len(owner.api("GET", "/api/instances").expect(200)["items"]) == 2
            whatsapp.write_as_contact(ECHO_NUMBER, ann.phone, "while it was locked")
        # What came meanwhile was kept back, not lost.
        ann.wait_text("while it was locked", mark)
        assert gateway.session_pid(ann.id) == pid
        assert ann.statuses(mark) == []
        assert fresh.status()["status"] == "disconnected"
        fresh.connect()
        fresh.wait_qr()
        texts = [m.text for m in whatsapp.contact_messages(ECHO_NUMBER, sender=ann.phone)]
        assert texts == ["hello"]


def test_a_full_disk_keeps_an_instance_from_linking_until_there_is_room(
    new_live: NewLive, whatsapp: SandboxControl, mounted: Callable[[Path, str], None]
) -> None:
    gateway = new_live(backoff_maximum_seconds="1")
    keys = gateway.data_dir / "sessions"
    keys.mkdir(parents=True)
    mounted(keys, "size=16m")
    gateway.start()
    with gateway.new_owner() as owner:
        ann = owner.create("Ann").link(whatsapp, new_number())
        pid, mark = gateway.session_pid(ann.id), ann.mark
        filler = keys / "filler"
        with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))

        bob = owner.create("Bob")
        bob.connect()
        gateway.log.wait(
            "instance tries again", instance=bob.id, reason="key_store_unavailable", attempt=2
        )
        state = bob.status()
        assert state["status"] == "connecting"
        assert state["lastError"]["reason"] == "key_store_unavailable"
        assert "full" in state["lastError"]["detail"]
        assert (gateway.session_pid(ann.id), ann.statuses(mark)) == (pid, [])

        filler.unlink()
        number = new_number()
        whatsapp.add_phone(number, "Bob")
        whatsapp.scan(number, bob.wait_qr()["code"])
        assert bob.wait_status("connected")["lastError"] is None
    assert gateway.stop() == 0
