"""Those who keep account over time and feed :mod:`wavisor.metrics`: uptime, actors, processes."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Protocol

from wavisor import metrics
from wavisor.clock import Clock
from wavisor.domain import (
    DeliveryStatus,
    IgnoredChat,
    InstanceStatus,
    MessageDirection,
    MessageStatus,
    Reason,
    WantedState,
)
from wavisor.storage import Attempt

__all__ = [
    "ActorObserver",
    "InstanceObserver",
    "LoopLagMonitor",
    "SessionObserver",
    "UptimeAccount",
    "WebhookObserver",
    "observe_mailboxes",
    "proportional_memory",
]

# Statuses in which only the gateway can bring the instance (back) up. In all others a person is
# asked to act: scan, link again, wait for a ban to end, upgrade; that time says nothing about us.
_OURS = frozenset(
    {
        InstanceStatus.CONNECTING,
        InstanceStatus.CONNECTED,
        InstanceStatus.RECONNECTING,
        InstanceStatus.FAILED,
    }
)

_KIND_LIMIT = 32


class UptimeAccount:
    """Adds up the seconds in which instances should be connected, and in which they are.

    Their ratio is the uptime. Seconds accrue with every change of status, and before every scrape
    for what goes on: so a month-long connection is not missing until it ends. The work of a
    scrape does not grow with the number of instances.

    Args:
        clock: gives the monotonic time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[str, tuple[bool, bool]] = {}
        self._expected = 0
        self._connected = 0
        self._since = clock.monotonic()

    def on_status(self, instance_id: str, status: InstanceStatus, wanted: WantedState) -> None:
        """Note what an instance's status is from now on, and what the user wants of it."""
        expected = wanted is WantedState.CONNECTED and status in _OURS
        self._change(instance_id, (expected, expected and status is InstanceStatus.CONNECTED))

    def forget(self, instance_id: str) -> None:
        """Note that an instance is no more."""
        self._change(instance_id, None)

    def accrue(self) -> None:
        """Bring the series up to this moment."""
        with self._lock:
            self._accrue()

    def _change(self, instance_id: str, new: tuple[bool, bool] | None) -> None:
        with self._lock:
            self._accrue()
            old = self._states.pop(instance_id, (False, False))
            if new is not None:
                self._states[instance_id] = new
            expected, connected = new or (False, False)
            self._expected += expected - old[0]
            self._connected += connected - old[1]

    def _accrue(self) -> None:
        now = self._clock.monotonic()
        elapsed, self._since = now - self._since, now
        metrics.EXPECTED_SECONDS.inc(elapsed * self._expected)
        metrics.CONNECTED_SECONDS.inc(elapsed * self._connected)


