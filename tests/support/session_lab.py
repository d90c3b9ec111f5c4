"""Runs the real session driver on an event loop of its own and lets a test wait for its events."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from wavisor.ids import Kind, new_id
from wavisor.whatsapp.commands import Command
from wavisor.whatsapp.driver import NeonizeDriver, Redirect
from wavisor.whatsapp.events import Answer, Event, Exited
from wavisor.whatsapp.port import Session, SessionSpec

PATIENCE = 60.0
T = TypeVar("T")
E = TypeVar("E")


class Tap:
    """One session and everything it said."""

    def __init__(
        self, driver: NeonizeDriver, instance: str, jid: str | None, history: tuple[int, int]
    ) -> None:
        self.instance = instance
        self.events: list[Event] = []
        self.incarnations: set[str] = set()
        self._news = threading.Condition()
        self._numbers = 0
        per_chat, total = history
        spec = SessionSpec(instance, jid, history_per_chat=per_chat, history_total=total)
        self.session: Session = driver.open(spec, self._on_event)

    def _on_event(self, incarnation: str, event: Event) -> None:
        with self._news:
            self.incarnations.add(incarnation)
            self.events.append(event)
            self._news.notify_all()

    @property
    def mark(self) -> int:
        """A position for ``after``: now."""
        with self._news:
            return len(self.events)

    def all(self, kind: type[E], after: int = 0) -> list[E]:
        with self._news:
            return [event for event in self.events[after:] if isinstance(event, kind)]

    def wait(
        self,
        kind: type[E],
        *,
        after: int = 0,
        where: Callable[[E], bool] = lambda _: True,
        patience: float = PATIENCE,
    ) -> E:
        """Return the first such event; fails when it does not come, or the session ends."""

        def found() -> list[E]:
            events = [event for event in self.events[after:] if isinstance(event, kind)]
            return [event for event in events if where(event)]

        def over() -> bool:
            return any(isinstance(event, Exited) for event in self.events)

        with self._news:
            self._news.wait_for(lambda: found() or over(), patience)
            assert found(), f"no {kind.__name__}; seen: {self.events[after:]}"
            return found()[0]

    def ask(self, command: type[Command], patience: float = PATIENCE, **fields: Any) -> Answer:
        """Send a command and return its answer."""
        self._numbers += 1
        number = f"c{self._numbers}"
        assert self.session.send(command(instance=self.instance, id=number, **fields))
        return self.wait(Answer, where=lambda answer: answer.id == number, patience=patience)

    def exited(self, patience: float = PATIENCE) -> Exited:
        return self.wait(Exited, patience=patience)

    def stop(self, grace: float = 5.0) -> Exited:
        self.session.stop(grace)
        return self.exited()


class SessionLab:
    """A driver on a loop in a thread. A context manager."""

    def __init__(
        self,
        directory: Path,
        redirect: Redirect | None = None,
        *,
        new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
        history: tuple[int, int] = (0, 0),
        **options: Any,
    ) -> None:
        """``history``: messages from before the link that sessions tell, per chat and in all."""
        self.directory = directory
        self._redirect = redirect
        self._history = history
        self._options = options
        self._loop = new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lab loop")
        self._taps: list[Tap] = []

    def __enter__(self) -> SessionLab:
        self._thread.start()

        async def make() -> NeonizeDriver:
            return NeonizeDriver(
                asyncio.get_running_loop(),
                self.directory,
                redirect=self._redirect,
                **self._options,
            )

        self.driver = self.run(make())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.driver.close(grace=3.0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T], patience: float = PATIENCE) -> T:
        """Run a coroutine on the driver's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(patience)

    def open(self, instance: str | None = None, jid: str | None = None) -> Tap:
        tap = Tap(self.driver, instance or new_id(Kind.INSTANCE), jid, self._history)
        self._taps.append(tap)
        return tap

    def key_store(self, instance: str) -> Path:
        """Return where the key store of an instance lies."""
        return self.directory / f"{instance}.db"

    def calm(self) -> None:
        """Kill whatever still runs and wait for its end."""
        for tap in self._taps:
            tap.session.kill()
        for tap in self._taps:
            tap.exited()
        self._taps.clear()


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def sockets_of(pid: int) -> set[str]:
    """Return the sockets that a process holds, as the kernel names them."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found
