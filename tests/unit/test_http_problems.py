"""Problem documents: what they always say, and what the OpenAPI document says of them."""

from __future__ import annotations

import json

import pytest

from support.conformance import objections
from wavisor.http.problems import (
    NOT_FOUND,
    RATE_LIMITED,
    VALIDATION_FAILED,
    FieldProblem,
    ProblemError,
    ProblemKind,
)

KIND = ProblemKind("some-problem", 409, "Something is in the way")


def document(error: ProblemError) -> dict[str, object]:
    return error.document(path="/api/things", request_id="req_1")


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (ProblemError(KIND, "This time it is a cat."), "This time it is a cat."),
        (ProblemError(NOT_FOUND), NOT_FOUND.advice),
        (ProblemError(KIND), KIND.title),
        (
            ProblemError(
                VALIDATION_FAILED,
                errors=[
                    FieldProblem(detail="is too long", pointer="#/name"),
                    FieldProblem(detail="is unknown", parameter="limt"),
                    FieldProblem(detail="is nonsense"),
                    FieldProblem(detail="is missing", pointer="#/to"),
                    FieldProblem(detail="is missing", pointer="#/text"),
                ],
            ),
            "#/name: is too long; limt: is unknown; is nonsense; and 2 more",
        ),
    ],
)
def test_every_problem_has_a_detail(error: ProblemError, detail: str) -> None:
    found = document(error)
    assert found["detail"] == detail
    assert {"type", "title", "status", "instance", "requestId"} <= set(found)


@pytest.mark.parametrize(
    "error",
    [
        ProblemError(RATE_LIMITED, extensions={"layer": "address", "limit": 10}),
        ProblemError(VALIDATION_FAILED, errors=[FieldProblem(detail="no", pointer="#/name")]),
    ],
)
def test_every_problem_is_what_the_document_says_of_it(error: ProblemError) -> None:
    answered = json.dumps(document(error)).encode()
    headers = {"Content-Type": "application/problem+json"}
    status = error.kind.status
    assert objections("POST", "/api/instances", status, headers, answered) == []
    assert objections("POST", "/api/instances", 418, headers, answered) != []
    bare = json.dumps({"type": "urn:x", "status": status}).encode()
    missing = objections("POST", "/api/instances", status, headers, bare)
    assert any("'detail' is a required property" in one for one in missing)