class InstanceObserver:
    """Keeps the series about instances. One for the process; told by the instances' actors.

    Args:
        clock: gives the monotonic time.
        label: whether instances get series of their own.
        label_limit: how many of them; the others share ``other``.
    """

    def __init__(self, clock: Clock, *, label: bool = False, label_limit: int = 100) -> None:
        self._uptime = UptimeAccount(clock)
        self._lock = threading.Lock()
        self._statuses: dict[str, InstanceStatus] = {}
        self._label = metrics.CappedLabel(label_limit) if label else None
        self._sessions = SessionObserver()
        self._remove_hook = metrics.before_scrape(self._uptime.accrue)

    def on_status(self, instance_id: str, status: InstanceStatus, wanted: WantedState) -> None:
        """Note the status that an instance has from now on, and what the user wants of it.

        To be told at the start too, and again when only the wish changed.
        """
        self._uptime.on_status(instance_id, status, wanted)
        self._move(instance_id, status)
        own = self._own_label(instance_id)
        if own is not None:
            metrics.INSTANCE_CONNECTED.labels(own).set(status is InstanceStatus.CONNECTED)

    def on_drop(self, instance_id: str, reason: Reason) -> None:
        """Note that a standing connection ended without having been asked to."""
        metrics.observe_drop(reason)
        if self._label is not None:
            metrics.INSTANCE_LABEL_DROPS.labels(self._label(instance_id)).inc()

    def on_reconnected(self, seconds: float) -> None:
        """Note a login after a drop, ``seconds`` after it."""
        metrics.observe_reconnect(seconds)

    def on_qr_shown(self) -> None:
        """Note that a QR code was shown."""
        metrics.QR_CODES.inc()

    def on_qr_limit(self) -> None:
        """Note that the last QR code ran out unscanned."""
        metrics.QR_LIMIT_REACHED.inc()

    def on_paired(self, *, by_code: bool) -> None:
        """Note that a device was linked, by a code typed on the phone or by a scan."""
        method = metrics.PairingMethod.CODE if by_code else metrics.PairingMethod.QR
        metrics.observe_pairing(method)

    def on_session_started(self, pid: int) -> None:
        """Note that a session process runs."""
        self._sessions.on_started(pid)

    def on_session_exit(self, pid: int | None, exit_code: int | None) -> None:
        """Note the end of a session process; negative codes are signals."""
        self._sessions.on_exited(pid, exit_code)

    def on_message(
        self, kind: str, direction: MessageDirection, status: MessageStatus | None
    ) -> None:
        """Note that a message reached a status; received ones have none."""
        metrics.observe_message(kind, direction, status)

    def on_send(self, outcome: MessageStatus, reason: str | None, seconds: float | None) -> None:
        """Note what became of a message in the queue; see ``metrics.observe_send``."""
        metrics.observe_send(outcome, reason, seconds)

    def on_ignored(self, chat: IgnoredChat) -> None:
        """Note that something was ignored because of where it happened."""
        metrics.observe_ignored(chat)

    def on_deleted(self, instance_id: str) -> None:
        """Note that an instance is no more; its own series go away."""
        self._uptime.forget(instance_id)
        self._move(instance_id, None)
        own = self._own_label(instance_id)
        if own is not None and self._label is not None:
            for family in metrics.OF_INSTANCES:
                family.remove(own)
            self._label.forget(own)

    def close(self) -> None:
        """Settle the account and take everything out of the series."""
        self._uptime.accrue()
        self._remove_hook()
        self._sessions.close()
        with self._lock:
            known = tuple(self._statuses)
        for instance_id in known:
            self.on_deleted(instance_id)

    def label_of(self, instance_id: str) -> str | None:
        """Return a living instance's label; None when it has no series of its own."""
        with self._lock:
            living = instance_id in self._statuses
        return self._own_label(instance_id) if living else None

    def _own_label(self, instance_id: str) -> str | None:
        """Return the instance's label, or None when it has none: `other` has no one status."""
        if self._label is None:
            return None
        label = self._label(instance_id)
        return None if label == metrics.OTHER else label

    def _move(self, instance_id: str, status: InstanceStatus | None) -> None:
        with self._lock:
            old = self._statuses.pop(instance_id, None)
            if status is not None:
                self._statuses[instance_id] = status
            if old is not None:
                metrics.INSTANCES.labels(old.value).dec()
            if status is not None:
                metrics.INSTANCES.labels(status.value).inc()


class _Exit(Protocol):
    @property
    def kind(self) -> str: ...


class ActorObserver:
    """Implements the supervision tree's observer."""

    def __init__(self) -> None:
        # A spec without a kind has its id for one; the cap keeps instances' ids from becoming
        # labels by such an oversight.
        self._kind = metrics.CappedLabel(_KIND_LIMIT, metrics.ACTOR_KINDS)
        self._lock = threading.Lock()
        self._states: dict[str, tuple[str, str]] = {}

    def on_restart(self, kind: str, reason: _Exit) -> None:
        """Count a restart."""
        metrics.ACTOR_RESTARTS.labels(self._kind(kind), reason.kind).inc()

    def on_abandoned(self, kind: str) -> None:
        """Count an actor that did not stop in time."""
        metrics.ACTORS_ABANDONED.labels(self._kind(kind)).inc()

    def on_child_state(self, path: str, kind: str, old: Enum, new: Enum) -> None:
        """Count the actors by state; those that have stopped for good are no longer counted."""
        del old  # what was last heard of this path is surer: notices of two starts may cross
        label, state = self._kind(kind), str(new.value).lower()
        with self._lock:
            before = self._states.pop(path, None)
            if before is not None:
                metrics.ACTORS.labels(*before).dec()
            if state != "stopped":
                self._states[path] = (label, state)
                metrics.ACTORS.labels(label, state).inc()


