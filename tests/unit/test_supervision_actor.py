"""The supervised actor by itself: how it ends, what it answers, what it reports."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pykka
import pytest
from pykka._envelope import Envelope

from support.supervision_lab import WAIT, Lab
from wavisor.actors.ask import (
    ActorCrashedError,
    ActorDeadError,
    DomainError,
    ask_sync,
    tell,
)
from wavisor.actors.supervisor import (
    ChildSpec,
    ChildStartError,
    ChildState,
    DeferredReply,
    ExitReason,
    SupervisedActor,
    UnexpectedMessageError,
)

RUNNING = ChildState.RUNNING


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


class RefusedError(DomainError):
    pass


class Loner(SupervisedActor):
    """Lives without a supervisor; a message is a function that it calls."""

    def __init__(self) -> None:
        super().__init__()
        self.end: ExitReason | None = None
        self.ended = threading.Event()
        self.owed: list[DeferredReply] = []

    def handle(self, message: Any) -> Any:
        return message(self) if callable(message) else super().handle(message)

    def on_exit(self, reason: ExitReason) -> None:
        self.end = reason
        self.ended.set()


@pytest.fixture
def loner() -> Iterator[Loner]:
    actor = Loner()
    actor.launch()
    yield actor
    tell(actor.actor_ref, lambda self: self.exit(ExitReason.normal()))
    assert actor.ended.wait(WAIT)


def raise_(error: BaseException) -> Any:
    def deed(_: Any) -> None:
        raise error

    return deed


def test_a_domain_error_goes_to_the_asker_and_the_actor_lives(loner: Loner) -> None:
    with pytest.raises(RefusedError):
        ask_sync(loner.actor_ref, raise_(RefusedError("not now")), WAIT)
    assert ask_sync(loner.actor_ref, lambda _: "alive", WAIT) == "alive"


def test_a_domain_error_in_a_tell_harms_nobody(loner: Loner) -> None:
    tell(loner.actor_ref, raise_(RefusedError("not now")))
    assert ask_sync(loner.actor_ref, lambda _: "alive", WAIT) == "alive"


def test_any_other_error_reaches_the_asker_and_ends_the_actor(loner: Loner) -> None:
    with pytest.raises(ValueError, match="a bug"):
        ask_sync(loner.actor_ref, raise_(ValueError("a bug")), WAIT)
    assert not loner.actor_ref.is_alive()  # already so when the asker hears of it
    assert loner.ended.wait(WAIT)
    assert loner.end is not None
    assert loner.end.detail == "ValueError: a bug"


def test_an_error_in_a_tell_ends_the_actor(loner: Loner) -> None:
    tell(loner.actor_ref, raise_(ValueError("a bug")))
    assert loner.ended.wait(WAIT)
    assert loner.end is not None
    assert loner.end.abnormal


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_base_exception_is_a_crash_of_one_actor_alone(lab: Lab, error: BaseException) -> None:
    lab.start([lab.spec("a"), lab.spec("b")])
    with pytest.raises(ActorCrashedError, match=type(error).__name__) as caught:
        ask_sync(lab.find("b"), raise_(error), WAIT)
    assert caught.value.__cause__ is error
    lab.until("b", RUNNING, times=2)
    assert lab.child("a").generation == 1


def test_a_base_exception_in_on_start_is_a_failed_start(lab: Lab) -> None:
    class Leaver(SupervisedActor):
        def on_start(self) -> None:
            raise SystemExit(3)

    bystander = Loner.start()
    root = lab.launch([ChildSpec("a", Leaver)])
    with pytest.raises(ChildStartError, match="SystemExit: 3"):
        root.started.result(WAIT)
    assert bystander.is_alive()
    bystander.stop(timeout=WAIT)


def test_on_exit_runs_after_a_failed_start_too(lab: Lab) -> None:
    lab.behaviour("a").failing_starts = 1
    root = lab.launch([lab.spec("a")])
    root.finished.result(WAIT)
    assert ("exit", "a", "error") in lab.life.entries


def test_a_crash_in_on_exit_is_survived_and_the_end_is_reported(lab: Lab) -> None:
    lab.behaviour("a").crash_in_exit = True
    lab.start([lab.spec("a")])
    lab.crash("a")
    lab.until("a", RUNNING, times=2)
    assert str(lab.child("a").last_reason) == "error: ValueError: a bug"


def test_exit_ends_after_the_message_and_still_answers_it(loner: Loner) -> None:
    def leave(actor: Loner) -> str:
        actor.exit(ExitReason.normal("done"))
        return "goodbye"

    assert ask_sync(loner.actor_ref, leave, WAIT) == "goodbye"
    assert loner.ended.wait(WAIT)
    assert loner.end == ExitReason.normal("done")


def test_what_waits_in_the_inbox_of_a_crashed_actor_is_answered_as_dead(loner: Loner) -> None:
    busy, go = threading.Event(), threading.Event()

    def block(_: Any) -> None:
        busy.set()
        assert go.wait(WAIT)
        raise ValueError("a bug")

    tell(loner.actor_ref, block)
    assert busy.wait(WAIT)
    waiting = loner.actor_ref.ask(lambda _: "never", block=False)
    go.set()
    with pytest.raises(ActorDeadError):
        waiting.get(timeout=WAIT)


def test_messages_accepted_before_a_stop_are_handled(lab: Lab) -> None:
    root = lab.start([lab.spec("a")])
    busy, go = threading.Event(), lab.gate()
    handled: list[int] = []
    ref = lab.find("a")

    def block(_: Any) -> None:
        busy.set()
        assert go.wait(WAIT)

    tell(ref, block)
    assert busy.wait(WAIT)
    for number in range(5):
        tell(ref, lambda _, number=number: handled.append(number))
    finished = root.stop()
    go.set()
    finished.result(WAIT)
    assert handled == [0, 1, 2, 3, 4]


def test_an_abandoned_actor_works_off_nothing_when_it_comes_back(lab: Lab) -> None:
    root = lab.start([lab.spec("a", shutdown=5.0)])
    busy, go = threading.Event(), lab.gate()
    handled: list[str] = []
    ref = lab.find("a")

    def hang(_: Any) -> None:
        busy.set()
        go.wait(WAIT * 2)

    tell(ref, hang)
    assert busy.wait(WAIT)
    tell(ref, lambda _: handled.append("stale"))
    finished = root.stop()
    lab.until("a", ChildState.STOPPING)
    lab.clock.advance(5.0)
    finished.result(WAIT)
    go.set()
    lab.join_threads("a")
    assert handled == []
    assert ("exit", "a", "shutdown") in lab.life.entries  # it cleans up all the same


def test_a_message_that_meets_an_abandoned_actor_in_its_wait_is_answered_as_dead(
    loner: Loner,
) -> None:
    ask_sync(loner.actor_ref, lambda _: None, WAIT)  # it waits for the next one now, or soon
    answer = pykka.ThreadingFuture[Any]()
    loner.actor_stopped.set()
    loner.actor_inbox.put(Envelope(lambda _: "handled", reply_to=answer))
    with pytest.raises(ActorDeadError):
        answer.get(timeout=WAIT)


def test_an_actor_may_finish_its_work_before_it_stops(lab: Lab) -> None:
    told = threading.Event()

    class Tidy(SupervisedActor):
        def on_shutdown(self) -> None:
            told.set()

        def handle(self, message: Any) -> Any:
            if message == "session ended":
                self.exit(ExitReason.shutdown())
            return None

    root = lab.start([ChildSpec("a", Tidy)])
    ref = lab.find("a")
    finished = root.stop()
    assert told.wait(WAIT)
    assert ref.is_alive()
    tell(ref, "session ended")
    assert finished.result(WAIT).kind == "shutdown"
    assert lab.observer.abandoned == []


def test_the_stop_of_pykka_is_an_orderly_stop_too() -> None:
    actor = Loner()
    ref = actor.launch()
    assert ref.stop(timeout=WAIT) is True
    assert actor.ended.is_set()  # unlike pykka's, it returns after the clean-up
    assert actor.end == ExitReason.shutdown()


def test_an_answer_may_be_given_later(loner: Loner) -> None:
    answer = loner.actor_ref.ask(lambda actor: actor.owed.append(actor.defer_reply()), block=False)
    ask_sync(loner.actor_ref, lambda _: None, WAIT)
    loner.owed[0].set("at last")
    loner.owed[0].set("again")
    assert answer.get(timeout=WAIT) == "at last"


def test_an_answer_that_is_owed_at_the_end_is_an_error(loner: Loner) -> None:
    def owe(actor: Loner) -> None:
        actor.owed.append(actor.defer_reply())

    answer = loner.actor_ref.ask(owe, block=False)
    tell(loner.actor_ref, raise_(ValueError("a bug")))
    with pytest.raises(ActorDeadError, match="before it answered"):
        answer.get(timeout=WAIT)


def test_owing_an_answer_to_a_tell_is_harmless(loner: Loner) -> None:
    tell(loner.actor_ref, lambda actor: actor.defer_reply().set("to nobody"))
    assert ask_sync(loner.actor_ref, lambda _: "alive", WAIT) == "alive"


def test_an_unknown_message_is_refused_by_type(loner: Loner) -> None:
    with pytest.raises(UnexpectedMessageError, match="type str"):
        ask_sync(loner.actor_ref, "what?", WAIT)
    assert loner.actor_ref.is_alive()


def test_a_proxy_call_is_refused(loner: Loner) -> None:
    proxy: Any = loner.actor_ref.proxy()
    with pytest.raises(UnexpectedMessageError, match="ProxyCall"):
        proxy.on_start().get(timeout=WAIT)


@pytest.mark.parametrize("hook", ["on_receive", "on_stop", "on_failure"])
def test_overriding_a_hook_that_is_never_called_is_refused_at_once(hook: str) -> None:
    with pytest.raises(TypeError, match=hook):
        type("Mistaken", (SupervisedActor,), {hook: lambda self: None})


def test_threads_are_named_for_stack_dumps_and_do_not_hold_the_process(lab: Lab) -> None:
    lab.start([lab.spec("ins_1", kind="instance"), lab.spec("events")])
    thread = lab.do("ins_1", lambda _: threading.current_thread())
    assert (thread.name, thread.daemon) == ("instance:ins_1", True)
    assert lab.do("events", lambda _: threading.current_thread()).name == "events"


def test_an_actor_knows_its_place(lab: Lab) -> None:
    root = lab.start([lab.spec("a")])
    assert lab.do("a", lambda actor: actor.parent) is root.ref
    assert lab.do("a", lambda actor: actor.context.path) == "a"


def test_the_depth_of_the_inbox_can_be_read(lab: Lab) -> None:
    lab.start([lab.spec("a")])
    busy, go = threading.Event(), lab.gate()

    def block(_: Any) -> None:
        busy.set()
        assert go.wait(WAIT)

    tell(lab.find("a"), block)
    assert busy.wait(WAIT)
    for _ in range(3):
        tell(lab.find("a"), lambda _: None)
    assert lab.child("a").inbox_depth == 3
    go.set()


def test_a_thread_that_cannot_be_started_leaves_nothing_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    actor = Loner()
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(RuntimeError, match="new thread"):
        actor.launch()
    assert actor.actor_ref not in pykka.ActorRegistry.get_all()
    assert not actor.actor_ref.is_alive()


def test_a_finished_actor_is_out_of_the_registry(loner: Loner) -> None:
    assert loner.actor_ref in pykka.ActorRegistry.get_all()
    loner.actor_ref.stop(timeout=WAIT)
    assert loner.actor_ref not in pykka.ActorRegistry.get_all()
