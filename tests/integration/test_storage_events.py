from __future__ import annotations

import threading
from datetime import timedelta

import psycopg
import pytest

from support.manual_clock import ManualClock
from support.tenants import new_instance, new_scope
from wavisor.clock import SystemClock
from wavisor.ids import Kind, new_id
from wavisor.storage import (
    Database,
    EventRecord,
    InstanceRecord,
    NewEvent,
    Scope,
    events,
    instances,
)

WAIT = 60.0


def append(database: Database, instance: InstanceRecord, *types: str) -> list[EventRecord]:
    new = [NewEvent(kind, {"type": kind}) for kind in types]
    return database.write_wait(events.append, instance.id, new, timeout=WAIT)


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


@pytest.fixture
def instance(database: Database, scope: Scope) -> InstanceRecord:
    return new_instance(database, scope)


def test_seq_grows_by_one_per_instance_and_position_over_all(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    other = new_instance(database, scope)
    first = append(database, instance, "a", "b")
    second = append(database, other, "c")
    third = append(database, instance, "d")
    assert [event.seq for event in (*first, *second, *third)] == [1, 2, 1, 3]
    positions = [event.position for event in (*first, *second, *third)]
    assert positions == sorted(set(positions))
    assert database.read_wait(events.latest_position) == positions[-1]
    assert database.read_wait(events.read_after, first[1].position, limit=9) == [*second, *third]


def test_failed_append_leaves_no_gap_in_seq(database: Database, instance: InstanceRecord) -> None:
    def fail() -> None:
        events.append(instance.id, [NewEvent("lost", {})])
        raise RuntimeError("no")

    append(database, instance, "a")
    with pytest.raises(RuntimeError):
        database.write_wait(fail)
    [stored] = append(database, instance, "b")
    assert stored.seq == 2


def test_fifty_threads_of_one_instance_get_fifty_numbers(
    database: Database, instance: InstanceRecord
) -> None:
    futures = [
        database.write(events.append, instance.id, [NewEvent("x", {"n": number})])
        for number in range(50)
    ]
    seqs = sorted(future.result(WAIT)[0].seq for future in futures)
    assert seqs == list(range(1, 51))


def test_reader_that_follows_positions_misses_nothing(
    database_url: str,
) -> None:
    """Several processes' worth of writers against one reader, as on several nodes."""
    nodes = [Database(database_url, clock=SystemClock()) for _ in range(2)]
    for node in nodes:
        node.open()
    try:
        scope = new_scope(nodes[0])
        writers = [new_instance(nodes[0], scope) for _ in range(4)]
        futures = [
            node.write(events.append, instance.id, [NewEvent("x", {}), NewEvent("y", {})])
            for _ in range(15)
            for instance in writers
            for node in nodes
        ]
        seen: list[EventRecord] = []
        finished = False
        while True:
            finished = all(future.done() for future in futures)
            position = seen[-1].position if seen else 0
            news = nodes[0].read_wait(events.read_after, position, limit=10)
            seen += news
            if finished and not news:
                break
        assert [future.exception() for future in futures if future.exception()] == []
        everything = nodes[0].read_wait(events.read_after, 0, limit=10_000)
        assert len(everything) == 15 * 4 * 2 * 2
        assert seen == everything
    finally:
        for node in nodes:
            assert node.close(timeout=WAIT)


@pytest.mark.postgres
def test_position_becomes_visible_only_after_all_lower_ones(migrated_postgres_url: str) -> None:
    database = Database(migrated_postgres_url, clock=SystemClock())
    database.open()
    try:
        scope = new_scope(database)
        early, late = new_instance(database, scope), new_instance(database, scope)
        start = database.read_wait(events.latest_position)
        appended, proceed = threading.Event(), threading.Event()

        def slow() -> list[EventRecord]:
            stored = events.append(early.id, [NewEvent("first", {})])
            appended.set()
            assert proceed.wait(WAIT)
            return stored

        first = database.write(slow)
        assert appended.wait(WAIT)
        second = database.write(events.append, late.id, [NewEvent("second", {})])
        _wait_for_blocked_advisory_lock(migrated_postgres_url)
        assert not second.done()
        assert database.read_wait(events.read_after, start, limit=9) == []
        proceed.set()
        assert first.result(WAIT)[0].position < second.result(WAIT)[0].position
        visible = database.read_wait(events.read_after, start, limit=9)
        assert [event.type for event in visible] == ["first", "second"]
    finally:
        proceed.set()
        assert database.close(timeout=WAIT)


def _wait_for_blocked_advisory_lock(url: str) -> None:
    question = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
        "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(3000):
            row = connection.execute(question).fetchone()
            if row is not None and row[0]:
                return
            connection.execute("SELECT pg_sleep(0.01)")
    pytest.fail("the second writer never waited for the first")


def test_list_is_newest_first_in_pages_and_by_type(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    append(database, instance, "a", "b", "a", "c", "a")
    first = database.read_wait(events.list_for_instance, scope, instance.id, limit=3)
    rest = database.read_wait(
        events.list_for_instance, scope, instance.id, limit=3, cursor=first.next_cursor
    )
    assert [event.seq for event in first.items] == [5, 4, 3]
    assert [event.seq for event in rest.items] == [2, 1]
    assert rest.next_cursor is None
    only = database.read_wait(
        events.list_for_instance, scope, instance.id, limit=9, types=["a", "c"]
    )
    assert [event.seq for event in only.items] == [5, 4, 3, 1]


def test_replay_gives_what_was_missed_and_nothing_of_other_tenants(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    other_scope = new_scope(database)
    other = new_instance(database, other_scope)
    [seen] = append(database, instance, "a")
    append(database, other, "foreign")
    missed = append(database, instance, "b", "c", "d")
    replay = database.read_wait(events.replay, scope, seen.id, limit=2)
    assert (list(replay.events), replay.known, replay.more) == (missed[:2], True, True)
    rest = database.read_wait(events.replay, scope, replay.events[-1].id, limit=2)
    assert (list(rest.events), rest.known, rest.more) == (missed[2:], True, False)


def test_replay_after_another_tenants_event_reveals_nothing(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    other = new_instance(database, new_scope(database))
    [foreign] = append(database, other, "foreign")
    append(database, instance, "mine")
    replay = database.read_wait(events.replay, scope, foreign.id, limit=9)
    assert not replay.known
    assert {event.subscription_id for event in replay.events} <= {scope.subscription_id}


def test_replay_narrows_to_instances_and_types(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    other = new_instance(database, scope)
    [seen] = append(database, instance, "a")
    append(database, other, "a", "b")
    wanted = append(database, instance, "a", "b")
    replay = database.read_wait(
        events.replay, scope, seen.id, limit=9, instances=[instance.id], types=["b"]
    )
    assert list(replay.events) == wanted[1:]
    nothing = database.read_wait(events.replay, scope, seen.id, limit=9, instances=[])
    assert nothing.events == ()


def test_replay_after_a_forgotten_event_starts_shortly_before_it(database_url: str) -> None:
    # Event ids carry the machine's time, so the rows' times must be the machine's as well.
    clock = SystemClock()
    database = Database(database_url, clock=clock)
    database.open()
    try:
        scope = new_scope(database)
        kept, deleted = new_instance(database, scope), new_instance(database, scope)
        long_ago = clock.now() - timedelta(hours=1)
        database.write_wait(events.append, kept.id, [NewEvent("old", {}, timestamp=long_ago)])
        [forgotten] = append(database, deleted, "gone")
        database.write_wait(instances.delete, scope, deleted.id)
        [fresh] = append(database, kept, "fresh")
        replay = database.read_wait(events.replay, scope, forgotten.id, limit=9)
        assert (list(replay.events), replay.known) == ([fresh], False)
        ancient = "evt_00000000000000000000000000"
        everything = database.read_wait(events.replay, scope, ancient, limit=9)
        assert [event.type for event in everything.events] == ["old", "fresh"]
    finally:
        assert database.close(timeout=WAIT)


def test_positions_of_deleted_events_are_never_given_out_again(
    database: Database, scope: Scope
) -> None:
    doomed = new_instance(database, scope)
    [last] = append(database, doomed, "a")
    database.write_wait(instances.delete, scope, doomed.id)
    [fresh] = append(database, new_instance(database, scope), "b")
    assert fresh.position > last.position


def test_purge_deletes_old_events_in_portions(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    append(database, instance, *"abcde")
    storage_clock.advance(100)
    [kept] = append(database, instance, "f")
    before = storage_clock.now() - timedelta(seconds=50)
    removed = [database.write_wait(events.purge, instance.id, before, limit=2) for _ in range(4)]
    assert removed == [2, 2, 1, 0]
    assert database.read_wait(events.read_after, 0, limit=9) == [kept]


def test_purge_of_an_instance_spares_the_others(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    append(database, instance, "a")
    [theirs] = append(database, new_instance(database, scope), "b")
    storage_clock.advance(100)
    before = storage_clock.now()
    assert database.write_wait(events.purge, instance.id, before) == 1
    assert database.write_wait(events.purge, instance.id, before) == 0
    assert database.read_wait(events.read_after, 0, limit=9) == [theirs]


def test_nothing_appended_takes_no_number(database: Database, instance: InstanceRecord) -> None:
    assert database.write_wait(events.append, instance.id, []) == []
    [first] = append(database, instance, "a")
    assert first.seq == 1
    assert new_id(Kind.EVENT) > first.id