def observe_mailboxes(depths: Iterable[tuple[str, int]]) -> None:
    """Set the mailbox series from the kind and depth of every actor's inbox.

    To be called from a hook of :func:`wavisor.metrics.before_scrape`.
    """
    total: Counter[str] = Counter(dict.fromkeys(metrics.ACTOR_KINDS, 0))
    fullest: Counter[str] = Counter(dict.fromkeys(metrics.ACTOR_KINDS, 0))
    for kind, depth in depths:
        known = kind if kind in metrics.ACTOR_KINDS else metrics.OTHER
        total[known] += depth
        fullest[known] = max(fullest[known], depth)
    for kind, messages in total.items():
        metrics.MAILBOX_MESSAGES.labels(kind).set(messages)
        metrics.MAILBOX_MESSAGES_MAX.labels(kind).set(fullest[kind])


def proportional_memory(pid: int) -> int | None:
    """Return a process's proportional set size in bytes, None when it is gone.

    From ``/proc/<pid>/smaps_rollup`` (proc(5)): pages that several processes share count in
    parts, so that the sum over all session processes is what they really take.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None


class SessionObserver:
    """Keeps the series about session processes. One for the process; told by the driver.

    Args:
        memory: tells a process's memory in bytes, None when it is gone.
    """

    def __init__(self, memory: Callable[[int], int | None] = proportional_memory) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._pids: set[int] = set()
        self._remove_hook = metrics.before_scrape(self._measure)

    def on_started(self, pid: int) -> None:
        """Note that a session process runs."""
        metrics.CONNECT_ATTEMPTS.inc()
        with self._lock:
            self._pids.add(pid)
            metrics.SESSION_PROCESSES.set(len(self._pids))

    def on_exited(self, pid: int | None, exit_code: int | None) -> None:
        """Note that a session process is gone.

        Args:
            pid: its id, None when it never ran.
            exit_code: negative for a signal, None when unknown.
        """
        metrics.observe_session_exit(exit_code)
        if pid is None:
            return
        with self._lock:
            self._pids.discard(pid)
            metrics.SESSION_PROCESSES.set(len(self._pids))

    def close(self) -> None:
        """Stop measuring."""
        self._remove_hook()
        with self._lock:
            self._pids.clear()
            metrics.SESSION_PROCESSES.set(0)
            metrics.SESSION_MEMORY.set(0)

    def _measure(self) -> None:
        with self._lock:
            pids = tuple(self._pids)
        metrics.SESSION_MEMORY.set(sum(self._memory(pid) or 0 for pid in pids))


class WebhookObserver:
    """Feeds the series about webhooks; told by the dispatcher."""

    def on_attempt(self, attempt: Attempt) -> None:
        """Note how an attempt went."""
        outcome = attempt.error or metrics.WebhookOutcome.SUCCEEDED
        metrics.observe_webhook_attempt(metrics.WebhookOutcome(outcome))
        if attempt.status is not DeliveryStatus.PENDING:
            metrics.observe_webhook_delivery(attempt.status, attempt.age)

    def on_backlog(self, pending: int) -> None:
        """Note how many deliveries wait."""
        metrics.WEBHOOK_BACKLOG.set(pending)


class LoopLagMonitor:
    """Measures how late the event loop runs a timer, which is how long something blocked it.

    Args:
        loop: the loop to watch; :meth:`start` and :meth:`stop` are called in its thread.
        interval: seconds between two measurements.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float = 0.25) -> None:
        self._loop = loop
        self._interval = interval
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin measuring; harmless when it is already being done."""
        if self._timer is None:
            self._schedule()

    def stop(self) -> None:
        """End measuring; harmless when nothing is being measured."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._due = self._loop.time() + self._interval
        self._timer = self._loop.call_at(self._due, self._on_timer)

    def _on_timer(self) -> None:
        metrics.EVENT_LOOP_LAG.observe(max(0.0, self._loop.time() - self._due))
        self._schedule()
