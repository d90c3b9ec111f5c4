"""Whether answers are what the OpenAPI document says of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from wavisor.http.application import ROUTERS
from wavisor.http.openapi import describe

__all__ = ["objections"]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_BASE = "urn:wavisor:openapi"


class _Document:
    """The document of the whole API, and what it says of one answer."""

    def __init__(self) -> None:
        self._document = describe(ROUTERS)
        resource = Resource.from_contents(self._document, DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_BASE, resource)
        self._validators: dict[str, Draft202012Validator] = {}
        # Fixed words come before what stands for anything, as in the router itself.
        paths = sorted(self._document["paths"], key=lambda path: path.count("{"))
        self._paths = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        for pattern, template in self._paths:
            if pattern.fullmatch(path) and method.lower() in self._document["paths"][template]:
                found: dict[str, Any] = self._document["paths"][template][method.lower()]
                return found
        return None

    def validator(self, pointer: str) -> Draft202012Validator:
        if pointer not in self._validators:
            schema = {"$ref": f"{_BASE}{pointer}"}
            self._validators[pointer] = Draft202012Validator(schema, registry=self._registry)
        return self._validators[pointer]


@lru_cache(maxsize=1)
def _document() -> _Document:
    return _Document()


def objections(
    method: str, target: str, status: int, headers: Mapping[str, str], body: bytes
) -> list[str]:
    """Return in what an answer differs from the document; nothing for other paths than its own.

    Args:
        method: of the request.
        target: path and query of the request.
        status: of the answer.
        headers: of the answer.
        body: of the answer.
    """
    operation = _document().operation(method, target.split("?")[0]) if method in _METHODS else None
    if operation is None:
        return []
    response = operation["responses"].get(str(status))
    if response is None:
        return [f"the status {status} is not in the document"]
    content = response.get("content", {})
    if not body:
        return [f"there is no {kind}" for kind in content if "json" in kind and status != 304]
    kind = headers.get("Content-Type", "")
    fits = {kind.split(";")[0], "*/*"}
    declared = next((one for one in content if one.split(";")[0] in fits), None)
    if declared is None:
        return [f"{kind} is not in the document: {', '.join(content) or 'no content'}"]
    pointer = content[declared].get("schema", {}).get("$ref")
    if pointer is None:
        return []
    return [
        f"{error.json_path}: {error.message[:200]}"
        for error in _document().validator(pointer).iter_errors(json.loads(body))
    ]
