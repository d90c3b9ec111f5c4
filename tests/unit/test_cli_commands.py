"""The command line: what it prints, the codes it ends with, the sentences it says."""

from __future__ import annotations

import errno
import io
import os
import pty
import sqlite3
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

import wavisor
from support.manual_clock import ManualClock
from wavisor import cli
from wavisor.config import Settings, SettingsError
from wavisor.domain import RegistrationMode, Role
from wavisor.http.server import AddressInUseError
from wavisor.sandbox.process import SandboxStartError
from wavisor.storage import AuditFilter, Database, SchemaTooNew, Scope, accounts, audit, instances
from wavisor.storage.migration import migrate
from wavisor.whatsapp.port import SessionError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("WAVISOR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    # The set-up of logs and signals is the process's; the suite keeps its own.
    monkeypatch.setattr("wavisor.config.logging.configure_logging", lambda settings: None)
    monkeypatch.setattr("wavisor.config.logging.dump_stacks_on_signal", lambda: None)


Serve = Callable[[Settings], int]


@pytest.fixture
def serve_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Serve], None]:
    """Put a function in the place of the gateway."""

    def install(function: Serve) -> None:
        module = types.ModuleType("wavisor.main")
        module.serve = function
        monkeypatch.setitem(sys.modules, "wavisor.main", module)

    return install


def run_process(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment | options.pop("env", {}),
        **options,
    )


@pytest.mark.parametrize("program", [["-m", "wavisor.cli"], [str(ROOT / "main.py")]])
def test_version_names_all_versions(program: list[str]) -> None:
    done = run_process(*program, "--version")
    assert done.returncode == 0
    assert done.stdout.startswith(f"wavisor {wavisor.__version__} (neonize ")
    assert done.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom wavisor.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: code = end.code\n"
        "print(code, sorted({'pydantic', 'tornado', 'peewee', 'pykka', 'neonize', 'structlog'}"
        " & set(sys.modules)))"
    )
    done = run_process("-c", program)
    assert done.stdout.splitlines()[-1] == "0 []"
    for word in ("serve", "demo", "config", "admin", "WAVISOR_"):
        assert word in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["config"], ["admin"], ["admin", "create"], ["serve", "--bogus"]],
)
def test_a_wrong_call_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert "usage: wavisor" in capsys.readouterr().err


def test_a_password_is_never_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["admin", "create", "--email", "a@b.c", "--password", "hunter22"])
    assert end.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_serve_gets_the_settings_and_its_code_is_the_exit_code(serve_with, tmp_path: Path) -> None:
    seen: list[Settings] = []

    def serve(settings: Settings) -> int:
        seen.append(settings)
        return 7

    serve_with(serve)
    arguments = ["serve", "--host", "::1", "--port", "0", "--data-dir", "here"]
    assert cli.main(arguments) == 7
    assert (seen[0].host, seen[0].port, seen[0].data_dir) == ("::1", 0, tmp_path / "here")
    assert (tmp_path / "here").is_dir()


@pytest.fixture
def demos(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, Path | None]]:
    """How the demonstration was run; it itself is not."""
    runs: list[tuple[Settings, Path | None]] = []

    def run(settings: Settings, place: Path | None) -> int:
        runs.append((settings, place))
        return 3

    module = types.ModuleType("wavisor.demo")
    module.run = run
    monkeypatch.setitem(sys.modules, "wavisor.demo", module)
    return runs


def test_demo_runs_the_demonstration_and_leaves_the_gateways_data_alone(
    demos: list[tuple[Settings, Path | None]], tmp_path: Path
) -> None:
    assert cli.main(["demo", "--port", "0"]) == 3
    ((settings, place),) = demos
    assert settings.port == 0
    assert place is None
    assert list(tmp_path.iterdir()) == []


def test_demo_keeps_everything_where_it_is_told(
    demos: list[tuple[Settings, Path | None]], tmp_path: Path
) -> None:
    assert cli.main(["demo", "--data-dir", "here"]) == 3
    assert [place for _, place in demos] == [tmp_path / "here"]
    assert (tmp_path / "here").is_dir()


