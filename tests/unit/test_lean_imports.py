"""A gateway holds no library in memory that it does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wavisor.imports import without

ROOT = Path(__file__).parents[2]

HEAVY = (
    *("PIL", "cryptography", "psycopg", "neonize", "google.protobuf", "wavisor.sandbox"),
    *("curses", "difflib", "filetype", "getpass", "playhouse.cockroachdb", "qrcode"),
)

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

AT_REST = f"""
import json, os, signal, sys
from wavisor.config import Settings, prepare_data_directory
from wavisor.config.logging import configure_logging
from wavisor.cli import import_gateway
settings = Settings(port=0, data_dir=sys.argv[1])
configure_logging(settings)
prepare_data_directory(settings)
import_gateway(settings)
from wavisor.http.schemas import ApiModel
from wavisor.main import serve

def models(parent):
    for model in parent.__subclasses__():
        yield model
        yield from models(model)

def on_ready(url):
    print(json.dumps({{
        "heavy": [name for name in {HEAVY!r} if name in sys.modules],
        "models": len(list(models(ApiModel))),
        "built": [
            model.__name__ for model in models(ApiModel)
            if model.__pydantic_complete__
            and not model.__pydantic_generic_metadata__["parameters"]
        ],
    }}))
    os.kill(os.getpid(), signal.SIGTERM)

sys.exit(serve(settings, on_ready))
"""


def answer_of(program: str, argument: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", program, argument],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def imported(database_url: str) -> dict:
    return answer_of(PROGRAM, database_url)


def test_gateway_at_rest_has_loaded_and_built_only_what_it_uses(tmp_path: Path) -> None:
    found = answer_of(AT_REST, str(tmp_path))
    assert found["heavy"] == []
    assert found["models"] > 100
    assert set(found["built"]) <= {"Versions"}  # what health answers, made once


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
