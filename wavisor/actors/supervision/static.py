"""The supervisor of a fixed list of children that depend on each other by order."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from wavisor.actors.supervision.base import BaseSupervisor
from wavisor.actors.supervision.child import Child, Goal
from wavisor.actors.supervision.environment import ChildContext
from wavisor.actors.supervision.messages import ChildStartError, IntensityExceededError
from wavisor.actors.supervision.spec import (
    ChildSpec,
    ChildState,
    ExitReason,
    Intensity,
    Restart,
    RestartWindow,
    Strategy,
)

__all__ = ["Supervisor"]

log = structlog.get_logger(__name__)


class Supervisor(BaseSupervisor):
    """Starts its children left to right, each when the one before has started; stops in reverse.

    A failure while it starts stops what was started and fails its own start with that reason.
    Later, ``strategy`` says who is restarted along with a child. More restarts than ``intensity``
    allows, counted over all children, and it stops them all and exits abnormally, so that its own
    supervisor decides.

    Args:
        context: from its own supervisor, or of the root.
        children: in the order of their start.
        strategy: which siblings are restarted along with a failed child.
        intensity: the restart budget of all children together.
    """

    acknowledges_start = True

    def __init__(
        self,
        context: ChildContext,
        children: Sequence[ChildSpec],
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity | None = None,
    ) -> None:
        super().__init__(context)
        if len({spec.id for spec in children}) != len(children):
            raise ValueError("children of one supervisor must have different ids")
        self._strategy = strategy
        self._window = RestartWindow(intensity or Intensity())
        self._started = False
        for spec in children:
            self._add(spec, spec.intensity or Intensity())

    def on_start(self) -> None:
        """Start the first child; the others follow as each reports."""
        self._reconcile(None)

    def _reconcile(self, child: Child | None) -> None:
        while self._stop_step() or self._start_step():
            pass
        self._exit_if_done()

    @property
    def _in_order(self) -> bool:
        """Whether children go up and down one at a time."""
        one_by_one = self._strategy is not Strategy.ONE_FOR_ONE
        return one_by_one or not self._started or self._ending is not None

    def _stop_step(self) -> bool:
        """Stop the last child that has to go; return whether anything was done."""
        for child in reversed(tuple(self._children.values())):
            if child.state is ChildState.STOPPING:
                if self._in_order:
                    return False
            elif child.unwanted and child.state.alive:
                self._stop_child(child)
                return True
            elif child.goal is Goal.DELETE and child.state is ChildState.STOPPED:
                del self._children[child.id]
                return True
        return False

    def _start_step(self) -> bool:
        """Start the first child whose turn it is; return whether anything was done."""
        if self._ending is not None:
            return False
        children = tuple(self._children.values())
        if self._in_order and any(child.state is ChildState.STOPPING for child in children):
            return False
        if self._strategy is Strategy.ONE_FOR_ALL and any(
            child.state is ChildState.BACKOFF for child in children
        ):
            return False
        for child in children:
            if child.goal is not Goal.RUN:
                continue
            if child.state in (ChildState.STOPPED, ChildState.ABANDONED):
                self._launch(child)
                return True
            if child.state is not ChildState.RUNNING and self._in_order:
                return False
        if not self._started:
            self._started = True
            self.report_started()
        return False

    def _on_start_failed(self, child: Child, reason: ExitReason) -> None:
        if self._started:
            self._restart(child, reason)
        else:
            self._terminate(ExitReason.failure(ChildStartError(child.path, reason)))

    def _restart(self, child: Child, reason: ExitReason) -> None:
        if not self._window.record(self._env.clock.monotonic()):
            log.error("too many restarts", supervisor=self.name, path=child.path)
            error = IntensityExceededError(f"{child.path} ended once more ({reason})")
            self._terminate(ExitReason.failure(error))
            return
        for sibling in self._affected_by(child):
            sibling.goal = Goal.DELETE if sibling.spec.restart is Restart.TEMPORARY else Goal.RUN
            if sibling.state is ChildState.BACKOFF:
                self._stand_down(sibling)
            elif sibling.state.alive:
                sibling.must_stop = True
        self._back_off(child, reason)

    def _affected_by(self, child: Child) -> list[Child]:
        """Return the siblings that are restarted when ``child`` is."""
        children = list(self._children.values())
        match self._strategy:
            case Strategy.ONE_FOR_ONE:
                return []
            case Strategy.ONE_FOR_ALL:
                return [sibling for sibling in children if sibling is not child]
            case Strategy.REST_FOR_ONE:
                return children[children.index(child) + 1 :]
