"""Scripted sessions with exactly one defect each, for tests of what becomes of the others."""

from __future__ import annotations

from collections.abc import Callable

from wavisor.whatsapp.commands import Command, SendMessage
from wavisor.whatsapp.events import Event
from wavisor.whatsapp.port import SessionSpec
from wavisor.whatsapp.scripted import ScriptedDriver, ScriptedSession

__all__ = ["CrashesOnSend", "NeverConnects", "SlowSession"]

ABORTED = -6


class SlowSession(ScriptedSession):
    """Answers no command, not even ``Stop``, until :meth:`release`; the grace ends in a kill.

    The kill needs the driver's ``timers``; without them only :meth:`kill` ends it.
    """

    def __init__(
        self, driver: ScriptedDriver, spec: SessionSpec, on_event: Callable[[str, Event], None]
    ) -> None:
        super().__init__(driver, spec, on_event)
        self._held: list[Command] = []
        self._released = False

    def on_command(self, command: Command) -> None:
        """Keep the command for later."""
        if self._released:
            super().on_command(command)
        else:
            self._held.append(command)

    def stop(self, grace: float) -> None:
        """Ask in vain, then kill after ``grace`` seconds."""
        super().stop(grace)
        if self.driver.timers is not None:
            self.driver.timers.call_later(grace, self.kill)

    def release(self) -> None:
        """React to everything held back, in order, and be healthy from now on."""
        with self._lock:
            self._released = True
            held, self._held = self._held, []
            for command in held:
                if self.alive:
                    super().on_command(command)


class NeverConnects(ScriptedSession):
    """Gets ready and then nowhere: no QR, no login."""

    def connect(self, jid: str | None = None) -> None:
        """Stay where it is."""


class CrashesOnSend(ScriptedSession):
    """Aborts, as the Go runtime does, when it is to send a message."""

    def on_command(self, command: Command) -> None:
        """Die of a send, be healthy otherwise."""
        if isinstance(command, SendMessage):
            self.exit(ABORTED)
        else:
            super().on_command(command)
