from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.instance_lab import InstanceLab, instance_lab
from support.native_messages import said
from support.queueing import new_text
from support.scripted_sessions import NotesAndCrashes
from wavisor.actors.instance.messages import Deliver
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.queue_settings import PacingSettings
from wavisor.domain import InstanceStatus, MessageStatus
from wavisor.storage import messages
from wavisor.whatsapp.commands import SendMessage
from wavisor.whatsapp.content import Text
from wavisor.whatsapp.events import (
    Failure,
    MessageReceived,
    Person,
    ReceiptReceived,
    UndecryptableMessage,
)
from wavisor.whatsapp.port import SessionError
from wavisor.whatsapp.scripted import ScriptedSession
from wavisor.whatsapp.scripted_defects import CrashesOnSend, SlowSession

ECHO = "15550101@s.whatsapp.net"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[InstanceLab]:
    with instance_lab(tmp_path) as one:
        yield one


def queue(lab: InstanceLab, instance: str, text: str = "hello") -> str:
    message = lab.database.write_wait(
        messages.enqueue, lab.scope, instance, new_text(text, chat=ECHO)
    )
    lab.ref(instance).tell(Deliver())
    return message.id


def stored(lab: InstanceLab, message_id: str) -> Any:
    return lab.database.read_wait(messages.get, lab.scope, message_id)


def texts_of(session: ScriptedSession) -> list[str]:
    """What the session was told to send."""
    contents = [command.content for command in session.commands(SendMessage)]
    return [content.text for content in contents if isinstance(content, Text)]


def receipt(instance: str, whatsapp_id: str, kind: str) -> ReceiptReceived:
    person = Person(jid=ECHO)
    return ReceiptReceived(
        instance=instance,
        message_ids=(whatsapp_id,),
        chat=person,
        sender=person,
        kind=kind,
        timestamp=NOW,
    )


