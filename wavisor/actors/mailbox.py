"""Inboxes, and the ways an answer travels back.

What pykka's own queue and future lack: an inbox that can be closed, so that a message put after
the last one was drained is still answered; a deadline on the envelope, so that a question nobody
waits for any more is not worked on; a future that can wake an event loop.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from types import TracebackType
from typing import Any, TypeAlias

import pykka
from pykka._envelope import Envelope  # what an inbox holds; pykka has no public name for it
from pykka.messages import _ActorStop  # what ``ref.stop()`` sends; as above

from wavisor.actors.errors import ActorCrashedError, ActorDeadError

__all__ = ["Inbox", "Reply", "TimedEnvelope", "fail_reply"]

ExcInfo: TypeAlias = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class Reply(pykka.Future[Any]):
    """Where an answer goes. Subclasses deliver it to a thread or to an event loop.

    Unlike pykka's future it may be resolved twice (the first answer counts), because a deferred
    answer and the end of the actor can meet.
    """

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for the answer."""
        return True

    def set(self, value: Any = None) -> None:
        """Deliver ``value``."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """Deliver ``error``, to be raised where the question was asked."""
        raise NotImplementedError

    def set_exception(self, exc_info: ExcInfo | None = None) -> None:
        """Deliver an exception the way pykka's own loop hands it over."""
        error = (exc_info or sys.exc_info())[1]
        self.fail(error if error is not None else RuntimeError("no exception to deliver"))


def fail_reply(reply: pykka.Future[Any], error: BaseException) -> None:
    """Deliver ``error`` to a reply of ours or a future of pykka's.

    What is not an ``Exception`` would end the thread or the loop that asked, and
    ``StopIteration`` cannot be put into an asyncio future; both travel as the cause of an
    :class:`ActorCrashedError`.
    """
    if not isinstance(error, Exception) or isinstance(error, StopIteration):
        crash = ActorCrashedError(f"the handler raised {type(error).__name__}")
        crash.__cause__ = error
        error = crash
    try:
        reply.set_exception((type(error), error, error.__traceback__))
    except queue.Full:  # a future of pykka's that is already resolved
        return


class TimedEnvelope(Envelope[Any]):
    """An envelope with a deadline on ``time.monotonic()``, after which it is not handled."""

    __slots__ = ("deadline",)

    def __init__(self, message: Any, reply_to: Reply, deadline: float) -> None:
        super().__init__(message, reply_to)
        self.deadline = deadline

    @property
    def stale(self) -> bool:
        """Whether the asker has given up."""
        reply = self.reply_to
        return time.monotonic() >= self.deadline or (isinstance(reply, Reply) and not reply.wanted)


class Inbox:
    """A queue of envelopes that answers for its actor once the actor is gone.

    Not bounded: a bounded queue would block whoever tells, and two full inboxes that tell each
    other would block for ever. Instead :func:`wavisor.actors.ask.ask` refuses to add to an inbox
    longer than ``limit``, and the depth is shown in the supervision tree.
    """

    __slots__ = ("_closed", "_queue", "limit", "owner")

    def __init__(self, limit: int = 10_000) -> None:
        self._queue: queue.SimpleQueue[Envelope[Any]] = queue.SimpleQueue()
        self._closed = False
        self.limit = limit
        self.owner: int | None = None
        """Identity of the thread that reads, to refuse an actor that asks itself."""

    def put(self, envelope: Envelope[Any], /) -> None:
        """Add an envelope; when the actor is gone, answer it at once with ``ActorDeadError``."""
        self._queue.put(envelope)
        # Closing sets the flag before it drains. So either this put came before that drain, or
        # this reads True and drains by itself: no question is left lying.
        if self._closed:
            self._drain()

    def get(self) -> Envelope[Any]:
        """Wait for the next envelope.

        Without a timeout: an actor has nothing to do until a message comes, and its supervisor
        can always send one.
        """
        return self._queue.get()

    def empty(self) -> bool:
        """Whether nothing is waiting at this moment."""
        return self._queue.empty()

    def depth(self) -> int:
        """How many messages are waiting at this moment."""
        return self._queue.qsize()

    def close(self) -> None:
        """Answer everything that is waiting, and all that still comes, as dead."""
        self._closed = True
        self._drain()

    def _drain(self) -> None:
        while True:
            try:
                envelope = self._queue.get_nowait()
            except queue.Empty:
                return
            if envelope.reply_to is None:
                continue
            if isinstance(envelope.message, _ActorStop):
                envelope.reply_to.set(None)
            else:
                fail_reply(envelope.reply_to, ActorDeadError("stopped before handling the message"))

    def is_own_thread(self) -> bool:
        """Whether the calling thread is the one that reads this inbox."""
        return self.owner == threading.get_ident()
