from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import peewee
import pytest

from support import storage_child
from support.queueing import ALICE, BOB, GROUP, new_text, waiting
from support.recounting import recount, stored_counters
from support.tenants import new_account
from wavisor.clock import SystemClock
from wavisor.storage import Database, SchemaTooNew, Scope, StorageError, chats, messages
from wavisor.storage.current import bound, current_database
from wavisor.storage.engine import Engine
from wavisor.storage.migration import MIGRATIONS, migrate
from wavisor.storage.models import MODELS, Chat, Message

WAIT = 60.0
ROOT = Path(__file__).parents[2]
CLOCK = SystemClock()


def engine_of(url: str) -> Engine:
    return Database(url, clock=CLOCK)._engine


def with_connection(engine: Engine, task: Callable[[peewee.Database], Any]) -> Any:
    database = engine.writes
    database.connect()
    try:
        with bound(database, CLOCK):
            return task(database)
    finally:
        database.close()


def moment(hour: int) -> str:
    return f"2026-01-01 {hour:02}:00:00.000001+00:00"


def schema_of(database: peewee.Database) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for table in sorted(set(database.get_tables()) - {"schema_migration", "sqlite_sequence"}):
        schema[table] = {
            "columns": sorted(
                (one.name, one.data_type, one.null, one.primary_key, one.default)
                for one in database.get_columns(table)
            ),
            "indexes": sorted(
                (one.name, tuple(one.columns), one.unique) for one in database.get_indexes(table)
            ),
            "foreign keys": sorted(
                (one.column, one.dest_table, one.dest_column, *map(str, one[5:]))
                for one in database.get_foreign_keys(table)
            ),
        }
        if isinstance(database, peewee.SqliteDatabase):
            [definition] = database.execute_sql(
                "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
            ).fetchone()
            schema[table]["autoincrement"] = "AUTOINCREMENT" in definition
    return schema


