"""Libraries that import others which this gateway will not use: imported without those.

What is imported stays in memory for good. PyJWT imports cryptography where it is installed, though
HS256 needs none of it, and peewee every database driver: together some 19 MB. tornado would load
curses to colour a log that it does not write here.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["import_leanly", "without"]


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Let imports of these modules fail meanwhile, as if they were not installed.

    Later imports find them. Modules that are loaded already are left alone.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python itself says "not here"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def import_leanly(*, postgresql: bool) -> None:
    """Import PyJWT, tornado's log, peewee and its migrations without what only others need.

    Args:
        postgresql: whether peewee is to find the driver for PostgreSQL. It looks only once.
    """
    with without("cryptography"):
        importlib.import_module("jwt")
    with without("curses"):
        importlib.import_module("tornado.log")
    drivers = ("psycopg2", "pymysql", *(() if postgresql else ("psycopg",)))
    with without(*drivers, "playhouse.cockroachdb"):
        importlib.import_module("peewee")
        importlib.import_module("playhouse.migrations")
