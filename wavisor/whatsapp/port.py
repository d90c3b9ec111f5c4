"""The session port: what an instance's actor may rely on, whichever client does the talking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from wavisor.whatsapp.commands import Command
from wavisor.whatsapp.events import Event

__all__ = ["Session", "SessionDriver", "SessionError", "SessionSpec"]


class SessionError(Exception):
    """A session could not be opened or its key store not be handled; says why in one sentence."""


@dataclass(frozen=True)
class SessionSpec:
    """What a session is opened with."""

    instance_id: str
    jid: str | None
    """The device to resume, or None to link a new one."""
    history_per_chat: int = 0
    """How many of a chat's messages from before the link are told, the newest first."""
    history_total: int = 0
    """The same over all chats; with 0 none are told."""
    proxy: str | None = field(default=None, repr=False)
    """URL of the proxy to WhatsApp; never gone around."""


class Session(Protocol):
    """One session process. All methods return at once and may be called from any thread."""

    @property
    def incarnation(self) -> str:
        """Unique name of this session; a new one for every process."""
        ...

    @property
    def pid(self) -> int | None:
        """The process id, None until it is known and after its end."""
        ...

    def send(self, command: Command) -> bool:
        """Queue a command; False when the session has ended or its bounded queue is full.

        Raises:
            ValueError: the command is larger than a frame may be (1 MiB of JSON).
        """
        ...

    def stop(self, grace: float) -> None:
        """Ask the process to end; SIGKILL after ``grace`` seconds. ``Exited`` tells when.

        The process gives commands under way up to 2 s to be answered; with 5 s of grace it
        ends by itself unless it hangs.
        """
        ...

    def kill(self) -> None:
        """End the process at once by SIGKILL. ``Exited`` tells when it is gone."""
        ...


class SessionDriver(Protocol):
    """Opens sessions and owns their key stores."""

    def open(self, spec: SessionSpec, on_event: Callable[[str, Event], None]) -> Session:
        """Start a session process for an instance; returns at once.

        There is never more than one process per instance: an earlier session that still lives
        is killed, and the new one starts when it is gone.

        Args:
            spec: which instance, and which device to resume.
            on_event: called with the session's incarnation and each event, in order, from a
                thread of the driver's; must be quick. The last event is always ``Exited``, also
                when the process could not be started at all, and nothing follows it.

        Raises:
            SessionError: the driver is closed.
        """
        ...

    def check_network(self, on_answer: Callable[[bool], None], proxy: str | None = None) -> None:
        """Find out whether WhatsApp can be reached, without starting anything for it.

        Args:
            on_answer: called once with the answer, from a thread of the driver's; must be quick.
            proxy: URL of the proxy to go through; None for the way that all others share.
        """
        ...

    def lives(self, instance_id: str, *, besides: Session | None = None) -> bool:
        """Tell whether an instance has a session that is not known to be gone.

        Args:
            instance_id: whose session.
            besides: the one that is not asked about.
        """
        ...

    def discard_keys(self, instance_id: str, jid: str | None = None) -> None:
        """Delete the keys of an instance; harmless when there are none. Blocks on the disk.

        Args:
            instance_id: whose keys.
            jid: AD-JID of its device, by which a store that all instances share finds them.

        Raises:
            SessionError: a process of that instance is still alive, or the disk refuses.
        """
        ...

    def find_message(self, instance_id: str, secret: str) -> str | None:
        """Return WhatsApp's id of the message that was sent with this secret, if there is one.

        The client notes both before the message leaves. So an id does not mean that it was sent,
        only that receipts for that id are receipts for that message; and None means that it never
        left. Works whether or not a session runs. Blocks on the disk.

        Args:
            instance_id: whose message.
            secret: as in ``SendMessage``.

        Raises:
            SessionError: the key store cannot be read.
        """
        ...
