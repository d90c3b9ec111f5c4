"""Where settings come from, and what is said when they are wrong."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from wavisor.config import (
    GROUPS,
    SessionSettings,
    Settings,
    SettingsError,
    Source,
    load_settings,
)
from wavisor.config.schema import env_name
from wavisor.domain import RegistrationMode


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("WAVISOR_"):
            monkeypatch.delenv(name)


def problems_of(directory: Path, **kwargs) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(directory=directory, **kwargs)
    return {problem.setting: problem.message for problem in caught.value.problems}


def test_nothing_set_gives_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(directory=tmp_path)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.registration is RegistrationMode.OPEN
    assert settings.access_token_ttl_seconds == 900
    assert settings.refresh_token_ttl_seconds == 30 * 86400
    assert settings.body_limit_bytes == 1024 * 1024
    assert settings.shutdown_timeout_seconds == 10
    assert settings.sandbox_url is None
    assert {value.source for value in settings.effective()} == {Source.DEFAULT}
    assert settings.warnings() == []


def test_environment_beats_env_file_beats_toml_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wavisor.toml").write_text('port = 1\nhost = "127.0.0.3"\nbcrypt_rounds = 5\n')
    (tmp_path / ".env").write_text("WAVISOR_PORT=2\nWAVISOR_HOST=127.0.0.2\nOTHER=ignored\n")
    monkeypatch.setenv("WAVISOR_PORT", "3")
    settings = load_settings(directory=tmp_path)
    assert (settings.port, settings.source_of("port")) == (3, Source.ENVIRONMENT)
    assert (settings.host, settings.source_of("host")) == ("127.0.0.2", Source.ENV_FILE)
    assert (settings.bcrypt_rounds, settings.source_of("bcrypt_rounds")) == (5, Source.TOML)
    assert settings.source_of("cors_origins") is Source.DEFAULT


def test_what_is_given_beats_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVISOR_PORT", "3")
    settings = load_settings(directory=tmp_path, given={"port": "4"})
    assert (settings.port, settings.source_of("port")) == (4, Source.GIVEN)


def test_settings_built_directly_do_not_read_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WAVISOR_PORT", "3")
    assert Settings().port == 8080


def test_a_group_can_be_built_alone() -> None:
    group = SessionSettings(backoff_initial_seconds=0.01)
    assert group.backoff_initial_seconds == 0.01
    assert isinstance(Settings(), SessionSettings)


def test_every_field_is_in_a_group_and_every_group_in_the_settings() -> None:
    grouped = [name for group in GROUPS for name in group.model_fields]
    assert sorted(grouped) == sorted(Settings.model_fields)
    assert [value.name for value in Settings().effective()] == grouped


def test_every_field_says_what_it_is_and_durations_and_sizes_name_their_unit() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        if field.annotation is float:
            assert name.endswith("_seconds"), name
        if field.annotation in (int, float):
            bounds = {type(item).__name__ for item in field.metadata}
            assert {"Ge", "Le"} <= bounds, f"{name} has no bounds"


def test_all_errors_are_shown_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVISOR_PORT", "70000")
    monkeypatch.setenv("WAVISOR_LOG_LEVEL", "loud")
    monkeypatch.setenv("WAVISOR_TRUSTED_PROXIES", "10.0.0.0/8,nonsense")
    (tmp_path / ".env").write_text("WAVISOR_SHUTDOWN_TIMEOUT_SECONDS=-1\n")
    (tmp_path / "wavisor.toml").write_text("bcrypt_rounds = 99\nprot = 1\n")
    problems = problems_of(tmp_path)
    assert set(problems) == {
        "WAVISOR_PORT",
        "WAVISOR_LOG_LEVEL",
        "WAVISOR_TRUSTED_PROXIES",
        "WAVISOR_SHUTDOWN_TIMEOUT_SECONDS",
        "WAVISOR_BCRYPT_ROUNDS",
        "prot",
    }
    assert problems["WAVISOR_PORT"] == (
        "70000 (from env) is not allowed: expected a whole number from 0 to 65535"
    )
    assert "one of debug, info, warning, error" in problems["WAVISOR_LOG_LEVEL"]
    assert "'nonsense' is no address or network" in problems["WAVISOR_TRUSTED_PROXIES"]
    assert "from 1 to 300" in problems["WAVISOR_SHUTDOWN_TIMEOUT_SECONDS"]
    assert "(from .env)" in problems["WAVISOR_SHUTDOWN_TIMEOUT_SECONDS"]
    assert "(from toml)" in problems["WAVISOR_BCRYPT_ROUNDS"]


def test_unknown_names_are_errors_with_a_suggestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVISOR_REGISTRATON", "open")
    (tmp_path / ".env").write_text("WAVISOR_PROT=1\n")
    (tmp_path / "wavisor.toml").write_text("log_levle = 'info'\nzzzzzzzz = 1\n")
    problems = problems_of(tmp_path)
    assert problems["WAVISOR_REGISTRATON"].endswith("did you mean WAVISOR_REGISTRATION?")
    assert problems["WAVISOR_PROT"].endswith("did you mean WAVISOR_PORT?")
    assert problems["log_levle"].endswith("did you mean log_level?")
    assert "did you mean" not in problems["zzzzzzzz"]


def test_names_of_the_suite_and_of_kubernetes_are_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVISOR_TEST_SOMETHING", "1")
    monkeypatch.setenv("WAVISOR_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("WAVISOR_SERVICE_PORT_HTTP", "8080")
    monkeypatch.setenv("WAVISOR_PORT_8080_TCP_ADDR", "10.0.0.1")
    monkeypatch.setenv("WAVISOR_PORT", "tcp://10.0.0.1:8080")
    assert load_settings(directory=tmp_path).port == 8080


def test_the_qr_limit_cannot_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVISOR_QR_LIMIT", "5")
    assert "WAVISOR_QR_LIMIT" in problems_of(tmp_path)


def test_an_empty_variable_counts_as_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVISOR_METRICS_TOKEN", "")
    monkeypatch.setenv("WAVISOR_PORT", "")
    settings = load_settings(directory=tmp_path)
    assert settings.metrics_token is None
    assert settings.port == 8080


@pytest.mark.parametrize("text", ["10.0.0.0/8, ::1", '["10.0.0.0/8", "::1"]'])
def test_lists_are_separated_by_commas_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("WAVISOR_METRICS_ALLOW", text)
    allowed = load_settings(directory=tmp_path).metrics_allow
    assert allowed == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))


def test_lists_in_toml_are_lists(tmp_path: Path) -> None:
    (tmp_path / "wavisor.toml").write_text('cors_origins = ["https://App.example.com", "*"]\n')
    settings = load_settings(directory=tmp_path)
    assert settings.cors_origins == ("https://app.example.com", "*")
    assert any("any origin" in warning for warning in settings.warnings())


@pytest.mark.parametrize("origin", ["app.example.com", "ftp://x", "https://x/path", "https://u@x"])
def test_what_is_no_origin_is_refused(tmp_path: Path, origin: str) -> None:
    problems = problems_of(tmp_path, given={"cors_origins": origin})
    assert "is no origin" in problems["WAVISOR_CORS_ORIGINS"]


def test_secrets_are_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "WAVISOR_JWT_SECRET": "jwt-" + "s3cret" * 8,
        "WAVISOR_METRICS_TOKEN": "metrics-s3cret-token",
        "WAVISOR_DATABASE_URL": "postgresql://wavisor:s3cret@db.example/wavisor?x=1",
        "WAVISOR_SESSION_STORE_URL": "postgres://wavisor@db.example/keys?password=s3cret",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(directory=tmp_path)
    shown = {value.env: value.value for value in settings.effective()}
    assert "s3cret" not in str(shown)
    assert "s3cret" not in repr(settings)
    assert shown["WAVISOR_DATABASE_URL"] == "postgresql://wavisor:********@db.example/wavisor?x=1"
    assert settings.effective_database_url == secrets["WAVISOR_DATABASE_URL"]


def test_bad_secrets_are_not_shown_in_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVISOR_JWT_SECRET", "s3cret")
    monkeypatch.setenv("WAVISOR_METRICS_TOKEN", "s3cret")
    monkeypatch.setenv("WAVISOR_DATABASE_URL", "mysql://u:s3cret@h/x")
    monkeypatch.setenv("WAVISOR_SESSION_STORE_URL", "postgresql:u:s3cret@h/x")
    problems = problems_of(tmp_path)
    assert len(problems) == 4
    assert "s3cret" not in str(problems)
    assert "text of at least 32 characters" in problems["WAVISOR_JWT_SECRET"]
    assert "postgresql://user:password@host/name" in problems["WAVISOR_DATABASE_URL"]


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///", "sqlite:///:memory:", "postgresql://h", "postgresql://h:x/d", "x"],
)
def test_unusable_database_urls_are_refused(tmp_path: Path, url: str) -> None:
    assert set(problems_of(tmp_path, given={"database_url": url})) == {"WAVISOR_DATABASE_URL"}


def test_the_database_is_a_file_in_the_data_directory_unless_set(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.effective_database_url == f"sqlite:///{tmp_path}/wavisor.db"
    assert Settings(data_dir="/a b%41").effective_database_url == "sqlite:////a%20b%2541/wavisor.db"


def test_the_data_directory_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings().data_dir == tmp_path / "data"


@pytest.mark.parametrize("url", ["http://example.com", "http://10.0.0.1:9", "127.0.0.1:9090"])
def test_the_sandbox_is_never_another_machine(tmp_path: Path, url: str) -> None:
    assert "WAVISOR_SANDBOX_URL" in problems_of(tmp_path, given={"sandbox_url": url})


@pytest.mark.parametrize("url", ["http://127.0.0.1:9090", "http://localhost:1", "http://[::1]:9"])
def test_sandbox_mode_is_said_loudly(url: str) -> None:
    (warning,) = Settings(sandbox_url=url).warnings()
    assert warning.startswith("SANDBOX MODE")


@pytest.mark.parametrize(
    ("host", "registration", "warned"),
    [
        ("0.0.0.0", "open", True),
        ("::", "open", True),
        ("gateway.example", "open", True),
        ("0.0.0.0", "first", False),
        ("0.0.0.0", "closed", False),
        ("127.0.0.1", "open", False),
        ("localhost", "open", False),
    ],
)
def test_open_registration_on_a_public_address_is_said(
    host: str, registration: str, warned: bool
) -> None:
    warnings = Settings(host=host, registration=registration).warnings()
    assert any("registration is open" in warning for warning in warnings) is warned


def test_the_default_backoff_keeps_the_reconnect_promise() -> None:
    settings = Settings()
    # An attempt into the void, the longest pause after it; the rest is for queueing and starting.
    assert settings.connect_timeout_seconds + settings.backoff_maximum_seconds <= 20
    slow = Settings(backoff_maximum_seconds=25)
    assert any("longer than 30 s" in warning for warning in slow.warnings())


@pytest.mark.parametrize(
    "given",
    [
        {"session_stop_grace_seconds": 10, "shutdown_timeout_seconds": 10},
        {"backoff_initial_seconds": 9},
        {"feed_ping_timeout_seconds": 31},
        {"access_token_ttl_seconds": 61, "refresh_token_ttl_seconds": 60},
    ],
)
def test_combinations_that_cannot_work_are_refused(tmp_path: Path, given: dict) -> None:
    ((setting, message),) = problems_of(tmp_path, given=given).items()
    assert setting == env_name(next(iter(given)))
    for name, value in given.items():
        assert env_name(name) in f"{setting}: {message}"
        assert str(value) in message
    with pytest.raises(ValidationError, match=setting):
        Settings(**given)


def test_all_wrong_combinations_are_shown_beside_what_is_wrong_by_itself(tmp_path: Path) -> None:
    given = {
        "port": "x",
        "backoff_initial_seconds": 9,
        "feed_ping_timeout_seconds": 31,
        # One half of a combination is wrong by itself: nothing can be said of the two.
        "session_stop_grace_seconds": 20,
        "shutdown_timeout_seconds": "soon",
    }
    assert set(problems_of(tmp_path, given=given)) == {
        "WAVISOR_PORT",
        "WAVISOR_SHUTDOWN_TIMEOUT_SECONDS",
        "WAVISOR_BACKOFF_INITIAL_SECONDS",
        "WAVISOR_FEED_PING_TIMEOUT_SECONDS",
    }


def test_every_wrong_part_of_a_list_is_named(tmp_path: Path) -> None:
    given = {"trusted_proxies": "one,10.0.0.0/8,two", "cors_origins": "three,https://a.example,4"}
    problems = problems_of(tmp_path, given=given)
    assert "'one', 'two' is no address or network" in problems["WAVISOR_TRUSTED_PROXIES"]
    assert "'three', '4' is no origin" in problems["WAVISOR_CORS_ORIGINS"]


def test_what_is_wrong_on_the_command_line_is_said_to_be_from_there(tmp_path: Path) -> None:
    assert (
        "80000 (from command line)"
        in problems_of(tmp_path, given={"port": "80000"})["WAVISOR_PORT"]
    )


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "ten"])
def test_durations_are_finite_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("WAVISOR_CONNECT_TIMEOUT_SECONDS", value)
    assert "WAVISOR_CONNECT_TIMEOUT_SECONDS" in problems_of(tmp_path)


def test_broken_files_are_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WAVISOR_PORT=x\nthis is: no assignment\nWAVISOR_HOSE=1\n")
    (tmp_path / "wavisor.toml").write_text("port = \n")
    problems = problems_of(tmp_path)
    assert "WAVISOR_HOST" in problems["WAVISOR_HOSE"]
    assert "x (from .env)" in problems["WAVISOR_PORT"]
    assert "line 2 is no assignment" in problems[str(tmp_path / ".env")]
    assert "is no valid TOML" in problems[str(tmp_path / "wavisor.toml")]


def test_files_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    (tmp_path / "wavisor.toml").write_bytes(b"\xff\xfe")
    problems = problems_of(tmp_path)
    assert set(problems) == {str(tmp_path / ".env"), str(tmp_path / "wavisor.toml")}
    assert all("not UTF-8" in message for message in problems.values())


def test_a_toml_file_that_was_named_must_exist(tmp_path: Path) -> None:
    missing = tmp_path / "other.toml"
    problems = problems_of(tmp_path, toml_file=missing)
    assert "No such file" in problems[str(missing)]


def test_a_toml_file_that_was_named_replaces_the_default_one(tmp_path: Path) -> None:
    (tmp_path / "wavisor.toml").write_text("port = 1\n")
    (tmp_path / "other.toml").write_text("port = 2\n")
    assert load_settings(directory=tmp_path, toml_file=tmp_path / "other.toml").port == 2


def test_tables_in_toml_are_unknown_settings(tmp_path: Path) -> None:
    text = "[server]\nport = 1\n"
    assert tomllib.loads(text)
    (tmp_path / "wavisor.toml").write_text(text)
    assert "server" in problems_of(tmp_path)
