"""Lists of chats and of messages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.manual_clock import ManualClock
from support.queueing import ALICE, BOB, GROUP, new_inbound, queue_text, receive, send
from support.tenants import new_instance, new_scope
from wavisor.domain import ChatKind, MessageDirection, MessageStatus
from wavisor.storage import (
    ChatChanges,
    ChatRecord,
    Database,
    InstanceRecord,
    MessageFilter,
    NotFound,
    Party,
    Scope,
    chats,
    messages,
)


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


@pytest.fixture
def instance(database: Database, scope: Scope) -> InstanceRecord:
    return new_instance(database, scope)


def listed(database: Database, scope: Scope, **more: object) -> list[str]:
    page = database.read_wait(chats.list_page, scope, limit=9, **more)
    return [one.jid for one in page.items]


def chat_of(database: Database, scope: Scope, instance: InstanceRecord, jid: str) -> ChatRecord:
    found = database.read_wait(chats.get, scope, instance.id, jid)
    assert found is not None
    return found


def test_chats_are_listed_by_their_last_message(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    queue_text(database, instance, chat=GROUP)
    receive(database, instance, new_inbound(chat=Party(BOB)))
    last = queue_text(database, instance, "last", chat=GROUP)
    queue_text(database, instance, chat=ALICE)
    first = database.read_wait(chats.list_page, scope, limit=2)
    rest = database.read_wait(chats.list_page, scope, limit=2, cursor=first.next_cursor)
    assert [one.jid for one in (*first.items, *rest.items)] == [ALICE, GROUP, BOB]
    assert rest.next_cursor is None
    assert first.items[1].last_message is not None
    assert first.items[1].last_message.id == last.id
    assert listed(database, scope, unread=True) == [BOB]
    assert listed(database, scope, kind=ChatKind.GROUP) == [GROUP]
    assert listed(database, scope, instance_id=new_instance(database, scope).id) == []
    assert listed(database, new_scope(database)) == []


def test_chat_can_be_archived_pinned_and_muted(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    queue_text(database, instance)
    until = storage_clock.now() + timedelta(hours=8)
    changed = database.write_wait(
        chats.update,
        scope,
        instance.id,
        ALICE,
        ChatChanges(archived=True, pinned=True, muted_until=until),
    )
    assert (changed.archived, changed.pinned, changed.muted_until) == (True, True, until)
    queue_text(database, instance)
    assert chat_of(database, scope, instance, ALICE).archived
    changed = database.write_wait(
        chats.update, scope, instance.id, ALICE, ChatChanges(muted_until=chats.NEVER)
    )
    assert (changed.muted_until, changed.pinned) == (None, True)
    assert listed(database, scope, archived=False) == []
    assert listed(database, scope, pinned=True) == [ALICE]
    with pytest.raises(NotFound):
        database.write_wait(chats.update, scope, instance.id, BOB, ChatChanges(pinned=True))
    with pytest.raises(NotFound):
        database.write_wait(
            chats.update, new_scope(database), instance.id, ALICE, ChatChanges(pinned=True)
        )


def test_marking_read_returns_what_was_unread(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    ids = [f"3A{number}" for number in range(3)]
    for one in ids:
        receive(database, instance, new_inbound(whatsapp_id=one, sender=Party("77@lid", "77@lid")))
    assert chat_of(database, scope, instance, "77@lid").unread == 3
    read = database.write_wait(chats.mark_read, scope, instance.id, "77@lid")
    assert [one.whatsapp_id for one in read] == ids[::-1]
    assert all(one.read_at for one in read)
    assert chat_of(database, scope, instance, "77@lid").unread == 0
    assert database.write_wait(chats.mark_read, scope, instance.id, "77@lid") == []
    with pytest.raises(NotFound):
        database.write_wait(chats.mark_read, scope, instance.id, BOB)


def found(database: Database, scope: Scope, **where: object) -> list[str | None]:
    page = database.read_wait(
        messages.list_page,
        scope,
        limit=20,
        where=MessageFilter(**where),  # type: ignore[arg-type]
    )
    return [one.text for one in page.items]


def test_messages_are_found_by_what_they_are(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    start = storage_clock.now()
    sent = send(database, queue_text(database, instance, "100% sure"), "W1")
    storage_clock.advance(60)
    queue_text(database, instance, "1000 times", chat=BOB)
    receive(database, instance, new_inbound("Reply_to you"))
    receive(database, instance, new_inbound("pic", kind="image"))
    assert found(database, scope, text="0%") == ["100% sure"]
    assert found(database, scope, text="y_t") == ["Reply_to you"]
    assert found(database, scope, text="reply") == ["Reply_to you"]
    assert found(database, scope, text="\\") == []
    assert found(database, scope, direction=MessageDirection.OUTBOUND) == [
        "1000 times",
        "100% sure",
    ]
    assert found(database, scope, chat=BOB) == ["1000 times"]
    assert found(database, scope, kind="image") == ["pic"]
    assert found(database, scope, status=frozenset({MessageStatus.SENT})) == ["100% sure"]
    assert found(database, scope, until=start + timedelta(seconds=60)) == ["100% sure"]
    assert found(database, scope, since=start + timedelta(seconds=60), chat=ALICE) == [
        "pic",
        "Reply_to you",
    ]
    assert database.write_wait(messages.set_starred, scope, sent.id, True) is not None
    assert database.write_wait(messages.set_starred, new_scope(database), sent.id, False) is None
    assert found(database, scope, starred=True) == ["100% sure"]


def test_purge_goes_in_portions_and_spares_what_waits(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    waiting = queue_text(database, instance, "waiting")
    for number in range(3):
        send(database, queue_text(database, instance, f"old {number}"), f"W{number}")
    storage_clock.advance(10)
    send(database, queue_text(database, instance, "new", chat=BOB), "W9")
    other = new_instance(database, scope)
    before = storage_clock.now()
    assert database.write_wait(messages.purge, other.id, before) == 0
    assert database.write_wait(messages.purge, instance.id, before, limit=2) == 2
    assert database.write_wait(messages.purge, instance.id, before, limit=2) == 1
    assert found(database, scope) == ["new", "waiting"]
    last = chat_of(database, scope, instance, ALICE).last_message
    assert last is not None
    assert last.id == waiting.id
    assert not database.write_wait(messages.delete, scope, waiting.id)
    database.write_wait(messages.cancel, scope, waiting.id)
    assert not database.write_wait(messages.delete, new_scope(database), waiting.id)
    assert database.write_wait(messages.delete, scope, waiting.id)
