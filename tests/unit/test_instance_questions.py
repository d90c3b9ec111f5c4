"""What an instance's actor does with queries: asked, answered later, bounded, never for ever."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.instance_lab import InstanceLab, instance_lab
from wavisor.actors.instance.messages import (
    Disconnect,
    QueryFailedError,
    QueryForbiddenError,
    RunQuery,
)
from wavisor.actors.instance.questions import MAX_PENDING
from wavisor.domain import InstanceStatus
from wavisor.whatsapp import queries
from wavisor.whatsapp.commands import Query
from wavisor.whatsapp.events import Answer, Failure
from wavisor.whatsapp.person import Person
from wavisor.whatsapp.query_results import Done, People
from wavisor.whatsapp.scripted import ScriptedSession
from wavisor.whatsapp.scripted_defects import SlowSession

PATIENCE = 60.0
SOMEBODY = "15550101@s.whatsapp.net"
BLOCK = queries.SetBlocked(person=SOMEBODY, blocked=True)
LIST = queries.BlockList()


class Asker:
    """Asks in threads of its own, so that a test can act while an answer is owed."""

    def __init__(self, lab: InstanceLab) -> None:
        self._lab = lab
        self._threads = ThreadPoolExecutor(MAX_PENDING + 2)

    def ask(self, instance: str, query: Any) -> Future[Any]:
        session = self._lab.session(instance)
        before = len(session.commands(Query))
        future = self._threads.submit(self._lab.ask, instance, RunQuery(query))
        # Time stands still meanwhile, so this is the only thing to wait for.
        for _ in range(1000):
            if future.done() or len(session.commands(Query)) > before:
                break
            self._lab.pause.wait(0.005)
        self._lab.look(instance)  # its timer is set by then
        return future

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[InstanceLab]:
    with instance_lab(tmp_path) as one:
        yield one


@pytest.fixture
def asker(lab: InstanceLab) -> Iterator[Asker]:
    asker = Asker(lab)
    yield asker
    asker.close()


def slow(lab: InstanceLab) -> tuple[str, ScriptedSession]:
    """A connected instance whose session answers nothing."""
    lab.driver.script(SlowSession)
    instance = lab.create()
    return instance, lab.link(instance)


def answer(session: ScriptedSession, command: Query, **outcome: Any) -> None:
    session.emit(Answer(instance=command.instance, id=command.id, **outcome))


def test_a_change_is_carried_out_by_the_session(lab: InstanceLab) -> None:
    instance = lab.create()
    session = lab.link(instance)
    assert lab.ask(instance, RunQuery(BLOCK)) == Done()
    (command,) = session.commands(Query)
    assert command.query == BLOCK
    assert command.timeout == lab.policy.query_timeout


def test_a_question_is_answered_by_its_own_type_of_result(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    blocked = People(people=(Person(jid=SOMEBODY, phone="+15550101"),))
    lab.driver.results["block_list"] = blocked
    assert lab.ask(instance, RunQuery(LIST)) == blocked


def test_answers_find_the_question_that_they_are_for(lab: InstanceLab, asker: Asker) -> None:
    instance, session = slow(lab)
    first, second = asker.ask(instance, LIST), asker.ask(instance, BLOCK)
    one, two = session.commands(Query)
    answer(session, two, result={})
    answer(session, one, result={"people": []})
    assert first.result(PATIENCE) == People(people=())
    assert second.result(PATIENCE) == Done()


@pytest.mark.parametrize("status", ["never connected", "showing a QR code", "disconnected"])
def test_only_a_connected_instance_is_asked(lab: InstanceLab, status: str) -> None:
    instance = lab.create()
    if status == "showing a QR code":
        lab.connect(instance).show_qr()
    elif status == "disconnected":
        lab.link(instance)
        lab.ask(instance, Disconnect())
    shown = lab.look(instance).status
    with pytest.raises(QueryForbiddenError) as caught:
        lab.ask(instance, RunQuery(LIST))
    assert caught.value.status is shown
    assert all(not session.commands(Query) for session in lab.driver.sessions)


def test_a_failure_keeps_its_reason_and_whatsapps_code(lab: InstanceLab) -> None:
    instance = lab.create()
    lab.link(instance)
    lab.driver.results["block_list"] = Failure(reason="forbidden", detail="not yours", code=403)
    with pytest.raises(QueryFailedError) as caught:
        lab.ask(instance, RunQuery(LIST))
    assert (caught.value.reason, caught.value.code) == ("forbidden", 403)
    assert lab.look(instance).status is InstanceStatus.CONNECTED


def test_an_unanswered_query_fails_when_its_time_is_up(lab: InstanceLab, asker: Asker) -> None:
    instance, session = slow(lab)
    asked = asker.ask(instance, LIST)
    lab.advance(instance, lab.policy.query_timeout / 2)
    assert not asked.done()
    # Kept alive, as it would be by its answers to pings and probes.
    for command in session.sent:
        if command.type in ("ping", "probe"):
            session.emit(Answer(instance=instance, id=command.id))
    lab.advance(instance, lab.policy.query_timeout / 2)
    with pytest.raises(QueryFailedError, match="in time") as caught:
        asked.result(PATIENCE)
    assert caught.value.reason == "timeout"


def test_an_answer_that_comes_too_late_disturbs_nothing(lab: InstanceLab, asker: Asker) -> None:
    instance, session = slow(lab)
    asked = asker.ask(instance, LIST)
    (command,) = session.commands(Query)
    lab.advance(instance, 15.0)
    for other in session.sent:
        if other.type in ("ping", "probe"):
            session.emit(Answer(instance=instance, id=other.id))
    lab.advance(instance, 15.0)
    assert isinstance(asked.exception(PATIENCE), QueryFailedError)
    answer(session, command, result={"people": []})
    assert lab.look(instance).status in (InstanceStatus.CONNECTED, InstanceStatus.RECONNECTING)


def test_those_who_wait_are_told_when_the_session_ends(lab: InstanceLab, asker: Asker) -> None:
    instance, session = slow(lab)
    asked = [asker.ask(instance, LIST) for _ in range(3)]
    session.exit(-9)
    for one in asked:
        error = one.exception(PATIENCE)
        assert isinstance(error, QueryFailedError)
        assert error.reason == "not_connected"


def test_too_many_queries_at_once_are_refused(lab: InstanceLab, asker: Asker) -> None:
    instance, session = slow(lab)
    waiting = [asker.ask(instance, LIST) for _ in range(MAX_PENDING)]
    with pytest.raises(QueryFailedError) as caught:
        lab.ask(instance, RunQuery(LIST))
    assert caught.value.reason == "busy"
    assert len(session.commands(Query)) == MAX_PENDING
    answer(session, session.commands(Query)[0], result={"people": []})
    waiting[0].result(PATIENCE)
    asker.ask(instance, LIST)
    assert len(session.commands(Query)) == MAX_PENDING + 1
    session.exit(-9)


@pytest.mark.parametrize("result", [None, {}, {"people": 1}, {"people": [], "more": 1}])
def test_an_answer_that_cannot_be_read_is_a_failure_and_no_crash(
    lab: InstanceLab, asker: Asker, result: Any
) -> None:
    instance, session = slow(lab)
    actor = lab.ref(instance)
    asked = asker.ask(instance, LIST)
    answer(session, session.commands(Query)[0], result=result)
    error = asked.exception(PATIENCE)
    assert isinstance(error, QueryFailedError)
    assert error.reason == "internal"
    assert lab.ref(instance) == actor
