"""Writes ``docs/events.md`` from what is declared: ``python -m wavisor.http.event_table FILE``.

``make docs`` calls it, and a test fails when the file is not what this would write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from wavisor.http.event_models import event_models

__all__ = ["event_table"]

_INTRODUCTION = """\
# Events

<!-- Written by `make docs` from the declarations in wavisor/event_data; do not edit. -->

What happens to instances is told on [the feed](feed.md), by [webhooks](webhooks.md) and in
`GET /api/instances/{id}/events`, everywhere in the same envelope:

```json
{"id": "evt_…", "type": "message:received", "timestamp": "2026-01-31T12:00:00.000Z",
 "instanceId": "ins_…", "seq": 42, "data": {}}
```

`seq` grows by one with each event of an instance. `type` says what `data` holds; the OpenAPI
document has a schema for each type, under `webhooks`. All members are there always unless they are
*optional*, and are null where there is nothing to tell. Later versions may add types and members:
ignore those that you do not know.

[receiving.md](receiving.md) and [sending.md](sending.md) tell more of the events of messages,
[instances.md](instances.md) of statuses.
"""

_SHARED = """\
## Parts

What the data of several events is made of.
"""

Schema = Mapping[str, Any]


def event_table() -> str:
    """Return the page that tells what the events of each type hold."""
    models = event_models()
    refs, found = models_json_schema([(model, "serialization") for model in models.values()])
    parts: Mapping[str, Schema] = found["$defs"]
    data: dict[str, str] = {}
    for event_type, model in models.items():
        envelope = parts[_name(refs[(model, "serialization")])]
        data[event_type] = _name(envelope["properties"]["data"])
    lines = [_INTRODUCTION, "## Types", "", *_overview(data, parts), ""]
    for event_type, name in data.items():
        lines += [f"### {event_type}", "", *_describe(parts[name]), ""]
    own = {_name(refs[(model, "serialization")]) for model in models.values()} | set(data.values())
    lines += [_SHARED]
    for name in sorted(set(parts) - own):
        lines += [f"### {name}", "", *_describe(parts[name]), ""]
    return "\n".join(lines)


def _overview(data: Mapping[str, str], parts: Mapping[str, Schema]) -> Iterator[str]:
    rows = (
        (f"[`{event_type}`](#{event_type.replace(':', '')})", _sentence(parts[name]))
        for event_type, name in data.items()
    )
    yield from _table(("type", "what happened"), rows)


def _describe(schema: Schema) -> Iterator[str]:
    yield _sentence(schema)
    yield ""
    required = schema.get("required", ())
    rows = (
        (
            f"`{name}`",
            _form(member) + ("" if name in required else ", optional"),
            member.get("description", ""),
        )
        for name, member in schema["properties"].items()
    )
    yield from _table(("member", "form", ""), rows)


def _sentence(schema: Schema) -> str:
    return " ".join(str(schema["description"]).split())


def _form(member: Schema) -> str:
    """Return in a few words what a member is."""
    if "$ref" in member:
        name = _name(member)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in member:
        return " or ".join(_form(one) for one in member["anyOf"])
    if "enum" in member:
        return ", ".join(f"`{one}`" for one in member["enum"])
    if "const" in member:
        return f"`{member['const']}`"
    if member.get("type") == "array":
        return f"list of {_form(member['items'])}"
    if member.get("format") == "date-time":
        return "time"
    return {"string": "text", "boolean": "true or false", "integer": "number"}.get(
        str(member["type"]), str(member["type"])
    )


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    first = list(head)
    for line in (first, ["---"] * len(first), *rows):
        yield "| " + " | ".join(line) + " |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(event_table(), encoding="utf-8")
