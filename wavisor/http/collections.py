"""Writes the API as collections of requests: ``python -m wavisor.http.collections DIRECTORY``.

``wavisor.postman_collection.json`` is for Postman and whatever imports its format (2.1),
``wavisor.http`` for the REST clients of VS Code and JetBrains. Both are made from the OpenAPI
document. ``make docs`` calls it, and a test fails when the files are not what this would write.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic.alias_generators import to_camel

from wavisor.http.application import ROUTERS
from wavisor.http.examples import example_of
from wavisor.http.openapi import describe
from wavisor.http.routing import Router
from wavisor.ids import Kind

__all__ = ["collections"]

_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_ADDRESS = "http://127.0.0.1:8080"
_INSTANCE = "X-Instance-Id"
_JSON = "application/json"
_PARAMETER = re.compile(r"\{([A-Za-z]+)\}")
_ID = re.compile(r"\(\?i:([a-z]+)_")
_WHAT = "Written by `make docs` from the routes' declarations; do not edit."


@dataclass(frozen=True)
class _Request:
    """An operation of the OpenAPI document, as far as collections show it."""

    tag: str
    method: str
    path: str
    summary: str
    description: str
    public: bool
    parameters: Sequence[Mapping[str, Any]]
    media_type: str | None
    body: str | None

    def of(self, place: str) -> list[Mapping[str, Any]]:
        """The parameters in the path, the query, or the header."""
        return [one for one in self.parameters if one["in"] == place]

    @property
    def values(self) -> dict[str, str]:
        """What stands for each parameter of the path: a variable, or an example."""
        return {one["name"]: _value(one) for one in self.of("path")}


def collections(routers: Sequence[Router] = ROUTERS) -> dict[str, str]:
    """Return the files by their names."""
    document = describe(routers)
    requests = list(_requests(document))
    return {
        "wavisor.postman_collection.json": _postman(document, requests),
        "wavisor.http": _http_file(document, requests),
    }


def _requests(document: Mapping[str, Any]) -> Iterable[_Request]:
    components = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            media_type = next(iter(content), None)
            body = None
            if media_type is not None:
                body = _example(media_type, content[media_type], components)
            yield _Request(
                tag=operation["tags"][0],
                method=method.upper(),
                path=path,
                summary=operation["summary"],
                description=operation["description"],
                public=not operation["security"],
                parameters=operation.get("parameters", ()),
                media_type=media_type,
                body=body,
            )


def _example(media_type: str, content: Mapping[str, Any], components: Mapping[str, Any]) -> str:
    schema = content.get("schema", {})
    if media_type == _JSON:
        return json.dumps(example_of(schema, components), indent=2, ensure_ascii=False)
    return str(content.get("example") or example_of(schema, components))


def _value(parameter: Mapping[str, Any]) -> str:
    if "example" in parameter:
        return quote(parameter["example"], safe="@")
    return f"{{{{{_variable(parameter)}}}}}"


def _variable(parameter: Mapping[str, Any]) -> str | None:
    """Return the variable that holds an id; None for a parameter that is none."""
    found = _ID.search(parameter["schema"].get("pattern", ""))
    return None if found is None else to_camel(Kind(found.group(1)).name.lower())


def _variables(requests: Iterable[_Request]) -> dict[str, str]:
    """Return all variables, with the values that they have at first."""
    ids = {_variable(one) for request in requests for one in request.of("path")} - {None}
    kinds = {to_camel(kind.name.lower()): kind for kind in Kind}
    named = {str(name): f"{kinds[str(name)].value}_" for name in sorted(map(str, ids))}
    return {"baseUrl": _ADDRESS, "token": "", "instance": f"{Kind.INSTANCE.value}_"} | named


def _by_tag(
    document: Mapping[str, Any], requests: Sequence[_Request]
) -> Iterable[tuple[str, str, list[_Request]]]:
    for tag in document["tags"]:
        same = [one for one in requests if one.tag == tag["name"]]
        if same:
            yield tag["name"], tag["description"], same


# Postman


def _postman(document: Mapping[str, Any], requests: Sequence[_Request]) -> str:
    info = document["info"]
    collection = {
        "info": {
            "name": info["title"],
            "description": f"{info['description']}\n\n{_WHAT}",
            "schema": _SCHEMA,
        },
        "auth": {"type": "bearer", "bearer": [_pair("token", "{{token}}") | {"type": "string"}]},
        "variable": [_pair(name, value) for name, value in _variables(requests).items()],
        "item": [
            {"name": tag, "description": about, "item": [_postman_item(one) for one in same]}
            for tag, about, same in _by_tag(document, requests)
        ],
    }
    return json.dumps(collection, indent=1, ensure_ascii=False) + "\n"


def _postman_item(request: _Request) -> dict[str, Any]:
    told: dict[str, Any] = {
        "method": request.method,
        "header": _postman_headers(request),
        "url": _postman_url(request),
        "description": request.description,
    }
    if request.public:
        told["auth"] = {"type": "noauth"}
    if request.body is not None:
        language = "json" if request.media_type == _JSON else "text"
        options = {"raw": {"language": language}}
        told["body"] = {"mode": "raw", "raw": request.body, "options": options}
    return {"name": request.summary, "request": told, "response": []}


def _postman_headers(request: _Request) -> list[dict[str, Any]]:
    headers: list[dict[str, Any]] = []
    if request.media_type is not None:
        headers.append(_pair("Content-Type", request.media_type))
    for one in request.of("header"):
        name, about = one["name"], {"description": one.get("description", "")}
        if name == _INSTANCE:
            headers.append(_pair(name, "{{instance}}") | about)
        else:
            headers.append(_pair(name, "") | about | {"disabled": True})
    return headers


def _postman_url(request: _Request) -> dict[str, Any]:
    path = _PARAMETER.sub(r":\1", request.path)
    url: dict[str, Any] = {
        "raw": f"{{{{baseUrl}}}}{path}",
        "host": ["{{baseUrl}}"],
        "path": path.strip("/").split("/"),
    }
    query = [
        _pair(one["name"], "")
        | {"description": one.get("description", ""), "disabled": not one.get("required")}
        for one in request.of("query")
    ]
    variables = [
        _pair(one["name"], _value(one)) | {"description": one.get("description", "")}
        for one in request.of("path")
    ]
    return (
        url | ({"query": query} if query else {}) | ({"variable": variables} if variables else {})
    )


def _pair(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": value}


# REST clients of editors


def _http_file(document: Mapping[str, Any], requests: Sequence[_Request]) -> str:
    lines = [f"# {document['info']['title']}. {_WHAT}", ""]
    lines += [f"@{name} = {value}" for name, value in _variables(requests).items()]
    for tag, about, same in _by_tag(document, requests):
        lines += ["", f"# {tag}: {about}"]
        for request in same:
            lines += ["", *_http_request(request)]
    return "\n".join(lines) + "\n"


def _http_request(request: _Request) -> Iterable[str]:
    yield f"### {request.summary}"
    path = _PARAMETER.sub(lambda match: request.values[match.group(1)], request.path)
    required = [one["name"] for one in request.of("query") if one.get("required")]
    query = "?" + "&".join(f"{name}=" for name in required) if required else ""
    yield f"{request.method} {{{{baseUrl}}}}{path}{query}"
    if not request.public:
        yield "Authorization: Bearer {{token}}"
    if any(one["name"] == _INSTANCE for one in request.of("header")):
        yield f"{_INSTANCE}: {{{{instance}}}}"
    if request.body is not None:
        yield from (f"Content-Type: {request.media_type}", "", request.body)


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for file_name, text in collections().items():
        (directory / file_name).write_text(text, encoding="utf-8")
