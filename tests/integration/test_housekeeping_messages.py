"""Messages and events go after their time, as their instance says; nothing that waits does."""

from __future__ import annotations

import random
import threading
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from support.manual_clock import ManualClock
from support.queueing import new_inbound, queue_text, receive
from support.tenants import new_instance, new_scope
from wavisor.actors.housekeeping import Housekeeping, Retention, kept_for
from wavisor.actors.media_upkeep import MediaUpkeep
from wavisor.actors.supervisor import ChildContext, ChildSpec, Environment, Strategy, run_root
from wavisor.media import MediaStore
from wavisor.storage import Database, NewEvent, Scope, accounts, chats, events, instances, messages

MONTH = timedelta(days=30)


class FailsOnce(MediaUpkeep):
    """Finds something in its first round that nobody thought of."""

    rounds = 0

    def sweep(self, now: datetime) -> tuple[int, int]:
        self.rounds += 1
        if self.rounds == 1:
            raise OverflowError("date value out of range")
        return super().sweep(now)


def sweep(database: Database, clock: ManualClock, kept: timedelta | None) -> None:
    """Run one round."""
    with TemporaryDirectory() as root:
        store = MediaStore(Path(root) / "media")
        store.open()
        try:
            _sweep(database, clock, kept, MediaUpkeep(database, store, None))
        finally:
            store.close()


def _sweep(
    database: Database, clock: ManualClock, kept: timedelta | None, files: MediaUpkeep
) -> None:
    retention = Retention(events=MONTH, audit=MONTH, messages=kept)
    child = ChildSpec(
        id="housekeeping", start=lambda context: Housekeeping(context, database, retention, files)
    )
    root = run_root(
        [child],
        environment=Environment(clock, clock, random.Random(1)),
        strategy=Strategy.REST_FOR_ONE,
    )
    root.started.result(60)
    clock.advance(60)
    root.stop().result(60)


def texts(database: Database, scope: Scope) -> list[str | None]:
    page = database.read_wait(messages.list_page, scope, limit=50)
    return [one.text for one in page.items]


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


def test_old_messages_go_and_what_waits_stays(
    database: Database, storage_clock: ManualClock, scope: Scope
) -> None:
    clock, instance = storage_clock, new_instance(database, scope)
    other = new_instance(database, scope)
    database.write_wait(instances.update, scope, other.id, settings={"messageRetentionDays": 0})
    receive(database, other, new_inbound("for ever"))
    receive(database, instance, new_inbound("old"))
    queue_text(database, instance, "waits")
    clock.advance(MONTH.total_seconds())
    receive(database, instance, new_inbound("young"))
    sweep(database, clock, None)
    assert texts(database, scope) == ["young", "waits", "old", "for ever"]
    sweep(database, clock, MONTH)
    assert texts(database, scope) == ["young", "waits", "for ever"]


def test_events_go_after_the_time_that_their_instance_says(
    database: Database, storage_clock: ManualClock, scope: Scope
) -> None:
    made = {name: new_instance(database, scope, name) for name in ("default", "week", "ever")}
    for name, kept in (("week", 7), ("ever", 0)):
        settings = {"eventRetentionDays": kept}
        database.write_wait(instances.update, scope, made[name].id, settings=settings)

    def left() -> list[str]:
        sweep(database, storage_clock, None)
        return [
            name
            for name, one in made.items()
            if database.read_wait(events.list_for_instance, scope, one.id, limit=9).items
        ]

    for one in made.values():
        database.write_wait(events.append, one.id, [NewEvent(type="message:received", data={})])
    assert left() == ["default", "week", "ever"]
    storage_clock.advance(timedelta(days=8).total_seconds())
    assert left() == ["default", "ever"]
    storage_clock.advance(MONTH.total_seconds())
    assert left() == ["ever"]


def test_a_chat_stays_right_when_its_messages_go(
    database: Database, storage_clock: ManualClock, scope: Scope
) -> None:
    clock, instance = storage_clock, new_instance(database, scope)
    receive(database, instance, new_inbound("old"))
    receive(database, instance, new_inbound("old too", from_me=True))
    clock.advance(MONTH.total_seconds())
    receive(database, instance, new_inbound("young"))

    def chat() -> tuple[int, str | None]:
        [found] = database.read_wait(chats.list_page, scope, limit=9).items
        return found.unread, found.last_message and found.last_message.text

    assert chat() == (2, "young")
    sweep(database, clock, MONTH)
    assert chat() == (1, "young")
    clock.advance(MONTH.total_seconds())
    sweep(database, clock, MONTH)
    assert chat() == (0, None)


def test_the_last_message_but_one_follows_when_the_last_is_deleted(
    database: Database, storage_clock: ManualClock, scope: Scope
) -> None:
    instance = new_instance(database, scope)
    for text in ("first", "second", "third"):
        last = receive(database, instance, new_inbound(text))
        storage_clock.advance(1)
    assert last is not None
    assert database.write_wait(messages.delete, scope, last.id)
    [chat] = database.read_wait(chats.list_page, scope, limit=9).items
    assert chat.last_message is not None
    assert (chat.last_message.text, chat.unread) == ("second", 2)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, MONTH),
        ({"messageRetentionDays": 7}, timedelta(days=7)),
        ({"messageRetentionDays": 0}, None),
        ({"messageRetentionDays": -1}, MONTH),
        ({"messageRetentionDays": True}, MONTH),
        ({"messageRetentionDays": "7"}, MONTH),
        ({"messageRetentionDays": 10**9}, MONTH),
    ],
)
def test_an_instance_may_say_how_long(settings: dict[str, Any], kept: timedelta | None) -> None:
    assert kept_for(settings, MONTH) == kept


@pytest.mark.parametrize(
    ("own", "most", "days"), [(0, 7, 7), (90, 7, 7), (3, 7, 3), (0, None, None), (None, 90, 30)]
)
def test_a_tier_says_how_long_at_most(own: int | None, most: int | None, days: int | None) -> None:
    settings = {} if own is None else {"messageRetentionDays": own}
    expected = None if days is None else timedelta(days=days)
    assert kept_for(settings, MONTH, most) == expected


def test_a_limit_of_retention_deletes_what_settings_would_keep(
    database: Database, storage_clock: ManualClock, scope: Scope
) -> None:
    instance = new_instance(database, scope)
    database.write_wait(accounts.set_overrides, scope.subscription_id, {"retention_days": 10})
    receive(database, instance, new_inbound("old"))
    storage_clock.advance(timedelta(days=10, seconds=1).total_seconds())
    receive(database, instance, new_inbound("young"))
    sweep(database, storage_clock, None)
    assert texts(database, scope) == ["young"]


def test_a_round_that_fails_takes_no_instances_along_and_the_next_one_comes(
    database: Database, storage_clock: ManualClock, tmp_path: Path
) -> None:
    store = MediaStore(tmp_path / "media")
    store.open()
    files = FailsOnce(database, store, None)
    starts: list[int] = []

    def start(context: ChildContext) -> Housekeeping:
        starts.append(context.generation)
        return Housekeeping(context, database, Retention(events=MONTH, audit=MONTH), files)

    root = run_root(
        [ChildSpec(id="housekeeping", start=start)],
        environment=Environment(storage_clock, storage_clock, random.Random(1)),
        strategy=Strategy.REST_FOR_ONE,
    )
    root.started.result(60)
    try:
        for _ in range(500):
            if files.rounds == 2:
                break
            storage_clock.advance(60)
            threading.Event().wait(0.01)
    finally:
        root.stop().result(60)
        store.close()
    assert (files.rounds, starts) == (2, [1])
