"""Liveness of a session: does its process answer, and does WhatsApp answer it?

An open socket proves neither. The process is pinged all the time, WhatsApp is probed while the
instance is connected.
"""

from __future__ import annotations

import itertools

from wavisor.actors.instance.link import SessionLink
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.timers import NamedTimers
from wavisor.whatsapp.commands import Ping, Probe
from wavisor.whatsapp.events import Answer

__all__ = ["PING_DUE", "PING_OVERDUE", "PROBE_DUE", "PROBE_OVERDUE", "Liveness"]

PING_DUE = "ping_due"
PING_OVERDUE = "ping_overdue"
PROBE_DUE = "probe_due"
PROBE_OVERDUE = "probe_overdue"


class Liveness:
    """Asks at intervals; the actor hears of a missing answer as a tick named ``…_OVERDUE``."""

    def __init__(
        self, instance_id: str, link: SessionLink, timers: NamedTimers, policy: InstancePolicy
    ) -> None:
        self._instance_id = instance_id
        self._link = link
        self._timers = timers
        self._policy = policy
        self._numbers = itertools.count(1)
        self._ping: str | None = None
        self._probe: str | None = None

    def watch_process(self) -> None:
        """Start pinging the session process."""
        self._ping = None
        self._timers.set(PING_DUE, self._policy.ping_interval)

    def watch_connection(self) -> None:
        """Start probing the connection to WhatsApp."""
        self._probe = None
        self._timers.cancel(PROBE_OVERDUE)
        self._timers.set(PROBE_DUE, self._policy.probe_interval)

    def unwatch_connection(self) -> None:
        """Stop probing: the connection is known to be gone."""
        self._probe = None
        self._timers.cancel(PROBE_DUE)
        self._timers.cancel(PROBE_OVERDUE)

    def unwatch(self) -> None:
        """Stop asking: there is no session, or it is being ended."""
        self._ping = None
        self._timers.cancel(PING_DUE)
        self._timers.cancel(PING_OVERDUE)
        self.unwatch_connection()

    def on_due(self, name: str) -> None:
        """Ask what is due: the process (``PING_DUE``) or WhatsApp (``PROBE_DUE``)."""
        identifier = f"{name}-{next(self._numbers)}"
        if name == PING_DUE:
            self._ping = identifier
            self._link.send(Ping(instance=self._instance_id, id=identifier))
            self._timers.set(PING_OVERDUE, self._policy.ping_timeout)
        else:
            self._probe = identifier
            self._link.send(Probe(instance=self._instance_id, id=identifier))
            self._timers.set(PROBE_OVERDUE, self._policy.probe_timeout)

    def on_answer(self, answer: Answer) -> bool:
        """Take an answer; False when it is not one to a ping or probe.

        A failed probe is left to its deadline: only silence for that long counts as a loss.
        """
        if answer.id == self._ping:
            self._ping = None
            self._timers.cancel(PING_OVERDUE)
            self._timers.set(PING_DUE, self._policy.ping_interval)
            return True
        if answer.id == self._probe:
            if answer.failure is None:
                self.watch_connection()
            return True
        return answer.id.startswith((PING_DUE, PROBE_DUE))
