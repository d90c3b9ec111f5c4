"""Asking and telling: the only doors into an actor.

HTTP handlers use ``await ask(…)``, which never blocks the event loop and needs no executor
thread. Actors and tests use :func:`ask_sync`. Asks go down the tree and tells go up; an ask that
went up could meet one that came down, and both would wait.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from typing import Any

import pykka

from wavisor.actors.errors import (
    ActorBusyError,
    ActorCrashedError,
    ActorDeadError,
    ActorTimeoutError,
    ActorUnavailableError,
    DomainError,
)
from wavisor.actors.mailbox import Inbox, Reply, TimedEnvelope

__all__ = [
    "ActorBusyError",
    "ActorCrashedError",
    "ActorDeadError",
    "ActorTimeoutError",
    "ActorUnavailableError",
    "DomainError",
    "ask",
    "ask_sync",
    "tell",
]


async def ask(ref: pykka.ActorRef[Any], message: Any, *, timeout: float) -> Any:  # noqa: ASYNC109 - the deadline also travels inside the envelope, so a cancel scope is not enough
    """Ask an actor and wait for its answer without blocking the event loop.

    Cancelling the waiting task is safe: a question whose handler has not begun is dropped.

    Args:
        ref: whom to ask.
        message: a frozen message.
        timeout: seconds to wait; after it the question is dropped unless its handler began.

    Returns:
        What the handler returned.

    Raises:
        ActorTimeoutError: no answer within ``timeout``.
        ActorDeadError: the actor is stopped, or stopped before it answered.
        ActorBusyError: the actor's inbox is over its limit.
        Exception: whatever the handler raised; a :class:`DomainError` left the actor alive.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    _post(ref, message, _LoopReply(loop, future), timeout)
    alarm = loop.call_later(timeout, _expire, future, ref, timeout)
    try:
        return await future
    finally:
        alarm.cancel()


def ask_sync(ref: pykka.ActorRef[Any], message: Any, timeout: float) -> Any:
    """Ask an actor and block the calling thread for the answer, up to ``timeout`` seconds.

    For actors asking an actor below them, for tests and for scripts. Raises what :func:`ask`
    raises, and ``RuntimeError`` where waiting would be a deadlock or would stop an event loop.
    """
    _refuse_blocking_the_loop()
    inbox = ref.actor_inbox
    if isinstance(inbox, Inbox) and inbox.is_own_thread():
        raise RuntimeError(f"{ref} asks itself, and would wait for ever")
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    _post(ref, message, _ThreadReply(future), timeout)
    concurrent.futures.wait([future], timeout)
    if not future.done() and future.cancel():
        raise _timed_out(ref, timeout)
    return future.result(timeout=0)


def tell(ref: pykka.ActorRef[Any], message: Any) -> bool:
    """Send a message without waiting; return whether the actor was there to take it.

    The answer is a hint: an actor can stop between taking a message and reaching it.
    """
    try:
        ref.tell(message)
    except pykka.ActorDeadError:
        return False
    return True


def _refuse_blocking_the_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("ask_sync would block the event loop; use `await ask(…)`")


def _post(ref: pykka.ActorRef[Any], message: Any, reply: Reply, timeout: float) -> None:
    if not ref.is_alive():
        raise ActorDeadError(f"{ref} is stopped")
    inbox = ref.actor_inbox
    if isinstance(inbox, Inbox) and inbox.depth() >= inbox.limit:
        raise ActorBusyError(f"{ref} has {inbox.depth()} messages waiting")
    inbox.put(TimedEnvelope(message, reply, time.monotonic() + timeout))


def _timed_out(ref: pykka.ActorRef[Any], timeout: float) -> ActorTimeoutError:
    return ActorTimeoutError(f"{ref} did not answer within {timeout:g} s")


def _expire(future: asyncio.Future[Any], ref: pykka.ActorRef[Any], timeout: float) -> None:
    if not future.done():
        future.set_exception(_timed_out(ref, timeout))


class _LoopReply(Reply):
    """Delivers into an event loop, from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
        super().__init__()
        self._loop = loop
        self._future = future

    @property
    def wanted(self) -> bool:
        return not self._future.done()

    def set(self, value: Any = None) -> None:
        self._deliver(value, None)

    def fail(self, error: BaseException) -> None:
        self._deliver(None, error)

    def _deliver(self, value: Any, error: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, self._future, value, error)
        except RuntimeError:  # the loop is closed: nobody is left to hear the answer
            return


def _resolve(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


class _ThreadReply(Reply):
    """Delivers to a thread that waits on a ``concurrent.futures.Future``."""

    def __init__(self, future: concurrent.futures.Future[Any]) -> None:
        super().__init__()
        self._future = future

    @property
    def wanted(self) -> bool:
        return not self._future.done()

    def set(self, value: Any = None) -> None:
        try:
            self._future.set_result(value)
        except concurrent.futures.InvalidStateError:  # answered before, or given up
            return

    def fail(self, error: BaseException) -> None:
        try:
            self._future.set_exception(error)
        except concurrent.futures.InvalidStateError:  # answered before, or given up
            return