def test_wrong_settings_end_with_2_and_name_everything(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WAVISOR_PORT", "x")
    monkeypatch.setenv("WAVISOR_BCRYPT_ROUNDS", "1")
    assert cli.main(["serve"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("wavisor: The settings cannot be used:\n")
    assert "  WAVISOR_PORT: x (from env)" in error
    assert "  WAVISOR_BCRYPT_ROUNDS: 1 (from env)" in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_config_check_shows_what_is_in_force_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text('host = "0.0.0.0"\n')
    monkeypatch.setenv("WAVISOR_JWT_SECRET", "s3cret" * 10)
    assert cli.main(["--config", "mine.toml", "config", "check"]) == 0
    out, err = capsys.readouterr()
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert lines["WAVISOR_HOST"] == ["0.0.0.0", "(toml)"]
    assert lines["WAVISOR_JWT_SECRET"] == ["********", "(env)"]
    assert lines["WAVISOR_PORT"] == ["8080", "(default)"]
    assert out.endswith("The settings are good.\n")
    assert "warning: registration is open" in err
    assert "s3cret" not in out + err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_config_check_into_a_closed_pipe_shows_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-u", "-m", "wavisor.cli", "config", "check"],
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_an_unwritable_data_directory_is_one_sentence(
    capsys: pytest.CaptureFixture[str], serve_with
) -> None:
    serve_with(lambda settings: 0)
    assert cli.main(["serve", "--data-dir", "/proc/wavisor"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("wavisor: The data directory /proc/wavisor cannot be written")
    assert error.count("\n") == 1


def raising(error: Exception) -> Serve:
    def serve(_settings: Settings) -> int:
        raise error

    return serve


@pytest.mark.parametrize(
    ("serve", "sentence"),
    [
        (raising(AddressInUseError("Something else listens")), "Something else listens.\n"),
        (raising(OSError(errno.EADDRINUSE, "Address already in use")), "Address already in use"),
        (raising(SandboxStartError("the local WhatsApp ended")), "The local WhatsApp ended.\n"),
        (raising(OSError(errno.ENOSPC, "No space left on device", "/d/x")), "No space left"),
        (raising(SchemaTooNew("the database is newer")), "The database is newer.\n"),
        (raising(SessionError("libmagic is missing")), "Libmagic is missing.\n"),
        (raising(SettingsError([])), "The settings cannot be used"),
    ],
)
def test_what_can_go_wrong_outside_the_program_is_one_sentence(
    capsys: pytest.CaptureFixture[str], serve_with, serve: Serve, sentence: str
) -> None:
    serve_with(serve)
    assert cli.main(["serve"]) == (2 if "settings" in sentence else 1)
    error = capsys.readouterr().err
    assert error.startswith(f"wavisor: {sentence}")
    assert "Traceback" not in error


def test_an_unforeseen_error_is_logged_with_its_traceback_and_called_a_bug(
    capsys: pytest.CaptureFixture[str], serve_with
) -> None:
    serve_with(raising(LookupError("nobody thought of this")))
    assert cli.main(["serve"]) == 1
    out, err = capsys.readouterr()
    assert "nobody thought of this" in out + err
    assert err.splitlines()[-1].startswith("wavisor: Unexpected error (LookupError)")


def test_an_interrupt_is_no_error(serve_with, capsys: pytest.CaptureFixture[str]) -> None:
    def serve(_settings: Settings) -> int:
        raise KeyboardInterrupt

    serve_with(serve)
    assert cli.main(["serve"]) == 130
    assert capsys.readouterr().err == ""


def stored(data_dir: Path, email: str):
    database = Database(f"sqlite:///{data_dir}/wavisor.db", clock=ManualClock())
    database.open()
    try:
        account = database.read_wait(accounts.find_by_email, email)
        entries = database.read_wait(audit.list_page, AuditFilter(), limit=10).items
    finally:
        database.close()
    return account, entries


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVISOR_BCRYPT_ROUNDS", "4")


def create(monkeypatch: pytest.MonkeyPatch, typed: str, *more: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return cli.main(["admin", "create", "--email", "Ops@Example.com", "--password-stdin", *more])


def test_admin_create_makes_an_operator_with_its_subscription(
    monkeypatch: pytest.MonkeyPatch,
    quick_hashes: None,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert create(monkeypatch, "correct horse battery\n", "--name", "Operations") == 0
    out = capsys.readouterr().out
    account, entries = stored(tmp_path / "data", "ops@example.com")
    assert account is not None
    assert account.user.id in out
    assert account.user.is_operator
    assert account.user.role is Role.OWNER
    assert account.subscription.name == "Operations"
    assert account.user.password_hash.startswith("$2b$04$")
    assert "correct horse" not in account.user.password_hash + out
    assert [entry.action for entry in entries] == ["account.operator_created"]


def test_admin_create_works_with_registration_closed_and_for_a_second_operator(
    monkeypatch: pytest.MonkeyPatch, quick_hashes: None, tmp_path: Path
) -> None:
    monkeypatch.setenv("WAVISOR_REGISTRATION", RegistrationMode.CLOSED)
    assert create(monkeypatch, "correct horse battery\n") == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("another password\n"))
    assert cli.main(["admin", "create", "--email", "two@example.com"]) == 0
    account, _ = stored(tmp_path / "data", "two@example.com")
    assert account is not None
    assert account.user.is_operator


def test_admin_create_refuses_an_address_in_use(
    monkeypatch: pytest.MonkeyPatch, quick_hashes: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create(monkeypatch, "correct horse battery\n") == 0
    assert create(monkeypatch, "correct horse battery\n") == 1
    assert "another account uses the address" in capsys.readouterr().err.lower()


@pytest.mark.parametrize(
    ("typed", "code", "sentence"),
    [
        ("", 2, "Standard input holds no password."),
        ("\n", 2, "Standard input holds no password."),
        ("short\n", 1, "Password: Should have at least 10 characters."),
    ],
)
def test_admin_create_refuses_unusable_passwords_without_repeating_them(
    monkeypatch: pytest.MonkeyPatch,
    quick_hashes: None,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    code: int,
    sentence: str,
) -> None:
    assert create(monkeypatch, typed) == code
    error = capsys.readouterr().err
    assert sentence.lower() in error.lower()
    assert "short\n" not in error
    assert "Traceback" not in error


def test_a_damaged_database_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, quick_hashes: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data").mkdir()
    Path("data/wavisor.db").write_bytes(b"this is no database at all" * 100)
    assert create(monkeypatch, "correct horse battery\n") == 1
    error = capsys.readouterr().err
    assert error.startswith("wavisor: ")
    assert error.count("\n") == 1
    assert "bug" not in error


@pytest.mark.parametrize(
    ("answers", "code"),
    [(["correct horse battery"] * 2, 0), (["correct horse battery", "something else"], 2)],
)
def test_a_password_is_asked_for_twice_at_a_terminal(
    tmp_path: Path, answers: list[str], code: int
) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "wavisor.cli", "admin", "create", "--email", "ops@example.com"],
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "WAVISOR_BCRYPT_ROUNDS": "4"},
    )
    os.close(child)
    shown = b""
    try:
        for prompt, answer in zip((b"Password: ", b"Once more: "), answers, strict=True):
            while not shown.endswith(prompt):
                shown += os.read(parent, 1024)
            os.write(parent, answer.encode() + b"\n")
        try:
            while part := os.read(parent, 1024):
                shown += part
        except OSError as error:  # how a pseudo-terminal says that nobody is left
            assert error.errno == errno.EIO
        assert process.wait(timeout=30) == code
    finally:
        process.kill()
        process.wait(timeout=60)
        os.close(parent)
    assert b"correct horse" not in shown
    assert (b"Operator ops@example.com created" in shown) is (code == 0)


@contextmanager
def changed_database(sql: str) -> Iterator[None]:
    connection = sqlite3.connect("data/wavisor.db", isolation_level=None)
    try:
        connection.execute(sql)
        yield
    finally:
        connection.close()


def test_a_database_of_a_newer_version_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, quick_hashes: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create(monkeypatch, "correct horse battery\n") == 0
    newer = "INSERT INTO schema_migration (name, applied) VALUES ('9999_future', '2030-01-01')"
    with changed_database(newer):
        assert create(monkeypatch, "correct horse battery\n") == 1
    error = capsys.readouterr().err
    assert error.startswith("wavisor: The database was migrated by a newer version")
    assert error.count("\n") == 1


def test_a_locked_database_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, quick_hashes: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create(monkeypatch, "correct horse battery\n") == 0
    # A start waits a minute for another one that migrates; the test need not.
    monkeypatch.setattr("wavisor.storage.database.migrate", partial(migrate, timeout=0.2))
    with changed_database("BEGIN EXCLUSIVE"):
        assert create(monkeypatch, "correct horse battery\n") == 1
    error = capsys.readouterr().err
    assert error.startswith("wavisor: ")
    assert error.count("\n") == 1
    assert "bug" not in error


def admin(*arguments: str) -> int:
    return cli.main(["admin", *arguments])


def test_subscriptions_are_listed_changed_and_suspended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quick_hashes: None
) -> None:
    assert create(monkeypatch, "a long password\n") == 0
    capsys.readouterr()
    assert admin("subscriptions") == 0
    (line,) = capsys.readouterr().out.splitlines()
    identifier = line.split()[0]
    assert line.split()[1:4] == ["BASIC", "active", "1"]

    assert admin("tier", identifier, "MAX") == 0
    assert admin("tier", identifier, "MAX") == 0
    assert admin("suspend", identifier.lower()) == 0
    assert admin("suspend", identifier) == 0
    assert "suspended already" in capsys.readouterr().out
    assert admin("subscriptions") == 0
    assert capsys.readouterr().out.split()[1:3] == ["MAX", "suspended"]
    assert admin("resume", identifier) == 0
    account, entries = stored(Settings().data_dir, "ops@example.com")
    assert account.subscription.suspended_at is None
    assert [entry.action for entry in reversed(entries)][1:] == [
        "subscription.update",
        "subscription.suspend",
        "subscription.resume",
    ]
    changed = entries[-2]
    assert (changed.before, changed.after) == ({"tier": "BASIC"}, {"tier": "MAX"})


def only_subscription(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert admin("subscriptions") == 0
    return capsys.readouterr().out.split()[0]


def test_limits_are_given_and_taken_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quick_hashes: None
) -> None:
    assert create(monkeypatch, "a long password\n") == 0
    identifier = only_subscription(capsys)
    assert admin("limit", identifier, "instances=7", "webhooks=none") == 0
    shown = capsys.readouterr().out.splitlines()
    assert {"instances=7", "webhooks=none", "keys=20"} <= set(shown)
    assert admin("limit", identifier, "instances=tier") == 0
    assert {"instances=5", "webhooks=none"} <= set(capsys.readouterr().out.splitlines())
    account, entries = stored(Settings().data_dir, "ops@example.com")
    assert account.subscription.overrides == {"webhooks": None}
    assert (entries[0].before, entries[0].after) == (
        {"overrides": {"instances": 7, "webhooks": None}},
        {"overrides": {"webhooks": None}},
    )
    for wrong, code in (("instances", 2), ("instances=many", 2), ("nothing=1", 1)):
        assert admin("limit", identifier, wrong) == code
        assert capsys.readouterr().err.startswith("wavisor: ")


def test_users_instances_and_the_trail_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quick_hashes: None
) -> None:
    assert create(monkeypatch, "a long password\n") == 0
    identifier = only_subscription(capsys)
    database = Database(f"sqlite:///{Settings().data_dir}/wavisor.db", clock=ManualClock())
    database.open()
    made = database.write_wait(instances.create, Scope(identifier), name="Shop")
    assert database.close()
    for more in ([], ["--subscription", identifier]):
        assert admin("users", *more) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert line.split()[1:] == [identifier, "OWNER", "operator", "ops@example.com"]
        assert admin("instances", *more) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert line.split() == [made.id, identifier, "disconnected", "Shop"]
    assert admin("audit", "--subscription", identifier, "--action", "account.*") == 0
    head, entry = capsys.readouterr().out.splitlines()
    assert head.startswith("id,at,subscriptionId")
    assert "account.operator_created" in entry
    assert admin("users", "--subscription", "nobody") == 1
    assert admin("audit", "--limit", "0") == 2


def test_a_forgotten_password_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quick_hashes: None
) -> None:
    assert create(monkeypatch, "a long password\n") == 0
    before, _ = stored(Settings().data_dir, "ops@example.com")

    def set_password(email: str, typed: str) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        return admin("password", "--email", email, "--password-stdin")

    assert set_password("OPS@example.com", "another password\n") == 0
    after, entries = stored(Settings().data_dir, "ops@example.com")
    assert after.user.password_hash != before.user.password_hash
    assert after.user.token_version == before.user.token_version + 1  # all sessions are over
    assert (entries[0].action, entries[0].target) == ("account.password_set", after.user.id)
    assert set_password("nobody@example.com", "another password\n") == 1
    assert "No account has the address nobody@example.com." in capsys.readouterr().err
    assert set_password("ops@example.com", "short\n") == 1
    assert "short\n" not in capsys.readouterr().err


def test_a_subscription_is_marked_to_be_deleted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quick_hashes: None
) -> None:
    assert create(monkeypatch, "a long password\n") == 0
    identifier = only_subscription(capsys)
    assert admin("delete", identifier) == 2
    assert "say --yes" in capsys.readouterr().err
    assert admin("delete", identifier, "--yes") == 1
    assert "the last operator of the platform belongs to it" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("a long password\n"))
    other = ["admin", "create", "--email", "other@example.com", "--password-stdin"]
    assert cli.main(other) == 0
    capsys.readouterr()

    terminal = io.StringIO("something else\n")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    assert admin("delete", identifier) == 2
    assert "nothing was deleted" in capsys.readouterr().err
    terminal = io.StringIO(f"{identifier.upper()}\n")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    assert admin("delete", identifier) == 0
    assert admin("delete", identifier, "--yes") == 0
    assert "is being deleted already" in capsys.readouterr().out
    assert admin("subscriptions") == 0
    assert capsys.readouterr().out.split()[:3] == [identifier, "BASIC", "deleting"]
    assert admin("resume", identifier) == 1
    assert "is being deleted" in capsys.readouterr().err
    account, entries = stored(Settings().data_dir, "ops@example.com")
    assert account.subscription.deleted_at is not None
    assert [one.action for one in entries].count("subscription.delete") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["suspend", "nobody"], "'nobody' is no id of a subscription"),
        (["resume", f"sub_{'0' * 26}"], "There is no subscription sub_"),
        (["tier", f"sub_{'0' * 26}", "PRO"], "There is no subscription sub_"),
    ],
)
def test_an_unknown_subscription_is_named(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert admin(*arguments) == 1
    assert sentence in capsys.readouterr().err
