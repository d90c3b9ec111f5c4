from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from support.manual_clock import ManualClock
from support.queueing import queue_text as queue
from support.queueing import send, waiting
from support.tenants import new_instance, new_scope
from wavisor.domain import MessageStatus
from wavisor.storage import Database, InstanceRecord, MessageRecord, Scope, messages

S = MessageStatus


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


@pytest.fixture
def instance(database: Database, scope: Scope) -> InstanceRecord:
    return new_instance(database, scope)


def status_of(database: Database, message: MessageRecord) -> MessageStatus:
    found = database.read_wait(messages.get, Scope(message.subscription_id), message.id)
    assert found is not None
    return found.status


def receipt(
    database: Database,
    instance: InstanceRecord,
    ids: list[str],
    status: MessageStatus,
    at: datetime,
) -> list[MessageRecord]:
    return database.write_wait(messages.apply_receipt, instance.id, ids, status, at)


def test_messages_leave_the_queue_in_the_order_they_came(
    database: Database, instance: InstanceRecord
) -> None:
    texts = ["one", "two \x00 with NUL", "three 🎉"]
    for text in texts:
        queue(database, instance, text)
    assert waiting(database, instance.id) == 3
    sent = []
    while (message := database.read_wait(messages.next_queued, instance.id)) is not None:
        sent.append(message.content["text"])
        send(database, message, f"W{len(sent)}")
    assert sent == texts
    assert waiting(database) == 0


def test_queue_of_one_instance_is_not_anothers(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    queue(database, instance)
    assert database.read_wait(messages.next_queued, new_instance(database, scope).id) is None


def test_message_is_handed_over_at_most_once(database: Database, instance: InstanceRecord) -> None:
    message = queue(database, instance)
    first = database.write_wait(messages.mark_sending, message.id, whatsapp_id="W1")
    assert first is not None
    assert (first.status, first.whatsapp_id) == (S.SENDING, "W1")
    assert database.write_wait(messages.mark_sending, message.id) is None
    assert database.write_wait(messages.mark_sending, "msg_none") is None


def test_requeued_message_keeps_its_place(database: Database, instance: InstanceRecord) -> None:
    first, second = queue(database, instance, "1"), queue(database, instance, "2")
    database.write_wait(messages.mark_sending, first.id, whatsapp_id="W")
    again = database.write_wait(messages.requeue, first.id)
    assert again is not None
    assert again.whatsapp_id is None
    following = database.read_wait(messages.next_queued, instance.id)
    assert following is not None
    assert following.id == first.id
    assert database.write_wait(messages.requeue, second.id) is None


def test_receipts_move_only_forward(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    message = send(database, queue(database, instance), "W1")
    at = storage_clock.now()
    moved = receipt(database, instance, ["W1", "W-unknown"], S.READ, at + timedelta(seconds=9))
    assert [(one.id, one.status) for one in moved] == [(message.id, S.READ)]
    assert receipt(database, instance, ["W1"], S.DELIVERED, at) == []
    assert receipt(database, instance, ["W1"], S.READ, at) == []
    [played] = receipt(database, instance, ["W1"], S.PLAYED, at + timedelta(seconds=10))
    assert played.status is S.PLAYED
    assert played.read_at == at + timedelta(seconds=9)
    # Told late, it moves nothing, but it tells when that was.
    assert played.delivered_at == at


def test_receipt_for_another_instance_moves_nothing(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    message = send(database, queue(database, instance), "W1")
    other = new_instance(database, scope)
    assert receipt(database, other, ["W1"], S.DELIVERED, storage_clock.now()) == []
    assert status_of(database, message) is S.SENT


def test_receipt_cannot_tell_of_sending(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    with pytest.raises(ValueError, match="sent"):
        receipt(database, instance, ["W1"], S.SENT, storage_clock.now())


def test_receipt_that_overtakes_the_answer_is_kept(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    message = queue(database, instance)
    database.write_wait(messages.mark_sending, message.id, whatsapp_id="W1")
    receipt(database, instance, ["W1"], S.DELIVERED, storage_clock.now())
    sent = database.write_wait(messages.mark_sent, message.id, whatsapp_id="W1")
    assert sent is not None
    assert sent.status is S.DELIVERED
    assert sent.sent_at == storage_clock.now()


def test_left_sending_becomes_uncertain_and_a_receipt_settles_it(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    other = new_instance(database, scope)
    lost, waiting = queue(database, instance), queue(database, instance)
    elsewhere = queue(database, other)
    for message in (lost, elsewhere):
        database.write_wait(messages.mark_sending, message.id, whatsapp_id=f"W-{message.id}")
    [left] = database.read_wait(messages.list_sending, instance.id)
    assert left.id == lost.id
    reason = {"reason": "unanswered"}
    open_now = database.write_wait(messages.mark_uncertain, lost.id, reason)
    assert open_now is not None
    assert (open_now.status, open_now.failure) == (S.UNCERTAIN, reason)
    assert database.write_wait(messages.mark_uncertain, waiting.id, reason) is None
    assert status_of(database, waiting) is S.QUEUED
    assert status_of(database, elsewhere) is S.SENDING
    [settled] = receipt(database, instance, [f"W-{lost.id}"], S.DELIVERED, storage_clock.now())
    assert (settled.status, settled.failure) == (S.DELIVERED, None)


def test_failed_message_stays_failed(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    message = queue(database, instance)
    database.write_wait(messages.mark_sending, message.id, whatsapp_id="W1")
    failed = database.write_wait(messages.mark_failed, message.id, {"reason": "rejected"})
    assert failed is not None
    assert failed.failure == {"reason": "rejected"}
    assert database.write_wait(messages.mark_sent, message.id, whatsapp_id="W1") is None
    assert database.write_wait(messages.mark_uncertain, message.id, {}) is None
    assert receipt(database, instance, ["W1"], S.READ, storage_clock.now()) == []
    assert status_of(database, message) is S.FAILED


def test_two_messages_without_a_whatsapp_id_do_not_collide(
    database: Database, instance: InstanceRecord
) -> None:
    for _ in range(2):
        sent = send(database, queue(database, instance), "")
        assert (sent.status, sent.whatsapp_id) == (S.SENT, None)


def test_pages_are_newest_first_and_filtered(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    other = new_instance(database, scope)
    queued = [queue(database, instance) for _ in range(3)]
    elsewhere = queue(database, other)
    send(database, queued[0], "W")
    first = database.read_wait(messages.list_page, scope, limit=2)
    rest = database.read_wait(messages.list_page, scope, limit=2, cursor=first.next_cursor)
    assert [one.id for one in (*first.items, *rest.items)] == [
        elsewhere.id,
        *(one.id for one in reversed(queued)),
    ]
    assert rest.next_cursor is None
    page = database.read_wait(
        messages.list_page, scope, limit=9, instance_id=instance.id, status=[S.QUEUED]
    )
    assert [one.id for one in page.items] == [queued[2].id, queued[1].id]
    with pytest.raises(ValueError, match="invalid literal"):
        database.read_wait(messages.list_page, scope, limit=2, cursor="nonsense")


def test_contents_are_not_in_the_representation(
    database: Database, instance: InstanceRecord
) -> None:
    shown = repr(queue(database, instance, "a secret"))
    assert "secret" not in shown
    assert "15550100" not in shown
