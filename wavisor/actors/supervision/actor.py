"""The actor that can be supervised: it says when it has started, why it ended, and when it is gone.

It replaces pykka's receive loop, because pykka's (4.5) lets an actor live on in doubtful state
after a failed ask, stops every actor of the process on a ``SystemExit``, tells nobody about a
failure in ``on_start``, and has no signal for "the thread has finished".
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, ClassVar, Self, cast

import pykka
import structlog
from pykka._envelope import Envelope  # what an inbox holds; it has no public name
from pykka.messages import _ActorStop  # what ``ref.stop()`` sends; it has no public name

from wavisor.actors.errors import (
    ActorDeadError,
    ActorTimeoutError,
    DomainError,
    UnexpectedMessageError,
)
from wavisor.actors.mailbox import Inbox, TimedEnvelope, fail_reply
from wavisor.actors.supervision.environment import ChildContext, LifecycleNotice
from wavisor.actors.supervision.messages import (
    ChildExiting,
    ChildFinished,
    ChildInfo,
    ChildStarted,
    Stop,
)
from wavisor.actors.supervision.spec import ExitReason

__all__ = ["DeferredReply", "SupervisedActor"]

log = structlog.get_logger(__name__)

_PYKKA_HOOKS = ("on_receive", "on_stop", "on_failure")
_DEFERRED: Any = object()


class DeferredReply:
    """An answer that a handler owes; from :meth:`SupervisedActor.defer_reply`.

    May be given from any thread, once; giving it again changes nothing. An actor that ends
    without giving it lets the asker know.
    """

    __slots__ = ("__weakref__", "_reply")

    def __init__(self, reply: pykka.Future[Any] | None) -> None:
        self._reply = reply

    def set(self, value: Any = None) -> None:
        """Answer with ``value``."""
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.set(value)

    def fail(self, error: BaseException) -> None:
        """Answer with an exception, raised where the question was asked."""
        reply, self._reply = self._reply, None
        if reply is not None:
            fail_reply(reply, error)


class SupervisedActor(pykka.ThreadingActor):
    """An actor on its own daemon thread, made to live under a supervisor.

    Subclasses override :meth:`handle`, and where needed :meth:`on_start`, :meth:`on_shutdown` and
    :meth:`on_exit`. The constructor runs in the supervisor's thread and only stores arguments.

    A :class:`~wavisor.actors.errors.DomainError` raised by a handler goes to the asker and the
    actor lives. Anything else reaches the asker and ends the actor. What is not an ``Exception``
    does too, wrapped, so that no actor can stop the process.
    """

    use_daemon_thread = True  # a thread that hangs must not keep the process from ending
    inbox_limit: ClassVar[int] = 10_000
    """Asks are refused with ``ActorBusyError`` while more messages than this wait."""
    acknowledges_start: ClassVar[bool] = False
    """Whether the subclass calls :meth:`report_started` itself, some time after ``on_start``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hooks := [name for name in _PYKKA_HOOKS if name in vars(cls)]:
            raise TypeError(
                f"{cls.__name__} overrides {', '.join(hooks)}, which a supervised actor never "
                "calls: use handle and on_exit"
            )

    def __init__(self, context: ChildContext | None = None) -> None:
        """Store where in the tree the actor lives; without a context it lives on its own."""
        super().__init__()
        self.context = context
        self._inbox = cast("Inbox", self.actor_inbox)
        self._inbox.limit = self.inbox_limit
        self._exit_reason: ExitReason | None = None
        self._told_to_stop = False
        self._current_reply: pykka.Future[Any] | None = None
        self._deferred: weakref.WeakSet[DeferredReply] = weakref.WeakSet()
        self._stop_replies: list[pykka.Future[Any]] = []

    # What subclasses override.

    def on_start(self) -> None:
        """Prepare, in the actor's thread. Raising fails the start."""

    def handle(self, message: Any) -> Any:
        """Handle one message and return the answer to it.

        Overrides call ``super().handle(message)`` for what they do not know.

        Raises:
            UnexpectedMessageError: always, here.
        """
        raise UnexpectedMessageError(
            f"{self.name} has no handler for messages of type {type(message).__name__}"
        )

    def on_shutdown(self) -> None:
        """React to being told to stop. The default exits at once.

        An override may finish something first (it keeps receiving messages), and then calls
        ``self.exit(ExitReason.shutdown())``, within the ``shutdown`` seconds of its spec.
        """
        self.exit(ExitReason.shutdown())

    def on_exit(self, reason: ExitReason) -> None:
        """Clean up. Runs last and exactly once, whatever the end, even after a failed start."""

    # What subclasses and neighbours use.

    @property
    def name(self) -> str:
        """What the actor is called in logs and stack dumps."""
        return type(self).__name__ if self.context is None else self.context.name

    @property
    def generation(self) -> int:
        """Which start of this child this actor is; 0 without a supervisor."""
        return 0 if self.context is None else self.context.generation

    @property
    def parent(self) -> pykka.ActorRef[Any] | None:
        """The supervisor, or ``None``."""
        return None if self.context is None else self.context.parent

    @property
    def inbox_depth(self) -> int:
        """How many messages wait; may be read from any thread."""
        return self._inbox.depth()

    def snapshot_children(self) -> tuple[ChildInfo, ...]:
        """Return what lives below this actor; may be called from any thread."""
        return ()

    def exit(self, reason: ExitReason) -> None:
        """End after the message that is being handled; what still waits is answered as dead."""
        if self._exit_reason is None:
            self._exit_reason = reason
        self.actor_stopped.set()

    def defer_reply(self) -> DeferredReply:
        """Owe the answer to the message being handled, instead of returning it.

        The return value of the handler is then ignored. For a message that was told and not
        asked, answering does nothing.
        """
        reply, self._current_reply = self._current_reply, _DEFERRED
        owed = DeferredReply(None if reply is _DEFERRED else reply)
        self._deferred.add(owed)
        return owed

    def report_started(self) -> None:
        """Tell the supervisor that this actor is ready."""
        if self.context is not None:
            self._notify(ChildStarted(self.context.id, self.context.generation))

    def abandon(self) -> None:
        """Make the actor end as soon as it comes back from where it hangs; from any thread.

        It handles nothing of what waits in its inbox any more.
        """
        self.actor_stopped.set()
        self._inbox.put(Envelope(None))  # to wake it, should it be waiting for a message

    def launch(self) -> pykka.ActorRef[Self]:
        """Start an actor that was constructed, as ``start`` does for one that was not.

        Raises:
            RuntimeError: the system has no thread to spare.
        """
        pykka.ActorRegistry.register(self.actor_ref)
        try:
            self._start_actor_loop()
        except BaseException:
            pykka.ActorRegistry.unregister(self.actor_ref)
            self.actor_stopped.set()
            self._inbox.close()
            raise
        return self.actor_ref

    # The life of the thread.

    @staticmethod
    def _create_actor_inbox() -> Inbox:
        return Inbox()

    def _start_actor_loop(self) -> None:
        threading.Thread(
            target=self._actor_loop, name=self.name, daemon=self.use_daemon_thread
        ).start()

    def _actor_loop(self) -> None:
        self._inbox.owner = threading.get_ident()
        try:
            if self._begin():
                self._receive()
        except BaseException as error:  # noqa: BLE001 - nothing may leave the thread unreported
            self._fail(error)
        finally:
            self._finish()

    def _begin(self) -> bool:
        try:
            self.on_start()
        except BaseException as error:  # noqa: BLE001 - nothing may leave the thread unreported
            self._fail(error)
            return False
        if not self.acknowledges_start:
            self.report_started()
        return True

    def _receive(self) -> None:
        while not self.actor_stopped.is_set():
            envelope = self._inbox.get()
            if self.actor_stopped.is_set():  # abandoned meanwhile
                self._inbox.put(envelope)  # to be answered as dead with the others
                return
            self._process(envelope)

    def _process(self, envelope: Envelope[Any]) -> None:
        reply = envelope.reply_to
        if reply is not None and isinstance(envelope, TimedEnvelope) and envelope.stale:
            fail_reply(reply, ActorTimeoutError("too late to be handled"))
            return
        self._current_reply = reply
        try:
            answer = self._dispatch(envelope.message)
        except DomainError as error:
            self._refuse(envelope.message, error)
        except BaseException as error:  # noqa: BLE001 - nothing may leave the thread unreported
            # The loop ends before the asker hears of it: whoever asks again finds it dead.
            owed = self._current_reply
            try:
                self._on_crash(error)
            finally:
                if owed is not None and owed is not _DEFERRED:
                    fail_reply(owed, error)
        else:
            if self._current_reply is not None and self._current_reply is not _DEFERRED:
                self._current_reply.set(answer)
        finally:
            self._current_reply = None

    def _dispatch(self, message: Any) -> Any:
        if isinstance(message, Stop):
            return self._on_told_to_stop()
        if isinstance(message, _ActorStop):
            if self._current_reply is not None:
                self._stop_replies.append(self._current_reply)
                self._current_reply = _DEFERRED
            return self._on_told_to_stop()
        return self.handle(message)

    def _on_told_to_stop(self) -> None:
        if not self._told_to_stop:
            self._told_to_stop = True
            self.on_shutdown()

    def _refuse(self, message: Any, error: DomainError) -> None:
        reply = self._current_reply
        if reply is None or reply is _DEFERRED:
            log.warning(
                "message refused",
                actor=self.name,
                message_type=type(message).__name__,
                error=type(error).__name__,
            )
        else:
            fail_reply(reply, error)

    def _on_crash(self, error: BaseException) -> None:
        """React to a handler's bug. The default ends the actor; only supervisors do otherwise."""
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._exit_reason = ExitReason.failure(error)
        self.actor_stopped.set()
        log.error("actor crashed", actor=self.name, exc_info=error)

    def _finish(self) -> None:
        reason = self._exit_reason or ExitReason.shutdown("abandoned")
        try:
            pykka.ActorRegistry.unregister(self.actor_ref)
            if self.context is not None and not self._told_to_stop:
                self._notify(ChildExiting(self.context.id, self.context.generation, reason))
            self.on_exit(reason)
        except BaseException:
            log.exception("cleaning up after an actor failed", actor=self.name)
        finally:
            self._inbox.owner = None
            self._inbox.close()
            for owed in list(self._deferred):
                owed.fail(ActorDeadError(f"{self.name} stopped before it answered"))
            for reply in self._stop_replies:
                reply.set(None)
            self._report_finished(reason)

    def _report_finished(self, reason: ExitReason) -> None:
        context = self.context
        if context is None:
            return
        if context.resource is not None:
            context.environment.ledger.release(context.resource, context.holder)
        self._notify(ChildFinished(context.id, context.generation, reason))

    def _notify(self, notice: LifecycleNotice) -> None:
        if self.context is not None:
            self.context.notify(notice)
