"""The programs in docs/recipes.md, run as their reader would: a real gateway and real clients."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.live import LiveGateway, LogLines, new_number
from support.live_client import Instance, Owner, call
from support.media_samples import picture
from wavisor.sandbox.client import SandboxControl

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
LANGUAGES = {
    "curl": ("bash", "bash", "sh"),
    "Python": ("python", sys.executable, "py"),
    "Node": ("javascript", "node", "mjs"),
}


def block(heading: str, language: str) -> str:
    """The one block of a language under a heading of the page."""
    section = re.split(rf"^##+ {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^##+ ", section, flags=re.MULTILINE)[0]
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(found)


def node_has(feature: str) -> list[str]:
    """The options that node needs to have something; skips the test where it has it in no way."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    for options in ([], ["--experimental-websocket"]):
        command = ["node", *options, "-p", f"typeof {feature}"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if told.returncode == 0 and told.stdout.strip() == "function":
            return options
    pytest.skip(f"this node is too old to have {feature}")


@dataclass
class Reader:
    """Somebody with a linked instance and a key, in a directory with a picture."""

    instance: Instance
    url: str
    key: str
    to: str
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        own = {"WAVISOR_URL": self.url, "WAVISOR_KEY": self.key, "TO": f"+{self.to}"}
        return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **own}

    def command(self, heading: str, language: str) -> list[str]:
        """The command that runs the block under a heading."""
        fence, program, ending = LANGUAGES[language]
        options: list[str] = []
        if language == "Node":
            options = node_has("WebSocket" if "feed" in heading else "fetch")
        file = self.directory / f"recipe.{ending}"
        file.write_text(block(heading, fence), encoding="utf-8")
        return [program, *options, file.name]

    def run(self, heading: str, language: str) -> str:
        done = subprocess.run(
            self.command(heading, language),
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    @contextmanager
    def running(self, heading: str, language: str) -> Iterator[LogLines]:
        """The lines of a program that goes on until it is ended."""
        lines = LogLines()
        with subprocess.Popen(
            self.command(heading, language),
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as program:
            assert program.stdout is not None
            thread = lines.follow(program.stdout)
            try:
                yield lines
                assert program.poll() is None, lines.tail()
            finally:
                program.send_signal(signal.SIGKILL)
                program.wait(60)
                thread.join(60)


@pytest.fixture
def reader(owner: Owner, live: LiveGateway, whatsapp: SandboxControl, tmp_path: Path) -> Reader:
    instance = owner.create().link(whatsapp, new_number())
    body = {"name": "Recipes", "permissions": ["messages:send", "messages:read", "events:read"]}
    key = instance.api("POST", "/keys", body).expect(201)["key"]
    bob = new_number()
    whatsapp.add_phone(bob, "Bob")
    (tmp_path / "picture.jpg").write_bytes(picture("JPEG", 320, 240))
    return Reader(instance, live.url, key, bob, tmp_path)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_and_a_picture_are_sent_once_however_often_it_runs(
    reader: Reader, whatsapp: SandboxControl, language: str
) -> None:
    first = reader.run(language, language)
    assert reader.run(language, language) == first
    got = whatsapp.phone_messages(reader.to, count=2, wait=30)
    texts = Counter((one.kind, one.text) for one in got)
    number = 4711 + list(LANGUAGES).index(language)
    assert texts == {
        ("text", f"Thank you, order {number} is paid."): 1,
        ("image", "This is what it looks like"): 1,
    }
    listed = reader.instance.owner.api("GET", "/api/messages?direction=outbound").expect(200)
    assert len(listed["items"]) == 2


@pytest.mark.parametrize("language", ["Python", "Node"])
def test_what_does_not_fit_is_told_and_not_repeated(reader: Reader, language: str) -> None:
    reader.to = "12"
    with pytest.raises(AssertionError, match="validation-failed"):
        reader.run(language, language)
    assert not reader.instance.owner.api("GET", "/api/messages").expect(200)["items"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", ["Python", "Node"])
def test_the_feed_is_followed_through_a_restart_and_nothing_is_missed(
    reader: Reader, live: LiveGateway, whatsapp: SandboxControl, language: str
) -> None:
    owner, ann = reader.instance.owner, reader.instance
    with reader.running(f"{language} feed", language) as lines:
        # Heard only once the program has subscribed, so it is said until it is.
        said = 0
        while not lines.all("raw") and said < 60:
            said += 1
            whatsapp.write_on_phone(reader.to, ann.phone, f"hello {said}")
            ann.wait_text(f"hello {said}")
        mark = owner.feed.mark
        live.restart()
        owner.reopen_feed()
        ann.wait_status("connected", mark)
        for number in range(3):
            whatsapp.write_on_phone(reader.to, ann.phone, f"later {number}")
            ann.wait_text(f"later {number}")
        lines.wait("raw", raw=f"+{reader.to} later 2")
        told = [line["raw"] for line in lines.all("raw")]
    assert told[-3:] == [f"+{reader.to} later {number}" for number in range(3)]
    assert len(set(told)) == len(told)


def test_the_n8n_node_asks_for_what_the_api_accepts(reader: Reader, live: LiveGateway) -> None:
    workflow = json.loads(block("n8n", "json"))
    [node] = workflow["nodes"]
    assert set(workflow) == {"nodes", "connections"}
    assert node["type"] == "n8n-nodes-base.httpRequest"
    asked = node["parameters"]
    values = {
        "$json.to": f"+{reader.to}",
        "$json.text": 'Hello from "n8n"\n',
        "$execution.id": "231",
        "$itemIndex": "0",
    }
    headers = {"Authorization": f"Bearer {reader.key}", **named(asked["headerParameters"], values)}
    body = named(asked["bodyParameters"], values)
    answers = [
        call(live.url, asked["method"], urlsplit(asked["url"]).path, body, headers)
        for _ in range(node["maxTries"])
    ]
    assert [answer.status for answer in answers] == [202] * 5, answers[0].body
    assert len({answer.json["id"] for answer in answers}) == 1
    assert answers[0].json["text"] == values["$json.text"]


def named(parameters: dict[str, Any], values: dict[str, str]) -> dict[str, str]:
    """Pairs of names and values, with n8n's expressions worked out."""
    pairs = {}
    for one in parameters["parameters"]:
        expression, text = one["value"].startswith("="), one["value"].removeprefix("=")
        assert expression == ("{{" in text)
        pairs[one["name"]] = re.sub(r"\{\{ (\S+) \}\}", lambda match: values[match.group(1)], text)
    return pairs
