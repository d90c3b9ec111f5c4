"""A gateway that is killed while it deletes a subscription: the next one goes on, to the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.live import LiveGateway, new_number
from support.processes import wait_gone, wait_until
from wavisor.clock import SystemClock
from wavisor.sandbox.client import SandboxControl
from wavisor.storage import Database, NewEvent, events

pytestmark = pytest.mark.e2e

EVENTS = 30_000
KILLS = 3


def fill(gateway: LiveGateway, instance_id: str) -> None:
    """Give an instance so much that it is not gone in a moment."""
    database = Database(f"sqlite:///{gateway.data_dir}/wavisor.db", clock=SystemClock())
    database.open()
    try:
        for start in range(0, EVENTS, 2000):
            fresh = [NewEvent("presence:updated", {"n": n}) for n in range(start, start + 2000)]
            database.write_wait(events.append, instance_id, fresh)
    finally:
        assert database.close()


def test_a_deletion_is_finished_through_kills(
    new_live: Callable[..., LiveGateway], whatsapp: SandboxControl
) -> None:
    gateway = new_live().start()
    with gateway.new_owner() as operator:  # the first one of an installation
        tenant = gateway.new_owner()
        ann = tenant.create().link(whatsapp, new_number())
        identifier = tenant.api("GET", "/api/subscription").expect(200)["id"]
        tenant.feed.close()
        fill(gateway, ann.id)
        assert gateway.key_files(ann.id) != []
        path = f"/api/admin/subscriptions/{identifier}"
        assert operator.api("DELETE", path).expect(202)["deletedAt"] is not None
        for _ in range(KILLS):
            family = gateway.family
            gateway.kill()
            assert wait_gone(family, 10) == []
            operator.feed.wait_closed()
            gateway.start()
            operator.reopen_feed()
            # Whoever belongs to it stays out all the while.
            assert tenant.api("GET", "/api/instances").status in (401, 403)
        wait_until(lambda: operator.api("GET", path).status == 404, 120)
        assert gateway.key_files(ann.id) == []
        assert gateway.session_pids == []
        trail = operator.api("GET", f"/api/admin/audit?subscription={identifier}").expect(200)
        assert trail["items"][0]["action"] == "subscription.deleted"
