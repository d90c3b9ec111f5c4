"""An instance's hold on its session process: at most one, and never a second on the same keys."""

from __future__ import annotations

from collections.abc import Callable

from wavisor.actors.instance.settings import HistorySettings
from wavisor.whatsapp.commands import Command
from wavisor.whatsapp.events import Event
from wavisor.whatsapp.port import Session, SessionDriver, SessionSpec

__all__ = ["SessionLink"]


class SessionLink:
    """Opens, talks to and ends the session of one instance; used only in the actor's thread.

    Args:
        driver: what opens sessions.
        instance_id: whose session it is.
        on_event: called by the driver, in its thread, with incarnation and event.
    """

    def __init__(
        self,
        driver: SessionDriver,
        instance_id: str,
        on_event: Callable[[str, Event], None],
    ) -> None:
        self._driver = driver
        self._instance_id = instance_id
        self._on_event = on_event
        self._session: Session | None = None
        self.history = HistorySettings()
        """How much of the past the next session tells."""

    @property
    def open(self) -> bool:
        """Whether there is a session process that has not been reported gone."""
        return self._session is not None

    @property
    def predecessor_lives(self) -> bool:
        """Whether a session that was opened by an actor before this one may still do something."""
        return self._driver.lives(self._instance_id, besides=self._session)

    def is_current(self, incarnation: str) -> bool:
        """Tell whether an event with this incarnation comes from the present session."""
        return self._session is not None and self._session.incarnation == incarnation

    def start(self, jid: str | None, proxy: str | None = None) -> None:
        """Open a session resuming ``jid``, or linking a new device, through a proxy if any.

        Raises:
            RuntimeError: the last session has not been reported gone.
            SessionError: the driver is closed.
        """
        if self._session is not None:
            raise RuntimeError("a session of this instance is still open")
        spec = SessionSpec(
            self._instance_id,
            jid,
            history_per_chat=self.history.per_chat,
            history_total=self.history.total,
            proxy=proxy,
        )
        self._session = self._driver.open(spec, self._on_event)

    def send(self, command: Command) -> bool:
        """Pass a command on; False when there is no session that takes it."""
        return self._session is not None and self._session.send(command)

    def stop(self, grace: float) -> None:
        """Ask the session to end within ``grace`` seconds; it is killed after that."""
        if self._session is not None:
            self._session.stop(grace)

    def kill(self) -> None:
        """End the session process at once."""
        if self._session is not None:
            self._session.kill()

    def forget(self) -> None:
        """Note that the session process is gone."""
        self._session = None
