"""The rules of the queue: what goes next, what holds what back, and what happens at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from support.manual_clock import ManualClock
from support.queueing import (
    BOB,
    GROUP,
    new_inbound,
    new_text,
    queue_text,
    receive,
    send,
    waiting,
)
from support.tenants import new_instance, new_scope
from wavisor.domain import MessageStatus
from wavisor.storage import (
    Database,
    InstanceRecord,
    MessageRecord,
    NotFound,
    QueueDue,
    QueueFull,
    QueueLimits,
    Scope,
    messages,
)

S = MessageStatus
BROKEN = {"reason": "timeout", "detail": "no answer", "code": None}


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


@pytest.fixture
def instance(database: Database, scope: Scope) -> InstanceRecord:
    return new_instance(database, scope)


def look(database: Database, instance: InstanceRecord, *, new_contacts: bool = True) -> QueueDue:
    return database.read_wait(messages.due, instance.id, new_contacts=new_contacts)


def next_text(
    database: Database, instance: InstanceRecord, *, new_contacts: bool = True
) -> str | None:
    message = look(database, instance, new_contacts=new_contacts).message
    return None if message is None else message.text


def put_back(database: Database, message: MessageRecord, at: datetime) -> None:
    assert database.write_wait(messages.mark_sending, message.id) is not None
    assert database.write_wait(messages.requeue, message.id, retry_at=at, failure=BROKEN)


def drain(database: Database, instance: InstanceRecord) -> list[str | None]:
    """Send all that may go now; return the texts in their order."""
    texts = []
    while (message := look(database, instance).message) is not None:
        texts.append(message.text)
        send(database, message, f"W-{message.id}")
    return texts


def queued(database: Database, instance: InstanceRecord) -> int:
    return waiting(database, instance.id)


def test_message_to_be_tried_again_holds_back_its_chat_and_no_other(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    first = queue_text(database, instance, "a1")
    queue_text(database, instance, "a2")
    queue_text(database, instance, "b1", chat=BOB)
    put_back(database, first, storage_clock.now() + timedelta(seconds=30))
    assert drain(database, instance) == ["b1"]
    assert look(database, instance).next_at == storage_clock.now() + timedelta(seconds=30)
    storage_clock.advance(30)
    assert drain(database, instance) == ["a1", "a2"]


def test_scheduled_message_holds_back_nothing_before_its_time(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    at = storage_clock.now() + timedelta(hours=1)
    queue_text(database, instance, "later", send_at=at)
    queue_text(database, instance, "now")
    assert drain(database, instance) == ["now"]
    assert look(database, instance).next_at == at
    storage_clock.advance(3600)
    queue_text(database, instance, "after")
    assert drain(database, instance) == ["later", "after"]


def test_scheduled_messages_of_a_chat_keep_their_order(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    at = storage_clock.now() + timedelta(minutes=1)
    for text in ("1", "2", "3"):
        queue_text(database, instance, text, send_at=at)
    storage_clock.advance(60)
    assert drain(database, instance) == ["1", "2", "3"]


def test_higher_priority_goes_first_even_past_a_message_to_be_tried_again(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    first = queue_text(database, instance, "first")
    queue_text(database, instance, "second")
    put_back(database, first, storage_clock.now() + timedelta(seconds=30))
    queue_text(database, instance, "low", chat=BOB, priority=-1)
    queue_text(database, instance, "urgent", priority=5)
    assert drain(database, instance) == ["urgent", "low"]


def test_urgent_message_to_be_tried_again_holds_back_the_rest_of_its_chat(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    queue_text(database, instance, "normal")
    urgent = queue_text(database, instance, "urgent", priority=5)
    put_back(database, urgent, storage_clock.now() + timedelta(seconds=30))
    assert next_text(database, instance) is None


def test_messages_to_strangers_can_be_left_out(
    database: Database, instance: InstanceRecord
) -> None:
    queue_text(database, instance, "stranger")
    queue_text(database, instance, "group", chat=GROUP)
    receive(database, instance, new_inbound(chat=None, sender=None))
    queue_text(database, instance, "bob", chat=BOB)
    assert look(database, instance).new_contact is False, "Alice has written to us"
    assert next_text(database, instance, new_contacts=False) == "stranger"
    send(database, look(database, instance).message, "W1")  # type: ignore[arg-type]
    assert next_text(database, instance, new_contacts=False) == "group"
    send(database, look(database, instance).message, "W2")  # type: ignore[arg-type]
    due = look(database, instance)
    assert (due.message is not None, due.new_contact) == (True, True)
    assert next_text(database, instance, new_contacts=False) is None
    send(database, due.message, "W3")  # type: ignore[arg-type]
    queue_text(database, instance, "bob again", chat=BOB)
    assert next_text(database, instance, new_contacts=False) == "bob again"
    assert database.read_wait(
        messages.activity, instance.id, datetime.min.replace(tzinfo=instance.created_at.tzinfo)
    ) == (3, 1)


def test_attempt_that_was_none_is_not_counted(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    message = queue_text(database, instance)
    database.write_wait(messages.mark_sending, message.id, secret="s")
    again = database.write_wait(messages.requeue, message.id)
    assert again is not None
    assert (again.attempts, again.retry_at, again.secret) == (0, None, None)
    put_back(database, message, storage_clock.now())
    again = look(database, instance).message
    assert again is not None
    assert (again.attempts, again.failure) == (1, BROKEN)
    sending = database.write_wait(messages.mark_sending, message.id)
    assert sending is not None
    assert (sending.attempts, sending.failure, sending.retry_at) == (2, None, None)


def test_expired_messages_fail_and_are_never_offered(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    late = storage_clock.now() + timedelta(seconds=10)
    message = queue_text(database, instance, "late", expires_at=late)
    other = queue_text(database, instance, "other")
    assert look(database, instance).next_at == late
    assert database.write_wait(messages.expire_due, instance.id) == []
    storage_clock.advance(10)
    due = look(database, instance)
    assert due.expired
    assert due.message is not None
    assert due.message.id == other.id
    [expired] = database.write_wait(messages.expire_due, instance.id)
    assert expired.id == message.id
    assert expired.status is S.FAILED
    assert expired.failure is not None
    assert expired.failure["reason"] == "expired"
    assert [(one.status, one.reason) for one in expired.history] == [
        (S.QUEUED, None),
        (S.FAILED, "expired"),
    ]
    assert queued(database, instance) == 1
    assert not look(database, instance).expired


def test_expiry_is_done_in_portions(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    for _ in range(3):
        queue_text(database, instance, expires_at=storage_clock.now())
    assert len(database.write_wait(messages.expire_due, instance.id, limit=2)) == 2
    assert len(database.write_wait(messages.expire_due, instance.id, limit=2)) == 1
    assert queued(database, instance) == 0


def test_queue_of_an_instance_is_bounded(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    limits = QueueLimits(instance=2, subscription=3)

    def accept(where: InstanceRecord) -> MessageRecord:
        return database.write_wait(messages.enqueue, scope, where, new_text("one"), limits=limits)

    accept(instance)
    second = accept(instance)
    with pytest.raises(QueueFull) as full:
        accept(instance)
    assert (full.value.of, full.value.limit) == ("instance", 2)
    other = new_instance(database, scope)
    accept(other)
    with pytest.raises(QueueFull) as full:
        accept(other)
    assert (full.value.of, full.value.limit) == ("subscription", 3)
    assert len(database.read_wait(messages.list_page, scope, limit=9).items) == 3
    send(database, second, "W")
    accept(other)
    assert waiting(database) == 3


def test_bound_holds_when_many_are_accepted_at_once(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    limits = QueueLimits(instance=7)
    futures = [
        database.write(messages.enqueue, scope, instance, new_text(str(n)), limits=limits)
        for n in range(30)
    ]
    refused = [isinstance(one.exception(30), QueueFull) for one in futures]
    assert refused.count(False) == 7
    assert queued(database, instance) == 7


def test_file_that_is_gone_is_told_as_not_found(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    with pytest.raises(NotFound):
        database.write_wait(messages.enqueue, scope, instance, new_text("x", media_id="med_none"))


def test_cancel_is_for_queued_messages_of_ones_own(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    message, sent = queue_text(database, instance), queue_text(database, instance)
    send(database, sent, "W1")
    assert database.write_wait(messages.cancel, new_scope(database), message.id) is None
    assert database.write_wait(messages.cancel, scope, sent.id) is None
    cancelled = database.write_wait(messages.cancel, scope, message.id)
    assert cancelled is not None
    assert cancelled.status is S.CANCELLED
    assert queued(database, instance) == 0
    assert database.write_wait(messages.cancel, scope, message.id) is None
    assert database.write_wait(messages.mark_sending, message.id) is None
    inbound = receive(database, instance, new_inbound())
    assert inbound is not None
    assert database.write_wait(messages.cancel, scope, inbound.id) is None


@pytest.mark.parametrize("round_", range(3))
def test_of_two_cancels_and_a_send_exactly_one_wins(
    database: Database, scope: Scope, instance: InstanceRecord, round_: int
) -> None:
    message = queue_text(database, instance, str(round_))
    barrier = threading.Barrier(3)

    def race(what: str) -> bool:
        barrier.wait(60)
        if what == "send":
            return database.write_wait(messages.mark_sending, message.id) is not None
        return database.write_wait(messages.cancel, scope, message.id) is not None

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(race, ["cancel", "send", "cancel"])).count(True) == 1
    assert queued(database, instance) == 0


def test_failed_message_is_retried_at_its_old_place(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    past = storage_clock.now()
    message = queue_text(database, instance, "first", expires_at=past)
    queue_text(database, instance, "second")
    [failed] = database.write_wait(messages.expire_due, instance.id)
    assert database.write_wait(messages.retry, new_scope(database), failed.id) is None
    again = database.write_wait(messages.retry, scope, message.id)
    assert again is not None
    assert (again.status, again.failure, again.expires_at) == (S.QUEUED, None, None)
    assert queued(database, instance) == 2
    assert drain(database, instance) == ["first", "second"]
    assert database.write_wait(messages.retry, scope, message.id) is None


def test_retry_needs_a_place_in_the_queue(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    message = queue_text(database, instance)
    database.write_wait(messages.mark_failed, message.id, BROKEN)
    queue_text(database, instance)
    limits = QueueLimits(instance=1)
    with pytest.raises(QueueFull):
        database.write_wait(messages.retry, scope, message.id, limits=limits)
    found = database.read_wait(messages.get, scope, message.id)
    assert found is not None
    assert found.status is S.FAILED
    assert queued(database, instance) == 1


def test_uncertain_message_is_retried_only_when_asked_for_by_name(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    message = queue_text(database, instance)
    database.write_wait(messages.mark_sending, message.id, secret="s")
    database.write_wait(messages.mark_uncertain, message.id, BROKEN)
    assert database.write_wait(messages.retry, scope, message.id) is None
    again = database.write_wait(messages.retry, scope, message.id, uncertain=True)
    assert again is not None
    assert (again.status, again.attempts, again.secret) == (S.QUEUED, 0, None)


def test_lost_answer_is_made_up_for_by_the_id_found_later(
    database: Database, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    message = queue_text(database, instance)
    assert database.write_wait(messages.note_whatsapp_id, message.id, "W") is None
    database.write_wait(messages.mark_sending, message.id, secret="s")
    database.write_wait(messages.mark_uncertain, message.id, BROKEN)
    found = database.write_wait(messages.note_whatsapp_id, message.id, "W")
    assert found is not None
    assert (found.status, found.whatsapp_id, found.secret) == (S.UNCERTAIN, "W", "s")
    [settled] = database.write_wait(
        messages.apply_receipt, instance.id, ["W"], S.DELIVERED, storage_clock.now()
    )
    assert settled.status is S.DELIVERED
    assert [one.status for one in settled.history] == [
        S.QUEUED,
        S.SENDING,
        S.UNCERTAIN,
        S.DELIVERED,
    ]
    queue_text(database, instance, "again")
    assert look(database, instance).new_contact is False, "the receipt proves the contact"


def test_many_queued_messages_make_the_next_one_no_slower(
    database: Database, instance: InstanceRecord
) -> None:
    if database.engine_name != "sqlite":
        pytest.skip("SQLite tells its plan without statistics")
    from wavisor.storage.current import current_database
    from wavisor.storage.queue import _NEXT

    queue_text(database, instance)
    look(database, instance)

    def plan() -> str:
        statement = _NEXT._statements[type(current_database())]
        values = {"instance": instance.id, "now": instance.created_at}
        rows = current_database().execute_sql(
            f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters(values)
        )
        return "\n".join(str(row[3]) for row in rows.fetchall())

    shown = database.read_wait(plan)
    assert "SCAN" not in shown, shown
    assert "TEMP B-TREE" not in shown, shown
    assert "messages_instance_id_priority_position" in shown, shown
    assert "messages_instance_id_retry_at" in shown, shown
