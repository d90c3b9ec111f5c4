"""The collections of requests in docs/rest hold every operation, with bodies that are accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from wavisor.http.application import ROUTERS
from wavisor.http.bodies import read_body
from wavisor.http.collections import collections
from wavisor.http.examples import example_of
from wavisor.http.permissions import PUBLIC
from wavisor.http.routing import InstanceFrom, Route, check_routes
from wavisor.ids import Kind

DIRECTORY = Path(__file__).parents[2] / "docs" / "rest"


@dataclass
class Request:
    """A request as a client would send it, its variables filled in."""

    summary: str
    method: str
    path: str
    headers: dict[str, str]
    body: str | None


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return collections()


@pytest.mark.parametrize("name", ["wavisor.postman_collection.json", "wavisor.http"])
def test_the_files_are_current(files: dict[str, str], name: str) -> None:
    page = (DIRECTORY / name).read_text(encoding="utf-8")
    # Not by a plain comparison, whose explanation of a difference would take minutes.
    if page != files[name]:
        pytest.fail(f"docs/rest/{name} is not what the routes say: run `make docs`")


@pytest.mark.parametrize("kind", ["postman", "http"])
def test_every_operation_is_there_as_the_gateway_takes_it(files: dict[str, str], kind: str) -> None:
    asked = list(of_postman(files) if kind == "postman" else of_editors(files))
    assert len(asked) == len(check_routes(ROUTERS))
    meant = [check(request) for request in asked]
    assert {route.operation for route in meant} == {
        route.operation for route in check_routes(ROUTERS)
    }


def check(request: Request) -> Route:
    """Return the route that a request leads to, which must accept it."""
    path = request.path.partition("?")[0]
    fitting = [
        route
        for route in check_routes(ROUTERS)
        if route.method == request.method and re.fullmatch(route.pattern, path)
    ]
    # Of two templates that fit, the fixed one is meant.
    route = min(fitting, key=lambda one: len(one.parameters))
    assert route.summary == request.summary
    assert ("Authorization" in request.headers) == (route.access is not PUBLIC)
    if route.instance is InstanceFrom.HEADER:
        assert request.headers["X-Instance-Id"] == sample(Kind.INSTANCE)
    assert (request.body is None) == (route.body is None)
    if route.body is not None and request.body is not None:
        read_body(request.body.encode(), request.headers["Content-Type"], None, route.body)
    for part, text in zip(route.path.split("/"), path.split("/"), strict=True):
        if not part.startswith("{"):
            continue
        name = part.strip("{}")
        form = route.parameters[name]
        if isinstance(form, Kind):
            assert text == sample(form)
        else:
            form.canonical(name, unquote(text))
    return route


def of_postman(files: dict[str, str]) -> Iterator[Request]:
    collection = json.loads(files["wavisor.postman_collection.json"])
    assert collection["info"]["schema"].endswith("/collection/v2.1.0/collection.json")
    variables = {one["key"] for one in collection["variable"]}
    assert {"baseUrl", "token", "instance"} <= variables
    assert collection["auth"]["bearer"] == [
        {"key": "token", "value": "{{token}}", "type": "string"}
    ]
    tags = [one["name"] for one in collection["item"]]
    assert tags == [router.tag for router in ROUTERS if router.routes]
    for item in [one for folder in collection["item"] for one in folder["item"]]:
        told = item["request"]
        url = told["url"]
        assert url["raw"] == "/".join([*url["host"], *url["path"]])
        path = url["raw"].removeprefix("{{baseUrl}}")
        for one in url.get("variable", ()):
            path = path.replace(f":{one['key']}", one["value"])
        headers = {one["key"]: one["value"] for one in told["header"] if not one.get("disabled")}
        if told.get("auth") != {"type": "noauth"}:
            headers["Authorization"] = "Bearer {{token}}"
        yield filled(
            Request(item["name"], told["method"], path, headers, told.get("body", {}).get("raw"))
        )


def of_editors(files: dict[str, str]) -> Iterator[Request]:
    introduction, *parts = re.split(r"^### ", files["wavisor.http"], flags=re.MULTILINE)
    variables = re.findall(r"^@(\w+) = ", introduction, re.MULTILINE)
    assert variables[:3] == ["baseUrl", "token", "instance"]
    for part in parts:
        head, _, body = part.partition("\n\n")
        summary, line, *headers = head.splitlines()
        method, url = line.split(" ")
        # What follows the last request of a group is the comment before the next one.
        text = re.split(r"^# ", body, flags=re.MULTILINE)[0].strip()
        pairs = dict(one.split(": ", 1) for one in headers)
        assert set(re.findall(r"\{\{(\w+)\}\}", head)) <= set(variables)
        yield filled(Request(summary, method, url.removeprefix("{{baseUrl}}"), pairs, text or None))


def filled(request: Request) -> Request:
    """Put ids in the places of the variables that stand for them."""
    samples = {kind.name.lower().replace("api_key", "apiKey"): sample(kind) for kind in Kind}

    def fill(text: str) -> str:
        return re.sub(r"\{\{(\w+)\}\}", lambda match: samples.get(match[1], match[0]), text)

    headers = {name: fill(value) for name, value in request.headers.items()}
    return Request(request.summary, request.method, fill(request.path), headers, request.body)


def sample(kind: Kind) -> str:
    return f"{kind.value}_{'0' * 26}"


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "string", "format": "email"}, "ann@example.com"),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "number", "maximum": 3}, 1),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": "a"}, "a"),
        ({"type": "boolean"}, True),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, ["text", "text"]),
        ({"$ref": "#/components/schemas/Thing"}, {"a": "a"}),
        ({"type": "object"}, {}),
        (
            {
                "type": "object",
                "properties": {
                    "must": {"$ref": "#/components/schemas/Thing"},
                    "shown": {"anyOf": [{"type": "string"}, {"type": "null"}], "examples": ["x"]},
                    "left": {"type": "string"},
                },
                "required": ["must"],
            },
            {"must": {"a": "a"}, "shown": "x"},
        ),
    ],
)
def test_an_example_fits_its_schema(schema: dict[str, Any], example: Any) -> None:
    thing = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    assert example_of(schema, {"Thing": thing}) == example
