"""How a session process gets up: the network is tried, a slot is granted, the process opened."""

from __future__ import annotations

from collections.abc import Callable

from wavisor.actors.instance.link import SessionLink
from wavisor.actors.instance.liveness import Liveness
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.start_gate import StartGate
from wavisor.actors.instance.state import InstanceState
from wavisor.actors.instance.timers import NamedTimers, TimerName
from wavisor.domain import Reason, WantedState
from wavisor.whatsapp.port import SessionDriver, SessionError

__all__ = ["Startup"]


class Startup:
    """The way of one instance to a session that is logged in or shows a QR code.

    Args:
        state: the instance's state.
        link: opens the session.
        driver: knows whether WhatsApp can be reached.
        timers: the actor's timers.
        gate: grants slots.
        liveness: watches the process once it runs.
        policy: how patient to be.
        on_failed: called with reason and detail when there is no session; to try again later.
    """

    def __init__(
        self,
        state: InstanceState,
        link: SessionLink,
        *,
        driver: SessionDriver,
        timers: NamedTimers,
        gate: StartGate,
        liveness: Liveness,
        policy: InstancePolicy,
        on_failed: Callable[[Reason, str], None],
    ) -> None:
        self.proxy: str | None = None
        """URL of the proxy that the next session goes through."""
        self._state = state
        self._link = link
        self._driver = driver
        self._timers = timers
        self._gate = gate
        self._liveness = liveness
        self._policy = policy
        self._on_failed = on_failed

    def check_network(self) -> None:
        """Start the session if WhatsApp can be reached at all, else go on waiting.

        While it cannot, a try costs a share of one dial and not a process.
        """
        up = self._timers.expect(TimerName.NETWORK_UP)
        down = self._timers.expect(TimerName.NETWORK_DOWN)
        self._timers.set(TimerName.NETWORK_SILENT, self._policy.network_timeout)
        # What all instances share says nothing about the way through an instance's own proxy.
        self._driver.check_network(lambda answer: up() if answer else down(), self.proxy)

    def on_network(self, *, up: bool) -> None:
        """Go on after the answer to :meth:`check_network`; no answer counts as down."""
        for name in (TimerName.NETWORK_UP, TimerName.NETWORK_DOWN, TimerName.NETWORK_SILENT):
            self._timers.cancel(name)
        if up:
            self.request_slot()
        elif self.proxy is not None:
            detail = "WhatsApp cannot be reached through the instance's proxy"
            self._on_failed(Reason.PROXY_UNREACHABLE, detail)
        else:
            self._on_failed(Reason.CONNECT_FAILED, "WhatsApp cannot be reached")

    def request_slot(self) -> None:
        """Queue for a slot to start the session process in; a tick named SLOT grants it."""
        self._timers.cancel(TimerName.RETRY)
        self._timers.cancel(TimerName.RESTORE)
        self._timers.set(TimerName.SLOT_OVERDUE, self._policy.connect_timeout * 2)
        self._gate.request(self._state.instance_id, self._timers.expect(TimerName.SLOT))

    def start_session(self) -> None:
        """Open the session process; the slot has been granted."""
        self._timers.cancel(TimerName.SLOT_OVERDUE)
        self._state.next_attempt_at = None
        if self._link.open or self._state.desired is WantedState.DISCONNECTED:
            self._gate.release(self._state.instance_id)
            return
        try:
            self._link.start(self._state.jid, self.proxy)
        except SessionError as error:
            self._gate.release(self._state.instance_id)
            self._on_failed(Reason.CONNECT_FAILED, str(error))
            return
        self._timers.set(TimerName.CONNECT, self._policy.connect_timeout)
        self._liveness.watch_process()

    def on_ready(self) -> None:
        """Note that the process runs: where it waits for a user's proxy, it makes others wait no
        longer.

        All instances of a tenant may go through one that takes connections and never answers.
        """
        if self.proxy is not None:
            self._gate.release(self._state.instance_id)

    def on_started(self) -> None:
        """Note that the session shows a QR code or is logged in: others may start now."""
        self._timers.cancel(TimerName.CONNECT)
        self._gate.release(self._state.instance_id)

    def withdraw(self) -> None:
        """Let nothing that is under way come about: no timer, no watch, no slot."""
        self._timers.cancel_all()
        self._liveness.unwatch()
        self._gate.release(self._state.instance_id)
