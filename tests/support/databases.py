"""Databases for tests: `database` runs a test on SQLite and on PostgreSQL.

`tests/conftest.py` makes the fixtures known everywhere. PostgreSQL is found in this order:
``WAVISOR_TEST_POSTGRES_URL`` (a database in which others may be created), the server on
127.0.0.1:5432 with trust authentication, a private server started for the session.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from support.manual_clock import ManualClock
from support.ports import held_port
from wavisor.clock import SystemClock
from wavisor.storage import Database
from wavisor.storage.models import MODELS

LOCAL_SERVER = "postgresql://root@127.0.0.1:5432/postgres"
ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a maintenance database on a server that lets us create others."""
    given = os.environ.get("WAVISOR_TEST_POSTGRES_URL")
    with ExitStack() as stack:
        if given and given != "private":
            url = given  # asked for by name: when it does not answer, the tests fail
        elif given != "private" and _answers(LOCAL_SERVER):
            url = LOCAL_SERVER
        else:
            port = stack.enter_context(held_port())
            url = stack.enter_context(_private_server(port))
        yield url


@pytest.fixture(scope="session")
def new_postgres_database(postgres_server: str) -> Iterator[Callable[[], str]]:
    """Creates empty databases; they are dropped at the end of the session."""
    names: list[str] = []

    def create() -> str:
        name = f"wavisor_test_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        _administer(postgres_server, f'CREATE DATABASE "{name}"')
        # What tests kill are clients, never the server: nothing depends on its disk.
        _administer(postgres_server, f'ALTER DATABASE "{name}" SET synchronous_commit = off')
        names.append(name)
        return _with_database(postgres_server, name)

    yield create
    for name in names:
        _administer(postgres_server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def migrated_postgres_url(new_postgres_database: Callable[[], str]) -> str:
    """One database for all tests of the session; `database_url` empties it before each."""
    url = new_postgres_database()
    database = Database(url, clock=SystemClock())
    database.open()
    assert database.close()
    return url


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without rows, on each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/wavisor.db"
    url: str = request.getfixturevalue("migrated_postgres_url")
    _empty(url)
    return url


@pytest.fixture(params=ENGINES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without tables, on each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/wavisor.db"
    create: Callable[[], str] = request.getfixturevalue("new_postgres_database")
    return create()


@pytest.fixture
def storage_clock() -> ManualClock:
    """The clock of `database`; a test moves it by hand."""
    return ManualClock()


@pytest.fixture
def database(database_url: str, storage_clock: ManualClock) -> Iterator[Database]:
    """An open, empty database, on each engine in turn."""
    opened = Database(database_url, clock=storage_clock)
    opened.open()
    yield opened
    assert opened.close(timeout=60), "threads of the database did not end"


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True


def _administer(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True, connect_timeout=60) as connection:
        connection.execute("SET lock_timeout = '10s'")
        connection.execute(statement.encode())


def _empty(url: str) -> None:
    """Delete all rows: for so few, much quicker than TRUNCATE, which makes new files."""
    with psycopg.connect(url, connect_timeout=60) as connection:
        connection.execute("SET lock_timeout = '10s'")
        for model in reversed(MODELS):
            connection.execute(f'DELETE FROM "{model._meta.table_name}"'.encode())
        connection.execute(
            "SELECT setval(pg_get_serial_sequence(quote_ident(table_name), column_name), 1, false)"
            " FROM information_schema.columns WHERE table_schema = 'public'"
            " AND (is_identity = 'YES' OR column_default LIKE 'nextval%')"
        )


def _with_database(url: str, name: str) -> str:
    parameters = {**conninfo_to_dict(url), "dbname": name}
    host, port = parameters.get("host", ""), parameters.get("port", "5432")
    user = parameters.get("user") or pwd.getpwuid(os.geteuid()).pw_name
    password = f":{parameters['password']}" if parameters.get("password") else ""
    return f"postgresql://{user}{password}@{host}:{port}/{name}"


@contextmanager
def _private_server(port: int) -> Iterator[str]:
    binaries = _newest_binaries()
    if binaries is None:
        pytest.skip(
            "no PostgreSQL: none on 127.0.0.1:5432, WAVISOR_TEST_POSTGRES_URL is not set, "
            "and no initdb under /usr/lib/postgresql to start a private one with"
        )
    account = _server_account()
    directory = Path(tempfile.mkdtemp(prefix="wavisor-postgres-"))
    data = directory / "data"
    if account is not None:
        os.chown(directory, account.pw_uid, account.pw_gid)

    def run(program: str, *arguments: str) -> None:
        as_user = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid}
        subprocess.run(
            [binaries / program, *arguments],
            check=True,
            timeout=60,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            **as_user,
        )

    try:
        run("initdb", "-D", str(data), "-U", "wavisor", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory}"
        run(
            "pg_ctl", "-D", str(data), "-w", "-t", "30", "-o", options,
            "-l", str(directory / "log"), "start",
        )  # fmt: skip
        try:
            yield f"postgresql://wavisor@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _newest_binaries() -> Path | None:
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: float(path.parts[-3]),
    )
    return found[-1].parent if found else None


def _server_account() -> pwd.struct_passwd | None:
    """The account for a server that refuses to run as root; None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("no PostgreSQL: a private one cannot run as root, and there is no other account")
