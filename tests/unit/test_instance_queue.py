"""The send loop: whose turn it is, when, and what failed sends lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.instance_lab import InstanceLab, instance_lab
from support.queueing import ALICE, BOB, GROUP, new_inbound, new_text, waiting
from wavisor.actors.instance.messages import (
    CancelMessage,
    Deliver,
    QueuePause,
    RetryMessage,
    SettingsChanged,
)
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.queue_settings import PacingSettings, WarmUp
from wavisor.domain import MessageStatus
from wavisor.storage import MessageRecord, Scope, messages
from wavisor.whatsapp.commands import SendMessage
from wavisor.whatsapp.events import Failure, MessageReceived, Person
from wavisor.whatsapp.inbound import InboundContent
from wavisor.whatsapp.scripted import ScriptedSession
from wavisor.whatsapp.scripted_defects import SlowSession

S = MessageStatus
EVEN = PacingSettings(messages_per_minute=20, jitter=0, warm_up=WarmUp(days=0))
LOCKED = Failure(reason="reach_out_timelock", detail="no further conversations", code=463)

NewLab = Callable[..., InstanceLab]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[InstanceLab]:
    with instance_lab(tmp_path) as one:
        yield one


@pytest.fixture
def paced(tmp_path: Path) -> Iterator[InstanceLab]:
    with instance_lab(tmp_path, policy=InstancePolicy(pacing=EVEN)) as one:
        yield one


def queue(lab: InstanceLab, instance: str, text: str = "hi", **more: Any) -> str:
    message = lab.database.write_wait(messages.enqueue, lab.scope, instance, new_text(text, **more))
    lab.ref(instance).tell(Deliver())
    return message.id


def stored(lab: InstanceLab, message_id: str) -> MessageRecord:
    found = lab.database.read_wait(messages.get, lab.scope, message_id)
    assert found is not None
    return found


def sent(session: ScriptedSession) -> list[str]:
    return [command.content.text for command in session.commands(SendMessage)]


def settle(lab: InstanceLab, instance: str) -> None:
    """Let everything happen that is due now."""
    for _ in range(6):
        lab.advance(instance, 0.001)


def slow(lab: InstanceLab, instance: str) -> ScriptedSession:
    """A session whose sends are answered by the test."""
    lab.driver.script(SlowSession)
    session = lab.link(instance)
    session.on_command = lambda command: (  # type: ignore[method-assign, assignment]
        None if isinstance(command, SendMessage) else ScriptedSession.on_command(session, command)
    )
    return session


def fail(lab: InstanceLab, instance: str, message: str, failure: Failure) -> None:
    session = lab.session(instance)
    session.emit(session.answer(message, failure=failure))
    settle(lab, instance)


def test_messages_are_spaced_by_the_pace(paced: InstanceLab) -> None:
    instance = paced.create()
    session = paced.link(instance)
    for text in "123":
        queue(paced, instance, text)
    settle(paced, instance)
    assert sent(session) == ["1"]
    paced.advance(instance, 2.5)
    assert sent(session) == ["1"]
    paced.advance(instance, 0.6)
    assert sent(session) == ["1", "2"]
    paced.advance(instance, 3.1)
    assert sent(session) == ["1", "2", "3"]


def test_changed_settings_hold_without_a_reconnect(paced: InstanceLab) -> None:
    instance = paced.create()
    session = paced.link(instance)
    for text in "1234":
        queue(paced, instance, text)
    settle(paced, instance)
    assert sent(session) == ["1"]
    paced.ref(instance).tell(SettingsChanged({"pacing": {"enabled": False}}))
    settle(paced, instance)
    assert sent(session) == list("1234")
    assert len(paced.driver.sessions) == 1


def test_scheduled_message_goes_at_its_time(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    queue(lab, instance, "later", send_at=lab.clock.now() + timedelta(seconds=60))
    queue(lab, instance, "now")
    settle(lab, instance)
    assert sent(session) == ["now"]
    for _ in range(6):
        lab.advance(instance, 9.0)
    assert sent(session) == ["now"]
    lab.advance(instance, 7.0)
    assert sent(session) == ["now", "later"]


def test_message_expires_while_the_instance_is_down(lab: InstanceLab) -> None:
    instance = lab.create()
    message = queue(lab, instance, expires_at=lab.clock.now() + timedelta(seconds=30))
    lab.look(instance)
    lab.advance(instance, 29)
    assert stored(lab, message).status is S.QUEUED
    lab.advance(instance, 1.1)
    record = stored(lab, message)
    assert record.status is S.FAILED
    assert record.failure is not None
    assert record.failure["reason"] == "expired"
    assert [event.data["status"] for event in changes(lab, instance)] == ["failed"]
    session = lab.link(instance)
    settle(lab, instance)
    assert sent(session) == []


def changes(lab: InstanceLab, instance: str) -> list[Any]:
    return [
        event for event in lab.stored_events(instance) if event.type == "message:status:changed"
    ]


def test_transient_failure_is_tried_again_and_holds_back_only_its_chat(lab: InstanceLab) -> None:
    instance = lab.create()
    session = slow(lab, instance)
    first = queue(lab, instance, "a1")
    queue(lab, instance, "a2")
    other = queue(lab, instance, "b1", chat=BOB)
    settle(lab, instance)
    fail(lab, instance, first, Failure(reason="timeout", detail="no answer"))
    record = stored(lab, first)
    assert (record.status, record.attempts) == (S.QUEUED, 1)
    assert record.retry_at is not None
    assert record.failure is not None
    assert record.failure["reason"] == "timeout"
    assert sent(session) == ["a1", "b1"]
    session.emit(session.answer(other))
    settle(lab, instance)
    assert sent(session) == ["a1", "b1"]
    lab.advance(instance, 6.3)
    assert sent(session) == ["a1", "b1", "a1"]
    session.emit(session.answer(first))
    settle(lab, instance)
    assert sent(session) == ["a1", "b1", "a1", "a2"]


def test_failures_end_the_tries_after_a_while(lab: InstanceLab) -> None:
    instance = lab.create()
    session = slow(lab, instance)
    message = queue(lab, instance)
    settle(lab, instance)
    for _ in range(lab.policy.retries.attempts):
        before = len(sent(session))
        fail(lab, instance, message, Failure(reason="internal", detail="no keys"))
        for _ in range(120):
            if len(sent(session)) > before:
                break
            lab.advance(instance, 1.0)
    assert len(sent(session)) == lab.policy.retries.attempts
    record = stored(lab, message)
    assert record.status is S.FAILED
    assert record.failure == {"reason": "internal", "detail": "no keys", "code": None}


@pytest.mark.parametrize("reason", ["not_on_whatsapp", "rejected", "invalid", "too_large"])
def test_failures_for_good_are_not_tried_again(lab: InstanceLab, reason: Any) -> None:
    instance = lab.create()
    slow(lab, instance)
    message = queue(lab, instance)
    settle(lab, instance)
    fail(lab, instance, message, Failure(reason=reason, detail="no"))
    assert stored(lab, message).status is S.FAILED


def test_what_may_have_arrived_is_not_tried_again(lab: InstanceLab) -> None:
    instance = lab.create()
    slow(lab, instance)
    message = queue(lab, instance)
    settle(lab, instance)
    fail(lab, instance, message, Failure(reason="timeout", detail="no answer", uncertain=True))
    assert stored(lab, message).status is S.UNCERTAIN


def test_slow_upload_fails_for_certain_and_goes_once(lab: InstanceLab) -> None:
    instance = lab.create()
    session = slow(lab, instance)
    message = queue(lab, instance, options={"typing_seconds": 7.0})
    settle(lab, instance)
    [command] = session.commands(SendMessage)
    patience = lab.policy.hand_over_within + 7.0
    assert command.hand_over_within == patience
    # The session keeps a message for just so long before it says that it will not go any more.
    for _ in range(int(patience / 4.0) + 1):
        lab.advance(instance, 4.0)
    assert stored(lab, message).status is S.SENDING
    fail(lab, instance, message, Failure(reason="timeout", detail="the upload is too slow"))
    assert stored(lab, message).status is S.QUEUED
    lab.advance(instance, 10.0)
    assert len(session.commands(SendMessage)) == 2
    session.emit(session.answer(message, message_id="3EB0ONCE"))
    lab.look(instance)
    assert stored(lab, message).status is S.SENT


def test_late_answer_settles_what_was_given_up(lab: InstanceLab) -> None:
    instance = lab.create()
    session = slow(lab, instance)
    message = queue(lab, instance)
    settle(lab, instance)
    lab.let_send_be_overdue(instance)
    assert stored(lab, message).status is S.UNCERTAIN
    session.emit(session.answer(message, message_id="3EB0LATE"))
    lab.look(instance)
    record = stored(lab, message)
    assert (record.status, record.whatsapp_id, record.failure) == (S.SENT, "3EB0LATE", None)


def test_timelock_holds_back_strangers_only_and_is_shown(lab: InstanceLab) -> None:
    instance = lab.create()
    session = slow(lab, instance)
    lab.database.write_wait(messages.receive, lab.scope, instance, new_inbound())
    stranger = queue(lab, instance, "stranger", chat=BOB)
    queue(lab, instance, "known", chat=ALICE)
    group = queue(lab, instance, "group", chat=GROUP)
    settle(lab, instance)
    assert sent(session) == ["stranger"]
    fail(lab, instance, stranger, LOCKED)
    until = lab.clock.now() + timedelta(seconds=lab.policy.reach_out_pause)
    pause = lab.look(instance).queue_pause
    assert pause is not None
    assert abs(pause.until - until) < timedelta(seconds=1)
    assert pause.reason == "reach_out_timelock"
    assert stored(lab, stranger).status is S.QUEUED
    assert sent(session) == ["stranger", "known"]
    known = session.commands(SendMessage)[-1].id
    session.emit(session.answer(known))
    settle(lab, instance)
    session.emit(session.answer(group))
    settle(lab, instance)
    for _ in range(40):
        lab.advance(instance, 9.0)
    assert sent(session) == ["stranger", "known", "group"]
    told = [
        event.data
        for event in lab.stored_events(instance)
        if event.type == "instance:queue:changed"
    ]
    assert [one["paused"] for one in told] == [True]
    assert told[0]["reason"] == "reach_out_timelock"
    # Somebody who writes first is no stranger any more.
    bob = Person(jid=BOB)
    session.emit(
        MessageReceived(
            instance=instance,
            message_id="FROMBOB",
            chat=bob,
            sender=bob,
            from_me=False,
            is_group=False,
            timestamp=lab.clock.now(),
            content=InboundContent(type="text", raw_type="conversation", text="Who is it?"),
        )
    )
    settle(lab, instance)
    assert sent(session) == ["stranger", "known", "group", "stranger"]


def test_timelock_ends_by_itself_and_survives_a_crash_until_then(tmp_path: Path) -> None:
    policy = InstancePolicy(pacing=PacingSettings(enabled=False), reach_out_pause=100.0)
    with instance_lab(tmp_path, policy=policy) as lab:
        instance = lab.create()
        slow(lab, instance)
        stranger = queue(lab, instance, "stranger")
        settle(lab, instance)
        fail(lab, instance, stranger, LOCKED)
        ref = lab.ref(instance)
        ref.tell(SettingsChanged(None))  # type: ignore[arg-type]
        lab.wait_for_actor(instance, other_than=ref)
        pause = lab.look(instance).queue_pause
        assert isinstance(pause, QueuePause)
        assert lab.row(instance).queue_paused_until == pause.until
        left = (pause.until - lab.clock.now()).total_seconds()
        assert left > 80
        lab.clock.advance(left + 0.01)
        settle(lab, instance)
        assert lab.look(instance).queue_pause is None
        assert lab.row(instance).queue_paused_until is None
        told = [
            event.data["paused"]
            for event in lab.stored_events(instance)
            if event.type == "instance:queue:changed"
        ]
        assert told == [True, False]


def test_too_high_a_rate_stops_everything_for_a_while(lab: InstanceLab) -> None:
    instance = lab.create()
    session = slow(lab, instance)
    first = queue(lab, instance, "a")
    queue(lab, instance, "b", chat=BOB)
    settle(lab, instance)
    fail(lab, instance, first, Failure(reason="rate_limited", detail="rate", code=429))
    lab.advance(instance, 3.0)
    assert sent(session) == ["a"]
    lab.advance(instance, 3.5)
    assert sent(session) == ["a", "a"]
    assert lab.look(instance).queue_pause is None


def test_limit_of_new_contacts_lets_known_ones_through_and_outlives_a_restart(
    tmp_path: Path,
) -> None:
    pacing = PacingSettings(
        messages_per_minute=600, jitter=0, new_contacts_per_day=1, warm_up=WarmUp(days=0)
    )
    with instance_lab(tmp_path, policy=InstancePolicy(pacing=pacing)) as lab:
        instance = lab.create()
        session = lab.link(instance)
        queue(lab, instance, "first")
        queue(lab, instance, "second stranger", chat=BOB)
        queue(lab, instance, "first again")
        for _ in range(5):
            lab.advance(instance, 1.0)
        assert sent(session) == ["first", "first again"]
        assert sent(restarted(lab, instance)) == [], "today's contact was made before"
        assert sent(restarted(lab, instance, after=86_400)) == ["second stranger"]


def restarted(lab: InstanceLab, instance: str, after: float = 0.0) -> ScriptedSession:
    """Stop the gateway, start it ``after`` so many seconds, and let it send for a while."""
    lab.stop()
    before = len(lab.driver.sessions)
    lab.clock.advance(after)
    lab.start()
    lab.wait_for_actor(instance)
    lab.look(instance)
    lab.driver.wait_for(before + 1)
    session = lab.session(instance)
    session.connect()
    for _ in range(5):
        lab.advance(instance, 1.0)
    return session


def test_cancelled_message_is_not_sent_and_its_event_is_told(lab: InstanceLab) -> None:
    instance = lab.create()
    message = queue(lab, instance)
    other = Scope("sub_other")
    assert lab.ask(instance, CancelMessage(other, message)) is None
    record = lab.ask(instance, CancelMessage(lab.scope, message))
    assert record.status is S.CANCELLED
    assert lab.ask(instance, CancelMessage(lab.scope, message)) is None
    session = lab.link(instance)
    settle(lab, instance)
    assert sent(session) == []
    assert [event.data["status"] for event in changes(lab, instance)] == ["cancelled"]


def test_failed_message_is_sent_when_it_is_retried(lab: InstanceLab) -> None:
    instance = lab.create()
    session = slow(lab, instance)
    message = queue(lab, instance)
    settle(lab, instance)
    assert lab.ask(instance, RetryMessage(lab.scope, message)) is None
    fail(lab, instance, message, Failure(reason="rejected", detail="no", code=479))
    record = lab.ask(instance, RetryMessage(lab.scope, message))
    assert record.status is S.QUEUED
    settle(lab, instance)
    session.emit(session.answer(message))
    settle(lab, instance)
    assert stored(lab, message).status is S.SENT
    assert [event.data["status"] for event in changes(lab, instance)] == [
        "sending",
        "failed",
        "queued",
        "sending",
        "sent",
    ]


def test_message_that_cannot_be_handed_over_fails_and_stops_nothing(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    strange = lab.database.write_wait(
        messages.enqueue,
        lab.scope,
        instance,
        new_text("strange").__class__(chat=ALICE, kind="text", content={"type": "hologram"}),
    )
    queue(lab, instance, "fine")
    settle(lab, instance)
    record = stored(lab, strange.id)
    assert record.status is S.FAILED
    assert record.failure is not None
    assert record.failure["reason"] == "invalid"
    assert sent(session) == ["fine"]


def test_warm_up_starts_with_the_linking(tmp_path: Path) -> None:
    pacing = PacingSettings(
        messages_per_minute=600, jitter=0, warm_up=WarmUp(days=7, messages=2, new_contacts=1)
    )
    with instance_lab(tmp_path, policy=InstancePolicy(pacing=pacing)) as lab:
        instance = lab.create()
        session = lab.link(instance)
        assert lab.row(instance).paired_at is not None
        for text in "123":
            queue(lab, instance, text)
        for _ in range(5):
            lab.advance(instance, 1.0)
        assert sent(session) == ["1", "2"]


def test_a_thousand_queued_messages_survive_a_crash_in_their_order(tmp_path: Path) -> None:
    total, chats = 1000, 7
    with instance_lab(tmp_path) as lab:
        instance = lab.create()
        futures = [
            lab.database.write(
                messages.enqueue,
                lab.scope,
                instance,
                new_text(str(number), chat=f"{15550200 + number % chats}@s.whatsapp.net"),
            )
            for number in range(total)
        ]
        for future in futures:
            future.result(60)
        session = lab.link(instance)
        while len(sent(session)) < total // 3:
            lab.advance(instance, 0.001)
        # A crash of the actor in the middle: its session goes with it.
        ref = lab.ref(instance)
        ref.tell(SettingsChanged(None))  # type: ignore[arg-type]
        lab.wait_for_actor(instance, other_than=ref)
        lab.look(instance)
        again = lab.session(instance)
        assert again is not session
        again.connect()
        while waiting(lab.database, instance):
            lab.advance(instance, 0.001)
        lab.advance(instance, 0.001)
        texts = [int(text) for text in (*sent(session), *sent(again))]
        assert sorted(texts) == list(range(total)), "each exactly once"
        for chat in range(chats):
            mine = [number for number in texts if number % chats == chat]
            assert mine == sorted(mine)
