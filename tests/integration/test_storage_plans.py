"""What is asked often costs what it finds, and not what the database holds.

SQLite plans without statistics, so an empty database tells what a full one will do.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from support.manual_clock import ManualClock
from support.queueing import ALICE, GROUP
from support.tenants import new_instance, new_scope
from wavisor.domain import MessageStatus
from wavisor.storage import (
    Database,
    MessageFilter,
    Scope,
    audit,
    campaign_release,
    chats,
    media,
    messages,
)
from wavisor.storage.current import current_database
from wavisor.storage.models import Campaign, Chat
from wavisor.storage.records import NewAudit


@pytest.fixture
def scope(database: Database) -> Scope:
    if database.engine_name != "sqlite":
        pytest.skip("SQLite tells its plan without statistics")
    return new_scope(database)


def plans(database: Database, function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[str]:
    """Run a write; return the plan of each statement that it ran, one line for each table."""

    def run() -> list[str]:
        connection = current_database()
        statements: list[tuple[str, Any]] = []

        def note(event: Any) -> None:
            if event.sql.startswith(("SELECT", "UPDATE", "DELETE")):
                statements.append((event.sql, event.params))

        connection.query_hooks = [*connection.query_hooks, note]
        try:
            function(*args, **kwargs)
        finally:
            connection.query_hooks = [one for one in connection.query_hooks if one is not note]
        return [
            "\n".join(
                row[3]
                for row in connection.execute_sql(f"EXPLAIN QUERY PLAN {sql}", params).fetchall()
            )
            for sql, params in statements
        ]

    return database.write_wait(run)


@pytest.mark.parametrize("cursor", [None, "1000.5"])
@pytest.mark.parametrize(
    ("where", "index"),
    [
        ({}, "messages_instance_id_created_at_position"),
        ({"chat": GROUP}, "messages_instance_id_chat_created_at_position"),
        (
            {"status": frozenset({MessageStatus.FAILED})},
            "messages_instance_id_created_at_position",
        ),
    ],
)
def test_a_page_of_an_instances_messages_reads_none_of_its_siblings(
    database: Database, scope: Scope, where: dict[str, Any], index: str, cursor: str | None
) -> None:
    wanted = MessageFilter(instance_id="ins_x", **where)
    [plan] = plans(database, messages.list_page, scope, limit=5, where=wanted, cursor=cursor)
    assert f"{index} (instance_id=?" in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("cursor", [None, "1000.5"])
def test_a_page_of_an_instances_chats_reads_none_of_its_siblings(
    database: Database, scope: Scope, cursor: str | None
) -> None:
    plan, *_ = plans(database, chats.list_page, scope, limit=5, instance_id="x", cursor=cursor)
    assert "chats_instance_id_last_at_last_position (instance_id=?" in plan
    assert "TEMP B-TREE" not in plan


def test_a_chat_is_found_by_an_index_whichever_address_names_it(
    database: Database, scope: Scope
) -> None:
    found = plans(database, chats.get, scope, "ins_x", ALICE)
    columns = ("jid", "lid", "alias")
    for column, plan in zip(columns, found, strict=True):
        assert f"(instance_id=? AND {column}=?)" in plan


def test_marking_a_chat_as_read_looks_at_that_chat_only(database: Database, scope: Scope) -> None:
    instance = new_instance(database, scope)

    def made() -> None:
        Chat.create(
            subscription=scope.subscription_id,
            instance=instance.id,
            jid=ALICE,
            kind="person",
            last_position=0,
            last_at=instance.created_at,
        )

    database.write_wait(made)
    *_, marked, _, left, _ = plans(database, chats.mark_read, scope, instance.id, ALICE)
    for plan in (marked, left):
        assert "(instance_id=? AND chat=?)" in plan
        assert "SCAN" not in plan


def test_files_to_be_fetched_are_found_from_the_files(database: Database, scope: Scope) -> None:
    for plan in plans(database, media.list_due, scope, "ins_x", limit=5):
        assert "media_subscription_id_created_at" in plan
        assert "messages_media_id" in plan


def test_whether_an_instance_has_a_file_is_told_by_the_file(
    database: Database, scope: Scope
) -> None:
    [plan] = plans(database, media.get, scope, "med_x", instance_id="ins_x")
    assert "messages_media_id (media_id=?)" in plan


@pytest.mark.parametrize("instance_id", [None, "ins_x"])
def test_a_purge_of_files_looks_through_no_instances_messages(
    database: Database, scope: Scope, storage_clock: ManualClock, instance_id: str | None
) -> None:
    plan, _ = plans(
        database, media.purge, storage_clock.now(), instance_id=instance_id, keepers=["ins_y"]
    )
    assert "media_last_used_at (last_used_at<?)" in plan
    assert "messages_instance_id" not in plan
    assert "messages_media_id" in plan


def test_a_campaign_that_waits_for_its_last_messages_looks_at_those_only(
    database: Database, scope: Scope
) -> None:
    row = Campaign(
        id="cmp_x",
        subscription=scope.subscription_id,
        instances=["ins_x", "ins_y"],
        status="completed",
        finished_at=None,
    )

    def asked() -> list[bool]:
        statuses = (campaign_release.queue.QUEUED, campaign_release.queue.SENDING)
        return [campaign_release._has(row, status) for status in statuses]

    queued, sending = plans(database, asked)
    assert "messages_instance_id_priority_position (instance_id=? AND priority=?)" in queued
    assert "messages_instance_id_status (instance_id=? AND status=?)" in sending
    for plan in (queued, sending):
        assert "campaign_recipients_message_id (message_id=?)" in plan


def test_a_purge_of_the_audit_trail_reads_a_portion_of_it(
    database: Database, storage_clock: ManualClock
) -> None:
    for number in range(5):
        entry = NewAudit(action=f"test.{number}", actor_kind="system")
        database.write_wait(audit.append, None, entry)
        storage_clock.advance(60)
    before = storage_clock.now() - timedelta(seconds=150)
    assert database.write_wait(audit.purge, before, limit=2) == 2
    assert database.write_wait(audit.purge, before, limit=2) == 1
    assert database.write_wait(audit.purge, before, limit=2) == 0
    if database.engine_name == "sqlite":
        [plan] = plans(database, audit.purge, before, limit=2)
        # The portion is taken first, in the order of the key, and its age looked at then.
        assert "CO-ROUTINE first" in plan
