"""The page about the settings says what the settings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wavisor.config import Settings
from wavisor.config.reference import reference
from wavisor.config.schema import env_name

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(), "run `make docs`"


def test_every_setting_has_one_row() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `WAVISOR_")]
    assert [row.split("`")[1] for row in rows] == [
        value.env for value in Settings(data_dir="/x").effective()
    ]
    assert len(rows) == len(Settings.model_fields)
    assert all(len(row.replace("\\|", "").split("|")) == 6 for row in rows)
    (port,) = (row for row in rows if env_name("port") in row)
    assert "| `8080` | a whole number from 0 to 65535 | TCP port" in port


def test_the_page_does_not_depend_on_where_it_is_written(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "wavisor.config.reference", str(tmp_path / "page.md")],
        check=True,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": str(PAGE.parents[1]), "WAVISOR_PORT": "1"},
    )
    assert (tmp_path / "page.md").read_text() == PAGE.read_text()
