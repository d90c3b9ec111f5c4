from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from wavisor.ids import Kind, new_id
from wavisor.whatsapp.keystore import KeyStoreError, KeyStores, require_device

JID = "15550100:1@s.whatsapp.net"
OTHER = "15550101:1@s.whatsapp.net"

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(new_postgres_database: Callable[[], str]) -> str:
    """A database with two devices, in the two tables that matter here."""
    url = new_postgres_database()
    with psycopg.connect(url) as database:
        database.execute("CREATE TABLE whatsmeow_device (jid TEXT PRIMARY KEY)")
        database.execute(
            "CREATE TABLE whatsmeow_sessions (our_jid TEXT REFERENCES whatsmeow_device (jid)"
            " ON DELETE CASCADE)"
        )
        for jid in (JID, OTHER):
            database.execute("INSERT INTO whatsmeow_device VALUES (%s)", (jid,))
            database.execute("INSERT INTO whatsmeow_sessions VALUES (%s)", (jid,))
    return url


def test_discarding_deletes_that_device_and_what_belongs_to_it(url: str, tmp_path: Path) -> None:
    stores = KeyStores(tmp_path, url)
    require_device(url, JID)
    stores.discard(new_id(Kind.INSTANCE), JID)
    with pytest.raises(KeyStoreError, match="does not hold"):
        require_device(url, JID)
    require_device(url, OTHER)
    with psycopg.connect(url) as database:
        left = database.execute("SELECT our_jid FROM whatsmeow_sessions").fetchall()
    assert left == [(OTHER,)]


def test_discarding_where_nothing_was_ever_linked_is_harmless(
    new_postgres_database: Callable[[], str], tmp_path: Path
) -> None:
    KeyStores(tmp_path, new_postgres_database()).discard(new_id(Kind.INSTANCE), JID)


def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    stores = KeyStores(tmp_path, "postgresql://user:hidden@127.0.0.1:1/none")
    with pytest.raises(KeyStoreError) as refusal:
        stores.discard(new_id(Kind.INSTANCE), JID)
    assert "hidden" not in str(refusal.value)
