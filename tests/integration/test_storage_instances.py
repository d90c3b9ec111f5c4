from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from support.manual_clock import ManualClock
from support.queueing import new_text
from support.tenants import new_account, new_instance, new_scope
from wavisor.domain import EventType, InstanceStatus, Reason, Tier, WantedState
from wavisor.limits import TIERS
from wavisor.storage import (
    AuditFilter,
    Database,
    InstanceChanges,
    LimitReached,
    NewAudit,
    NewEvent,
    NotFound,
    Scope,
    accounts,
    audit,
    events,
    instances,
    messages,
)

CONNECTED: InstanceChanges = {
    "status": InstanceStatus.CONNECTED,
    "reason": Reason.LOGGED_IN,
    "last_error": None,
    "jid": "15550100:3@s.whatsapp.net",
    "lid": "1234@lid",
    "phone": "+15550100",
    "push_name": "Ada \x00 Lovelace",
    "platform": "android",
}


@pytest.mark.parametrize("tier", [Tier.BASIC, Tier.PRO])
def test_twenty_threads_cannot_exceed_the_tier_limit(database: Database, tier: Tier) -> None:
    scope = new_scope(database)
    limit = TIERS[tier].instances or 0
    database.write_wait(accounts.set_tier, scope.subscription_id, tier)
    for number in range(limit - 3):
        new_instance(database, scope, f"before {number}")
    barrier = threading.Barrier(20)

    def attempt(number: int) -> bool:
        barrier.wait(timeout=30)
        try:
            database.write_wait(instances.create, scope, name=f"n{number}", timeout=30)
        except LimitReached as refusal:
            assert refusal.limit == limit
            return False
        return True

    with ThreadPoolExecutor(20) as threads:
        created = list(threads.map(attempt, range(20)))
    assert created.count(True) == 3
    page = database.read_wait(instances.list_page, scope, limit=100)
    assert len(page.items) == limit


def test_limit_is_per_tenant_and_deleting_makes_room(database: Database) -> None:
    scope, other = new_scope(database), new_scope(database)
    created = [new_instance(database, scope) for _ in range(TIERS[Tier.BASIC].instances or 0)]
    with pytest.raises(LimitReached):
        new_instance(database, scope)
    new_instance(database, other)
    database.write_wait(instances.delete, scope, created[0].id)
    new_instance(database, scope)


def test_another_tenants_instance_is_not_there(database: Database) -> None:
    scope, other = new_scope(database), new_scope(database)
    mine = new_instance(database, scope)
    message = database.write_wait(messages.enqueue, scope, mine.id, new_text())
    database.write_wait(events.append, mine.id, [NewEvent("message:sent", {})])
    assert database.read_wait(instances.get, other, mine.id) is None
    assert database.read_wait(messages.get, other, message.id) is None
    assert database.read_wait(instances.list_page, other, limit=10).items == ()
    assert database.read_wait(messages.list_page, other, limit=10).items == ()
    assert database.read_wait(events.list_for_instance, other, mine.id, limit=10).items == ()
    assert sum(database.read_wait(instances.count_by_status, other).values()) == 0
    for change in (
        lambda: instances.update(other, mine.id, name="stolen"),
        lambda: instances.delete(other, mine.id),
        lambda: messages.enqueue(other, mine.id, new_text()),
    ):
        with pytest.raises(NotFound):
            database.write_wait(change)
    assert database.read_wait(instances.get, scope, mine.id) is not None


def test_looking_up_an_instance_costs_one_statement(database: Database) -> None:
    scope = new_scope(database)
    mine = new_instance(database, scope)
    with database.count_queries() as counter:
        database.read_wait(instances.get, scope, mine.id)
    assert counter.count == 1
    with database.count_queries() as counter:
        database.read_wait(instances.find, mine.id)
    assert counter.count == 1


def test_pages_follow_each_other_without_gap_or_repetition(database: Database) -> None:
    scope = new_scope(database)
    created = [new_instance(database, scope, f"n{number}").id for number in range(5)]
    seen: list[str] = []
    cursor = None
    sizes = []
    while True:
        page = database.read_wait(instances.list_page, scope, limit=2, cursor=cursor)
        seen += [record.id for record in page.items]
        sizes.append(len(page.items))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == created
    assert sizes == [2, 2, 1]


