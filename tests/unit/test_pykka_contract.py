"""What pykka does, row by row, where our supervision relies on it or guards against it.

Plain pykka throughout. A failure here after an upgrade means: read ``actors/supervision`` again.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pykka
import pytest
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

WAIT = 60.0
NEVER = 0.1  # seconds in which something that must not happen gets its chance


class Plain(pykka.ThreadingActor):
    """Does what it is told; notes which hooks ran, and where."""

    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self.made_in = threading.get_ident()
        self.hooks: list[str] = []
        self.handled: list[Any] = []
        self.alive_in_hook: bool | None = None
        self.registered_in_hook: bool | None = None
        self.started = threading.Event()
        self.in_hook = threading.Event()
        self.thread: threading.Thread | None = None

    def on_start(self) -> None:
        self.thread = threading.current_thread()
        self.started.set()

    def on_receive(self, message: Any) -> Any:
        self.handled.append(message)
        return message() if callable(message) else message

    def on_stop(self) -> None:
        self._note("on_stop")

    def on_failure(self, *_: Any) -> None:
        self._note("on_failure")

    def _note(self, hook: str) -> None:
        self.hooks.append(hook)
        self.alive_in_hook = self.actor_ref.is_alive()
        self.registered_in_hook = self.actor_ref in pykka.ActorRegistry.get_all()
        self.in_hook.set()

    def fail(self) -> None:
        raise ValueError("a bug")


def actor_of(ref: pykka.ActorRef[Any]) -> Any:
    actor = ref._actor_weakref()
    assert actor is not None
    return actor


def launch(cls: type[Plain] = Plain) -> tuple[pykka.ActorRef[Any], Any]:
    ref = cls.start()
    actor = actor_of(ref)
    assert actor.started.wait(WAIT)
    return ref, actor


def ended(actor: Any) -> None:
    actor.thread.join(WAIT)
    assert not actor.thread.is_alive()


def blocker() -> tuple[Any, threading.Event, threading.Event]:
    """A message that occupies the actor: it sets ``busy`` and returns once ``go`` is set."""
    busy, go = threading.Event(), threading.Event()

    def block() -> None:
        busy.set()
        assert go.wait(WAIT)

    return block, busy, go


def crash() -> None:
    raise ValueError("a bug")


def leave() -> None:
    raise SystemExit(3)


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    yield
    pykka.ActorRegistry.stop_all(timeout=WAIT)
    assert pykka.ActorRegistry.get_all() == []


# start()


def test_init_runs_in_the_thread_of_the_caller_and_on_start_in_the_actors() -> None:
    _, actor = launch()
    assert actor.made_in == threading.get_ident()
    assert actor.thread.ident != threading.get_ident()


def test_an_exception_in_init_reaches_the_caller_and_registers_nothing() -> None:
    class Unmakeable(Plain):
        def __init__(self) -> None:
            super().__init__()
            raise ValueError("cannot be made")

    with pytest.raises(ValueError, match="cannot be made"):
        Unmakeable.start()
    assert pykka.ActorRegistry.get_all() == []


def test_start_returns_before_on_start_has_finished() -> None:
    go = threading.Event()

    class Slow(Plain):
        def on_start(self) -> None:
            assert go.wait(WAIT)
            super().on_start()

    ref = Slow.start()  # returns although on_start cannot finish
    assert not actor_of(ref).started.is_set()
    go.set()
    assert actor_of(ref).started.wait(WAIT)


def test_a_replacement_has_a_new_inbox_and_the_old_ref_stays_dead() -> None:
    old, actor = launch()
    old.stop(timeout=WAIT)
    ended(actor)
    new, _ = launch()
    assert new.actor_inbox is not old.actor_inbox
    assert new.is_alive()
    assert not old.is_alive()


# The table of failures


def test_a_crash_in_a_tell_ends_the_actor_and_drains_its_inbox() -> None:
    ref, actor = launch()
    block, busy, go = blocker()
    ref.tell(block)
    assert busy.wait(WAIT)
    ref.tell(crash)
    asked = ref.ask("asked", block=False)
    ref.tell("told")
    go.set()
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=WAIT)
    ended(actor)
    assert actor.hooks == ["on_failure"]
    assert actor.handled == [block, crash]
    assert not ref.is_alive()
    assert ref not in pykka.ActorRegistry.get_all()


def test_a_crash_in_an_ask_reaches_the_asker_and_the_actor_lives_on() -> None:
    ref, actor = launch()
    with pytest.raises(ValueError, match="a bug"):
        ref.ask(crash, timeout=WAIT)
    assert ref.ask("still there", timeout=WAIT) == "still there"
    assert actor.hooks == []


def test_a_crash_in_on_start_runs_no_hook_although_start_gave_a_ref() -> None:
    class Stillborn(Plain):
        def on_start(self) -> None:
            super().on_start()
            raise ValueError("cannot start")

    ref, actor = launch(Stillborn)
    ended(actor)
    assert not ref.is_alive()
    assert ref not in pykka.ActorRegistry.get_all()
    assert actor.hooks == []


def test_a_crash_in_on_stop_is_not_seen_by_who_stopped_it() -> None:
    class Messy(Plain):
        def on_stop(self) -> None:
            super().on_stop()
            raise ValueError("cannot clean up")

    ref, actor = launch(Messy)
    assert ref.stop(timeout=WAIT) is True
    ended(actor)
    assert actor.hooks == ["on_stop"]


def test_a_base_exception_stops_every_actor_and_leaves_the_asker_waiting() -> None:
    bystander, bystander_actor = launch()
    ref, actor = launch()
    answer = ref.ask(leave, block=False)
    ended(actor)
    ended(bystander_actor)
    assert not bystander.is_alive()
    with pytest.raises(pykka.Timeout):
        answer.get(timeout=0)


def test_a_dead_actor_refuses_tell_and_proxy_and_puts_the_error_into_the_future() -> None:
    ref, actor = launch()
    ref.stop(timeout=WAIT)
    ended(actor)
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("hello")
    with pytest.raises(pykka.ActorDeadError):
        ref.proxy()
    future = ref.ask("hello", block=False)  # does not raise here
    with pytest.raises(pykka.ActorDeadError):
        future.get(timeout=WAIT)


# The traps, by their numbers


def test_trap_1_an_actor_looks_dead_before_on_stop_has_run() -> None:
    ref, actor = launch()
    ref.stop(timeout=WAIT)
    assert actor.in_hook.wait(WAIT)
    assert actor.alive_in_hook is False
    assert actor.registered_in_hook is False


def test_trap_1_an_actor_looks_dead_before_on_failure_has_run() -> None:
    ref, actor = launch()
    ref.tell(crash)
    assert actor.in_hook.wait(WAIT)
    assert actor.hooks == ["on_failure"]
    assert actor.alive_in_hook is False
    assert actor.registered_in_hook is False


def test_trap_2_stop_waits_its_turn_and_what_comes_after_it_vanishes() -> None:
    ref, actor = launch()
    block, busy, go = blocker()
    ref.tell(block)
    assert busy.wait(WAIT)
    ref.tell("before")
    stopped = ref.stop(block=False)
    ref.tell("after")
    assert ref.is_alive()
    go.set()
    assert stopped.get(timeout=WAIT) is True
    ended(actor)
    assert actor.handled == [block, "before"]


def test_trap_3_asking_oneself_never_answers() -> None:
    ref, _ = launch()

    def ask_myself() -> str:
        try:
            ref.ask("me", timeout=NEVER)
        except pykka.Timeout:
            return "deadlock"
        return "answered"

    assert ref.ask(ask_myself, timeout=WAIT) == "deadlock"


def test_trap_4_a_timeout_does_not_cancel_the_handler() -> None:
    ref, actor = launch()
    block, busy, go = blocker()
    ref.tell(block)
    assert busy.wait(WAIT)
    with pytest.raises(pykka.Timeout):
        ref.ask("late", timeout=0)
    go.set()
    ref.stop(timeout=WAIT)
    ended(actor)
    assert actor.handled == [block, "late"]


def test_trap_5_a_question_put_after_the_drain_is_never_answered() -> None:
    ref, actor = launch()
    ref.stop(timeout=WAIT)
    ended(actor)
    future: pykka.ThreadingFuture[Any] = pykka.ThreadingFuture()
    # What `ask` does when the actor ends between its check and its put.
    ref.actor_inbox.put(Envelope("too late", reply_to=future))
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0)


def test_trap_6_awaiting_a_future_blocks_the_event_loop() -> None:
    ref, _ = launch()

    async def scenario() -> bool:
        loop = asyncio.get_running_loop()
        ticked = threading.Event()

        def ask_the_loop_to_tick() -> bool:
            loop.call_soon_threadsafe(ticked.set)
            return ticked.wait(NEVER)

        answer: bool = await ref.ask(ask_the_loop_to_tick, block=False)
        return answer

    assert asyncio.run(scenario()) is False


def test_trap_7_get_all_grants_the_timeout_to_each_future_anew() -> None:
    granted: list[float | None] = []

    class Watched(pykka.ThreadingFuture[int]):
        def get(self, *, timeout: float | None = None) -> int:
            granted.append(timeout)
            return 1

    pykka.get_all([Watched(), Watched(), Watched()], timeout=2.0)
    assert granted == [2.0, 2.0, 2.0]


def test_trap_7_stop_all_gives_up_at_the_first_slow_actor() -> None:
    patient, _ = launch()
    slow, _ = launch()
    block, busy, go = blocker()
    slow.tell(block)
    assert busy.wait(WAIT)
    with pytest.raises(pykka.Timeout):
        pykka.ActorRegistry.stop_all(timeout=0)
    assert patient.is_alive()
    go.set()


def test_trap_7_broadcast_gives_up_at_the_first_dead_target() -> None:
    dead, dead_actor = launch()
    dead.stop(timeout=WAIT)
    ended(dead_actor)
    pykka.ActorRegistry.register(dead)  # as in the moment before it unregisters
    living, actor = launch()
    with pytest.raises(pykka.ActorDeadError):
        pykka.ActorRegistry.broadcast("hello")
    pykka.ActorRegistry.unregister(dead)
    living.stop(timeout=WAIT)
    assert actor.handled == []


def test_trap_8_a_proxy_call_whose_future_is_not_read_hides_the_crash() -> None:
    ref, actor = launch()
    ref.proxy().fail()  # nothing is raised here, nor anywhere else
    assert ref.ask("still there", timeout=WAIT) == "still there"
    assert actor.hooks == []


def test_trap_8_a_proxy_call_bypasses_on_receive() -> None:
    ref, actor = launch()
    with pytest.raises(ValueError, match="a bug"):
        ref.proxy().fail().get(timeout=WAIT)
    assert actor.handled == []


def test_trap_8_making_a_proxy_reads_the_actor_from_another_thread() -> None:
    readers: list[int] = []

    class Watched(Plain):
        def __dir__(self) -> list[str]:
            readers.append(threading.get_ident())
            return list(super().__dir__())

    ref, _ = launch(Watched)
    ref.proxy()
    assert readers == [threading.get_ident()]


def test_trap_9_inboxes_take_any_number_and_messages_are_not_copied() -> None:
    ref, _ = launch()
    block, busy, go = blocker()
    ref.tell(block)
    assert busy.wait(WAIT)
    for number in range(20_000):
        ref.tell(number)
    message = {"mutable": True}
    answer = ref.ask(message, block=False)
    go.set()
    assert answer.get(timeout=WAIT) is message


def test_trap_10_the_registry_is_one_list_for_the_whole_process() -> None:
    first, _ = launch()
    second, _ = launch()
    assert pykka.ActorRegistry.get_all() == [first, second]


def test_trap_11_context_variables_do_not_reach_the_actor() -> None:
    request_id = contextvars.ContextVar("request_id", default="none")
    ref, _ = launch()
    token = request_id.set("req-1")
    try:
        assert ref.ask(request_id.get, timeout=WAIT) == "none"
    finally:
        request_id.reset(token)


# What our own loop takes over from pykka's


def test_stop_travels_as_an_actor_stop_in_an_envelope_with_a_reply() -> None:
    ref, actor = launch()
    block, busy, go = blocker()
    ref.tell(block)
    assert busy.wait(WAIT)
    ref.stop(block=False)
    envelope = ref.actor_inbox.get()
    assert isinstance(envelope.message, _ActorStop)
    assert isinstance(envelope.reply_to, pykka.ThreadingFuture)
    ref.actor_inbox.put(envelope)
    go.set()
    ended(actor)


def test_the_loop_is_started_by_the_hook_that_our_actor_overrides() -> None:
    called: list[str] = []

    class Hooked(Plain):
        def _start_actor_loop(self) -> None:
            called.append("_start_actor_loop")
            super()._start_actor_loop()

        def _actor_loop(self) -> None:
            called.append("_actor_loop")
            super()._actor_loop()

    launch(Hooked)
    assert called == ["_start_actor_loop", "_actor_loop"]
