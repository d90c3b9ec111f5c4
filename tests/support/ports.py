"""Ports of loopback that are a test's own for as long as it holds them.

A port that was asked for and given back may be given to anybody, which happens on a machine where
several test processes open sockets all the time.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["held_port", "hold_port", "port_of"]


def hold_port() -> socket.socket:
    """Return a socket that holds a free port without listening: who connects is refused.

    A server that sets SO_REUSEADDR, as servers do, may listen on the port meanwhile; Linux gives
    it to nobody else (``socket(7)``).
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def port_of(holder: socket.socket) -> int:
    """The port that a socket has."""
    return int(holder.getsockname()[1])


@contextmanager
def held_port() -> Iterator[int]:
    """A free port that nobody else gets; see :func:`hold_port`."""
    with hold_port() as holder:
        yield port_of(holder)