def test_messages_are_sent_in_the_order_they_were_accepted(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    ids = [queue(lab, instance, str(number)) for number in range(5)]
    for _ in ids:
        lab.advance(instance, 0.001)
    assert texts_of(session) == list("01234")
    assert {stored(lab, one).status for one in ids} == {MessageStatus.SENT}
    assert all(stored(lab, one).whatsapp_id for one in ids)


def test_a_message_accepted_while_down_waits_for_the_connection(lab: InstanceLab) -> None:
    instance = lab.create()
    message = queue(lab, instance)
    lab.look(instance)
    assert stored(lab, message).status is MessageStatus.QUEUED
    lab.link(instance)
    lab.advance(instance, 0.001)
    assert stored(lab, message).status is MessageStatus.SENT


def test_one_message_is_under_way_at_a_time(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    session = lab.link(instance)
    first, second = queue(lab, instance, "1"), queue(lab, instance, "2")
    lab.look(instance)
    assert len(session.commands(SendMessage)) == 1
    assert stored(lab, first).status is MessageStatus.SENDING
    assert stored(lab, second).status is MessageStatus.QUEUED


def come_back(lab: InstanceLab, instance: str) -> ScriptedSession:
    """Let the instance start another session, and connect it."""
    for _ in range(100):
        snapshot = lab.advance(instance, 0.5)
        session = lab.session(instance)
        if snapshot.status is InstanceStatus.CONNECTED:
            return session
        if session.alive and session.stopped is None:
            session.connect()
    raise TimeoutError("the instance did not come back")


def test_a_session_that_dies_of_a_send_leaves_it_uncertain_and_never_repeats_it(
    lab: InstanceLab,
) -> None:
    instance = lab.create()
    lab.driver.script(NotesAndCrashes)
    lab.link(instance)
    message = queue(lab, instance)
    lab.look(instance)
    assert stored(lab, message).status is MessageStatus.UNCERTAIN
    second = come_back(lab, instance)
    assert second.commands(SendMessage) == []
    second.emit(receipt(instance, "3EB0LOST", "delivered"))
    lab.look(instance)
    assert stored(lab, message).status is MessageStatus.DELIVERED, "the receipt proves it"


def test_a_message_that_surely_never_left_is_sent_by_the_next_session(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(CrashesOnSend)
    lab.link(instance)
    message = queue(lab, instance)
    lab.look(instance)
    record = stored(lab, message)
    assert (record.status, record.attempts) == (MessageStatus.QUEUED, 1)
    second = come_back(lab, instance)
    lab.advance(instance, 10)
    assert len(second.commands(SendMessage)) == 1
    assert stored(lab, message).status is MessageStatus.SENT


def test_a_message_that_ends_every_session_fails_before_the_instance_does(
    lab: InstanceLab,
) -> None:
    instance = lab.create()
    lab.driver.session_type = CrashesOnSend
    lab.link(instance)
    message = queue(lab, instance)
    lab.look(instance)
    for _ in range(300):
        if stored(lab, message).status is MessageStatus.FAILED:
            break
        come_back(lab, instance)
        lab.advance(instance, 1.0)
    record = stored(lab, message)
    assert (record.status, record.attempts) == (MessageStatus.FAILED, 4)
    assert "never left" in record.failure["detail"]
    assert come_back(lab, instance).commands(SendMessage) == []


def test_a_key_store_that_cannot_be_read_leaves_the_message_uncertain(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(CrashesOnSend)
    lab.link(instance)

    lab.driver.noted = UnreadableNotes()
    message = queue(lab, instance)
    lab.look(instance)
    assert stored(lab, message).status is MessageStatus.UNCERTAIN


class UnreadableNotes(dict[tuple[str, str], str]):
    def get(self, *_: Any) -> Any:
        raise SessionError("the key store cannot be read")


def test_an_unanswered_send_becomes_uncertain_and_the_next_one_goes(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    session = lab.link(instance)
    # Only sends hang: pings are answered, or the process would be replaced first.
    session.on_command = lambda command: (  # type: ignore[method-assign, assignment]
        None if isinstance(command, SendMessage) else session.emit(session.answer(command.id))
    )
    message = queue(lab, instance, "1")
    queue(lab, instance, "2")
    lab.look(instance)
    lab.let_send_be_overdue(instance)
    assert stored(lab, message).status is MessageStatus.UNCERTAIN
    lab.advance(instance, 0.001)
    assert texts_of(session) == ["1", "2"]


def test_a_refused_send_fails_with_its_reason(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    session = lab.link(instance)
    message = queue(lab, instance)
    lab.look(instance)
    failure = Failure(reason="not_on_whatsapp", detail="the number is not on WhatsApp")
    session.emit(session.answer(message, failure=failure))
    lab.look(instance)
    record = stored(lab, message)
    assert record.status is MessageStatus.FAILED
    assert record.failure["reason"] == "not_on_whatsapp"


def test_a_send_that_found_no_connection_waits_for_the_next_one(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    session = lab.link(instance)
    message = queue(lab, instance)
    lab.look(instance)
    failure = Failure(reason="not_connected", detail="the session is not connected")
    session.emit(session.answer(message, failure=failure))
    lab.look(instance)
    assert stored(lab, message).status is MessageStatus.QUEUED
    assert len(session.commands(SendMessage)) == 1, "not again before the connection is back"
    session.drop()
    session.connect()
    lab.look(instance)
    assert len(session.commands(SendMessage)) == 2


def test_a_refusal_told_after_the_next_connection_does_not_stop_the_queue(
    lab: InstanceLab,
) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    session = lab.link(instance)
    message = queue(lab, instance)
    lab.look(instance)
    session.drop()
    session.connect()
    failure = Failure(reason="not_connected", detail="the session is not connected")
    session.emit(session.answer(message, failure=failure))
    assert lab.look(instance).status is InstanceStatus.CONNECTED
    lab.advance(instance, 5.0)
    assert len(session.commands(SendMessage)) == 2


def test_a_refusal_before_the_loss_is_told_tries_nothing_without_a_connection(
    lab: InstanceLab,
) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    session = lab.link(instance)
    message = queue(lab, instance)
    lab.look(instance)
    failure = Failure(reason="not_connected", detail="the session is not connected")
    session.emit(session.answer(message, failure=failure))
    session.drop()
    lab.look(instance)
    lab.advance(instance, lab.policy.library_grace - 0.1)
    lab.advance(instance, 6.0)
    assert len(session.commands(SendMessage)) == 1


def test_receipts_only_move_forward(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    message = queue(lab, instance)
    lab.look(instance)
    whatsapp_id = stored(lab, message).whatsapp_id
    session.emit(receipt(instance, whatsapp_id, "read"))
    session.emit(receipt(instance, whatsapp_id, "delivered"))
    lab.look(instance)
    assert stored(lab, message).status is MessageStatus.READ
    changes = [
        event.data["status"]
        for event in lab.stored_events(instance)
        if event.type == "message:status:changed"
    ]
    assert changes == ["sending", "sent", "read"]


def test_a_receipt_that_overtakes_the_answer_is_not_lost(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    session = lab.link(instance)
    message = queue(lab, instance)
    lab.look(instance)
    session.emit(receipt(instance, "3EB0EARLY", "delivered"))
    session.emit(session.answer(message, message_id="3EB0EARLY"))
    lab.look(instance)
    record = stored(lab, message)
    assert (record.status, record.whatsapp_id) == (MessageStatus.DELIVERED, "3EB0EARLY")


def test_a_receipt_that_overtakes_an_answer_that_never_comes_proves_that_it_was_sent(
    lab: InstanceLab,
) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    session = lab.link(instance)
    message = queue(lab, instance)
    lab.look(instance)
    secret = session.commands(SendMessage)[0].secret
    lab.driver.noted[instance, secret] = "3EB0EARLY"
    session.emit(receipt(instance, "3EB0EARLY", "delivered"))
    session.exit(None)
    lab.look(instance)
    record = stored(lab, message)
    assert (record.status, record.whatsapp_id) == (MessageStatus.DELIVERED, "3EB0EARLY")
    assert outcomes(lab, instance) == ["message:sent"]


def outcomes(lab: InstanceLab, instance: str) -> list[str]:
    """The events that tell what became of messages, without those of their statuses."""
    wanted = ("message:sent", "message:failed")
    return [one.type for one in lab.stored_events(instance) if one.type in wanted]


def test_what_became_of_a_message_is_an_event_of_its_own(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    session = lab.link(instance)
    fine, wrong = queue(lab, instance, "fine"), queue(lab, instance, "wrong")
    lab.look(instance)
    session.emit(session.answer(fine, message_id="3EB0FINE"))
    for kind in ("delivered", "read"):
        session.emit(receipt(instance, "3EB0FINE", kind))
    for _ in range(6):
        lab.advance(instance, 0.001)
    failure = Failure(reason="rejected", detail="no", code=479)
    session.emit(session.answer(wrong, failure=failure))
    lab.look(instance)
    assert outcomes(lab, instance) == ["message:sent", "message:failed"]
    sent, failed = [
        one for one in lab.stored_events(instance) if one.type.endswith(("sent", "failed"))
    ]
    assert (sent.data["messageId"], sent.data["status"]) == (fine, "sent")
    assert sent.data["whatsappId"] == "3EB0FINE"
    assert (failed.data["messageId"], failed.data["failure"]["code"]) == (wrong, 479)


def test_a_message_left_in_sending_by_a_crash_is_uncertain_after_the_start(
    tmp_path: Path,
) -> None:
    lab = InstanceLab(tmp_path)
    instance = lab.create_row()
    message = lab.database.write_wait(
        messages.enqueue, lab.scope, instance, new_text("x", chat=ECHO)
    )
    lab.database.write_wait(messages.mark_sending, message.id)
    try:
        lab.start()
        lab.wait_for_actor(instance)
        lab.look(instance)
        assert stored(lab, message.id).status is MessageStatus.UNCERTAIN
    finally:
        lab.close()


def test_a_received_message_is_an_event_with_its_people(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    person = Person(jid="1@lid", lid="1@lid", phone="+15550101")
    session.emit(
        MessageReceived(
            instance=instance,
            message_id="ABC",
            chat=person,
            sender=person,
            from_me=False,
            is_group=False,
            timestamp=NOW,
            push_name="Echo",
            content=said("hi"),
        )
    )
    session.emit(
        UndecryptableMessage(
            instance=instance, message_id="DEF", chat=person, sender=person, timestamp=NOW
        )
    )
    lab.look(instance)
    first, second = [
        event.data for event in lab.stored_events(instance) if event.type == "message:received"
    ]
    assert first["text"] == "hi"
    assert first["sender"] == {"jid": "1@lid", "lid": "1@lid", "phone": "+15550101"}
    assert first["timestamp"] == "2026-01-01T00:00:00.000Z"
    assert (second["kind"], second["text"]) == ("undecryptable", None)


def test_a_message_received_while_the_session_is_being_ended_is_kept(tmp_path: Path) -> None:
    from wavisor.actors.instance.messages import Disconnect

    with instance_lab(tmp_path) as lab:
        instance = lab.create()
        lab.driver.script(SlowSession)
        session = lab.link(instance)
        lab.ask(instance, Disconnect())
        person = Person(jid="1@lid")
        session.emit(
            MessageReceived(
                instance=instance,
                message_id="LATE",
                chat=person,
                sender=person,
                from_me=False,
                is_group=False,
                timestamp=NOW,
                content=said("late"),
            )
        )
        lab.look(instance)
        assert "message:received" in {event.type for event in lab.stored_events(instance)}


def test_a_message_of_which_no_word_came_is_found_all_the_same(tmp_path: Path) -> None:
    policy = InstancePolicy(
        pacing=PacingSettings(enabled=False), ping_interval=1e9, probe_interval=1e9
    )
    with instance_lab(tmp_path, policy=policy) as lab:
        instance = lab.create()
        lab.link(instance)
        new = new_text("hello", chat=ECHO)
        message = lab.database.write_wait(messages.enqueue, lab.scope, instance, new)
        lab.advance(instance, 299.0)
        assert stored(lab, message.id).status is MessageStatus.QUEUED
        lab.advance(instance, 1.0)
        assert stored(lab, message.id).status is MessageStatus.SENT
