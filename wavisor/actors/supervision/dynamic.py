"""The supervisor of many children of one sort that know nothing of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pykka
import structlog

from wavisor.actors.supervision.base import BaseSupervisor
from wavisor.actors.supervision.child import Child, Goal, Waiter
from wavisor.actors.supervision.environment import ChildContext
from wavisor.actors.supervision.messages import (
    ChildAbandonedError,
    ChildStartError,
    DeleteChild,
    DuplicateChildError,
    IntensityExceededError,
    RestartChild,
    StartChild,
    SupersededError,
    SupervisorStoppingError,
    TerminateChild,
    TooManyChildrenError,
    UnknownChildError,
)
from wavisor.actors.supervision.spec import ChildState, ExitReason, Intensity, Restart

__all__ = ["DynamicSupervisor"]

log = structlog.get_logger(__name__)


class DynamicSupervisor(BaseSupervisor):
    """Children come and go by message; each has a restart budget of its own.

    Unlike OTP's: a child that spends its budget becomes ``FAILED`` and stays down until a
    :class:`RestartChild`; its siblings and the supervisor go on. As in OTP, a dynamic supervisor
    that is itself restarted begins without children: a subclass that knows who should live tells
    itself ``StartChild(…, keep=True)`` for each in its ``on_start``.

    Args:
        context: from its own supervisor.
        intensity: the budget of a child whose spec names none.
        max_children: more are refused with ``TooManyChildrenError``.
        on_child_failed: called in the supervisor's thread with the id of a child that is given up
            (budget spent, or hanging in its own crash) and the reason. It must be quick: tell
            somebody.
    """

    def __init__(
        self,
        context: ChildContext,
        *,
        intensity: Intensity | None = None,
        max_children: int = 10_000,
        on_child_failed: Callable[[str, ExitReason], None] | None = None,
    ) -> None:
        super().__init__(context)
        self._intensity = intensity or Intensity()
        self._max_children = max_children
        self._on_child_failed = on_child_failed

    def handle(self, message: Any) -> Any:
        """Handle the commands about children, and what every supervisor handles."""
        match message:
            case StartChild():
                child = self._start_child(message)
            case RestartChild():
                child = self._restart_child(self._known(message.id))
            case TerminateChild():
                child = self._take_down(self._known(message.id), Goal.STOP)
            case DeleteChild():
                child = self._take_down(self._known(message.id), Goal.DELETE)
            case _:
                return super().handle(message)
        child.waiters.append(Waiter(child.goal, self.defer_reply()))
        self._reconcile(child)
        return None

    # Commands: each notes what is wanted; _reconcile brings it about.

    def _known(self, child_id: str) -> Child:
        try:
            return self._children[child_id]
        except KeyError:
            raise UnknownChildError(f"{self.name} has no child {child_id}") from None

    def _start_child(self, command: StartChild) -> Child:
        self._refuse_while_stopping()
        spec = command.spec
        if spec.id in self._children:
            state = self._children[spec.id].state.value
            raise DuplicateChildError(f"{self.name} has a child {spec.id} already; it is {state}")
        if len(self._children) >= self._max_children:
            raise TooManyChildrenError(f"{self.name} has {self._max_children} children")
        child = self._add(spec, spec.intensity or self._intensity)
        child.kept = command.keep
        return child

    def _restart_child(self, child: Child) -> Child:
        self._refuse_while_stopping()
        self._refuse_if_abandoned(child)
        self._change_goal(child, Goal.RUN)
        child.window.clear()
        child.attempt = 0
        if child.state in (ChildState.BACKOFF, ChildState.FAILED):
            self._stand_down(child)
        elif child.state is ChildState.RUNNING:
            child.must_stop = True
        elif child.state is ChildState.STOPPING:
            child.ending = None  # what it ends by no longer matters: it starts afresh anyway
        return child

    def _take_down(self, child: Child, goal: Goal) -> Child:
        if child.spec.restart is Restart.TEMPORARY:
            goal = Goal.DELETE
        self._change_goal(child, goal)
        self._refuse_if_abandoned(child)
        return child

    def _change_goal(self, child: Child, goal: Goal) -> None:
        child.goal = goal
        overtaken = [waiter for waiter in child.waiters if waiter.goal is not goal]
        child.waiters = [waiter for waiter in child.waiters if waiter.goal is goal]
        for waiter in overtaken:
            waiter.reply.fail(SupersededError(f"{child.id} is now wanted to {goal.value}"))

    def _refuse_while_stopping(self) -> None:
        if self._ending is not None:
            raise SupervisorStoppingError(f"{self.name} is stopping")

    def _refuse_if_abandoned(self, child: Child) -> None:
        if child.state is ChildState.ABANDONED:
            raise ChildAbandonedError(f"{child.id} hangs; its thread has not ended yet")

    def _terminate(self, reason: ExitReason) -> None:
        stopping = SupervisorStoppingError(f"{self.name} is stopping")
        for child in self._children.values():
            if child.goal is Goal.RUN:
                self._refuse_waiters(child, stopping)
        super()._terminate(reason)

    # Bringing it about.

    def _reconcile(self, child: Child | None) -> None:
        """Take the next steps for one child, or for all; they do not wait for each other."""
        for each in tuple(self._children.values()) if child is None else (child,):
            while self._step(each):
                pass
        self._exit_if_done()

    def _step(self, child: Child) -> bool:
        state = child.state
        if child.unwanted:
            if state in (ChildState.STARTING, ChildState.RUNNING):
                self._stop_child(child)
                return True
            if state is ChildState.BACKOFF or (state is ChildState.FAILED and child.waiters):
                self._stand_down(child)
                return True
            if state is ChildState.STOPPED:
                self._settle(child)
        elif state is ChildState.STOPPED and self._ending is None:
            self._launch(child)
            return True
        elif state is ChildState.RUNNING and child.waiters and child.actor is not None:
            self._answer(child, child.actor.actor_ref)
        return False

    def _settle(self, child: Child) -> None:
        """Tell those who wanted the child down that it is, and forget it if that was wanted."""
        if child.goal is Goal.DELETE:
            self._children.pop(child.id, None)
        self._answer(child, None)

    def _answer(self, child: Child, value: pykka.ActorRef[Any] | None) -> None:
        waiters, child.waiters = child.waiters, []
        for waiter in waiters:
            waiter.reply.set(value)

    def _refuse_waiters(self, child: Child, error: Exception) -> None:
        waiters, child.waiters = child.waiters, []
        for waiter in waiters:
            waiter.reply.fail(error)

    # Failures.

    def _on_start_failed(self, child: Child, reason: ExitReason) -> None:
        self._refuse_waiters(child, ChildStartError(child.id, reason))
        if not child.kept or child.spec.restart is Restart.TEMPORARY:
            child.goal = Goal.DELETE
        else:
            self._restart(child, reason)

    def _restart(self, child: Child, reason: ExitReason) -> None:
        if child.window.record(self._env.clock.monotonic()):
            self._back_off(child, reason)
            return
        child.goal = Goal.STOP
        self._set_state(child, ChildState.FAILED)
        log.error("too many restarts; child stays down", path=child.path, reason=str(reason))
        error = IntensityExceededError(f"{child.path} ended once more ({reason})")
        self._give_up(child, ExitReason.failure(error))

    def _on_abandoned(self, child: Child) -> None:
        self._refuse_waiters(
            child, ChildAbandonedError(f"{child.id} did not stop within {child.spec.shutdown:g} s")
        )
        if child.ending is not None and child.goal is Goal.RUN:
            self._give_up(child, child.ending)

    def _give_up(self, child: Child, reason: ExitReason) -> None:
        if self._on_child_failed is None:
            return
        try:
            self._on_child_failed(child.id, reason)
        except Exception:
            log.exception("on_child_failed failed", path=child.path)
