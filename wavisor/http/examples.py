"""Examples of what JSON Schemas describe, for documents that show how a request looks.

An example has what is required, and what the schema itself gives examples of. Where that is
nothing, it has the first field, so that there is something to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["example_of"]

_FORMATS = {
    "date-time": "2030-01-31T09:00:00Z",
    "date": "2030-01-31",
    "email": "ann@example.com",
    "uri": "https://example.com/",
}

Schema = Mapping[str, Any]


def example_of(schema: Schema, components: Mapping[str, Schema], name: str = "text") -> Any:
    """Return a value that fits a schema.

    Args:
        schema: what it is to fit.
        components: the schemas that ``$ref`` may lead to, by name.
        name: what a text without further description says.
    """
    schema = _resolved(schema, components)
    for given in ("const", "default"):
        if schema.get(given) not in (None, [], {}, ""):
            return schema[given]
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, components)
    if kind == "array":
        items = schema.get("items", {})
        return [example_of(items, components, name)] * max(1, schema.get("minItems", 1))
    if kind in ("integer", "number"):
        return max(schema.get("minimum", 1), 1)
    if kind == "boolean":
        return True
    if kind == "string":
        text = _FORMATS.get(schema.get("format", ""), name)
        return text.ljust(schema.get("minLength", 0), "x")
    return None if kind == "null" else {}


def _object(schema: Schema, components: Mapping[str, Schema]) -> dict[str, Any]:
    fields: Mapping[str, Schema] = schema.get("properties", {})
    required = schema.get("required", ())
    chosen = [
        name for name, field in fields.items() if name in required or _shown(field, components)
    ]
    chosen = chosen or list(fields)[:1]
    return {
        name: _shown(fields[name], components) or example_of(fields[name], components, name)
        for name in chosen
    }


def _shown(schema: Schema, components: Mapping[str, Schema]) -> Any:
    """Return the example that a field has been given; None when it has none."""
    examples = schema.get("examples") or _resolved(schema, components).get("examples")
    return examples[0] if examples else None


def _resolved(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    """Return the schema that is meant: behind a reference, and the first of several forms."""
    while "$ref" in schema or "anyOf" in schema or "oneOf" in schema or "allOf" in schema:
        if "$ref" in schema:
            schema = components[schema["$ref"].rpartition("/")[2]]
            continue
        forms = schema.get("anyOf") or schema.get("oneOf") or schema["allOf"]
        schema = next((one for one in forms if one.get("type") != "null"), forms[0])
    return schema
