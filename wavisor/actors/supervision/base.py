"""What static and dynamic supervisors have in common: the life of one child.

A supervisor never waits. It notes what it wants of each child, takes the next step, and goes back
to its inbox; what it waits for (a start, an end, a timer) comes as a message. So it answers, and
can be stopped, at any time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from wavisor.actors.ask import tell
from wavisor.actors.supervision.actor import SupervisedActor
from wavisor.actors.supervision.child import Child, Goal
from wavisor.actors.supervision.environment import ChildContext, LifecycleNotice
from wavisor.actors.supervision.messages import (
    ChildExiting,
    ChildFinished,
    ChildInfo,
    ChildStarted,
    ChildTimer,
    CountChildren,
    GetTree,
    ResourceHeldError,
    StartTimeoutError,
    Stop,
    WhichChildren,
)
from wavisor.actors.supervision.spec import (
    ChildSpec,
    ChildState,
    ExitReason,
    Intensity,
    Restart,
    RestartWindow,
)

__all__ = ["BaseSupervisor"]

log = structlog.get_logger(__name__)


class BaseSupervisor(SupervisedActor):
    """Starts, watches and stops children; subclasses decide which, when, and what a failure means.

    A bug in the supervisor itself makes it stop its children and then end with that error.
    """

    context: ChildContext

    def __init__(self, context: ChildContext) -> None:
        super().__init__(context)
        self._env = context.environment
        self._children: dict[str, Child] = {}
        self._alive: set[str] = set()
        self._tokens = itertools.count(1)
        self._ending: ExitReason | None = None

    # Decisions of the subclasses.

    def _reconcile(self, child: Child | None) -> None:
        """Take every step that is possible now; ``child`` is the one that changed, if one did."""
        raise NotImplementedError

    def _on_start_failed(self, child: Child, reason: ExitReason) -> None:
        """Decide what becomes of a child, now stopped, whose ``on_start`` did not succeed."""
        raise NotImplementedError

    def _restart(self, child: Child, reason: ExitReason) -> None:
        """Bring a child, now stopped, back, or give up."""
        raise NotImplementedError

    def _on_abandoned(self, child: Child) -> None:
        """Decide what to do about a child that did not stop in time."""

    # Messages.

    def handle(self, message: Any) -> Any:
        """Handle the reports of children and the questions about them."""
        match message:
            case ChildStarted() | ChildExiting() | ChildFinished():
                self._on_notice(message)
            case ChildTimer():
                child = self._children.get(message.id)
                if child is not None and child.token == message.token:
                    self._on_timer(child)
                    self._reconcile(child)
            case WhichChildren():
                return self.snapshot_children()
            case CountChildren():
                counts = dict.fromkeys(ChildState, 0)
                for child in self._children.values():
                    counts[child.state] += 1
                return counts
            case GetTree():
                return self.snapshot()
            case _:
                return super().handle(message)
        return None

    def snapshot_children(self) -> tuple[ChildInfo, ...]:
        """Return the tree below this supervisor, without asking anybody; from any thread.

        Nobody is asked, so that a supervisor that hangs does not hide itself. Copying the values
        of a dict is one step of the interpreter; no lock is needed.
        """
        return tuple(child.snapshot() for child in tuple(self._children.values()))

    def snapshot(self) -> ChildInfo:
        """Return this supervisor as a node, with everything below it; from any thread.

        How often it was restarted is known to its parent, not to itself.
        """
        state = ChildState.RUNNING if self._ending is None else ChildState.STOPPING
        return ChildInfo(
            id=self.context.id,
            kind=self.context.kind,
            state=ChildState.STOPPED if self.actor_stopped.is_set() else state,
            generation=self.generation,
            restarts=0,
            last_reason=None,
            inbox_depth=self.inbox_depth,
            children=self.snapshot_children(),
        )

    # The end of the supervisor itself.

    def on_shutdown(self) -> None:
        """Stop the children, then exit."""
        self._terminate(ExitReason.shutdown())

    def _on_crash(self, error: BaseException) -> None:
        if self._ending is not None:  # a second bug, on the way out: nothing more can be trusted
            super()._on_crash(error)
            return
        log.error("supervisor crashed", actor=self.name, exc_info=error)
        try:
            self._terminate(ExitReason.failure(error))
        except Exception as second:  # noqa: BLE001 - reported by what it calls
            super()._on_crash(second)

    def on_exit(self, reason: ExitReason) -> None:
        """Leave no orphan behind, should the supervisor have ended without stopping its children.

        Each of them holds its resource until its thread ends, so the next supervisor cannot start
        a second one beside it.
        """
        for child in self._children.values():
            child.cancel_timer()
            if child.actor is not None:
                self._env.directory.leave(child.path)
                tell(child.actor.actor_ref, Stop())

    def _terminate(self, reason: ExitReason) -> None:
        """Begin to stop all children; the supervisor exits by ``reason`` when they are gone."""
        if self._ending is not None:
            return
        self._ending = reason
        for child in self._children.values():
            if child.goal is Goal.RUN:
                child.goal = Goal.STOP
        self._reconcile(None)

    def _exit_if_done(self) -> None:
        if self._ending is not None and not self._alive:
            self.exit(self._ending)

    # The life of a child.

    def _add(self, spec: ChildSpec, intensity: Intensity) -> Child:
        child = Child(spec, self.context.path_of(spec.id), RestartWindow(intensity))
        self._children[spec.id] = child
        return child

    def _launch(self, child: Child) -> None:
        child.generation += 1
        child.acknowledged = False
        child.ending = None
        context = ChildContext(
            id=child.id,
            kind=child.spec.kind,
            path=child.path,
            generation=child.generation,
            environment=self._env,
            parent=self.actor_ref,
            notify=self._post,
            resource=child.resource,
        )
        ledger = self._env.ledger
        try:
            if not ledger.claim(child.resource, context.holder):
                raise ResourceHeldError(  # noqa: TRY301 - a refusal is one more way to fail a start
                    f"an earlier thread still holds {child.resource}"
                )
            actor = child.spec.start(context)
            if getattr(actor, "context", None) is not context:
                raise TypeError(  # noqa: TRY301 - as above
                    f"the start of {child.path} must return a SupervisedActor, not yet started, "
                    "that was given the context"
                )
            self._set_state(child, ChildState.STARTING)
            child.actor = actor
            actor.launch()
        except Exception as error:
            log.exception("child could not be started", path=child.path)
            ledger.release(child.resource, context.holder)
            child.actor = None
            self._exited(child, ExitReason.failure(error))
        else:
            self._arm(child, child.spec.start_timeout)

    def _stop_child(self, child: Child, ending: ExitReason | None = None) -> None:
        """Tell a child to stop; ``ending`` if that is because it failed."""
        child.ending = ending
        self._set_state(child, ChildState.STOPPING)
        self._arm(child, child.spec.shutdown)
        if child.actor is not None:
            tell(child.actor.actor_ref, Stop())

    def _stand_down(self, child: Child) -> None:
        """Make a child that waits for its restart wait no longer."""
        child.cancel_timer()
        self._set_state(child, ChildState.STOPPED)

    def _on_notice(self, notice: LifecycleNotice) -> None:
        child = self._children.get(notice.id)
        if child is None or child.generation != notice.generation or child.actor is None:
            return
        match notice:
            case ChildStarted() if child.state is ChildState.STARTING:
                child.cancel_timer()
                child.acknowledged = True
                child.kept = True
                child.healthy_since = self._env.clock.monotonic()
                self._set_state(child, ChildState.RUNNING)
            case ChildStarted() if child.state is ChildState.STOPPING:
                child.acknowledged = child.ending is None
            case ChildExiting() if child.state in (ChildState.STARTING, ChildState.RUNNING):
                child.ending = notice.reason
                self._set_state(child, ChildState.STOPPING)
                self._arm(child, child.spec.shutdown)
            case ChildFinished():
                self._on_finished(child, notice.reason)
            case _:
                return
        self._reconcile(child)

    def _on_finished(self, child: Child, reason: ExitReason) -> None:
        child.actor = None
        child.cancel_timer()
        if child.state is ChildState.ABANDONED:
            log.warning("abandoned child has finished after all", path=child.path)
        if child.ending is None and child.state in (ChildState.STOPPING, ChildState.ABANDONED):
            if reason.abnormal:
                log.warning("child failed while stopping", path=child.path, reason=str(reason))
            child.last_reason = reason.without_error()
            child.must_stop = False
            self._set_state(child, ChildState.STOPPED)
        else:
            self._exited(child, child.ending or reason)

    def _exited(self, child: Child, reason: ExitReason) -> None:
        """Judge the end of a child that the supervisor did not ask for."""
        child.last_reason = reason.without_error()
        child.ending = None
        child.must_stop = False
        self._set_state(child, ChildState.STOPPED)
        if child.goal is not Goal.RUN or self._ending is not None:
            return
        if not child.acknowledged:
            self._on_start_failed(child, reason)
            return
        if self._env.clock.monotonic() - child.healthy_since >= child.backoff.reset_after:
            child.attempt = 0
        restart = child.spec.restart
        if restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and reason.abnormal):
            self._restart(child, reason)
        else:
            child.goal = Goal.DELETE if restart is Restart.TEMPORARY else Goal.STOP

    def _back_off(self, child: Child, reason: ExitReason) -> None:
        """Let a child rest, and start it again when its pause is over."""
        pause = child.backoff.delay(child.attempt, self._env.rng)
        child.attempt += 1
        child.restarts += 1
        log.warning(
            "child will be restarted", path=child.path, reason=str(reason), pause=round(pause, 3)
        )
        self._observe(self._env.observer.on_restart, child.spec.kind, reason)
        self._set_state(child, ChildState.BACKOFF)
        self._arm(child, pause)

    def _on_timer(self, child: Child) -> None:
        child.timer = None
        child.token = 0
        if child.state is ChildState.BACKOFF:
            self._set_state(child, ChildState.STOPPED)
        elif child.state is ChildState.STARTING:
            late = StartTimeoutError(f"not started within {child.spec.start_timeout:g} s")
            self._stop_child(child, ExitReason.failure(late))
        elif child.state is ChildState.STOPPING:
            self._abandon(child)

    def _abandon(self, child: Child) -> None:
        log.critical(
            "child does not stop; its thread is abandoned",
            path=child.path,
            shutdown_seconds=child.spec.shutdown,
            thread=child.spec.kind,
        )
        if child.ending is not None:
            child.last_reason = child.ending.without_error()
        child.must_stop = False
        self._set_state(child, ChildState.ABANDONED)
        if child.actor is not None:
            child.actor.abandon()
        self._observe(self._env.observer.on_abandoned, child.spec.kind)
        self._on_abandoned(child)

    def _arm(self, child: Child, delay: float) -> None:
        """Have a :class:`ChildTimer` sent to this supervisor after ``delay`` seconds."""
        child.cancel_timer()
        child.token = next(self._tokens)
        firing = ChildTimer(child.id, child.token)
        if delay <= 0:
            self._post(firing)
        else:
            child.timer = self._env.timers.call_later(delay, partial(self._post, firing))

    def _post(self, message: LifecycleNotice | ChildTimer) -> None:
        """Put a message into the own inbox, from any thread; one that is gone needs none."""
        tell(self.actor_ref, message)

    def _set_state(self, child: Child, state: ChildState) -> None:
        old, child.state = child.state, state
        if old is state:
            return
        if state.alive:
            self._alive.add(child.id)
        else:
            self._alive.discard(child.id)
        if state is ChildState.RUNNING and child.actor is not None:
            self._env.directory.enter(child.path, child.actor.actor_ref)
        elif old is ChildState.RUNNING:
            self._env.directory.leave(child.path)
        self._observe(self._env.observer.on_child_state, child.path, child.spec.kind, old, state)

    def _observe(self, hook: Callable[..., None], *what: object) -> None:
        """Tell the observer; a bug of its own must not cost anybody a supervisor."""
        try:
            hook(*what)
        except Exception:
            log.exception("observer failed", supervisor=self.name)
