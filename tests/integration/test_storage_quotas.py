"""What a subscription may have is kept to, however many ask at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.manual_clock import ManualClock
from support.queueing import new_text, queue_text, waiting
from support.tenants import new_instance, new_scope
from wavisor.domain import Tier
from wavisor.limits import Resource
from wavisor.storage import Database, LimitReached, NotFound, Scope, accounts, instances, quotas
from wavisor.storage import messages as message_rows

MANY = 50
DAY = 86_400.0


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


def override(database: Database, scope: Scope, **limits: int | None) -> None:
    database.write_wait(accounts.set_overrides, scope.subscription_id, limits)


def race(attempt: Callable[[], Any]) -> int:
    """Let many try at once; return how many were let through."""
    barrier = threading.Barrier(MANY)

    def one(_: int) -> bool:
        barrier.wait(timeout=30)
        try:
            attempt()
        except LimitReached:
            return False
        return True

    with ThreadPoolExecutor(MANY) as threads:
        return sum(threads.map(one, range(MANY)))


def used(database: Database, scope: Scope, resource: Resource) -> int:
    return database.read_wait(quotas.use, scope).used[resource]


def test_fifty_at_once_never_exceed_the_instances(database: Database, scope: Scope) -> None:
    override(database, scope, instances=7)
    let_through = race(
        lambda: database.write_wait(instances.create, scope, name="one of many", timeout=30)
    )
    assert let_through == 7
    assert used(database, scope, Resource.INSTANCES) == 7


def test_fifty_at_once_never_exceed_the_days_messages(database: Database, scope: Scope) -> None:
    override(database, scope, messages_per_day=20)
    lines = [new_instance(database, scope).id for _ in range(4)]
    numbers = iter(range(MANY))
    lock = threading.Lock()

    def accept() -> None:
        with lock:
            line = lines[next(numbers) % len(lines)]
        database.write_wait(message_rows.enqueue, scope, line, new_text(), timeout=30)

    assert race(accept) == 20
    assert used(database, scope, Resource.MESSAGES_PER_DAY) == 20
    # What was refused left nothing behind, neither a message nor a place in the queue.
    assert waiting(database) == 20
    assert len(database.read_wait(message_rows.list_page, scope, limit=100).items) == 20


def test_creating_instances_while_messages_are_accepted_ends(
    database: Database, scope: Scope
) -> None:
    line = new_instance(database, scope)
    futures: list[Any] = []
    for number in range(40):
        futures.append(database.write(message_rows.enqueue, scope, line.id, new_text()))
        if number % 10 == 0:
            futures.append(database.write(instances.create, scope, name=f"n{number}"))
    for future in futures:
        future.result(30)
    assert used(database, scope, Resource.INSTANCES) == 5


def test_the_day_of_utc_begins_anew(
    database: Database, storage_clock: ManualClock, scope: Scope
) -> None:
    override(database, scope, messages_per_day=2)
    line = new_instance(database, scope)
    for _ in range(2):
        queue_text(database, line)
    with pytest.raises(LimitReached) as refused:
        queue_text(database, line)
    assert refused.value.resource is Resource.MESSAGES_PER_DAY
    assert refused.value.limit == 2
    now = storage_clock.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    assert refused.value.seconds == DAY - (now - midnight).total_seconds()
    storage_clock.advance(refused.value.seconds - 1)
    with pytest.raises(LimitReached):
        queue_text(database, line)
    storage_clock.advance(1)
    assert used(database, scope, Resource.MESSAGES_PER_DAY) == 0
    queue_text(database, line)
    assert used(database, scope, Resource.MESSAGES_PER_DAY) == 1


def test_deleting_an_instance_gives_no_messages_back(database: Database, scope: Scope) -> None:
    override(database, scope, messages_per_day=1)
    line = new_instance(database, scope)
    queue_text(database, line)
    database.write_wait(instances.delete, scope, line.id)
    with pytest.raises(LimitReached):
        queue_text(database, new_instance(database, scope))


def test_another_tenant_has_its_own(database: Database, scope: Scope) -> None:
    override(database, scope, messages_per_day=0)
    other = new_scope(database)
    queue_text(database, new_instance(database, other))
    with pytest.raises(LimitReached):
        queue_text(database, new_instance(database, scope))


def test_a_lower_tier_deletes_nothing_and_allows_nothing_more(
    database: Database, scope: Scope
) -> None:
    database.write_wait(accounts.set_tier, scope.subscription_id, Tier.PRO)
    lines = [new_instance(database, scope) for _ in range(7)]
    database.write_wait(accounts.set_tier, scope.subscription_id, Tier.BASIC)
    assert used(database, scope, Resource.INSTANCES) == 7
    with pytest.raises(LimitReached):
        new_instance(database, scope)
    queue_text(database, lines[6])
    for line in lines[:3]:
        database.write_wait(instances.delete, scope, line.id)
    new_instance(database, scope)
    with pytest.raises(LimitReached):
        new_instance(database, scope)


def test_no_limit_is_no_limit(database: Database, scope: Scope) -> None:
    override(database, scope, instances=None, messages_per_day=None)
    lines = [new_instance(database, scope) for _ in range(45)]
    queue_text(database, lines[44])
    assert used(database, scope, Resource.MESSAGES_PER_DAY) == 1


def test_overrides_are_checked_and_taken_back(database: Database, scope: Scope) -> None:
    with pytest.raises(ValueError, match="instances"):
        override(database, scope, instances=-1)
    override(database, scope, instances=1)
    assert database.read_wait(quotas.get, scope).overrides == {"instances": 1}
    database.write_wait(accounts.set_overrides, scope.subscription_id, None)
    assert database.read_wait(quotas.get, scope).overrides is None
    with pytest.raises(NotFound):
        override(database, Scope("sub_none"), instances=1)


def test_a_subscription_that_is_gone_has_nothing(database: Database) -> None:
    nobody = Scope("sub_none")
    for task in (quotas.get, quotas.use):
        with pytest.raises(NotFound):
            database.read_wait(task, nobody)
    for task in (quotas.lock_subscription, quotas.count_messages):
        with pytest.raises(NotFound):
            database.write_wait(task, nobody)
