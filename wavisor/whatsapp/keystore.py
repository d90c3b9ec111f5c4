"""Where the keys of linked devices lie: one SQLite file per instance, or one PostgreSQL database.

The native library owns the content; this module owns the places. The gateway's side makes and
removes them, the session's side checks them before the library sees them, because opening a
device that is not there makes the library crash.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wavisor.ids import Kind, normalise_id

__all__ = ["KeyStoreError", "KeyStores", "native_name", "require_device"]

_SUFFIXES = ("", "-wal", "-shm", "-journal")
_CONNECT_TIMEOUT = 10
_DEVICE_QUERY = "SELECT 1 FROM whatsmeow_device WHERE jid = {placeholder}"
# whatsmeow's store/sqlstore; the table also holds the secrets of received messages.
_MESSAGE_QUERY = "SELECT message_id FROM whatsmeow_message_secrets WHERE key = {placeholder}"


class KeyStoreError(Exception):
    """The key store cannot be used; says why in one sentence.

    ``permanent`` is true when trying again will not help by itself.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class KeyStores:
    """The places of all key stores, as the gateway sees them. All methods block on the disk.

    Args:
        directory: where the SQLite files lie; made with mode 0700 when needed.
        url: a ``postgres://`` URL to keep all keys in one database instead.
    """

    def __init__(self, directory: Path, url: str | None = None) -> None:
        self._directory = directory.absolute()
        self._url = url

    def path(self, instance_id: str) -> Path:
        """Return the SQLite file of an instance.

        Raises:
            KeyStoreError: the id is none; nothing but ids of ours ever becomes a file name.
        """
        if normalise_id(instance_id, Kind.INSTANCE) != instance_id:
            raise KeyStoreError("not the id of an instance", permanent=True)
        return self._directory / f"{instance_id}.db"

    def prepare(self, instance_id: str) -> str:
        """Return the name under which a session process opens the store, made ready for it.

        Raises:
            KeyStoreError: the directory cannot be made.
        """
        path = self.path(instance_id)
        if self._url is not None:
            return self._url
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise KeyStoreError(
                f"the directory for key stores cannot be made: {error.strerror}"
            ) from error
        return str(path)

    def find_message(self, instance_id: str, secret: bytes) -> str | None:
        """Return the id of the message that was noted with this secret, None if none was.

        Never to be called in a session's process: closing the file there would take away the
        locks that the native library holds on it.

        Raises:
            KeyStoreError: the store cannot be read.
        """
        if self._url is not None:
            found = _query_postgres(self._url, _MESSAGE_QUERY, secret)
            return None if found is None else str(found)
        path = self.path(instance_id)
        if not path.exists():
            return None
        try:
            with contextlib.closing(
                sqlite3.connect(f"{path.as_uri()}?mode=ro", timeout=5, uri=True)
            ) as database:
                query = _MESSAGE_QUERY.format(placeholder="?")
                row = database.execute(query, (secret,)).fetchone()
        except sqlite3.Error as error:
            if "no such table" in str(error):
                return None
            raise KeyStoreError(f"the key store cannot be read: {error}") from error
        return None if row is None else str(row[0])

    def discard(self, instance_id: str, jid: str | None = None) -> None:
        """Remove an instance's key store with everything that SQLite put beside it.

        In PostgreSQL the device with this JID is deleted, which takes all that belongs to it
        along (whatsmeow ``store/sqlstore/upgrades``: every table refers to it with ON DELETE
        CASCADE). The library has done so already when WhatsApp confirmed the unlinking.

        Raises:
            KeyStoreError: the disk or the database refuses.
        """
        if self._url is not None and jid is not None:
            _delete_in_postgres(self._url, jid)
        path = self.path(instance_id)
        for suffix in _SUFFIXES:
            try:
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            except OSError as error:
                raise KeyStoreError(f"the key store cannot be removed: {error.strerror}") from error


def is_url(store: str) -> bool:
    """Tell whether a store is a database rather than a file."""
    return store.startswith(("postgres://", "postgresql://"))


def native_name(store: str) -> str:
    """Return what the native library must be told to open ``store``.

    It puts the name into an SQLite URI as it is, so that a path needs escaping.
    """
    return store if is_url(store) else quote(store)


def require_device(store: str, jid: str | None) -> None:
    """Check that the store can be opened and, with a JID, that it holds that device.

    Args:
        store: path or URL, as in :class:`~wavisor.whatsapp.commands.Open`.
        jid: AD-JID of the device to resume, or None for a new one.

    Raises:
        KeyStoreError: it cannot be opened, is no database, or does not hold the device.
    """
    if is_url(store):
        found = jid is None or _in_postgres(store, jid)
    else:
        found = _in_sqlite(Path(store), jid)
    if not found:
        raise KeyStoreError("the key store does not hold this device", permanent=True)


def _in_sqlite(path: Path, jid: str | None) -> bool:
    if jid is not None and not path.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as database:
            # Takes the lock that a writer needs, which a full or read-only disk denies.
            database.execute("BEGIN IMMEDIATE")
            if jid is None:
                return True
            query = _DEVICE_QUERY.format(placeholder="?")
            return database.execute(query, (jid,)).fetchone() is not None
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return False
        raise KeyStoreError(
            f"the key store cannot be opened: {error}",
            permanent=isinstance(error, sqlite3.DatabaseError)
            and not isinstance(error, sqlite3.OperationalError),
        ) from error


def _in_postgres(url: str, jid: str) -> bool:
    return _query_postgres(url, _DEVICE_QUERY, jid) is not None


def _query_postgres(url: str, query: str, value: str | bytes) -> Any:
    """Return the first column of the first row; None if there is no row, or no table yet."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_TIMEOUT) as database:
            text = query.format(placeholder="%s")
            row = database.execute(text.encode(), (value,)).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    except psycopg.Error as error:
        raise KeyStoreError(f"the key store cannot be reached: {type(error).__name__}") from error
    return row[0] if row else None


def _delete_in_postgres(url: str, jid: str) -> None:
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_TIMEOUT) as database:
            database.execute("DELETE FROM whatsmeow_device WHERE jid = %s", (jid,))
    except psycopg.errors.UndefinedTable:
        return  # no device was ever linked
    except psycopg.Error as error:
        raise KeyStoreError(f"the key store cannot be reached: {type(error).__name__}") from error
