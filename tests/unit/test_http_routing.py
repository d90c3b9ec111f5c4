from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from wavisor.domain import Role
from wavisor.http.application import ROUTERS
from wavisor.http.openapi import describe
from wavisor.http.permissions import PUBLIC, Permission, permissions_of
from wavisor.http.problems import NOT_FOUND, ProblemKind
from wavisor.http.routing import (
    Call,
    InstanceFrom,
    Reply,
    Route,
    RouteError,
    Router,
    check_routes,
)
from wavisor.http.schemas import Empty
from wavisor.ids import Kind

ROUTES = check_routes(ROUTERS)
COMPLETE: dict[str, Any] = {
    "method": "POST",
    "path": "/api/things/{id}",
    "operation": "changeThing",
    "summary": "Change a thing",
    "access": Permission.ACCOUNT,
    "parameters": {"id": Kind.INSTANCE},
    "responses": {200: Empty},
}


async def described(_: Call[Any, Any]) -> Reply:
    """Does something."""
    return Reply()


async def undescribed(_: Call[Any, Any]) -> Reply:
    return Reply()


def declare(**changes: Any) -> Route:
    router = Router("things", "Things.")
    arguments = {**COMPLETE, **changes}
    handler = arguments.pop("handler", described)
    router.route(arguments.pop("method"), arguments.pop("path"), **arguments)(handler)
    return router.routes[0]


def test_complete_route_is_accepted() -> None:
    assert declare().operation == "changeThing"


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "FETCH"},
        {"path": "api/things/{id}"},
        {"path": "/api/Things/{id}"},
        {"path": "/api/things/{id}/"},
        {"path": "/api/things"},
        {"parameters": {"other": Kind.INSTANCE}},
        {"operation": "change_thing"},
        {"operation": ""},
        {"summary": ""},
        {"summary": "Change a thing."},
        {"handler": undescribed},
        {"access": "account"},
        {"access": None},
        {"access": PUBLIC, "instance": InstanceFrom.HEADER},
        {"parameters": {"id": Kind.USER}, "instance": InstanceFrom.PATH},
        {"method": "GET", "body": Empty},
        {"responses": {}},
        {"responses": {404: Empty}},
    ],
)
def test_incomplete_route_fails_where_it_is_declared(changes: dict[str, Any]) -> None:
    with pytest.raises(RouteError):
        declare(**changes)


@pytest.mark.parametrize("missing", ["operation", "summary", "access", "responses"])
def test_route_without_a_part_is_no_route(missing: str) -> None:
    arguments = {name: value for name, value in COMPLETE.items() if name != missing}
    router = Router("things", "Things.")
    with pytest.raises(TypeError):
        router.route(arguments.pop("method"), arguments.pop("path"), **arguments)(described)


@pytest.mark.parametrize("changes", [{"operation": "other"}, {"path": "/api/others/{id}"}])
def test_routes_that_collide_are_refused(changes: dict[str, Any]) -> None:
    routers = []
    for more in ({}, changes):
        router = Router("things", "Things.")
        router.routes.append(declare(**more))
        routers.append(router)
    with pytest.raises(RouteError, match="twice"):
        check_routes(routers)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_every_route_is_told_completely_in_the_document(route: Route) -> None:
    operation = describe(ROUTERS)["paths"][route.path][route.method.lower()]
    assert operation["operationId"] == route.operation
    assert operation["summary"] and operation["description"]
    assert operation["tags"]
    schemes = [] if route.access is PUBLIC else ["bearer", *(["apiKey"] if route.for_keys else [])]
    schemes += ["link"] if route.linked else []
    assert operation["security"] == [{scheme: []} for scheme in schemes]
    statuses = {int(status) for status in operation["responses"]}
    assert statuses == set(route.responses) | {kind.status for kind in route.all_problems}
    assert any(status < 400 for status in statuses)
    if route.access is not PUBLIC:
        assert {401, 403} <= statuses
    if route.body is not None:
        assert {400, 413, 415, 422} <= statuses
        assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
    assert named == set(re.findall(r"\{(\w+)\}", route.path))


def test_document_is_valid_openapi() -> None:
    document = describe(ROUTERS)
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_request_models_forbid_unknown_fields_and_bound_their_text() -> None:
    document = describe(ROUTERS)
    for route in ROUTES:
        if route.body is None:
            continue
        schema = document["components"]["schemas"][route.body.__name__]
        assert schema["additionalProperties"] is False, route.operation
        for name, field in schema.get("properties", {}).items():
            forms = field.get("anyOf", [field])
            for form in forms:
                bounded = "enum" in form or form.get("format") == "date-time"
                if form.get("type") == "string" and not bounded:
                    assert "maxLength" in form, f"{route.operation}: {name}"


def test_problems_have_one_status_for_each_name() -> None:
    kinds: dict[str, ProblemKind] = {}
    for route in ROUTES:
        for kind in route.all_problems:
            assert kinds.setdefault(kind.slug, kind) == kind
    assert NOT_FOUND.type == "urn:wavisor:problem:not-found"


def test_each_role_may_do_all_that_the_next_one_may() -> None:
    granted = [permissions_of(role, is_operator=False) for role in Role]
    for more, less in itertools.pairwise(granted):
        assert more >= less
    assert all(Permission.OPERATOR not in rights for rights in granted)
    assert Permission.OPERATOR in permissions_of(Role.VIEWER, is_operator=True)
