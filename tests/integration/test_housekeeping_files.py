"""Files go after their time, as their instance says, and so do files that nobody names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.manual_clock import ManualClock
from support.queueing import new_inbound, new_text, receive
from support.tenants import new_instance, new_scope
from wavisor.actors import media_upkeep
from wavisor.actors.media_upkeep import MediaUpkeep, files_kept_for
from wavisor.media import MediaStore
from wavisor.media.store import KEEP_SECONDS
from wavisor.storage import Database, InstanceRecord, Scope, instances, media, messages
from wavisor.storage.models import Subscription

WEEK = timedelta(days=7)


class House:
    """A store and a database that are swept together."""

    def __init__(self, database: Database, clock: ManualClock, path: Path) -> None:
        self.database, self.clock = database, clock
        self.store = MediaStore(path / "media", now=lambda: clock.now().timestamp())
        self.store.open()
        self.scope = new_scope(database)
        self.upkeep = MediaUpkeep(database, self.store, None)

    def file(self, content: bytes, scope: Scope | None = None) -> str:
        """Put a file with a row into the store; return the row's id."""
        source = self.store.root / "incoming" / "x"
        source.write_bytes(content)
        stored = self.store.take_in(source).result(60).stored
        return self.database.write_wait(
            media.put,
            scope or self.scope,
            sha256=stored.sha256,
            size=stored.size,
            mime_type="x/y",
            path=stored.relative,
        ).id

    def receive(self, instance: InstanceRecord, content: bytes) -> str:
        """Let a message with a file come in; return its id."""
        message = receive(self.database, instance, new_inbound(media_id=self.file(content)))
        assert message is not None
        return message.id

    def instance(self, **rules: Any) -> InstanceRecord:
        made = new_instance(self.database, self.scope)
        self.database.write_wait(
            instances.update, self.scope, made.id, settings={"media": rules} if rules else {}
        )
        return made

    def has(self, content: bytes) -> bool:
        return self.store.find(hashlib.sha256(content).hexdigest()) is not None

    def sweep(self) -> tuple[int, int]:
        return self.upkeep.sweep(self.clock.now())

    def later(self, time: timedelta) -> None:
        self.clock.advance(time.total_seconds())


@pytest.fixture
def house(database: Database, storage_clock: ManualClock, tmp_path: Path) -> Iterator[House]:
    made = House(database, storage_clock, tmp_path)
    yield made
    made.store.close()


def test_old_files_go_and_their_messages_stay(house: House) -> None:
    short, long = house.instance(retentionDays=7), house.instance()
    message = house.receive(short, b"old")
    house.receive(long, b"kept")
    house.later(WEEK)
    house.receive(short, b"young")
    assert house.sweep() == (0, 0)
    house.later(timedelta(hours=2))
    rows, _ = house.sweep()
    assert rows == 1
    assert [house.has(one) for one in (b"old", b"kept", b"young")] == [False, True, True]
    record = house.database.read_wait(messages.get, house.scope, message)
    assert record is not None
    assert (record.media_id, record.file) == (None, None)


def test_what_another_instance_keeps_stays_until_that_one_lets_it_go(house: House) -> None:
    week, month = house.instance(retentionDays=7), house.instance(retentionDays=30)
    for instance in (week, month):
        house.receive(instance, b"shared")
    house.later(timedelta(days=8))
    house.sweep()
    assert house.has(b"shared")
    house.later(timedelta(days=23))
    house.sweep()
    assert not house.has(b"shared")


def test_two_instances_of_the_same_rule_keep_nothing_for_each_other(house: House) -> None:
    for instance in (house.instance(retentionDays=7), house.instance(retentionDays=7)):
        house.receive(instance, b"shared")
    house.later(timedelta(days=8))
    house.sweep()
    assert not house.has(b"shared")


def test_a_file_of_another_tenant_keeps_its_content(house: House) -> None:
    house.receive(house.instance(retentionDays=7), b"both")
    other = new_scope(house.database)
    instance = new_instance(house.database, other)
    receive(house.database, instance, new_inbound(media_id=house.file(b"both", other)))
    house.later(timedelta(days=8))
    assert house.sweep()[0] == 1
    assert house.has(b"both")


def test_what_waits_to_be_sent_stays(house: House) -> None:
    instance = house.instance(retentionDays=7)
    waiting = new_text("x", media_id=house.file(b"waits"))
    house.database.write_wait(messages.enqueue, house.scope, instance, waiting)
    house.later(timedelta(days=8))
    house.sweep()
    assert house.has(b"waits")


def test_what_no_message_has_goes_after_a_day(house: House) -> None:
    house.file(b"nobody's")
    house.sweep()
    assert house.has(b"nobody's")
    house.later(timedelta(days=1, seconds=1))
    house.sweep()
    assert not house.has(b"nobody's")


def test_a_file_that_was_too_fresh_goes_in_a_later_round(house: House) -> None:
    instance = house.instance(retentionDays=7)
    house.receive(instance, b"again")
    house.later(timedelta(days=8))
    # Somebody sends the same content once more, but its row is not there in the end.
    source = house.store.root / "incoming" / "y"
    source.write_bytes(b"again")
    house.store.take_in(source).result(60)
    assert house.sweep()[0] == 1
    assert house.has(b"again")
    house.clock.advance(KEEP_SECONDS + 1)
    assert house.sweep() == (0, 1)
    assert not house.has(b"again")


def test_files_of_a_deleted_tenant_go(house: House) -> None:
    instance = house.instance()
    house.receive(instance, b"theirs")

    def delete() -> None:
        Subscription.delete().where(Subscription.id == house.scope.subscription_id).execute()

    house.database.write_wait(delete)
    house.clock.advance(KEEP_SECONDS + 1)
    assert house.sweep() == (0, 1)
    assert not house.has(b"theirs")


def test_a_round_looks_at_a_bounded_part_and_the_next_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_upkeep, "_PORTION", 2)
    monkeypatch.setattr(media_upkeep, "_PORTIONS", 2)
    for number in range(10):
        source = house.store.root / "incoming" / "z"
        source.write_bytes(b"%d" % number)
        house.store.take_in(source).result(60)
    house.clock.advance(KEEP_SECONDS + 1)
    removed = [house.sweep()[1] for _ in range(4)]
    assert removed == [4, 4, 2, 0]


@pytest.mark.parametrize(
    ("days", "default", "most", "kept"),
    [
        (None, None, None, None),
        (None, 30, None, 30),
        (0, 30, None, None),
        (7, 30, None, 7),
        (0, None, 14, 14),
        (30, None, 14, 14),
        (7, None, 14, 7),
    ],
)
def test_the_instance_then_the_gateway_says_how_long(
    house: House, days: int | None, default: int | None, most: int | None, kept: int | None
) -> None:
    made = house.instance(**({} if days is None else {"retentionDays": days}))
    record = house.database.read_wait(instances.find, made.id)
    assert record is not None
    found = files_kept_for(record, None if default is None else timedelta(days=default), most)
    assert found == (None if kept is None else timedelta(days=kept))


def test_a_subscription_that_keeps_for_ages_ends_no_round(house: House) -> None:
    def allow() -> None:
        mine = Subscription.id == house.scope.subscription_id
        Subscription.update(overrides={"retention_days": 1_000_000_000}).where(mine).execute()

    house.database.write_wait(allow)
    house.receive(house.instance(), b"kept")
    assert house.sweep() == (0, 0)
    assert house.has(b"kept")
