"""Series of the queues: how many wait, since when, who is paused, and what became of sends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.instance_lab import InstanceLab, instance_lab
from support.manual_clock import ManualClock
from support.queueing import ALICE, new_text, queue_text
from support.tenants import new_instance, new_scope
from wavisor import metrics
from wavisor.actors.instance.messages import CancelMessage, Deliver
from wavisor.domain import InstanceStatus, MessageStatus, WantedState
from wavisor.observers import InstanceObserver
from wavisor.queue_observer import QueueObserver
from wavisor.storage import Database, InstanceRecord, Scope, instances, messages
from wavisor.storage.errors import DatabaseBusy
from wavisor.whatsapp.commands import SendMessage
from wavisor.whatsapp.events import Failure
from wavisor.whatsapp.scripted import ScriptedSession
from wavisor.whatsapp.scripted_defects import SlowSession


def value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(name, labels)


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


@pytest.fixture
def instance(database: Database, scope: Scope) -> InstanceRecord:
    return new_instance(database, scope)


@pytest.fixture
def observer(storage_clock: ManualClock) -> Iterator[InstanceObserver]:
    one = InstanceObserver(storage_clock, label=True, label_limit=1)
    yield one
    one.close()


@pytest.fixture
def queues(
    database: Database, storage_clock: ManualClock, observer: InstanceObserver
) -> Iterator[QueueObserver]:
    one = QueueObserver(database, storage_clock, observer.label_of)
    yield one
    one.close()


def look(queues: QueueObserver, clock: ManualClock) -> None:
    clock.advance(5.0)
    queues.look()


def test_depth_and_age_are_told_of_all_and_of_those_with_a_label(
    database: Database,
    scope: Scope,
    instance: InstanceRecord,
    storage_clock: ManualClock,
    observer: InstanceObserver,
    queues: QueueObserver,
) -> None:
    other = database.write_wait(instances.create, scope, name="other")
    for one in (instance, other):
        observer.on_status(one.id, InstanceStatus.CONNECTED, WantedState.CONNECTED)
    first = queue_text(database, instance)
    storage_clock.advance(60.0)
    queue_text(database, other)
    later = storage_clock.now() + timedelta(seconds=30)
    queue_text(database, other, send_at=later)
    look(queues, storage_clock)
    assert value("wavisor_queue_messages") == 3
    assert value("wavisor_queue_oldest_due_seconds") == 65
    label = {"instance_id": instance.id}
    assert value("wavisor_instance_queue_messages", **label) == 1
    assert value("wavisor_instance_queue_oldest_due_seconds", **label) == 65
    # Only so many instances have a label of their own.
    assert value("wavisor_instance_queue_messages", instance_id=other.id) is None

    database.write_wait(messages.cancel, scope, first.id)
    look(queues, storage_clock)
    assert value("wavisor_queue_messages") == 2
    assert value("wavisor_queue_oldest_due_seconds") == 10
    assert value("wavisor_instance_queue_messages", **label) is None


def test_message_for_later_is_not_due_before_its_time(
    database: Database,
    instance: InstanceRecord,
    storage_clock: ManualClock,
    queues: QueueObserver,
) -> None:
    later = storage_clock.now() + timedelta(seconds=20)
    queue_text(database, instance, send_at=later)
    look(queues, storage_clock)
    assert value("wavisor_queue_messages") == 1
    assert value("wavisor_queue_oldest_due_seconds") == 0
    storage_clock.advance(20.0)
    look(queues, storage_clock)
    assert value("wavisor_queue_oldest_due_seconds") == 10


def test_paused_queues_are_counted_by_reason(
    database: Database,
    instance: InstanceRecord,
    storage_clock: ManualClock,
    queues: QueueObserver,
) -> None:
    pause = {
        "queue_paused_until": storage_clock.now() + timedelta(seconds=60),
        "queue_pause_reason": "reach_out_timelock",
    }
    database.write_wait(instances.record_transition, instance.id, pause, [])
    look(queues, storage_clock)
    assert value("wavisor_queue_paused_instances", reason="reach_out_timelock") == 1
    storage_clock.advance(60.0)
    look(queues, storage_clock)
    assert value("wavisor_queue_paused_instances", reason="reach_out_timelock") == 0


def test_one_look_is_one_statement_and_serves_many_scrapes(
    database: Database,
    scope: Scope,
    storage_clock: ManualClock,
    queues: QueueObserver,
) -> None:
    for number in range(5):
        one = database.write_wait(instances.create, scope, name=str(number))
        queue_text(database, one)
    with database.count_queries() as queries:
        look(queues, storage_clock)
        queues.look()
    assert queries.count == 1


def test_deleted_instance_does_not_come_back(
    database: Database,
    instance: InstanceRecord,
    storage_clock: ManualClock,
    observer: InstanceObserver,
    queues: QueueObserver,
) -> None:
    observer.on_status(instance.id, InstanceStatus.CONNECTED, WantedState.CONNECTED)
    queue_text(database, instance)
    look(queues, storage_clock)
    assert value("wavisor_instance_queue_messages", instance_id=instance.id) == 1
    observer.on_deleted(instance.id)
    look(queues, storage_clock)
    assert value("wavisor_instance_queue_messages", instance_id=instance.id) is None


def test_database_that_does_not_answer_leaves_the_series(
    database: Database,
    instance: InstanceRecord,
    storage_clock: ManualClock,
    queues: QueueObserver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue_text(database, instance)
    look(queues, storage_clock)

    def busy(*_: Any, **__: Any) -> None:
        raise DatabaseBusy("no answer in time")

    monkeypatch.setattr(database, "read_wait", busy)
    look(queues, storage_clock)
    assert value("wavisor_queue_messages") == 1


def sends(outcome: str, reason: str = "") -> float:
    return value("wavisor_sends_total", outcome=outcome, reason=reason) or 0.0


class Counting:
    """What changed since it was made."""

    def __init__(self, *names: tuple[str, str]) -> None:
        self._before = {name: sends(*name) for name in names}
        self._durations = value("wavisor_send_duration_seconds_count") or 0.0
        self._seconds = value("wavisor_send_duration_seconds_sum") or 0.0

    @property
    def since(self) -> list[float]:
        return [sends(*name) - before for name, before in self._before.items()]

    @property
    def durations(self) -> tuple[float, float]:
        count = value("wavisor_send_duration_seconds_count") or 0.0
        seconds = value("wavisor_send_duration_seconds_sum") or 0.0
        return count - self._durations, seconds - self._seconds


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[InstanceLab]:
    with instance_lab(tmp_path) as one:
        # The real one counts; the lab's own does not.
        observer = InstanceObserver(one.clock)
        one.observer.on_send = observer.on_send  # type: ignore[method-assign]
        yield one
        observer.close()


def test_each_send_is_counted_by_what_became_of_it(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.driver.script(SlowSession)
    session = lab.link(instance)
    session.on_command = lambda command: (  # type: ignore[method-assign, assignment]
        None if isinstance(command, SendMessage) else ScriptedSession.on_command(session, command)
    )
    counting = Counting(
        ("sent", ""), ("failed", "not_on_whatsapp"), ("queued", "timeout"), ("cancelled", "")
    )

    def queue() -> str:
        text = new_text("hello", chat=ALICE)
        message = lab.database.write_wait(messages.enqueue, lab.scope, instance, text)
        lab.ref(instance).tell(Deliver())
        lab.look(instance)
        return message.id

    def answer(message: str, **outcome: Any) -> None:
        lab.advance(instance, 2.0)
        session.emit(session.answer(message, **outcome))
        lab.look(instance)

    answer(queue(), message_id="3EB0")
    assert counting.durations == (1, pytest.approx(2.0))
    answer(queue(), failure=Failure(reason="not_on_whatsapp", detail="x"))
    late = queue()
    answer(late, failure=Failure(reason="timeout", detail="x"))
    cancelled = lab.ask(instance, CancelMessage(lab.scope, late))
    assert cancelled.status is MessageStatus.CANCELLED
    assert counting.since == [1, 1, 1, 1]
    assert counting.durations == (1, pytest.approx(2.0))
