"""What the machine lacks is named in one sentence where it may not be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PREPARE = Path(__file__).parents[2] / "tools" / "prepare"


def prepare(what: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PREPARE), what],
        env={"PATH": os.environ["PATH"], "APT": "no", "PYTHON": sys.executable} | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def python_that_fails_at(fragment: str, tmp_path: Path) -> str:
    """Make an interpreter that refuses the programs with ``fragment`` in them."""
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\ncase "$2" in *"{fragment}"*) exit 1;; esac\nexit 0\n')
    fake.chmod(0o755)
    return str(fake)


@pytest.mark.parametrize(
    ("fragment", "sentence"),
    [
        ("version_info", "is too old: Wavisor needs Python 3.11 or newer"),
        ("ensurepip", "apt install python3-venv"),
        ("find_library", "libmagic1 is missing, which the WhatsApp client needs"),
    ],
)
@pytest.mark.parametrize("what", ["run", "test"])
def test_what_is_missing_and_needed_ends_with_a_sentence(
    what: str, fragment: str, sentence: str, tmp_path: Path
) -> None:
    done = prepare(what, PYTHON=python_that_fails_at(fragment, tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("wavisor: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_interpreter_at_all_is_a_sentence() -> None:
    done = prepare("run", PYTHON="/nonexistent/python")
    assert done.returncode == 1
    assert "python3 is missing" in done.stderr


def test_what_only_some_tests_need_is_named_and_does_not_stop_the_others(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "id", "env"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    done = prepare("test", PATH=str(tools), PYTHON=python_that_fails_at("nothing", tmp_path))
    assert done.returncode == 0
    assert "prometheus is missing, so the tests with a real Prometheus are skipped" in done.stderr


def test_a_machine_that_has_everything_is_left_alone() -> None:
    done = prepare("run")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_wrong_call_says_how_to_call_it() -> None:
    assert prepare("nonsense").stderr == "wavisor: usage: tools/prepare run|test\n"
