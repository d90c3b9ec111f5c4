"""What has much is emptied in portions before it is deleted, and only that."""

from __future__ import annotations

import pytest

from support.queueing import new_inbound, queue_text, receive, waiting
from support.tenants import new_instance, new_scope
from wavisor.storage import (
    Database,
    InstanceRecord,
    NewEndpoint,
    NewEvent,
    NotFound,
    Scope,
    events,
    instances,
    messages,
    webhooks,
)
from wavisor.storage.models import Event, Message, WebhookDelivery

COUNT = 5


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


def fill(database: Database, instance: InstanceRecord) -> None:
    for number in range(COUNT):
        assert receive(database, instance, new_inbound(f"{number}")) is not None
    queue_text(database, instance)
    new = [NewEvent("message:received", {"number": number}) for number in range(COUNT)]
    database.write_wait(events.append, instance.id, new)


def count(database: Database, instance: InstanceRecord) -> tuple[int, ...]:
    return database.read_wait(
        lambda: tuple(
            model.select().where(model.instance == instance.id).count()
            for model in (Message, Event, WebhookDelivery)
        )
    )


def endpoint(database: Database, scope: Scope) -> str:
    new = NewEndpoint(url="https://example.org/hook", secret="whsec_AAAA")
    return database.write_wait(webhooks.create, scope, new).id


def test_an_instance_is_emptied_in_portions_and_no_other_one(
    database: Database, scope: Scope
) -> None:
    endpoint(database, scope)
    doomed, other = new_instance(database, scope), new_instance(database, scope)
    for one in (doomed, other):
        fill(database, one)
    assert count(database, doomed) == (COUNT + 1, COUNT, COUNT)
    # Nothing of it is another tenant's.
    assert database.write_wait(messages.shed, new_scope(database), doomed.id) == 0
    shed = []
    while True:
        portion = database.write_wait(messages.shed, scope, doomed.id, limit=2)
        shed.append(portion)
        if not portion:
            break
        # Dying here leaves the count of what waits right.
        left = waiting(database, doomed.id)
        queued = database.read_wait(
            lambda: (
                Message.select()
                .where(Message.instance == doomed.id, Message.status == "queued")
                .count()
            )
        )
        assert left == queued
    assert max(shed) <= 6
    assert sum(shed) == 3 * COUNT + 1
    assert count(database, doomed) == (0, 0, 0)
    assert count(database, other) == (COUNT + 1, COUNT, COUNT)
    database.write_wait(instances.delete, scope, doomed.id)


def test_a_webhook_is_switched_off_and_emptied_in_portions(
    database: Database, scope: Scope
) -> None:
    instance = new_instance(database, scope)
    doomed, other = endpoint(database, scope), endpoint(database, scope)
    fill(database, instance)
    with pytest.raises(NotFound):
        database.write_wait(webhooks.shed, new_scope(database), None, doomed)
    assert database.write_wait(webhooks.shed, scope, None, doomed, limit=3) == 3
    # What happens meanwhile does not fill it again.
    database.write_wait(events.append, instance.id, [NewEvent("message:received", {})])
    assert database.write_wait(webhooks.shed, scope, None, doomed, limit=3) == COUNT - 3
    assert database.write_wait(webhooks.shed, scope, None, doomed, limit=3) == 0
    left = database.read_wait(lambda: [row.endpoint_id for row in WebhookDelivery.select()])
    assert left == [other] * (COUNT + 1)
    database.write_wait(webhooks.delete, scope, None, doomed)
