"""The OpenAPI 3.1 document, made from the routes' declarations and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from wavisor import __version__
from wavisor.http.bodies import is_optional
from wavisor.http.forms import FILE_FIELD
from wavisor.http.paths import PathText
from wavisor.http.permissions import PUBLIC
from wavisor.http.problems import MEDIA_TYPE, Problem, ProblemKind
from wavisor.http.routing import Content, InstanceFrom, Response, Route, Router, check_routes

__all__ = ["describe"]

_Mode = Literal["validation", "serialization"]
_ModelKey = tuple[type[BaseModel], _Mode]

_DESCRIPTION = (
    "A self-hosted, multi-tenant WhatsApp gateway. Every failure is a problem document "
    "(RFC 9457); compare its `type`. Times are UTC. Ids are accepted in any letter case."
)
_HEADERS = {
    "X-Request-Id": "Names this request in the log; yours, where you sent one.",
    "Retry-After": "Seconds to wait before trying again.",
}


_EVENTS = "events"
_EVENTS_ARE = (
    "What happens to instances. The same envelope is on the feed, in webhooks and in "
    "`GET /api/instances/{id}/events`; the type tells what `data` holds."
)
_WEBHOOK_HEADERS = {
    "webhook-id": "The event's id, the same on every attempt.",
    "webhook-timestamp": "The time of this attempt, in seconds since 1970.",
    "webhook-signature": "`v1,` and base64 of HMAC-SHA256 of `id.timestamp.body`; two of them, "
    "separated by a blank, while a secret is rotated (Standard Webhooks 1.0).",
}
_WEBHOOK_ANSWERS = {
    "2XX": "It was taken.",
    "410": "The webhook is switched off.",
    "default": "It is attempted again, not before a `Retry-After`; redirects are not followed.",
}


def describe(
    routers: Sequence[Router], events: Mapping[str, type[BaseModel]] | None = None
) -> dict[str, Any]:
    """Return the document for all routes.

    Args:
        routers: their routes.
        events: the model of each type of event that webhooks are told of.

    Raises:
        RouteError: two routes collide.
    """
    routes, events = check_routes(routers), events or {}
    schemas = _Schemas(routes, events.values())
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": "Wavisor",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            *({"name": one.tag, "description": one.description} for one in routers),
            *([{"name": _EVENTS, "description": _EVENTS_ARE}] if events else []),
        ],
        "paths": paths,
        "webhooks": {
            event_type: {"post": _webhook(event_type, model, schemas)}
            for event_type, model in events.items()
        },
        "components": {
            "schemas": schemas.components,
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in _HEADERS.items()
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token, from `POST /api/auth/login`.",
                },
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "wav_<prefix>_<secret>",
                    "description": "An API key, from `POST /api/instances/{id}/keys` or "
                    "`POST /api/keys`.",
                },
                "link": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "signature",
                    "description": "Of a link to a file, with its `expires`.",
                },
            },
        },
    }


class _Schemas:
    """The JSON Schemas of every model that the routes mention."""

    def __init__(self, routes: Iterable[Route], more: Iterable[type[BaseModel]]) -> None:
        keys: dict[_ModelKey, None] = {(Problem, "serialization"): None}
        keys |= {(model, "serialization"): None for model in more}
        queries: dict[_ModelKey, None] = {}
        for route in routes:
            if route.body is not None:
                keys[(route.body, "validation")] = None
            if route.query is not None:
                queries[(route.query, "validation")] = None
            for response in route.responses.values():
                model = _model_of(response)
                if model is not None:
                    keys[(model, "serialization")] = None
        self._refs, found = models_json_schema(
            [*keys, *queries], ref_template="#/components/schemas/{model}"
        )
        self.components: dict[str, Any] = found.get("$defs", {})
        # Query models are taken apart into parameters and are not schemas of their own.
        self._queries = {
            model: self.components.pop(self._refs[(model, mode)]["$ref"].rpartition("/")[2])
            for model, mode in queries
        }

    def ref(self, model: type[BaseModel], mode: _Mode) -> Mapping[str, Any]:
        return self._refs[(model, mode)]

    def query(self, model: type[BaseModel]) -> Mapping[str, Any]:
        schema: Mapping[str, Any] = self._queries[model]
        return schema


def _model_of(response: Response) -> type[BaseModel] | None:
    return response.model if isinstance(response, Content) else response


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": _with_permission(route),
        "tags": [route.tag],
        "security": _security(route),
        "responses": {
            str(status): _response(status, response, schemas)
            for status, response in route.responses.items()
        }
        | _problem_responses(route.all_problems, schemas),
    }
    parameters = list(_parameters(route, schemas))
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": not is_optional(route.body),
            "content": _body_content(route, schemas.ref(route.body, "validation")),
        }
    return operation


def _webhook(event_type: str, model: type[BaseModel], schemas: _Schemas) -> dict[str, Any]:
    return {
        "operationId": f"on{model.__name__}",
        "summary": event_type,
        "description": model.__doc__ or "",
        "tags": [_EVENTS],
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in _WEBHOOK_HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schemas.ref(model, "serialization")}},
        },
        "responses": {status: {"description": text} for status, text in _WEBHOOK_ANSWERS.items()},
    }


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.access is PUBLIC:
        return []
    ways = ["bearer", *(["apiKey"] if route.for_keys else []), *(["link"] if route.linked else [])]
    return [{way: []} for way in ways]


def _body_content(route: Route, schema: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if route.uploads is not None:
        file = {"type": "string", "contentMediaType": "application/octet-stream"}
        form = {
            "type": "object",
            "description": "The same fields beside the file; a list is a field given repeatedly.",
            "properties": {FILE_FIELD: file},
            "required": [FILE_FIELD],
        }
        content["multipart/form-data"] = {"schema": form}
    return content


def _with_permission(route: Route) -> str:
    if route.access is PUBLIC:
        return route.description
    return f"{route.description} Needs the permission `{route.access.value}`."


def _parameters(route: Route, schemas: _Schemas) -> Iterable[dict[str, Any]]:
    for name, form in route.parameters.items():
        parameter: dict[str, Any] = {"name": name, "in": "path", "required": True}
        if isinstance(form, PathText):
            about = {"description": form.description, "example": form.example}
            yield parameter | about | {"schema": {"type": "string"}}
        else:
            pattern = f"^(?i:{form.value}_[0-9A-Z]{{26}})$"
            yield parameter | {"schema": {"type": "string", "pattern": pattern}}
    if route.instance is InstanceFrom.HEADER:
        yield {
            "name": "X-Instance-Id",
            "in": "header",
            "required": False,
            "description": "The id of the instance that is meant. Needed, unless an API key is "
            "used that is bound to one.",
            "schema": {"type": "string"},
        }
    for name, text in route.header_parameters.items():
        yield {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
    if route.query is None:
        return
    query = schemas.query(route.query)
    required = query.get("required", ())
    for name, schema in query.get("properties", {}).items():
        parameter = {"name": name, "in": "query", "required": name in required, "schema": schema}
        if "description" in schema:
            parameter["description"] = schema["description"]
        yield parameter


def _response(status: int, response: Response, schemas: _Schemas) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}},
    }
    content: dict[str, Any] = {}
    if isinstance(response, Content):
        content = {media_type: {} for media_type in response.media_types}
    model = _model_of(response)
    if model is not None:
        content["application/json"] = {"schema": schemas.ref(model, "serialization")}
    if content:
        answer["content"] = content
    return answer


def _problem_responses(kinds: Iterable[ProblemKind], schemas: _Schemas) -> dict[str, Any]:
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    return {
        str(status): {
            "description": "; ".join(f"{one.title} (`{one.type}`)" for one in same),
            "headers": {
                name: {"$ref": f"#/components/headers/{name}"}
                for name in _HEADERS
                if name != "Retry-After" or status in (429, 503)
            },
            "content": {MEDIA_TYPE: {"schema": schemas.ref(Problem, "serialization")}},
        }
        for status, same in by_status.items()
    }
