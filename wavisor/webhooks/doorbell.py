"""How the dispatcher hears that there is something to do; the table says what."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Doorbell"]

Listener = Callable[[str | None], None]


class Doorbell:
    """Outlives the dispatcher, so that one that was restarted hears it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()

    def ring(self, endpoint_id: str | None = None) -> None:
        """Tell that there are new deliveries, or that something about an endpoint changed."""
        for listener in self._listeners:
            listener(endpoint_id)

    def attach(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` at each ring; call what is returned to end that."""

        def detach() -> None:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        with self._lock:
            self._listeners = (*self._listeners, listener)
        return detach
