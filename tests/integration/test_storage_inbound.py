"""What comes in: once each, into the right chat, and only from those who may."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from support.queueing import ALICE, GROUP, NOON, new_inbound, queue_text, receive, send
from support.tenants import new_instance, new_scope
from wavisor.domain import MessageDirection, MessageStatus
from wavisor.storage import (
    Database,
    InstanceRecord,
    MessageRecord,
    NewMessage,
    NotFound,
    Party,
    ResponseKind,
    Scope,
    chats,
    instances,
    messages,
)

ALICE_LID = "771@lid"
HIDDEN = Party(ALICE_LID, ALICE_LID)
REVEALED = Party(ALICE_LID, ALICE_LID, "+15550101")
MALLORY = Party("15559999@s.whatsapp.net")


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


@pytest.fixture
def instance(database: Database, scope: Scope) -> InstanceRecord:
    return new_instance(database, scope)


def load(database: Database, scope: Scope, message: MessageRecord) -> MessageRecord:
    found = database.read_wait(messages.get, scope, message.id)
    assert found is not None
    return found


def received(database: Database, instance: InstanceRecord, **more: Any) -> MessageRecord:
    stored = receive(database, instance, new_inbound(**more))
    assert stored is not None
    return stored


def test_message_is_stored_with_its_people(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    stored = received(
        database, instance, sender=REVEALED, quoted_id="Q", options={"forwarded": True}
    )
    assert stored == load(database, scope, stored)
    assert stored.direction is MessageDirection.INBOUND
    assert stored.status is MessageStatus.RECEIVED
    assert (stored.chat, stored.text, stored.quoted_id) == (ALICE, "hi", "Q")
    assert stored.sender == Party(ALICE, ALICE_LID, "+15550101")
    assert stored.timestamp == NOON
    assert stored.options == {"forwarded": True}
    assert [one.status for one in stored.history] == [MessageStatus.RECEIVED]


def test_repeated_message_is_stored_and_counted_once(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    message = new_inbound()
    with ThreadPoolExecutor(8) as threads:
        stored = list(threads.map(lambda _: receive(database, instance, message), range(8)))
    assert sum(one is not None for one in stored) == 1
    [chat] = database.read_wait(chats.list_page, scope, limit=9).items
    assert chat.unread == 1


@pytest.mark.parametrize("place", [None, Party(GROUP)])
@pytest.mark.parametrize(("first", "second"), [(HIDDEN, REVEALED), (REVEALED, HIDDEN)])
def test_repeated_message_is_stored_once_under_whichever_address_its_sender_comes(
    database: Database,
    scope: Scope,
    instance: InstanceRecord,
    place: Party | None,
    first: Party,
    second: Party,
) -> None:
    received(database, instance, whatsapp_id="3A1", chat=place or first, sender=first)
    again = new_inbound(whatsapp_id="3A1", chat=place or second, sender=second)
    assert receive(database, instance, again) is None
    [chat] = database.read_wait(chats.list_page, scope, limit=9).items
    assert chat.unread == 1


def test_same_id_from_another_sender_is_another_message(
    database: Database, instance: InstanceRecord
) -> None:
    group = Party(GROUP)
    for sender in (HIDDEN, MALLORY):
        message = new_inbound(whatsapp_id="3ASAME", chat=group, sender=sender)
        assert receive(database, instance, message) is not None


def test_another_tenants_instance_receives_nothing(
    database: Database, instance: InstanceRecord
) -> None:
    with pytest.raises(NotFound):
        database.write_wait(messages.receive, new_scope(database), instance.id, new_inbound())


def test_chat_moves_to_the_number_when_it_becomes_known(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    first = received(database, instance, text="1", sender=HIDDEN)
    assert first.chat == ALICE_LID
    second = received(database, instance, text="2", sender=REVEALED)
    assert second.chat == ALICE
    assert load(database, scope, first).chat == ALICE
    third = received(database, instance, text="3", sender=HIDDEN)
    assert third.chat == ALICE, "the hidden address is known by now"
    [chat] = database.read_wait(chats.list_page, scope, limit=9).items
    assert (chat.jid, chat.lid, chat.phone, chat.unread) == (ALICE, ALICE_LID, "+15550101", 3)
    assert queue_text(database, instance, chat=ALICE_LID).chat == ALICE


def test_two_chats_with_one_person_become_one(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    sent = send(database, queue_text(database, instance, chat=ALICE), "W1")
    hidden = received(database, instance, text="1", sender=HIDDEN)
    assert len(database.read_wait(chats.list_page, scope, limit=9).items) == 2
    last = received(database, instance, text="2", sender=REVEALED)
    [chat] = database.read_wait(chats.list_page, scope, limit=9).items
    assert (chat.jid, chat.unread, chat.known_since) == (ALICE, 2, sent.sent_at)
    assert chat.last_message is not None
    assert chat.last_message.id == last.id
    assert {load(database, scope, one).chat for one in (sent, hidden, last)} == {ALICE}


def test_own_message_from_another_device_is_not_unread(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    own = received(
        database, instance, chat=Party(ALICE), sender=Party("1555@s.whatsapp.net"), from_me=True
    )
    assert own.from_me
    [chat] = database.read_wait(chats.list_page, scope, limit=9).items
    assert (chat.unread, chat.known_since) == (0, NOON)


def edit(
    database: Database, instance: InstanceRecord, target: str, text: str, **more: Any
) -> MessageRecord | None:
    values = {"author": Party(ALICE), "from_me": False, "at": NOON, "chat": Party(ALICE)}
    return database.write_wait(
        messages.apply_edit, instance.id, whatsapp_id=target, text=text, **{**values, **more}
    )


def test_edit_by_its_writer_replaces_the_text_and_a_late_one_does_not(
    database: Database, instance: InstanceRecord
) -> None:
    message = received(database, instance, whatsapp_id="3A1")
    assert edit(database, instance, "3A1", "forged", author=MALLORY) is None
    assert edit(database, instance, "3A1", "forged", from_me=True) is None
    later = NOON + timedelta(seconds=2)
    edited = edit(database, instance, "3A1", "new", author=REVEALED, at=later)
    assert edited is not None
    assert (edited.id, edited.text, edited.edited_at) == (message.id, "new", later)
    assert edited.content == {"type": "text", "text": "new"}
    assert edit(database, instance, "3A1", "old", at=NOON) is None
    assert edit(database, instance, "3A-unknown", "x") is None


def test_edit_of_a_file_changes_its_caption(database: Database, instance: InstanceRecord) -> None:
    content = {"type": "media", "kind": "image", "caption": "a"}
    received(database, instance, whatsapp_id="3A1", kind="image", content=content, text="a")
    edited = edit(database, instance, "3A1", "b")
    assert edited is not None
    assert (edited.text, edited.content["caption"]) == ("b", "b")


def revoke(
    database: Database,
    instance: InstanceRecord,
    chat: str,
    author: Party,
    *,
    by_admin: bool = False,
) -> MessageRecord | None:
    return database.write_wait(
        messages.apply_revoke,
        instance.id,
        chat=Party(chat),
        whatsapp_id="3A1",
        author=author,
        from_me=False,
        by_admin=by_admin,
        at=NOON,
    )


def test_revocation_is_for_the_writer_and_in_groups_for_admins(
    database: Database, instance: InstanceRecord
) -> None:
    received(database, instance, whatsapp_id="3A1")
    received(database, instance, whatsapp_id="3A1", chat=Party(GROUP), sender=HIDDEN)
    assert revoke(database, instance, ALICE, MALLORY) is None
    revoked = revoke(database, instance, ALICE, Party(ALICE))
    assert revoked is not None
    assert (revoked.revoked_at, revoked.text) == (NOON, "hi")
    assert revoke(database, instance, ALICE, Party(ALICE)) is None
    assert edit(database, instance, "3A1", "too late", at=NOON + timedelta(days=1)) is None
    assert revoke(database, instance, GROUP, MALLORY) is None, "not as an admin"
    assert revoke(database, instance, GROUP, MALLORY, by_admin=True) is not None


@pytest.mark.parametrize("chat", ["status@broadcast", "15550101@broadcast", "120363@newsletter"])
def test_outside_of_groups_nobody_takes_back_what_others_wrote(
    database: Database, instance: InstanceRecord, chat: str
) -> None:
    received(database, instance, whatsapp_id="3A1", chat=Party(chat), sender=HIDDEN)
    assert revoke(database, instance, chat, MALLORY, by_admin=True) is None
    assert revoke(database, instance, chat, HIDDEN) is not None


def react(
    database: Database, instance: InstanceRecord, who: Party, emoji: str | None, second: int
) -> MessageRecord | None:
    return database.write_wait(
        messages.respond,
        instance.id,
        ResponseKind.REACTION,
        chat=Party(ALICE),
        whatsapp_id="3A1",
        sender=who,
        value=None if emoji is None else {"emoji": emoji},
        at=NOON + timedelta(seconds=second),
    )


def test_one_reaction_per_person_and_the_latest_wins(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    message = received(database, instance, whatsapp_id="3A1")
    assert react(database, instance, REVEALED, "👍", 1) is not None
    assert react(database, instance, MALLORY, "👎", 2) is not None
    assert react(database, instance, Party(ALICE), "🎉", 5) is not None
    assert react(database, instance, Party(ALICE), "late", 4) is None
    assert react(database, instance, MALLORY, None, 6) is not None
    assert react(database, instance, MALLORY, "late", 3) is None
    life = database.read_wait(messages.get_life, scope, message.id)
    assert life is not None
    assert [(one.sender.jid, one.value) for one in life.responses] == [(ALICE, {"emoji": "🎉"})]


@pytest.mark.parametrize(("first", "second"), [(HIDDEN, REVEALED), (REVEALED, HIDDEN)])
def test_one_reaction_per_person_under_whichever_address(
    database: Database, scope: Scope, instance: InstanceRecord, first: Party, second: Party
) -> None:
    message = received(database, instance, whatsapp_id="3A1")
    assert react(database, instance, first, "👍", 1) is not None
    assert react(database, instance, second, "👎", 2) is not None
    life = database.read_wait(messages.get_life, scope, message.id)
    assert life is not None
    [only] = life.responses
    assert (only.sender, only.value) == (Party(ALICE, ALICE_LID, "+15550101"), {"emoji": "👎"})
    assert react(database, instance, first, None, 3) is not None
    life = database.read_wait(messages.get_life, scope, message.id)
    assert life is not None
    assert life.responses == ()


def test_reaction_to_an_unknown_message_changes_nothing(
    database: Database, instance: InstanceRecord
) -> None:
    assert react(database, instance, MALLORY, "👍", 1) is None


def test_sent_edits_revocations_and_reactions_take_effect_here(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    database.write_wait(
        instances.record_transition, instance.id, {"jid": "15550100:1@s.whatsapp.net"}, []
    )
    target = send(database, queue_text(database, instance, "before"), "W1")
    key = {"chat": ALICE, "id": "W1", "from_me": True}
    for kind, more in (
        ("edit", {"text": "after"}),
        ("reaction", {"emoji": "👍"}),
        ("pin", {"seconds": 60}),
        ("revoke", {}),
    ):
        content = {"type": kind, "target": key, **more}
        queued = database.write_wait(
            messages.enqueue, scope, instance, NewMessage(chat=ALICE, kind=kind, content=content)
        )
        sent = send(database, queued, f"W-{kind}")
        applied = database.write_wait(messages.apply_sent, sent)
        assert (applied is None) == (kind == "pin")
    life = database.read_wait(messages.get_life, scope, target.id)
    assert life is not None
    assert (life.message.text, life.message.revoked_at is not None) == ("after", True)
    assert [one.sender.jid for one in life.responses] == ["15550100@s.whatsapp.net"]
    [chat] = database.read_wait(chats.list_page, scope, limit=9).items
    assert chat.last_message is not None
    assert chat.last_message.id == target.id, "changes are not the last thing said"
