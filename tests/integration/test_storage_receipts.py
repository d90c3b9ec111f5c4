"""Receipts of each recipient, and what a group's message makes of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.queueing import ALICE, GROUP, NOON, queue_text
from support.tenants import new_instance, new_scope
from wavisor.domain import MessageStatus
from wavisor.storage import Database, InstanceRecord, MessageRecord, Party, Scope, messages

S = MessageStatus


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


@pytest.fixture
def instance(database: Database, scope: Scope) -> InstanceRecord:
    return new_instance(database, scope)


def sent(
    database: Database, instance: InstanceRecord, chat: str, *, recipients: int | None = None
) -> MessageRecord:
    message = queue_text(database, instance, chat=chat)
    database.write_wait(messages.mark_sending, message.id)
    done = database.write_wait(
        messages.mark_sent, message.id, whatsapp_id=f"W-{message.id}", recipients=recipients
    )
    assert done is not None
    return done


def receipt(
    database: Database, message: MessageRecord, who: str, status: MessageStatus, second: int = 0
) -> list[MessageStatus]:
    changed = database.write_wait(
        messages.apply_receipt,
        message.instance_id,
        [message.whatsapp_id],
        status,
        NOON + timedelta(seconds=second),
        recipient=Party(f"{who}@lid", f"{who}@lid"),
    )
    return [one.status for one in changed]


def test_group_message_is_what_all_of_its_recipients_have_reached(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    message = sent(database, instance, GROUP, recipients=2)
    assert receipt(database, message, "1", S.READ, 1) == []
    assert receipt(database, message, "2", S.DELIVERED, 2) == [S.DELIVERED]
    assert receipt(database, message, "2", S.READ, 3) == [S.READ]
    assert receipt(database, message, "2", S.DELIVERED, 4) == []
    life = database.read_wait(messages.get_life, scope, message.id)
    assert life is not None
    assert life.message.status is S.READ
    assert [(one.recipient.lid, one.status) for one in life.receipts] == [
        ("1@lid", S.READ),
        ("2@lid", S.READ),
    ]
    second = life.receipts[1]
    assert second.delivered_at == NOON + timedelta(seconds=2)
    assert second.read_at == NOON + timedelta(seconds=3)
    assert life.receipts[0].delivered_at is None


def test_group_message_of_unknown_recipients_is_delivered_at_most(
    database: Database, instance: InstanceRecord
) -> None:
    message = sent(database, instance, GROUP)
    assert receipt(database, message, "1", S.READ) == [S.DELIVERED]
    assert receipt(database, message, "2", S.READ) == []


def test_more_recipients_than_there_were_do_not_hold_a_message_back(
    database: Database, instance: InstanceRecord
) -> None:
    message = sent(database, instance, GROUP, recipients=2)
    receipt(database, message, "1", S.READ)
    receipt(database, message, "2", S.READ)
    assert receipt(database, message, "3", S.DELIVERED) == []
    assert receipt(database, message, "3", S.PLAYED) == []


def test_all_devices_of_a_recipient_are_one_recipient(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    message = sent(database, instance, ALICE)
    for device, status in ((0, S.DELIVERED), (3, S.READ), (7, S.DELIVERED)):
        database.write_wait(
            messages.apply_receipt,
            instance.id,
            [message.whatsapp_id],
            status,
            NOON,
            recipient=Party(f"15550101:{device}@s.whatsapp.net"),
        )
    life = database.read_wait(messages.get_life, scope, message.id)
    assert life is not None
    [only] = life.receipts
    assert (only.recipient.jid, only.recipient.phone) == (ALICE, "+15550101")
    assert (only.status, life.message.status) == (S.READ, S.READ)


def receipts(database: Database, scope: Scope, message: MessageRecord) -> list[tuple[Party, S]]:
    life = database.read_wait(messages.get_life, scope, message.id)
    assert life is not None
    return [(one.recipient, one.status) for one in life.receipts]


ANNE = Party("15550107@s.whatsapp.net", "7@lid", "+15550107")


@pytest.mark.parametrize(
    ("first", "second"), [(Party("7@lid"), ANNE), (ANNE, Party("7@lid")), (ANNE, Party(ANNE.jid))]
)
def test_all_addresses_of_a_recipient_are_one_recipient(
    database: Database, scope: Scope, instance: InstanceRecord, first: Party, second: Party
) -> None:
    message = sent(database, instance, GROUP, recipients=2)
    for who, status in ((first, S.DELIVERED), (second, S.READ)):
        changed = database.write_wait(
            messages.apply_receipt,
            instance.id,
            [message.whatsapp_id],
            status,
            NOON,
            recipient=who,
        )
        assert changed == [], "the other one has got nothing yet"
    assert receipts(database, scope, message) == [(ANNE, S.READ)]


def test_in_a_chat_of_two_the_recipient_has_the_number_of_the_chat(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    message = sent(database, instance, ALICE)
    assert receipt(database, message, "1", S.DELIVERED) == [S.DELIVERED]
    assert receipts(database, scope, message) == [(Party(ALICE, "1@lid", "+15550101"), S.DELIVERED)]


def test_a_late_receipt_tells_when_without_moving_anything_back(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    message = sent(database, instance, ALICE)
    assert receipt(database, message, "1", S.READ, 2) == [S.READ]
    assert receipt(database, message, "1", S.DELIVERED, 1) == []
    assert receipt(database, message, "1", S.DELIVERED, 3) == []
    found = database.read_wait(messages.get, scope, message.id)
    assert found is not None
    assert (found.status, found.read_at) == (S.READ, NOON + timedelta(seconds=2))
    assert found.delivered_at == NOON + timedelta(seconds=1)


def test_a_receipt_for_many_messages_moves_each(
    database: Database, instance: InstanceRecord
) -> None:
    several = [sent(database, instance, ALICE) for _ in range(3)]
    changed = database.write_wait(
        messages.apply_receipt,
        instance.id,
        [one.whatsapp_id for one in reversed(several)],
        S.READ,
        NOON,
        recipient=Party(ALICE),
    )
    assert [one.id for one in changed] == [one.id for one in several]


def test_played_is_after_read(database: Database, instance: InstanceRecord) -> None:
    message = sent(database, instance, ALICE)
    assert receipt(database, message, "1", S.PLAYED, 5) == [S.PLAYED]
    assert receipt(database, message, "1", S.READ, 6) == []
