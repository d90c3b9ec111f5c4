"""The life of one instance: from status to status, from session process to session process.

What follows from what is decided here: that a session process is started (by ``startup``), ended
or awaited, and which status is taken (by ``status``). What makes it necessary is in ``reactions``
(what the session reports) and ``orders`` (what users ask).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from wavisor.actors.instance.journal import Journal
from wavisor.actors.instance.link import SessionLink
from wavisor.actors.instance.liveness import Liveness
from wavisor.actors.instance.messages import InstanceSnapshot
from wavisor.actors.instance.observer import InstanceObserver
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.qr import QrCounter
from wavisor.actors.instance.reconnect import ReconnectBackoff
from wavisor.actors.instance.start_gate import StartGate
from wavisor.actors.instance.startup import Startup
from wavisor.actors.instance.state import RESTING, Ending, InstanceState, Then
from wavisor.actors.instance.status import StatusKeeper
from wavisor.actors.instance.timers import NamedTimers, TimerName
from wavisor.actors.supervision.spec import RestartWindow
from wavisor.clock import Clock
from wavisor.domain import InstanceStatus, Reason, WantedState
from wavisor.whatsapp.port import SessionDriver, SessionError

__all__ = ["Lifecycle"]

log = structlog.get_logger(__name__)


class Lifecycle:
    """The status of one instance and its session process; used only in its actor's thread."""

    def __init__(
        self,
        *,
        state: InstanceState,
        journal: Journal,
        link: SessionLink,
        driver: SessionDriver,
        timers: NamedTimers,
        gate: StartGate,
        clock: Clock,
        rng: random.Random,
        policy: InstancePolicy,
        observer: InstanceObserver,
    ) -> None:
        self.state = state
        self.qr = QrCounter()
        self.backoff = ReconnectBackoff(policy.reconnect, rng)
        self.liveness = Liveness(state.instance_id, link, timers, policy)
        self.status = StatusKeeper(state, journal, clock, observer)
        self.startup = Startup(
            state,
            link,
            driver=driver,
            timers=timers,
            gate=gate,
            liveness=self.liveness,
            policy=policy,
            on_failed=self.retry,
        )
        self.on_session_gone: Callable[[], None] = lambda: None
        """Called when the session process is gone, before anything follows from it."""
        self._link = link
        self._driver = driver
        self._timers = timers
        self._clock = clock
        self._policy = policy
        self._observer = observer
        self._crashes = RestartWindow(policy.crash_budget)
        self._ending: Ending | None = None
        self._dropped_at: float | None = None
        self._connected_at = 0.0
        self._unkillable = False
        self._keys_left = False
        self._closed = False

    # What others look at

    @property
    def ending(self) -> bool:
        """Whether the session process has been asked to end and is not gone yet."""
        return self._ending is not None or self._closed

    def ending_for(self, reason: Reason) -> bool:
        """Tell whether the session process was asked to end for that reason."""
        return self._ending is not None and self._ending.reason is reason

    @property
    def coming_to_rest(self) -> bool:
        """Whether nothing is to be started after the end of the session process."""
        return self._ending is not None and self._ending.then is Then.REST

    @property
    def unkillable(self) -> bool:
        """Whether a session process outlived SIGKILL and still bars its key store."""
        return self._unkillable

    @property
    def keys_left(self) -> bool:
        """Whether the last try to discard the keys failed."""
        return self._keys_left

    def snapshot(self) -> InstanceSnapshot:
        """Return the state as others may see it."""
        return self.state.snapshot(self.qr, self._clock.now())

    # Start

    def restore(self, delay: float, reason: Reason = Reason.RESTORED) -> None:
        """Take up the instance after a start of the gateway or of its actor.

        Args:
            delay: seconds to wait before it is connected again.
            reason: what happened; a crash of its actor is a drop like any other.
        """
        if reason is Reason.ACTOR_RESTARTED and self.state.status is InstanceStatus.CONNECTED:
            self._observer.on_drop(self.state.instance_id, reason)
            self.note_loss()
        if self.state.suspended and self.state.status not in RESTING:
            self.status.transition(InstanceStatus.DISCONNECTED, Reason.SUBSCRIPTION_SUSPENDED)
        if self.state.suspended:
            return
        if self.state.desired is WantedState.DISCONNECTED:
            if self.state.status not in RESTING:
                self.status.transition(InstanceStatus.DISCONNECTED, reason)
            return
        if self.state.status in RESTING and self.state.status is not InstanceStatus.DISCONNECTED:
            return
        self.state.next_attempt_at = self._in(delay)
        self.status.transition(InstanceStatus.CONNECTING, reason)
        self._timers.set(TimerName.RESTORE, delay)

    def begin(self, reason: Reason, *, patience: float | None = None) -> None:
        """Start a new connection attempt, with three new QR codes and a fresh backoff."""
        self.qr.reset()
        self.backoff.reset()
        self._dropped_at = None
        self.state.banned_until = None
        self.state.attempt = 0
        self.state.next_attempt_at = None
        self.status.transition(InstanceStatus.CONNECTING, reason, patience=patience)
        self.startup.request_slot()

    def on_connected(self) -> None:
        """Note a login: forget the drop and the tries, and watch the connection."""
        self.startup.on_started()
        for name in (TimerName.PAIRING, TimerName.QR, TimerName.GRACE):
            self._timers.cancel(name)
        if self._dropped_at is not None:
            self._observer.on_reconnected(self._clock.monotonic() - self._dropped_at)
        self._dropped_at = None
        self._connected_at = self._clock.monotonic()
        self.qr.reset()
        self.state.attempt = 0
        self.state.next_attempt_at = None
        self.state.last_error = None
        self.liveness.watch_connection()

    # Drop and end

    def drop(self, reason: Reason, detail: str, *, kill: bool) -> None:
        """Take note that a connected session lost its connection.

        The client itself tries again at once, which keeps its pending queries alive; only after
        ``library_grace`` seconds, or at once with ``kill``, its process is replaced.
        """
        self._observer.on_drop(self.state.instance_id, reason)
        self.note_loss()
        self.status.note_error(reason, detail)
        self.liveness.unwatch_connection()
        if kill:
            self.status.transition(InstanceStatus.RECONNECTING, reason, detail=detail)
            self.end(Ending(Then.RETRY, reason, detail), kill=True)
            return
        self.backoff.next_delay()
        self.state.attempt = self.backoff.attempt
        self.status.transition(InstanceStatus.RECONNECTING, reason, detail=detail)
        self._timers.set(TimerName.GRACE, self._policy.library_grace)

    def give_up_start(self, reason: Reason, detail: str) -> None:
        """Replace a session that did not get up, or not get back up, in time."""
        self.end(Ending(Then.RETRY, reason, detail), kill=True)

    def end(self, ending: Ending, *, kill: bool = False) -> None:
        """End the session process; what follows when it is gone is in ``ending``.

        A later ending replaces an earlier one that is still under way.
        """
        self.startup.withdraw()
        self._ending = ending
        if not self._link.open:
            self.on_exited(None, None)
            return
        self._timers.set(TimerName.EXIT, self._policy.stop_grace + self._policy.kill_timeout)
        if kill:
            self._link.kill()
        else:
            self._link.stop(self._policy.stop_grace)

    def on_exited(self, exit_code: int | None, detail: str | None) -> None:
        """Go on after the session process is gone."""
        had_session = self._link.open
        self._link.forget()
        self.startup.withdraw()
        if had_session:
            self.on_session_gone()
        ending, self._ending = self._ending, None
        unkillable, self._unkillable = self._unkillable, False
        if ending is not None:
            self._follow(ending)
        elif not unkillable:  # then its status was settled when it was overdue
            self._on_crash(exit_code, detail)
        elif self.state.status not in RESTING:  # wanted again since then
            self.startup.request_slot()

    def on_exit_overdue(self) -> None:
        """Give up on a process that outlives SIGKILL: never start a second one on its keys."""
        ending, self._ending = self._ending, None
        log.critical("session process cannot be killed", instance=self.state.instance_id)
        self._unkillable = True
        if ending is not None and ending.then is Then.REST and ending.status is not None:
            self._rest(ending)
            return
        detail = "the session process could not be killed"
        self.status.note_error(Reason.SESSION_UNRESPONSIVE, detail)
        self.status.transition(InstanceStatus.FAILED, Reason.SESSION_UNRESPONSIVE, detail=detail)

    def retry(self, reason: Reason, detail: str) -> None:
        """Try again when the backoff says so."""
        self.status.note_error(reason, detail)
        delay = self.backoff.next_delay()
        self.state.attempt = self.backoff.attempt
        self.state.next_attempt_at = self._in(delay)
        linked = self.state.jid is not None
        status = InstanceStatus.RECONNECTING if linked else InstanceStatus.CONNECTING
        if (status, reason) != (self.state.status, self.state.reason):
            self.status.transition(status, reason, detail=detail)
        log.info(
            "instance tries again",
            instance=self.state.instance_id,
            attempt=self.backoff.attempt,
            delay=round(delay, 3),
            reason=reason.value,
        )
        self._timers.set(TimerName.RETRY, delay)

    def close(self) -> None:
        """Let nothing follow any more from what the session still reports."""
        self._closed = True
        self.startup.withdraw()

    def note_loss(self) -> None:
        """Remember when the connection was lost, for the time to the next login."""
        if self._dropped_at is not None:
            return
        now = self._clock.monotonic()
        self._dropped_at = now
        if now - self._connected_at >= self._policy.backoff_reset_after:
            self.backoff.reset()

    def count_crash(self) -> bool:
        """Count an end of the session process that nobody asked for; False: budget spent."""
        return self._crashes.record(self._clock.monotonic())

    def forgive_crashes(self) -> None:
        """Start with a full restart budget: a user decided to try again."""
        self._crashes.clear()

    # Inside

    def _on_crash(self, exit_code: int | None, detail: str | None) -> None:
        what = detail or f"the session process ended by itself with code {exit_code}"
        if self.state.status is InstanceStatus.CONNECTED:
            self._observer.on_drop(self.state.instance_id, Reason.SESSION_CRASHED)
            self.note_loss()
        if not self.count_crash():
            self._spend_budget(what)
            return
        self.retry(Reason.SESSION_CRASHED, what)

    def _spend_budget(self, detail: str) -> None:
        self.status.note_error(Reason.RESTART_BUDGET_SPENT, detail)
        self.status.transition(InstanceStatus.FAILED, Reason.RESTART_BUDGET_SPENT, detail=detail)

    def _follow(self, ending: Ending) -> None:
        if ending.discard_keys and not self._discard_keys():
            return
        if ending.then is Then.REST:
            self._rest(ending)
        elif ending.then is Then.START:
            self.begin(ending.reason)
        elif ending.counts_as_crash and not self.count_crash():
            self._spend_budget(ending.detail or ending.reason.value)
        else:
            self.retry(ending.reason, ending.detail or ending.reason.value)

    def _rest(self, ending: Ending) -> None:
        if ending.is_error:
            detail = ending.detail or ending.reason.value
            self.status.note_error(ending.reason, detail, ending.banned_until)
        state = self.state
        state.banned_until = ending.banned_until
        state.connection = None
        state.next_attempt_at = None
        state.attempt = 0
        self.backoff.reset()
        self.qr.reset()
        self._dropped_at = None
        if ending.status in {InstanceStatus.FORCE_DISCONNECTED, InstanceStatus.LOGGED_OUT}:
            state.desired = WantedState.DISCONNECTED
        self.status.transition(
            ending.status or InstanceStatus.DISCONNECTED, ending.reason, detail=ending.detail
        )

    def _discard_keys(self) -> bool:
        try:
            self._driver.discard_keys(self.state.instance_id, self.state.jid)
        except SessionError as error:
            self._keys_left = True
            self.status.note_error(Reason.KEY_STORE_UNAVAILABLE, str(error))
            self.status.transition(
                InstanceStatus.FAILED, Reason.KEY_STORE_UNAVAILABLE, detail=str(error)
            )
            return False
        self._keys_left = False
        self.state.jid = None
        return True

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)
