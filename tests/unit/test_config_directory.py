"""The data directory and the secret that is generated into it."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from wavisor.config import (
    JWT_SECRET_FILE,
    LOCK_FILE,
    DataDirectoryError,
    Settings,
    claimed_data_directory,
    jwt_secret,
    prepare_data_directory,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_directory_is_created_for_its_owner_alone(tmp_path: Path) -> None:
    path = prepare_data_directory(Settings(data_dir=tmp_path / "deep" / "data"))
    assert path == tmp_path / "deep" / "data"
    assert mode_of(path) == 0o700
    assert list(path.iterdir()) == []


def test_a_wide_umask_does_not_widen_the_directory(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = prepare_data_directory(Settings(data_dir=tmp_path / "data"))
    finally:
        os.umask(old)
    assert mode_of(path) == 0o700


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    prepare_data_directory(Settings(data_dir=tmp_path))
    assert mode_of(tmp_path) == 0o750


def test_a_file_in_its_place_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataDirectoryError, match=r"^The data directory .*data is a file"):
        prepare_data_directory(Settings(data_dir=tmp_path / "data"))


def test_only_one_at_a_time_has_the_directory(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with claimed_data_directory(settings):
        # Another description of the file, as another process would have.
        with (
            pytest.raises(DataDirectoryError, match=rf"in use .*\(process {os.getpid()}\)"),
            claimed_data_directory(settings),
        ):
            pass
        assert mode_of(tmp_path / LOCK_FILE) == 0o600
    with claimed_data_directory(settings):
        pass


def test_a_file_system_without_locks_is_warned_of_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with capture_logs() as logs, claimed_data_directory(Settings(data_dir=tmp_path)):
        pass
    assert [line["log_level"] for line in logs] == ["warning"]


def test_an_unwritable_place_is_one_clear_sentence() -> None:
    # /proc refuses everybody, root included.
    with pytest.raises(DataDirectoryError, match=r"cannot be written: .*WAVISOR_DATA_DIR"):
        prepare_data_directory(Settings(data_dir=Path("/proc/wavisor/data")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_one_clear_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataDirectoryError, match="cannot be written"):
        prepare_data_directory(Settings(data_dir=tmp_path))


def test_the_secret_is_generated_once_and_private(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    first = jwt_secret(settings).get_secret_value()
    assert len(first) >= 64
    assert mode_of(tmp_path / JWT_SECRET_FILE) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [JWT_SECRET_FILE]
    assert jwt_secret(settings).get_secret_value() == first


def test_two_installations_get_different_secrets(tmp_path: Path) -> None:
    directories = [tmp_path / "a", tmp_path / "b"]
    for directory in directories:
        directory.mkdir()
    secrets = {jwt_secret(Settings(data_dir=path)).get_secret_value() for path in directories}
    assert len(secrets) == 2


def test_a_secret_that_was_set_is_used_and_no_file_written(tmp_path: Path) -> None:
    given = "x" * 32
    assert jwt_secret(Settings(data_dir=tmp_path, jwt_secret=given)).get_secret_value() == given
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 64])
def test_a_damaged_secret_is_an_error_and_stays_untouched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / JWT_SECRET_FILE
    path.write_bytes(content)
    with pytest.raises(DataDirectoryError, match="Delete the file"):
        jwt_secret(Settings(data_dir=tmp_path))
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_written_is_one_clear_sentence() -> None:
    with pytest.raises(DataDirectoryError, match="cannot be read or created"):
        jwt_secret(Settings(data_dir=Path("/proc")))


def _read_secret(directory: str, barrier, answers) -> None:
    settings = Settings(data_dir=Path(directory))
    barrier.wait(timeout=30)
    answers.put(jwt_secret(settings).get_secret_value())


def test_processes_that_start_together_agree_on_one_secret(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    count = 4
    barrier, answers = context.Barrier(count), context.Queue()
    processes = [
        context.Process(target=_read_secret, args=(str(tmp_path), barrier, answers))
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    secrets = {answers.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(timeout=30)
        assert process.exitcode == 0
    assert len(secrets) == 1
    assert [path.name for path in tmp_path.iterdir()] == [JWT_SECRET_FILE]