def test_full_last_page_has_no_next_cursor(database: Database) -> None:
    scope = new_scope(database)
    for _ in range(4):
        new_instance(database, scope)
    assert database.read_wait(instances.list_page, scope, limit=4).next_cursor is None


def test_status_filters_and_counts(database: Database) -> None:
    scope = new_scope(database)
    up, down = new_instance(database, scope), new_instance(database, scope)
    database.write_wait(instances.record_transition, up.id, CONNECTED, [])
    page = database.read_wait(
        instances.list_page, scope, limit=9, status=[InstanceStatus.CONNECTED]
    )
    assert [record.id for record in page.items] == [up.id]
    counts = database.read_wait(instances.count_by_status, None)
    assert counts[InstanceStatus.CONNECTED] == 1
    assert counts[InstanceStatus.DISCONNECTED] == 1
    assert counts[InstanceStatus.BANNED] == 0
    assert set(counts) == set(InstanceStatus)
    assert down.status is InstanceStatus.DISCONNECTED


def test_rename_keeps_settings_and_a_patch_merges_them(
    database: Database, storage_clock: ManualClock
) -> None:
    scope = new_scope(database)
    mine = database.write_wait(instances.create, scope, name="a", settings={"x": 1, "y": {"z": 2}})
    storage_clock.advance(5)
    before, renamed = database.write_wait(instances.update, scope, mine.id, name="b")
    assert before == mine
    assert (renamed.name, renamed.settings) == ("b", {"x": 1, "y": {"z": 2}})
    assert renamed.updated_at == storage_clock.now()
    assert renamed.created_at == mine.created_at
    _, patched = database.write_wait(
        instances.update, scope, mine.id, settings={"x": None, "n": [1, "é\x00"]}
    )
    assert patched.settings == {"y": {"z": 2}, "n": [1, "é\x00"]}
    assert database.read_wait(instances.get, scope, mine.id) == patched


def test_transition_writes_row_events_and_audit_together(
    database: Database, storage_clock: ManualClock
) -> None:
    scope = new_scope(database)
    mine = new_instance(database, scope)
    storage_clock.advance(60)
    changes: InstanceChanges = {**CONNECTED, "push_name": "Ada"}
    stored = database.write_wait(
        instances.record_transition,
        mine.id,
        changes,
        [
            NewEvent(EventType.INSTANCE_STATUS_CHANGED, {"new": "connected"}),
            NewEvent(EventType.INSTANCE_PAIRED, {"jid": "x"}),
        ],
        NewAudit(
            action="instance.status",
            actor_kind="system",
            target=mine.id,
            before={"status": "pairing"},
            after={"status": "connected"},
        ),
    )
    assert [event.seq for event in stored] == [1, 2]
    assert stored[0].timestamp == storage_clock.now()
    assert stored[0].type == "instance:status:changed"
    record = database.read_wait(instances.find, mine.id)
    assert record is not None
    assert record.status is InstanceStatus.CONNECTED
    assert record.reason == "logged_in"
    assert record.status_changed_at == storage_clock.now()
    assert (record.jid, record.phone, record.push_name) == (changes["jid"], "+15550100", "Ada")
    assert record.event_seq == 2
    assert "15550100" not in repr(record).replace(str(record.jid), "")
    page = database.read_wait(audit.list_page, AuditFilter(target=mine.id), limit=10)
    assert [entry.after for entry in page.items] == [{"status": "connected"}]
    assert page.items[0].subscription_id == scope.subscription_id


def test_text_that_cannot_be_stored_is_replaced_not_refused(database: Database) -> None:
    scope = new_scope(database)
    mine = database.write_wait(instances.create, scope, name="half \ud83d a pair")
    database.write_wait(instances.record_transition, mine.id, CONNECTED, [])
    record = database.read_wait(instances.get, scope, mine.id)
    assert record is not None
    assert record.name == "half \ufffd a pair"
    assert record.push_name == "Ada \ufffd Lovelace"
    assert database.read_wait(instances.get, scope, "ins_\x00") is None