def test_migrations_make_the_very_schema_of_the_models(
    empty_database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    migrated = engine_of(empty_database_url)
    migrate(migrated)
    if migrated.name == "sqlite":
        other_url = f"sqlite:///{tmp_path}/models.db"
    else:
        other_url = request.getfixturevalue("new_postgres_database")()
    from_models = engine_of(other_url)
    with_connection(from_models, lambda database: database.create_tables(MODELS))
    expected = with_connection(from_models, schema_of)
    assert set(expected) == {model._meta.table_name for model in MODELS}
    assert with_connection(migrated, schema_of) == expected


def test_queue_of_the_first_version_moves_into_messages(
    empty_database_url: str, tmp_path: Path
) -> None:
    directory = tmp_path / "first"
    directory.mkdir()
    shutil.copy(MIGRATIONS / "0001_initial.py", directory)
    engine = engine_of(empty_database_url)
    migrate(engine, directory=directory)

    def fill(database: peewee.Database) -> None:
        at = "'2026-01-01 00:00:00.000000+00:00'"
        run = database.execute_sql
        run(f"INSERT INTO subscriptions VALUES ('sub_1', 'One', 'BASIC', {at}, NULL)")
        run(
            "INSERT INTO instances (subscription_id, id, name, desired, status, status_changed_at,"
            " settings, event_seq, created_at, updated_at) VALUES ('sub_1', 'ins_1', 'Shop',"
            f" 'connected', 'connected', {at}, '{{}}', 0, {at}, {at})"
        )
        payload = '{"text":"t%d"}'
        for number, (chat, status, sent) in enumerate(
            [
                ("15550101@s.whatsapp.net", "delivered", at),
                ("120363000000000001@g.us", "queued", "NULL"),
                ("15550101@s.whatsapp.net", "queued", "NULL"),
            ]
        ):
            run(
                "INSERT INTO outbound_messages (subscription_id, id, instance_id, chat, kind,"
                " payload, status, whatsapp_id, created_at, sent_at, delivered_at) VALUES"
                f" ('sub_1', 'msg_{number}', 'ins_1', '{chat}', 'text', '{payload % number}',"
                f" '{status}', NULL, {at}, {sent}, {sent})"
            )

    with_connection(engine, fill)
    assert migrate(engine)[0] == "0002_messages"
    database = Database(empty_database_url, clock=CLOCK)
    database.open()
    try:
        scope = Scope("sub_1")
        moved = database.read_wait(messages.list_page, scope, limit=9).items[::-1]
        assert [(one.id, one.text, one.attempts) for one in moved] == [
            ("msg_0", "t0", 1),
            ("msg_1", "t1", 0),
            ("msg_2", "t2", 0),
        ]
        assert moved[0].content == {"type": "text", "text": "t0"}
        assert [one.status.value for one in moved[0].history] == ["queued", "sent", "delivered"]
        assert waiting(database, "ins_1") == 2
        following = database.read_wait(messages.next_queued, "ins_1", new_contacts=False)
        assert following is not None
        assert following.id == "msg_1"
        listed = database.read_wait(chats.list_page, scope, limit=9).items
        assert [(one.phone, one.kind.value) for one in listed] == [
            ("+15550101", "person"),
            (None, "group"),
        ]
        counters = database.read_wait(stored_counters)
        assert counters == database.read_wait(recount)
        assert {one.figure: counter.number for one, counter in counters.items()} == {
            "accepted": 3,
            "sent": 1,
            "delivered": 1,
        }
        new = database.write_wait(messages.enqueue, scope, "ins_1", new_text())
        assert new.position > moved[-1].position
    finally:
        assert database.close(timeout=WAIT)


def test_chats_get_the_time_of_their_last_message_and_cards_one_name(
    empty_database_url: str, tmp_path: Path
) -> None:
    directory = tmp_path / "before"
    directory.mkdir()
    for path in MIGRATIONS.glob("000[1-4]_*.py"):
        shutil.copy(path, directory)
    engine = engine_of(empty_database_url)
    migrate(engine, directory=directory)
    created = {1: moment(1), 2: moment(2), 3: moment(3), 4: moment(4)}
    # The last message of the first is there, of the second it is gone and an earlier one is left,
    # the third has none but is known, the fourth nothing at all.
    rows = {ALICE: (2, None), BOB: (9, moment(8)), GROUP: (9, moment(5)), "7@lid": (9, None)}

    def fill(database: peewee.Database) -> None:
        run = database.execute_sql
        at = f"'{moment(0)}'"
        run(f"INSERT INTO subscriptions VALUES ('sub_1', 'One', 'BASIC', {at}, NULL)")
        for instance in ("ins_1", "ins_2"):
            run(
                "INSERT INTO instances (subscription_id, id, name, desired, status,"
                " status_changed_at, settings, event_seq, created_at, updated_at) VALUES ('sub_1',"
                f" '{instance}', 'Shop', 'connected', 'connected', {at}, '{{}}', 0, {at}, {at})"
            )
        for position, (instance, chat, kind) in enumerate(
            [
                ("ins_1", ALICE, "contacts"),
                ("ins_1", ALICE, "text"),
                ("ins_1", BOB, "contact"),
                ("ins_2", BOB, "contacts"),
            ],
            start=1,
        ):
            run(
                "INSERT INTO messages (subscription_id, id, instance_id, direction, chat, from_me,"
                " kind, content, status, history, starred, priority, attempts, created_at) VALUES"
                f" ('sub_1', 'msg_{position}', '{instance}', 'inbound', '{chat}', FALSE, '{kind}',"
                f" '{{}}', 'received', '', FALSE, 0, 0, '{created[position]}')"
            )
        for jid, (last, known) in rows.items():
            since = "NULL" if known is None else f"'{known}'"
            run(
                "INSERT INTO chats (subscription_id, instance_id, jid, kind, last_position, unread,"
                f" archived, pinned, known_since) VALUES ('sub_1', 'ins_1', '{jid}', 'person',"
                f" {last}, 0, FALSE, FALSE, {since})"
            )

    with_connection(engine, fill)
    assert migrate(engine)[0] == "0005_history"

    def stored(_: peewee.Database) -> tuple[dict[str, datetime], list[str]]:
        times = {one.jid: one.last_at for one in Chat.select()}
        kinds = [one.kind for one in Message.select().order_by(Message.position)]
        assert not any(one.from_history for one in Message.select())
        return times, kinds

    times, kinds = with_connection(engine, stored)
    assert {jid: str(at) for jid, at in times.items()} == {
        ALICE: created[2],
        BOB: created[3],
        GROUP: moment(5),
        "7@lid": "1970-01-01 00:00:00+00:00",
    }
    assert kinds == ["contact", "text", "contact", "contact"]


def test_migrating_again_does_nothing(empty_database_url: str) -> None:
    names = sorted(path.stem for path in MIGRATIONS.glob("[0-9]*.py"))
    assert names
    assert migrate(engine_of(empty_database_url)) == names
    assert migrate(engine_of(empty_database_url)) == []


def test_rows_survive_closing_and_opening(empty_database_url: str) -> None:
    first = Database(empty_database_url, clock=CLOCK)
    first.open()
    account = new_account(first)
    assert first.close(timeout=WAIT)
    second = Database(empty_database_url, clock=CLOCK)
    second.open()
    try:
        assert not new_account(second).user.is_operator
        assert account.user.is_operator
    finally:
        assert second.close(timeout=WAIT)


def test_database_of_a_newer_version_is_refused_untouched(empty_database_url: str) -> None:
    engine = engine_of(empty_database_url)
    migrate(engine)

    def pretend(database: peewee.Database) -> None:
        database.execute_sql(
            "INSERT INTO schema_migration (name, applied) "
            "VALUES ('9999_from_the_future', '2030-01-01 00:00:00')"
        )

    with_connection(engine, pretend)
    before = with_connection(engine, schema_of)
    database = Database(empty_database_url, clock=CLOCK)
    with pytest.raises(SchemaTooNew, match="9999_from_the_future"):
        database.open()
    assert with_connection(engine, schema_of) == before


def test_failing_migration_leaves_nothing_of_itself(
    empty_database_url: str, tmp_path: Path
) -> None:
    directory = tmp_path / "migrations"
    directory.mkdir()
    (directory / "0001_breaks.py").write_text(
        "def up(migrator, db):\n"
        "    db.execute_sql('CREATE TABLE half (id INTEGER PRIMARY KEY)')\n"
        "    db.execute_sql('INSERT INTO no_such_table VALUES (1)')\n"
    )
    engine = engine_of(empty_database_url)
    with pytest.raises(StorageError):
        migrate(engine, directory=directory)
    assert "half" not in with_connection(engine, lambda database: database.get_tables())
    assert migrate(engine)


def test_processes_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, storage_child.__file__, "open", empty_database_url],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
            )
            for _ in range(3)
        ]
        for process in processes:
            stack.callback(process.kill)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=WAIT)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0]
    migrations = len(list(MIGRATIONS.glob("[0-9]*.py")))
    assert sum(output.count("database migrated") for output in outputs) == migrations
    assert all(output.rstrip().endswith("open") for output in outputs)


def test_migration_waits_no_longer_than_told_for_another(empty_database_url: str) -> None:
    engine, other = engine_of(empty_database_url), engine_of(empty_database_url)
    with engine.migration_lock(WAIT), pytest.raises(StorageError):
        migrate(other, timeout=0.2)
    assert migrate(other)


def test_migrations_are_packaged() -> None:
    from importlib.resources import files

    names = {entry.name for entry in files("wavisor.storage").joinpath("migrations").iterdir()}
    assert "0001_initial.py" in names
    setup = (ROOT / "setup.cfg").read_text()
    assert "storage/migrations/*.py" in setup


def test_models_without_a_pool_have_no_database() -> None:
    with pytest.raises(StorageError):
        current_database()
    assert MODELS[0]._meta.database is None
