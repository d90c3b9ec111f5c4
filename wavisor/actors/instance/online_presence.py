"""Keeps an account seen online for as long as it is connected (``alwaysOnline``)."""

from __future__ import annotations

import structlog

from wavisor.actors.instance.messages import QueryFailedError
from wavisor.actors.instance.questions import Outcome, Questions
from wavisor.actors.instance.timers import NamedTimers
from wavisor.whatsapp.queries import SetPresence

__all__ = ["PRESENCE_DUE", "OnlinePresence"]

log = structlog.get_logger(__name__)

PRESENCE_DUE = "presence_due"

REPEATED_AFTER = 300.0
"""Seconds: whatever else made the account appear offline meanwhile, this makes it online again."""
RETRIED_AFTER = 5.0
"""Seconds after a failure, doubled each time: a new device has no name at first, and without one
it can show no presence (whatsmeow ``presence.go``, ``SendPresence``)."""


class OnlinePresence:
    """The presence of one instance; used only in its actor's thread.

    Args:
        instance_id: whose it is.
        questions: asks the session.
        timers: the actor's timers.
    """

    def __init__(self, instance_id: str, *, questions: Questions, timers: NamedTimers) -> None:
        self._instance_id = instance_id
        self._questions = questions
        self._timers = timers
        self._wanted = False
        self._retry = RETRIED_AFTER

    def apply(self, *, wanted: bool) -> None:
        """Appear online, or cease to. Nothing is said to WhatsApp when nothing changed."""
        before, self._wanted = self._wanted, wanted
        if wanted and not before:
            self.show()
        elif before and not wanted:
            self._timers.cancel(PRESENCE_DUE)
            self._questions.ask_for(SetPresence(available=False), self._on_hidden)

    def on_connected(self) -> None:
        """Appear online on a new connection, where nobody knows of the last one's presence."""
        self._retry = RETRIED_AFTER
        if self._wanted:
            self.show()

    def show(self) -> None:
        """Appear online, now and again later."""
        if self._wanted:
            self._questions.ask_for(SetPresence(available=True), self._on_shown)

    def _on_shown(self, outcome: Outcome) -> None:
        if not self._wanted:
            return
        if not isinstance(outcome, QueryFailedError):
            self._retry = RETRIED_AFTER
            self._timers.set(PRESENCE_DUE, REPEATED_AFTER)
        elif outcome.reason != "not_connected":  # else the next connection shows it
            self._log(outcome)
            self._timers.set(PRESENCE_DUE, self._retry)
            self._retry = min(REPEATED_AFTER, self._retry * 2)

    def _on_hidden(self, outcome: Outcome) -> None:
        if isinstance(outcome, QueryFailedError) and outcome.reason != "not_connected":
            self._log(outcome)

    def _log(self, failure: QueryFailedError) -> None:
        log.warning(
            "the presence could not be set", instance=self._instance_id, reason=failure.reason
        )
