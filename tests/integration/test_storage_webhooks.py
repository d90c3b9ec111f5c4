"""Endpoints of webhooks, and deliveries that are written together with their events."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from support.declared import check_declared
from support.manual_clock import ManualClock
from support.tenants import new_instance, new_scope
from wavisor.domain import DeliveryStatus, DisabledReason
from wavisor.storage import (
    Attempt,
    AuditFilter,
    Database,
    EndpointRecord,
    EventRecord,
    InstanceRecord,
    LimitReached,
    NewEndpoint,
    NewEvent,
    NotFound,
    NothingToReplay,
    Parcel,
    Scope,
    TooMany,
    accounts,
    audit,
    deliveries,
    delivery_log,
    events,
    instances,
    webhooks,
)
from wavisor.storage.deliveries import DisableRule

WAIT = 60.0
RULE = DisableRule()
SUCCEEDED, FAILED, PENDING = (
    DeliveryStatus.SUCCEEDED,
    DeliveryStatus.FAILED,
    DeliveryStatus.PENDING,
)


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


@pytest.fixture
def instance(database: Database, scope: Scope) -> InstanceRecord:
    return new_instance(database, scope)


def register(database: Database, scope: Scope, *patterns: str, **more: Any) -> EndpointRecord:
    new = NewEndpoint(
        url="https://example.org/hook", secret="whsec_one", events=patterns or ("*",), **more
    )
    return database.write_wait(webhooks.create, scope, new)


def append(database: Database, instance: InstanceRecord, *types: str) -> list[EventRecord]:
    new = [NewEvent(kind, {"kind": kind}) for kind in types]
    return database.write_wait(events.append, instance.id, new, timeout=WAIT)


def pending(database: Database) -> list[Parcel]:
    return database.read_wait(deliveries.read_new, 0, limit=1000)


def attempt(parcel: Parcel, clock: ManualClock, status: DeliveryStatus, **more: Any) -> Attempt:
    values = {
        "position": parcel.position,
        "endpoint_id": parcel.endpoint_id,
        "instance_id": parcel.instance_id,
        "attempts": parcel.attempts + 1,
        "at": clock.now(),
        "status": status,
        "next_attempt_at": None,
        "response_status": 200,
        "response_excerpt": "ok",
        "error": None,
        "latency_ms": 12,
    }
    return Attempt(**{**values, **more})


def settle(database: Database, *attempts: Attempt) -> Any:
    return database.write_wait(deliveries.settle, attempts, RULE)


def test_delivery_is_written_with_its_event_for_each_endpoint_that_wants_it(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    other = new_instance(database, scope)
    everything = register(database, scope)
    messages = register(database, scope, "message:*", instance_id=instance.id)
    exact = register(database, scope, "call:offered", "message:sent")
    register(database, scope, instance_id=other.id)
    register(database, scope, enabled=False)
    register(database, new_scope(database))
    [sent, offered] = append(database, instance, "message:sent", "call:offered")
    found = [(one.event_id, one.endpoint_id) for one in pending(database)]
    assert found == [
        (sent.id, everything.id),
        (sent.id, messages.id),
        (sent.id, exact.id),
        (offered.id, everything.id),
        (offered.id, exact.id),
    ]
    first = pending(database)[0]
    assert first.event == sent
    assert (first.attempts, first.next_attempt_at) == (0, None)


def test_event_that_is_not_committed_leaves_no_delivery(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    register(database, scope)

    def fail() -> None:
        events.append(instance.id, [NewEvent("lost", {})])
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        database.write_wait(fail)
    assert pending(database) == []


def test_transition_of_an_instance_is_delivered_too(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    register(database, scope)
    told = [NewEvent("instance:status:changed", {})]
    database.write_wait(instances.record_transition, instance.id, {"jid": None}, told)
    assert len(pending(database)) == 1


def test_tenant_without_webhooks_pays_no_statement(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    register(database, new_scope(database))
    append(database, instance, "message:sent")
    with database.count_queries() as counted:
        append(database, instance, "message:sent")
    lock = 1 if database.engine_name == "postgresql" else 0
    assert counted.count == 2 + lock
    register(database, scope)
    with database.count_queries() as counted:
        append(database, instance, "message:sent", "message:sent")
    assert counted.count == 1 + lock + 2 + 1 + 2


def test_endpoints_deleted_while_events_come_in_fail_no_event(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for _ in range(30):
                append(database, instance, "message:sent")
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(15):
        endpoint = register(database, scope)
        database.write_wait(webhooks.delete, scope, None, endpoint.id, timeout=WAIT)
    writer.join(WAIT)
    assert failures == []
    assert pending(database) == []


def test_endpoints_are_bounded_per_instance_and_per_tenant(
    database: Database,
    scope: Scope,
    instance: InstanceRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def make(instance_id: str | None) -> None:
        new = NewEndpoint(url="https://example.org/", secret="s", instance_id=instance_id)
        database.write_wait(webhooks.create, scope, new)

    monkeypatch.setattr(webhooks, "TOGETHER", 2)
    for owner in (None, None, instance.id, instance.id):
        make(owner)
    for owner in (None, instance.id):
        with pytest.raises(TooMany):
            make(owner)
    own = {"webhooks": 4}
    database.write_wait(accounts.set_overrides, scope.subscription_id, own)
    with pytest.raises(LimitReached):
        make(new_instance(database, scope).id)
    with pytest.raises(NotFound):
        make("ins_none")


def test_endpoint_is_read_listed_changed_and_deleted_where_it_belongs(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    made = register(database, scope, instance_id=instance.id, headers={"X-Key": "1"})
    stranger = new_scope(database)
    read = database.read_wait
    assert read(webhooks.get, scope, instance.id, made.id) == made
    assert read(webhooks.get, scope, None, made.id) is None
    assert read(webhooks.get, stranger, instance.id, made.id) is None
    assert read(webhooks.list_page, scope, instance.id, limit=9).items == (made,)
    assert read(webhooks.list_page, scope, None, limit=9).items == ()
    changed = database.write_wait(
        webhooks.update, scope, instance.id, made.id, {"enabled": False, "url": "https://b.org/"}
    )
    assert (changed.url, changed.enabled) == ("https://b.org/", False)
    assert changed.disabled_reason is DisabledReason.BY_USER
    for wrong in (stranger, scope):
        with pytest.raises(NotFound):
            database.write_wait(webhooks.delete, wrong, None, made.id)
    database.write_wait(webhooks.delete, scope, instance.id, made.id)
    assert read(webhooks.get, scope, instance.id, made.id) is None


def test_rotation_keeps_the_secret_before_for_a_while(
    database: Database, scope: Scope, storage_clock: ManualClock
) -> None:
    made = register(database, scope)
    until = storage_clock.now() + timedelta(days=1)
    for secret, previous in (("whsec_two", "whsec_one"), ("whsec_three", "whsec_two")):
        rotated = database.write_wait(
            webhooks.rotate_secret, scope, None, made.id, secret=secret, previous_until=until
        )
        assert (rotated.secret, rotated.previous_secret) == (secret, previous)
        assert rotated.previous_until == until
    assert "whsec" not in repr(rotated)


def test_success_settles_a_delivery_and_forgets_failures(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    endpoint = register(database, scope)
    append(database, instance, "message:sent", "message:sent")
    one, two = pending(database)
    later = storage_clock.now() + timedelta(seconds=5)
    failed = attempt(one, storage_clock, PENDING, response_status=500, next_attempt_at=later)
    [changed] = settle(database, failed).endpoints
    assert (changed.failing_since, changed.failures) == (storage_clock.now(), 1)
    assert database.read_wait(deliveries.next_due, storage_clock.now()) == later
    assert database.read_wait(deliveries.due_endpoints, storage_clock.now()) == []
    assert database.read_wait(deliveries.due_endpoints, later) == [endpoint.id]
    [retry] = database.read_wait(deliveries.read_retries, endpoint.id, later, limit=9)
    assert (retry.position, retry.attempts) == (one.position, 1)
    [changed] = settle(database, attempt(two, storage_clock, SUCCEEDED)).endpoints
    assert (changed.failing_since, changed.failures) == (None, 0)
    assert settle(database, attempt(retry, storage_clock, SUCCEEDED)).endpoints == ()
    assert database.read_wait(deliveries.count_pending) == 0
    log = database.read_wait(delivery_log.list_page, scope, endpoint.id, limit=9)
    assert Counter(entry.status for entry in log.items) == {SUCCEEDED: 2}
    assert log.items[1].attempts == 2


def test_gone_endpoint_is_switched_off_with_an_event_and_an_audit_entry(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    endpoint = register(database, scope, instance_id=instance.id)
    witness = register(database, scope)
    append(database, instance, "message:sent")
    one = next(one for one in pending(database) if one.endpoint_id == endpoint.id)
    settled = settle(database, attempt(one, storage_clock, FAILED, response_status=410, gone=True))
    [after], [told] = settled.endpoints, settled.events
    assert (after.enabled, after.disabled_reason) == (False, DisabledReason.GONE)
    assert (told.type, told.instance_id) == ("webhook:disabled", instance.id)
    assert told.data["webhookId"] == endpoint.id
    check_declared([told])
    # The others hear of it, the one that is off does not.
    assert [one.endpoint_id for one in pending(database) if one.event == told] == [witness.id]
    [entry] = database.read_wait(audit.list_page, AuditFilter(target=endpoint.id), limit=9).items
    assert (entry.action, entry.after) == ("webhook.disable", {"enabled": False, "reason": "gone"})


def test_endpoint_is_switched_off_after_days_and_many_failures_only(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    register(database, scope)
    append(database, instance, *["message:sent"] * 12)
    parcels = pending(database)

    def fail(parcel: Parcel) -> Any:
        return settle(database, attempt(parcel, storage_clock, FAILED, response_status=500))

    fail(parcels[0])
    storage_clock.advance(6 * 86_400)
    # Six days, as a clock that jumps would have it, but only two failures.
    assert fail(parcels[1]).endpoints[0].enabled
    for parcel in parcels[2:9]:
        assert fail(parcel).endpoints[0].enabled
    settled = fail(parcels[9])
    assert settled.endpoints[0].disabled_reason is DisabledReason.FAILING
    assert [one.type for one in settled.events] == ["webhook:disabled"]
    assert fail(parcels[10]).events == ()


def test_test_delivery_of_a_tenant_without_instances_can_disable_without_an_event(
    database: Database, scope: Scope, storage_clock: ManualClock
) -> None:
    endpoint = register(database, scope)
    database.write_wait(
        delivery_log.add_test, scope, endpoint, body='{"id":"{id}"}', event_type="webhook:test"
    )
    [parcel] = pending(database)
    assert parcel.body == f'{{"id":"{parcel.event_id}"}}'
    assert (parcel.event, parcel.instance_id) == (None, None)
    settled = settle(database, attempt(parcel, storage_clock, FAILED, gone=True))
    assert (settled.endpoints[0].enabled, settled.events) == (False, ())


def test_events_stay_until_their_deliveries_are_settled(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    endpoint = register(database, scope, "message:sent")
    append(database, instance, "message:sent", "call:offered")
    storage_clock.advance(40 * 86_400)
    now = storage_clock.now()
    assert database.write_wait(events.purge, instance.id, now) == 1
    [parcel] = pending(database)
    assert parcel.event is not None
    settle(database, attempt(parcel, storage_clock, SUCCEEDED))
    assert database.write_wait(events.purge, instance.id, now) == 1
    [entry] = database.read_wait(delivery_log.list_page, scope, endpoint.id, limit=9).items
    with pytest.raises(NothingToReplay):
        database.write_wait(delivery_log.replay, scope, entry.id)
    assert database.write_wait(deliveries.purge, now) == 0
    assert database.write_wait(deliveries.purge, now + timedelta(seconds=1)) == 1


def test_deliveries_of_an_endpoint_that_stays_off_are_cancelled_in_the_end(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    endpoint = register(database, scope)
    append(database, instance, "message:sent")
    database.write_wait(webhooks.update, scope, None, endpoint.id, {"enabled": False})
    now = storage_clock.now()
    assert database.write_wait(deliveries.cancel_abandoned, now) == 0
    assert database.read_wait(deliveries.pending_streams)[1] == []
    assert database.write_wait(deliveries.cancel_abandoned, now + timedelta(days=1)) == 1
    [entry] = database.read_wait(delivery_log.list_page, scope, endpoint.id, limit=9).items
    assert entry.status is DeliveryStatus.CANCELLED


def test_streams_are_read_in_order_without_what_is_held(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    endpoint = register(database, scope)
    other = new_instance(database, scope)
    stored = append(database, instance, *["message:sent"] * 5)
    append(database, other, "message:sent")
    last, streams = database.read_wait(deliveries.pending_streams)
    assert set(streams) == {(endpoint.id, instance.id), (endpoint.id, other.id)}
    parcels = pending(database)
    assert last == parcels[-1].position
    settle(database, attempt(parcels[0], storage_clock, PENDING, response_status=500))
    stream, held = (endpoint.id, instance.id), {parcels[1].position}

    def read(**more: Any) -> list[str]:
        found = database.read_wait(deliveries.read_stream, stream, **more)
        return [one.event_id for one in found]

    ids = [one.id for one in stored]
    assert read(first_only=True, limit=2, held=held) == ids[2:4]
    assert read(first_only=False, limit=9) == ids


def test_wait_beyond_all_sense_is_cut_short(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    register(database, scope)
    append(database, instance, "message:sent", "message:sent")
    now = storage_clock.now()
    for parcel, days in zip(pending(database), (1, 400), strict=True):
        far = now + timedelta(days=days)
        settle(database, attempt(parcel, storage_clock, PENDING, next_attempt_at=far))
    assert database.write_wait(deliveries.pull_in, now + timedelta(days=2)) == 1
    times = [one.next_attempt_at for one in pending(database)]
    assert times == [now + timedelta(days=1), now + timedelta(days=2)]


def test_delivery_is_replayed_with_the_same_event(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    register(database, scope)
    append(database, instance, "message:sent")
    [parcel] = pending(database)
    settle(database, attempt(parcel, storage_clock, FAILED, attempts=10))
    with pytest.raises(NotFound):
        database.write_wait(delivery_log.replay, new_scope(database), parcel.id)
    for _ in range(2):  # again while it is pending: nothing changes
        again = database.write_wait(delivery_log.replay, scope, parcel.id)
        assert (again.status, again.attempts, again.ended_at) == (PENDING, 0, None)
    assert [one.event_id for one in pending(database)] == [parcel.event_id]


def test_range_is_replayed_with_what_was_never_delivered(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    start = storage_clock.now()
    [early] = append(database, instance, "message:sent")  # before there was an endpoint
    storage_clock.advance(60)
    endpoint = register(database, scope, "message:*")
    late = append(database, instance, "message:sent", "message:received", "call:offered")
    delivered, waiting = pending(database)
    settle(database, attempt(delivered, storage_clock, SUCCEEDED))
    end = storage_clock.now() + timedelta(seconds=1)

    def replay(**more: Any) -> Any:
        values = {"since": start, "until": end, "limit": 10, **more}
        return database.write_wait(delivery_log.replay_range, scope, endpoint, **values)

    assert replay(undelivered=True).count == 1
    assert [one.event_id for one in pending(database)] == [waiting.event_id, early.id]
    first = replay(limit=1)
    assert (first.count, first.next_from) == (0, late[0].timestamp)
    # All of one moment together, as there would be no going on from within it.
    second = replay(since=first.next_from, undelivered=True, limit=1)
    assert (second.count, second.next_from) == (0, first.next_from + timedelta(milliseconds=1))
    assert replay().count == 1
    assert {one.event_id for one in pending(database)} == {early.id, late[0].id, late[1].id}
    assert replay(until=start).count == 0
