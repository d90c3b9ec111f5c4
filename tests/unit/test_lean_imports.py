"""A gateway holds no library in memory that it does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wavisor.imports import without

ROOT = Path(__file__).parents[2]

HEAVY = ("PIL", "cryptography", "psycopg", "neonize", "google.protobuf", "wavisor.sandbox")

PROGRAM = f"""
import json, sys
from wavisor.config import Settings
from wavisor.cli import import_gateway
import_gateway(Settings(database_url=sys.argv[1] or None))
import jwt, peewee
print(json.dumps({{
    "heavy": [name for name in {HEAVY!r} if name in sys.modules],
    "token": jwt.encode({{"a": 1}}, "k" * 32, algorithm="HS256"),
    "driver": peewee.psycopg is not None,
}}))
import cryptography, psycopg
"""


def imported(database_url: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, database_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_gateway_on_sqlite_loads_nothing_that_it_does_not_use() -> None:
    found = imported("")
    assert found["heavy"] == []
    assert found["token"].count(".") == 2
    assert not found["driver"]


def test_gateway_on_postgresql_has_its_driver() -> None:
    found = imported("postgresql://somebody@localhost/somewhere")
    assert found["heavy"] == ["psycopg"]
    assert found["driver"]


def test_hidden_module_is_found_again_afterwards() -> None:
    sys.modules.pop("colorsys", None)
    with without("colorsys"), pytest.raises(ImportError):
        import colorsys
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)


def test_module_that_is_loaded_is_left_alone() -> None:
    import json as loaded

    with without("json"):
        import json as again
    assert again is loaded
    assert sys.modules["json"] is loaded