def test_failed_transition_leaves_nothing(database: Database) -> None:
    scope = new_scope(database)
    mine = new_instance(database, scope)

    def transition() -> None:
        instances.record_transition(
            mine.id,
            {"status": InstanceStatus.QR},
            [NewEvent("instance:qr:updated", {})],
            NewAudit(action="instance.status", actor_kind="system", target=mine.id),
        )
        raise RuntimeError("after everything was written")

    with pytest.raises(RuntimeError, match="after everything"):
        database.write_wait(transition)
    assert database.read_wait(instances.get, scope, mine.id) == mine
    assert database.read_wait(events.latest_position) == 0
    assert database.read_wait(audit.list_page, AuditFilter(target=mine.id), limit=1).items == ()


def test_transition_of_a_deleted_instance_or_unknown_column_is_refused(
    database: Database,
) -> None:
    scope = new_scope(database)
    mine = new_instance(database, scope)
    with pytest.raises(ValueError, match="subscription"):
        database.write_wait(
            instances.record_transition,
            mine.id,
            cast("InstanceChanges", {"subscription": "sub_x"}),
            [],
        )
    database.write_wait(instances.delete, scope, mine.id)
    with pytest.raises(NotFound):
        database.write_wait(
            instances.record_transition,
            mine.id,
            {"status": InstanceStatus.CONNECTING},
            [NewEvent("instance:status:changed", {})],
        )
    with pytest.raises(NotFound):
        database.write_wait(events.append, mine.id, [NewEvent("message:sent", {})])


def test_deleting_takes_events_and_messages_along_but_not_the_audit_trail(
    database: Database,
) -> None:
    scope = new_scope(database)
    mine = new_instance(database, scope)
    message = database.write_wait(messages.enqueue, scope, mine.id, new_text())
    database.write_wait(
        instances.record_transition,
        mine.id,
        {"status": InstanceStatus.QR},
        [NewEvent("instance:qr:updated", {})],
        NewAudit(action="instance.status", actor_kind="system", target=mine.id),
    )
    database.write_wait(instances.delete, scope, mine.id)
    assert database.read_wait(instances.get, scope, mine.id) is None
    assert database.read_wait(messages.get, scope, message.id) is None
    assert database.read_wait(events.read_after, 0, limit=10) == []
    trail = database.read_wait(
        audit.list_page, AuditFilter(subscription_id=scope.subscription_id), limit=10
    ).items
    assert [entry.target for entry in trail] == [mine.id]
    with pytest.raises(NotFound):
        database.write_wait(instances.delete, scope, mine.id)


def test_instances_of_all_tenants_are_found_at_boot_with_what_is_wanted_of_them(
    database: Database,
) -> None:
    scope, other = new_scope(database), new_scope(database)
    wanted = [new_instance(database, scope), new_instance(database, other)]
    idle = new_instance(database, scope)
    for record in wanted:
        changes: InstanceChanges = {"desired": WantedState.CONNECTED}
        database.write_wait(instances.record_transition, record.id, changes, [])
    found = {record.id: record.desired for record in database.read_wait(instances.list_all)}
    assert found == {
        idle.id: WantedState.DISCONNECTED,
        **{one.id: WantedState.CONNECTED for one in wanted},
    }


def test_creating_for_a_subscription_that_is_gone_is_refused(database: Database) -> None:
    with pytest.raises(NotFound):
        database.write_wait(instances.create, Scope("sub_none"), name="x")


def test_audit_trail_pages_newest_first(database: Database) -> None:
    account = new_account(database)

    def fill() -> None:
        for number in range(5):
            entry: dict[str, Any] = {"number": number}
            audit.append(
                account.subscription.id,
                NewAudit(
                    action="test",
                    actor_kind="user",
                    actor_id=account.user.id,
                    after=entry,
                    address="192.0.2.1",
                    request_id="req_1",
                ),
            )
        audit.append(None, NewAudit(action="platform", actor_kind="system"))

    database.write_wait(fill)
    tenant = account.subscription.id
    first = database.read_wait(audit.list_page, AuditFilter(subscription_id=tenant), limit=3)
    rest = database.read_wait(
        audit.list_page, AuditFilter(subscription_id=tenant), limit=3, cursor=first.next_cursor
    )
    numbers = [entry.after["number"] for entry in (*first.items, *rest.items) if entry.after]
    assert numbers == [4, 3, 2, 1, 0]
    assert rest.next_cursor is None
    assert len(database.read_wait(audit.list_page, AuditFilter(), limit=100).items) == 6
