"""The bridge between the event loop and actors: it answers always, and never blocks the loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavisor.actors.ask import (
    ActorBusyError,
    ActorCrashedError,
    ActorDeadError,
    ActorTimeoutError,
    DomainError,
    ask,
    ask_sync,
    tell,
)
from wavisor.actors.mailbox import Reply, TimedEnvelope
from wavisor.actors.supervisor import ExitReason, SupervisedActor

WAIT = 60.0


class Worker(SupervisedActor):
    """A message is a function that it calls, or an answer."""

    inbox_limit = 50

    def __init__(self) -> None:
        super().__init__()
        self.handled: list[Any] = []
        self.ended = threading.Event()

    def handle(self, message: Any) -> Any:
        self.handled.append(message)
        return message() if callable(message) else message

    def on_exit(self, reason: ExitReason) -> None:
        self.ended.set()


class Blocker:
    """A message that occupies the actor until ``go`` is set."""

    def __init__(self) -> None:
        self.busy = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> str:
        self.busy.set()
        assert self.go.wait(WAIT)
        return "done"


@pytest.fixture
def worker() -> Iterator[Worker]:
    actor = Worker()
    ref = actor.launch()
    yield actor
    ref.stop(timeout=WAIT)


@pytest.fixture
def blocker(worker: Worker) -> Iterator[Blocker]:
    """The worker is occupied by this."""
    blocker = Blocker()
    tell(worker.actor_ref, blocker)
    assert blocker.busy.wait(WAIT)
    yield blocker
    blocker.go.set()


def run(scenario: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(scenario(), debug=True)


def raise_(error: BaseException) -> Callable[[], None]:
    def deed() -> None:
        raise error

    return deed


def test_ask_returns_what_the_handler_returned(worker: Worker) -> None:
    assert run(lambda: ask(worker.actor_ref, 42, timeout=WAIT)) == 42


@pytest.mark.parametrize("error", [ValueError("a bug"), DomainError("no")])
def test_ask_raises_what_the_handler_raised(worker: Worker, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        run(lambda: ask(worker.actor_ref, raise_(error), timeout=WAIT))
    assert caught.value is error


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration()]
)
def test_what_would_end_the_asker_too_is_wrapped(worker: Worker, error: BaseException) -> None:
    with pytest.raises(ActorCrashedError) as caught:
        run(lambda: ask(worker.actor_ref, raise_(error), timeout=WAIT))
    assert caught.value.__cause__ is error


def test_a_timeout_raised_by_the_handler_is_not_taken_for_ours(worker: Worker) -> None:
    with pytest.raises(TimeoutError) as caught:
        run(lambda: ask(worker.actor_ref, raise_(TimeoutError("database")), timeout=WAIT))
    assert not isinstance(caught.value, ActorTimeoutError)


def test_ask_gives_up_after_its_timeout(worker: Worker, blocker: Blocker) -> None:
    with pytest.raises(ActorTimeoutError, match=r"within 0\.01 s"):
        run(lambda: ask(worker.actor_ref, "late", timeout=0.01))


def test_a_question_nobody_waits_for_is_not_handled(worker: Worker, blocker: Blocker) -> None:
    with pytest.raises(ActorTimeoutError):
        run(lambda: ask(worker.actor_ref, "late", timeout=0.01))
    with pytest.raises(ActorTimeoutError):
        ask_sync(worker.actor_ref, "late as well", 0.01)
    blocker.go.set()
    assert ask_sync(worker.actor_ref, "in time", WAIT) == "in time"
    assert worker.handled == [blocker, "in time"]


def test_a_question_past_its_deadline_is_not_handled_though_its_asker_waits(
    worker: Worker, blocker: Blocker
) -> None:
    class Patient(Reply):
        def __init__(self) -> None:
            super().__init__()
            self.answer: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def set(self, value: Any = None) -> None:
            self.answer.set_result(value)

        def fail(self, error: BaseException) -> None:
            self.answer.set_exception(error)

    reply = Patient()
    worker.actor_inbox.put(TimedEnvelope("late", reply, deadline=time.monotonic()))
    blocker.go.set()
    with pytest.raises(ActorTimeoutError, match="too late"):
        reply.answer.result(WAIT)
    assert worker.handled == [blocker]


def test_an_answered_question_leaves_no_alarm_behind(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms: list[asyncio.TimerHandle] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def recorded(*args: Any, **kwargs: Any) -> asyncio.TimerHandle:
            alarms.append(call_later(*args, **kwargs))
            return alarms[-1]

        monkeypatch.setattr(loop, "call_later", recorded)
        await ask(worker.actor_ref, "hello", timeout=WAIT)

    run(scenario)
    assert [alarm.cancelled() for alarm in alarms] == [True]


def test_an_answer_after_the_timeout_is_dropped_quietly(worker: Worker) -> None:
    blocker = Blocker()

    async def scenario() -> Any:
        with pytest.raises(ActorTimeoutError):
            await ask(worker.actor_ref, blocker, timeout=0.01)
        blocker.go.set()
        return await ask(worker.actor_ref, "next", timeout=WAIT)

    assert run(scenario) == "next"


def test_a_cancelled_question_is_not_handled(worker: Worker, blocker: Blocker) -> None:
    async def scenario() -> Any:
        task = asyncio.create_task(ask(worker.actor_ref, "cancelled", timeout=WAIT))
        await asyncio.sleep(0)  # the task runs up to its wait
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        blocker.go.set()
        return await ask(worker.actor_ref, "next", timeout=WAIT)

    assert run(scenario) == "next"
    assert worker.handled == [blocker, "next"]


def test_the_loop_runs_on_while_an_actor_is_busy(worker: Worker) -> None:
    ticks = 0
    blocker = Blocker()

    async def scenario() -> Any:
        nonlocal ticks
        answer = asyncio.create_task(ask(worker.actor_ref, blocker, timeout=WAIT))
        while ticks < 100:
            await asyncio.sleep(0)
            ticks += 1
        assert not answer.done()
        blocker.go.set()  # had the loop been blocked, nobody could have come here
        return await answer

    assert run(scenario) == "done"


def test_asking_the_dead_fails_at_once(worker: Worker) -> None:
    worker.actor_ref.stop(timeout=WAIT)
    with pytest.raises(ActorDeadError):
        run(lambda: ask(worker.actor_ref, "hello", timeout=WAIT))
    with pytest.raises(ActorDeadError):
        ask_sync(worker.actor_ref, "hello", WAIT)
    assert tell(worker.actor_ref, "hello") is False


def test_a_question_put_after_the_drain_is_answered_at_once(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.actor_ref.stop(timeout=WAIT)
    # The race: the actor ends between the look whether it lives and the put.
    monkeypatch.setattr(worker.actor_ref, "is_alive", lambda: True)
    with pytest.raises(ActorDeadError):
        run(lambda: ask(worker.actor_ref, "too late", timeout=WAIT))
    with pytest.raises(ActorDeadError):
        ask_sync(worker.actor_ref, "too late", WAIT)


def test_questions_racing_with_a_stop_are_all_answered() -> None:
    """Every question resolves, by an answer or as dead; a lost one would show as a timeout."""

    async def scenario(ref: Any) -> list[Any]:
        asks = [asyncio.create_task(ask(ref, number, timeout=WAIT)) for number in range(40)]
        await asyncio.sleep(0)
        threading.Thread(target=ref.stop, kwargs={"timeout": WAIT}).start()
        asks += [asyncio.create_task(ask(ref, number, timeout=WAIT)) for number in range(40, 49)]
        return await asyncio.gather(*asks, return_exceptions=True)

    for _ in range(20):
        outcomes = asyncio.run(scenario(Worker.start()))
        assert all(isinstance(each, int | ActorDeadError | ActorBusyError) for each in outcomes)
        assert any(isinstance(each, int) for each in outcomes)


def test_a_full_inbox_refuses_questions(worker: Worker, blocker: Blocker) -> None:
    for number in range(Worker.inbox_limit):
        tell(worker.actor_ref, number)
    with pytest.raises(ActorBusyError, match="50 messages"):
        run(lambda: ask(worker.actor_ref, "one more", timeout=WAIT))


def test_an_answer_for_a_loop_that_is_closed_harms_nobody(worker: Worker) -> None:
    blocker = Blocker()

    async def scenario() -> None:
        task = asyncio.create_task(ask(worker.actor_ref, blocker, timeout=WAIT))
        await asyncio.to_thread(blocker.busy.wait, WAIT)
        task.cancel()

    asyncio.run(scenario())
    blocker.go.set()
    assert ask_sync(worker.actor_ref, "alive", WAIT) == "alive"


def test_the_bridge_works_on_uvloop_too(worker: Worker) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> list[Any]:
        answers = [ask(worker.actor_ref, number, timeout=WAIT) for number in range(20)]
        return list(await asyncio.gather(*answers))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == list(range(20))


def test_no_error_is_reported_as_never_retrieved(worker: Worker) -> None:
    reported: list[Any] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))
        with pytest.raises(DomainError):
            await ask(worker.actor_ref, raise_(DomainError("no")), timeout=WAIT)
        gc.collect()

    run(scenario)
    assert reported == []


def test_ask_sync_refuses_to_block_the_loop(worker: Worker) -> None:
    async def scenario() -> None:
        ask_sync(worker.actor_ref, "hello", WAIT)

    with pytest.raises(RuntimeError, match="block the event loop"):
        run(scenario)


def test_an_actor_that_asks_itself_is_refused_instead_of_waiting(worker: Worker) -> None:
    ref = worker.actor_ref

    def ask_myself() -> str:
        with pytest.raises(RuntimeError, match="asks itself"):
            ask_sync(ref, "me", WAIT)
        return "refused"

    assert ask_sync(ref, ask_myself, WAIT) == "refused"


@settings(max_examples=25, deadline=None)
@given(answers=st.lists(st.integers() | st.none() | st.text(), max_size=20))
def test_concurrent_questions_get_each_its_own_answer(answers: list[Any]) -> None:
    ref = Worker.start()

    async def scenario() -> list[Any]:
        return list(await asyncio.gather(*(ask(ref, a, timeout=WAIT) for a in answers)))

    try:
        assert asyncio.run(scenario()) == answers
    finally:
        ref.stop(timeout=WAIT)
