"""A purge that meets a message which is queued anew at that moment."""

from __future__ import annotations

import threading

import pytest

from support.locks import until_somebody_waits
from support.manual_clock import ManualClock
from support.queueing import queue_text, waiting
from support.tenants import new_instance, new_scope
from wavisor.storage import Database, messages


def test_a_message_queued_anew_outlives_the_purge_that_waited_for_it(
    database: Database, storage_clock: ManualClock
) -> None:
    if database.engine_name == "sqlite":
        pytest.skip("SQLite has one writer")
    scope = new_scope(database)
    instance = new_instance(database, scope)
    message = queue_text(database, instance)
    database.write_wait(messages.mark_failed, message.id, {"reason": "rejected"})
    storage_clock.advance(3600)
    retried, may_commit = threading.Event(), threading.Event()

    def retry_slowly() -> None:
        assert messages.retry(scope, message.id) is not None
        retried.set()
        assert may_commit.wait(60)

    retrying = database.write(retry_slowly)
    assert retried.wait(60)
    purging = database.write(messages.purge, instance.id, storage_clock.now())
    until_somebody_waits(database)
    may_commit.set()
    retrying.result(60)
    assert purging.result(60) == 0
    assert database.read_wait(messages.get, scope, message.id) is not None
    assert waiting(database, instance.id) == 1
