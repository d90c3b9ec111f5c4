from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from wavisor.ids import Kind, new_id
from wavisor.whatsapp.keystore import KeyStoreError, KeyStores, native_name, require_device

JID = "15550100:3@s.whatsapp.net"


@pytest.fixture
def instance() -> str:
    return new_id(Kind.INSTANCE)


def make_store(path: Path, *jids: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE whatsmeow_device (jid TEXT PRIMARY KEY)")
        database.executemany("INSERT INTO whatsmeow_device VALUES (?)", [(jid,) for jid in jids])


@pytest.mark.parametrize("identifier", ["../evil", "", "ins_x", "/etc/passwd", "usr_" + "0" * 26])
def test_nothing_but_an_instance_id_becomes_a_path(tmp_path: Path, identifier: str) -> None:
    with pytest.raises(KeyStoreError, match="not the id of an instance"):
        KeyStores(tmp_path).path(identifier)


def test_the_directory_is_private_and_the_name_absolute(tmp_path: Path, instance: str) -> None:
    stores = KeyStores(tmp_path / "data" / "sessions")
    name = stores.prepare(instance)
    assert name == str(tmp_path / "data" / "sessions" / f"{instance}.db")
    assert Path(name).parent.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path, instance: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyStoreError, match="cannot be made"):
        KeyStores(tmp_path / "file" / "sessions").prepare(instance)


def test_discarding_removes_everything_of_that_instance_only(tmp_path: Path, instance: str) -> None:
    stores, other = KeyStores(tmp_path), new_id(Kind.INSTANCE)
    for owner in (instance, other):
        for suffix in ("", "-wal", "-shm", "-journal"):
            (tmp_path / f"{owner}.db{suffix}").touch()
    assert stores.path(instance).exists()
    stores.discard(instance)
    stores.discard(instance)
    assert not stores.path(instance).exists()
    assert len(list(tmp_path.iterdir())) == 4
    assert stores.path(other).exists()


def test_a_database_url_is_passed_on_as_it_is(tmp_path: Path, instance: str) -> None:
    url = "postgres://user@host/keys?sslmode=disable"
    stores = KeyStores(tmp_path, url)
    assert stores.prepare(instance) == url
    assert not stores.path(instance).exists()
    assert native_name(url) == url


def test_a_path_is_escaped_for_the_uri_that_the_library_makes_of_it() -> None:
    assert native_name("/data/50% off?/a#b.db") == "/data/50%25%20off%3F/a%23b.db"


def test_a_new_device_needs_only_a_place(tmp_path: Path) -> None:
    require_device(str(tmp_path / "new.db"), None)


def test_a_known_device_must_be_in_the_store(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    with pytest.raises(KeyStoreError, match="does not hold") as missing:
        require_device(str(path), JID)
    assert missing.value.permanent
    assert not path.exists()
    make_store(path, "15550100:2@s.whatsapp.net")
    with pytest.raises(KeyStoreError, match="does not hold"):
        require_device(str(path), JID)
    path.unlink()
    make_store(path, JID)
    require_device(str(path), JID)


def test_an_empty_file_holds_no_device(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(KeyStoreError, match="does not hold"):
        require_device(str(tmp_path / "empty.db"), JID)


def test_what_is_no_database_is_a_permanent_failure(tmp_path: Path) -> None:
    (tmp_path / "keys.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(KeyStoreError, match="cannot be opened") as broken:
        require_device(str(tmp_path / "keys.db"), JID)
    assert broken.value.permanent


def test_a_place_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys.db").mkdir()
    with pytest.raises(KeyStoreError, match="cannot be opened") as refused:
        require_device(str(tmp_path / "keys.db"), None)
    assert not refused.value.permanent


def noted(path: Path, message_id: str, secret: bytes) -> None:
    """Note a message as the library does before it sends it."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS whatsmeow_message_secrets "
            "(our_jid TEXT, chat_jid TEXT, sender_jid TEXT, message_id TEXT, key bytea NOT NULL)"
        )
        database.execute(
            "INSERT INTO whatsmeow_message_secrets VALUES ('a', 'b', 'c', ?, ?)",
            (message_id, secret),
        )
        database.commit()


def test_a_message_is_found_by_its_secret(tmp_path: Path, instance: str) -> None:
    stores = KeyStores(tmp_path / "with space")
    assert stores.find_message(instance, b"s" * 32) is None
    path = Path(stores.prepare(instance))
    path.touch()
    assert stores.find_message(instance, b"s" * 32) is None
    noted(path, "3EB0A", b"s" * 32)
    noted(path, "3EB0B", b"t" * 32)
    assert stores.find_message(instance, b"t" * 32) == "3EB0B"
    assert stores.find_message(instance, b"u" * 32) is None


def test_a_store_that_cannot_be_read_is_told(tmp_path: Path, instance: str) -> None:
    stores = KeyStores(tmp_path)
    Path(stores.prepare(instance)).write_bytes(b"no database" * 100)
    with pytest.raises(KeyStoreError, match="cannot be read"):
        stores.find_message(instance, b"s" * 32)
