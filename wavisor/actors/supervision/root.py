"""The top of the tree, and how the program that runs it learns that it has failed."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence

import pykka
import structlog

from wavisor.actors.ask import tell
from wavisor.actors.supervision.environment import (
    ChildContext,
    Environment,
    LifecycleNotice,
    ResourceLedger,
)
from wavisor.actors.supervision.messages import (
    ChildFinished,
    ChildInfo,
    ChildStarted,
    ChildStartError,
    Stop,
)
from wavisor.actors.supervision.spec import ChildSpec, ExitReason, Intensity, Strategy
from wavisor.actors.supervision.static import Supervisor

__all__ = ["RootHandle", "run_root"]

log = structlog.get_logger(__name__)

_ROOT_ID = "root"


class RootHandle:
    """What the program holds of its supervision tree; usable from any thread.

    ``started`` resolves when all children of the root have started, or raises
    ``ChildStartError``. ``finished`` resolves with the root's :class:`ExitReason` when nothing is
    left of the tree. An event loop waits for either with ``asyncio.wrap_future``.
    """

    def __init__(
        self, ledger: ResourceLedger, on_exit: Callable[[ExitReason], None] | None
    ) -> None:
        self._ledger = ledger
        self._on_exit = on_exit
        self._root: Supervisor | None = None
        self.started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.finished: concurrent.futures.Future[ExitReason] = concurrent.futures.Future()
        # Running, so that an asyncio wrapper whose wait is cancelled does not cancel them.
        self.started.set_running_or_notify_cancel()
        self.finished.set_running_or_notify_cancel()

    @property
    def ref(self) -> pykka.ActorRef[Supervisor]:
        """The root supervisor."""
        return self._supervisor.actor_ref

    @property
    def exit_code(self) -> int:
        """What the process should exit with: 0 after an orderly stop, 1 otherwise."""
        return 0 if self.finished.done() and not self.finished.result(timeout=0).abnormal else 1

    def tree(self) -> ChildInfo:
        """Return the whole tree as it is now. Asks nobody, so it works when actors hang."""
        return self._supervisor.snapshot()

    def stop(self) -> concurrent.futures.Future[ExitReason]:
        """Tell the tree to stop and return :attr:`finished`; harmless when it has."""
        tell(self._supervisor.actor_ref, Stop())
        return self.finished

    @property
    def _supervisor(self) -> Supervisor:
        if self._root is None:
            raise RuntimeError("the root has not been launched")
        return self._root

    def _launch(self, root: Supervisor) -> None:
        self._root = root
        root.launch()

    def _take_notice(self, notice: LifecycleNotice) -> None:
        match notice:
            case ChildStarted():
                self.started.set_result(None)
            case ChildFinished(reason=reason):
                self._take_end(reason)

    def _take_end(self, reason: ExitReason) -> None:
        if left := sorted(self._ledger.holders().values()):
            log.error("threads outlive the root; this is probably a bug", holders=left)
        if not self.started.done():
            error = reason.error or ChildStartError(_ROOT_ID, reason)
            self.started.set_exception(error)
        self.finished.set_result(reason)
        if self._on_exit is not None:
            try:
                self._on_exit(reason)
            except Exception:
                log.exception("on_exit of the root failed")


def run_root(
    children: Sequence[ChildSpec],
    *,
    environment: Environment,
    strategy: Strategy = Strategy.REST_FOR_ONE,
    intensity: Intensity | None = None,
    on_exit: Callable[[ExitReason], None] | None = None,
) -> RootHandle:
    """Start the tree and return at once.

    Args:
        children: of the root, in the order of their start.
        environment: what the whole tree shares.
        strategy: of the root.
        intensity: the root's restart budget; when it is spent, the tree ends.
        on_exit: called once, in the root's thread, when the tree has ended for whatever reason.

    Returns:
        The handle, whose ``started`` and ``finished`` the program waits for.
    """
    handle = RootHandle(environment.ledger, on_exit)
    context = ChildContext(
        id=_ROOT_ID,
        kind=_ROOT_ID,
        path="",
        generation=1,
        environment=environment,
        parent=None,
        notify=handle._take_notice,
    )
    handle._launch(Supervisor(context, children, strategy=strategy, intensity=intensity))
    return handle
