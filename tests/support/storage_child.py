"""Run as a process of its own by tests of storage: what may kill, lock or fill a database.

Usage: storage_child.py write|open|lock|fill URL
"""

from __future__ import annotations

import json
import sqlite3
import sys

from wavisor.clock import SystemClock
from wavisor.storage import Database, StorageError
from wavisor.storage.models import RevokedToken


def insert(jti: str) -> None:
    RevokedToken.create(jti=jti, expires_at=SystemClock().now())


def write_until_killed(url: str) -> None:
    """Print the key of each row once its commit was acknowledged."""
    database = Database(url, clock=SystemClock())
    database.open()
    number = 0
    while True:
        batch = [f"row-{number + offset}" for offset in range(5)]
        number += len(batch)
        futures = [(jti, database.write(insert, jti)) for jti in batch]
        for jti, future in futures:
            future.result(30)
            print(jti, flush=True)


def open_and_close(url: str) -> None:
    """Wait for a line, so that several of us start at once; then migrate."""
    print("ready", flush=True)
    sys.stdin.readline()
    database = Database(url, clock=SystemClock())
    database.open()
    print("open", flush=True)
    assert database.close()


def hold_write_lock(url: str) -> None:
    """Hold SQLite's write lock until a line comes."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    sys.stdin.readline()
    connection.rollback()
    connection.close()


def fill_the_disk(url: str) -> None:
    """Write until the file system is full; print what happened as JSON."""
    database = Database(url, clock=SystemClock())
    database.open()
    stored, refusal = [], None
    for number in range(10_000):
        jti = f"{number}-" + "x" * 20_000
        try:
            database.write_wait(insert, jti)
        except StorageError as error:
            refusal = f"{type(error).__name__}: {error}"
            break
        stored.append(jti)

    def keys() -> list[str]:
        return [row.jti for row in RevokedToken.select()]

    intact = database.read_wait(keys) == stored
    closed = database.close()
    print(
        json.dumps({"stored": len(stored), "refusal": refusal, "intact": intact, "closed": closed})
    )


if __name__ == "__main__":
    {
        "write": write_until_killed,
        "open": open_and_close,
        "lock": hold_write_lock,
        "fill": fill_the_disk,
    }[sys.argv[1]](sys.argv[2])
