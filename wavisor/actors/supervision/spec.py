"""What a supervisor is told: how a child starts, when it is restarted, and how patiently.

The terms are those of Erlang/OTP's supervisor; where the meaning differs, it is said here.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from wavisor.actors.supervision.actor import SupervisedActor
    from wavisor.actors.supervision.environment import ChildContext

__all__ = [
    "Backoff",
    "ChildSpec",
    "ChildState",
    "ExitReason",
    "Intensity",
    "Restart",
    "RestartWindow",
    "Strategy",
]

_DETAIL_LIMIT = 500
_GREATEST_EXPONENT = 64


class Restart(Enum):
    """After which exits a child is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """Only after an abnormal exit."""
    TEMPORARY = "temporary"
    """Never; its spec is dropped when it ends."""


class Strategy(Enum):
    """Which siblings are restarted along with a child that failed."""

    ONE_FOR_ONE = "one_for_one"
    """None."""
    ONE_FOR_ALL = "one_for_all"
    """All."""
    REST_FOR_ONE = "rest_for_one"
    """Those that were started after it."""


class ChildState(Enum):
    """Where a child is in its life."""

    STARTING = "starting"
    """Its thread runs; ``on_start`` has not finished."""
    RUNNING = "running"
    """Handling messages."""
    BACKOFF = "backoff"
    """Failed; a timer will start it again."""
    STOPPING = "stopping"
    """Asked to stop, or ending by itself; its thread still runs."""
    STOPPED = "stopped"
    """No thread."""
    FAILED = "failed"
    """Restart budget spent; stays down until somebody restarts it. No thread."""
    ABANDONED = "abandoned"
    """Did not stop in time. Its thread still runs, and so it still holds its resource."""

    @property
    def alive(self) -> bool:
        """Whether the supervisor still waits for this child's thread to do or end something."""
        return self in _ALIVE


_ALIVE = frozenset({ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING})


@dataclass(frozen=True, slots=True)
class ExitReason:
    """Why an actor ended.

    ``normal``: it chose to. ``shutdown``: it was told to. ``error``: it failed. ``error`` is the
    exception, dropped (``None``) in the copies that are kept for long; ``detail`` is its text.
    """

    kind: Literal["normal", "shutdown", "error"]
    error: BaseException | None = None
    detail: str = ""

    @classmethod
    def normal(cls, detail: str = "") -> ExitReason:
        """Return the reason of an actor that has finished its work."""
        return cls("normal", None, detail)

    @classmethod
    def shutdown(cls, detail: str = "") -> ExitReason:
        """Return the reason of an actor that was told to stop."""
        return cls("shutdown", None, detail)

    @classmethod
    def failure(cls, error: BaseException) -> ExitReason:
        """Return the reason of an actor that ended by ``error``."""
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        return cls("error", error, text[:_DETAIL_LIMIT])

    @property
    def abnormal(self) -> bool:
        """Whether a transient child is restarted after it."""
        return self.kind == "error"

    def without_error(self) -> ExitReason:
        """Return a copy without the exception, whose traceback keeps a dead actor in memory."""
        return ExitReason(self.kind, None, self.detail)

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@dataclass(frozen=True, slots=True)
class Intensity:
    """How many restarts within ``period`` seconds are still taken for bad luck."""

    max_restarts: int = 3
    period: float = 60.0

    def __post_init__(self) -> None:
        if self.max_restarts < 0 or self.period <= 0:
            raise ValueError("max_restarts must be >= 0 and period > 0")


class RestartWindow:
    """Counts restarts against an :class:`Intensity`."""

    def __init__(self, intensity: Intensity) -> None:
        self._intensity = intensity
        self._times: deque[float] = deque()

    def record(self, now: float) -> bool:
        """Note a restart at ``now`` (monotonic seconds); return whether it is still allowed."""
        self._times.append(now)
        while self._times[0] < now - self._intensity.period:
            self._times.popleft()
        return len(self._times) <= self._intensity.max_restarts

    def clear(self) -> None:
        """Forget all restarts, as after an operator's decision to try again."""
        self._times.clear()


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pause before a restart: exponential, spread by chance. OTP has none.

    Args:
        initial: seconds before the first restart, before jitter.
        maximum: no pause is longer than this many seconds.
        factor: each further failure multiplies the pause by this.
        jitter: the share of the pause that is left to chance; 1 is full jitter (anything from
            nothing to the whole pause), 0 is none.
        reset_after: seconds of health after which the next failure counts as the first.
    """

    initial: float = 0.5
    maximum: float = 30.0
    factor: float = 2.0
    jitter: float = 1.0
    reset_after: float = 60.0

    def __post_init__(self) -> None:
        if self.initial < 0 or self.maximum < self.initial or self.factor < 1:
            raise ValueError("need 0 <= initial <= maximum and factor >= 1")
        if not 0 <= self.jitter <= 1 or self.reset_after < 0:
            raise ValueError("need 0 <= jitter <= 1 and reset_after >= 0")

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Return the seconds to wait before restart number ``attempt``, counted from 0."""
        exponent = min(attempt, _GREATEST_EXPONENT)
        pause = min(self.maximum, self.initial * self.factor**exponent)
        return pause * (1.0 - self.jitter * rng.random())

    @classmethod
    def none(cls) -> Backoff:
        """Return a backoff that restarts at once."""
        return cls(initial=0.0, maximum=0.0)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How a supervisor starts, restarts and stops one child.

    Args:
        id: unique among its siblings; no ``/``.
        start: builds the actor, not yet started, from its context. Runs in the supervisor's
            thread, so it only stores arguments; work belongs into ``on_start``.
        kind: what sort of child it is, for metrics and thread names; the id unless given.
        restart: after which exits it is started again.
        shutdown: seconds it has to stop in. A supervisor's must exceed its children's: their sum
            for a static one, the greatest for a dynamic one.
        start_timeout: seconds that ``on_start`` has (for a supervisor: the start of its children).
        backoff: the pauses between restarts.
        intensity: its own restart budget, where the supervisor is dynamic; the supervisor's
            default if ``None``. A static supervisor has one budget for all.
        exclusive: name of the resource that only one living thread may hold. Defaults to the
            child's path, so that a child is never replaced while its old thread still runs.
    """

    id: str
    start: Callable[[ChildContext], SupervisedActor]
    kind: str = ""
    restart: Restart = Restart.PERMANENT
    shutdown: float = 5.0
    start_timeout: float = 10.0
    backoff: Backoff = field(default_factory=Backoff)
    intensity: Intensity | None = None
    exclusive: str | None = None

    def __post_init__(self) -> None:
        if not self.id or "/" in self.id:
            raise ValueError(f"{self.id!r} is no id for a child: it must be non-empty, without '/'")
        if self.shutdown < 0 or self.start_timeout <= 0:
            raise ValueError("shutdown must be >= 0 and start_timeout > 0")
        if not self.kind:
            object.__setattr__(self, "kind", self.id)
