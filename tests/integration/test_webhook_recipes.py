"""The recipes of docs/webhooks.md do what they say, in Python and in Node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from wavisor.storage import EndpointRecord
from wavisor.webhooks import new_secret, signed_headers

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
BODY = json.dumps({"id": "evt_1", "data": {"text": "Grüße \U0001f44b"}}).encode()

Receive = Callable[[str, dict[str, str], bytes], Any]


def recipe(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


def in_python(secret: str, headers: dict[str, str], body: bytes) -> Any:
    names: dict[str, Any] = {}
    exec(recipe("python"), names)
    try:
        return names["receive"](secret, headers, body)
    except WebhookVerificationError as error:
        raise ValueError(str(error)) from None


def in_node(secret: str, headers: dict[str, str], body: bytes) -> Any:
    if shutil.which("node") is None:
        pytest.skip("there is no node on this machine to run the recipe with")
    program = recipe("javascript") + (
        "const [secret, headers, body] = JSON.parse(require('fs').readFileSync(0, 'utf8'));\n"
        "console.log(JSON.stringify(receive(secret, headers, body)));\n"
    )
    done = subprocess.run(
        ["node", "-e", program],
        input=json.dumps([secret, headers, body.decode()]),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(done.stderr)
    return json.loads(done.stdout)


def endpoint(secret: str, previous: str | None = None) -> EndpointRecord:
    now = datetime.now(UTC)
    values = dict.fromkeys(EndpointRecord.__dataclass_fields__)
    values |= {
        "secret": secret,
        "previous_secret": previous,
        "previous_until": now + timedelta(hours=1),
    }
    return EndpointRecord(**values)


@pytest.mark.parametrize("receive", [in_python, in_node])
def test_recipe_takes_what_is_ours_and_nothing_else(receive: Receive) -> None:
    old, new, now = new_secret(), new_secret(), datetime.now(UTC)
    headers = signed_headers(endpoint(new, old), "evt_1", BODY, now)
    for secret in (old, new):  # both sign during a rotation
        assert receive(secret, headers, BODY) == json.loads(BODY)
    late = signed_headers(endpoint(new), "evt_1", BODY, now - timedelta(minutes=10))
    for secret, given, body in (
        (new_secret(), headers, BODY),
        (new, headers, BODY.replace(b"evt_1", b"evt_2")),
        (new, {**headers, "webhook-id": "evt_2"}, BODY),
        (new, {**headers, "webhook-signature": "v1,"}, BODY),
        (new, late, BODY),
    ):
        with pytest.raises(ValueError):
            receive(secret, given, body)
