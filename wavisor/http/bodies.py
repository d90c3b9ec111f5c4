"""Reading request bodies and query strings, strictly.

What the standard JSON parser lets pass and a strict API must not: duplicate keys, NaN and
Infinity, bottomless nesting, lone surrogates, and NUL, which PostgreSQL cannot store.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from email.message import Message
from typing import Any, NoReturn, TypeVar, get_origin
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from wavisor.http.problems import (
    CONTENT_TYPE_UNSUPPORTED,
    MALFORMED_REQUEST,
    VALIDATION_FAILED,
    FieldProblem,
    ProblemError,
    pointer_to,
)
from wavisor.http.schemas import plain_message

__all__ = ["is_optional", "problems_of", "read_body", "read_form", "read_query"]

ModelT = TypeVar("ModelT", bound=BaseModel)

_DEPTH_LIMIT = 32
_CONTAINER_LIMIT = 100_000
_SUSPICIOUS = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_QUERY_FIELD_LIMIT = 50
_ERROR_LIMIT = 20


def read_body(
    raw: bytes | bytearray,
    content_type: str | None,
    content_encoding: str | None,
    model: type[ModelT],
) -> ModelT:
    """Return the body as an instance of ``model``.

    Raises:
        ProblemError: 400 for what is no JSON, 415 for another content type, 422 for JSON that
            does not fit the model.
    """
    if not raw and is_optional(model):
        return _validated(b"{}", model)
    _check_content_type(content_type, content_encoding)
    if not raw:
        raise ProblemError(MALFORMED_REQUEST, "A JSON body is needed.")
    _check_document(raw)
    return _validated(raw, model)


def _validated(raw: bytes | bytearray, model: type[ModelT]) -> ModelT:
    try:
        return model.model_validate_json(raw, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise ProblemError(VALIDATION_FAILED, errors=problems_of(error)) from None


def read_form(fields: Sequence[tuple[str, str]], model: type[ModelT]) -> ModelT:
    """Return the fields of a form as an instance of ``model``.

    Texts become numbers and booleans where the model has such; a list is a field that comes more
    than once.

    Raises:
        ProblemError: 422 for what does not fit the model.
    """
    lists = {
        info.alias or name for name, info in model.model_fields.items() if _is_list(info.annotation)
    }
    values: dict[str, Any] = {}
    for name, value in fields:
        if _unstorable(name) or _unstorable(value):
            _refuse_field(name, "contains characters that cannot be stored")
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            _refuse_field(name, "is given more than once")
        else:
            values[name] = value
    try:
        return model.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        raise ProblemError(VALIDATION_FAILED, errors=problems_of(error)) from None


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) in (list, tuple)


def _refuse_field(name: str, detail: str) -> NoReturn:
    problem = FieldProblem(detail=detail, pointer=pointer_to((name,)))
    raise ProblemError(VALIDATION_FAILED, errors=[problem])


def is_optional(model: type[BaseModel]) -> bool:
    """Tell whether a body of this model may be left out: when none of its fields is required."""
    return not any(field.is_required() for field in model.model_fields.values())


def read_query(query: str, model: type[ModelT]) -> ModelT:
    """Return the query string as an instance of ``model``.

    Raises:
        ProblemError: 400 for what is no query string, 422 for what does not fit the model.
    """
    values: dict[str, str] = {}
    for name, value in _query_pairs(query):
        if name in values:
            _refuse_parameter(name, "is given more than once")
        if _unstorable(value):
            _refuse_parameter(name, "contains characters that cannot be stored")
        values[name] = value
    try:
        return model.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [
            FieldProblem(
                detail=plain_message(item["msg"]),
                parameter=str(item["loc"][0]) if item["loc"] else None,
            )
            for item in _errors_of(error)
        ]
        raise ProblemError(VALIDATION_FAILED, errors=problems) from None


def _check_content_type(content_type: str | None, content_encoding: str | None) -> None:
    if content_encoding not in (None, "", "identity"):
        raise ProblemError(CONTENT_TYPE_UNSUPPORTED, "Send the body without Content-Encoding.")
    parsed = Message()
    parsed["content-type"] = content_type or ""
    charset = str(parsed.get_param("charset", "utf-8")).lower()
    # get_content_type answers text/plain for what it cannot read.
    if parsed.get_content_type() != "application/json" or charset not in ("utf-8", "utf8"):
        raise ProblemError(CONTENT_TYPE_UNSUPPORTED, "Send the body as application/json in UTF-8.")


def _check_document(raw: bytes | bytearray) -> None:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ProblemError(MALFORMED_REQUEST, "The body is not valid UTF-8.") from None
    document = _parse(text)
    if text.count("[") + text.count("{") > _DEPTH_LIMIT:
        _check_shape(document)
    # Walking through a large document takes long, so only where there is something to find. NUL
    # and half a pair can only come as an escape: raw, the one is no JSON and the other no UTF-8.
    if _SUSPICIOUS.search(text):
        _check_values(document)


def _parse(text: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_members,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except ProblemError:
        raise
    except json.JSONDecodeError as error:
        detail = f"The body is not valid JSON: line {error.lineno}, column {error.colno}."
        raise ProblemError(MALFORMED_REQUEST, detail) from None
    except RecursionError:
        raise ProblemError(MALFORMED_REQUEST, "The JSON is nested too deeply.") from None
    except ValueError:
        # An integer with more digits than Python converts.
        raise ProblemError(MALFORMED_REQUEST, "The JSON holds a number out of range.") from None


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ProblemError(MALFORMED_REQUEST, "The JSON names a member twice.")
    return members


def _refuse_constant(_: str) -> NoReturn:
    raise ProblemError(MALFORMED_REQUEST, "NaN and Infinity are no JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ProblemError(MALFORMED_REQUEST, "The JSON holds a number out of range.")
    return number


def _check_shape(document: Any) -> None:
    """Refuse nesting, and numbers of objects and lists, that nobody needs and all would wait for.

    A megabyte of nothing but brackets would keep the event loop busy for a second.
    """
    layer = [document] if isinstance(document, (dict, list)) else []
    seen = 0
    for _ in range(_DEPTH_LIMIT + 1):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        seen += len(layer)
        if seen > _CONTAINER_LIMIT:
            raise ProblemError(MALFORMED_REQUEST, "The JSON holds too many objects and lists.")
        if not layer:
            return
    raise ProblemError(MALFORMED_REQUEST, "The JSON is nested too deeply.")


def _check_values(document: Any) -> None:
    """Refuse text that cannot be stored."""
    problems: list[FieldProblem] = []
    remaining: list[tuple[Any, tuple[str | int, ...]]] = [(document, ())]
    while remaining and len(problems) < _ERROR_LIMIT:
        value, path = remaining.pop()
        if isinstance(value, str) and _unstorable(value):
            problems.append(
                FieldProblem(
                    detail="contains NUL or half a surrogate pair", pointer=pointer_to(path)
                )
            )
        elif isinstance(value, dict):
            if any(_unstorable(name) for name in value):
                problems.append(
                    FieldProblem(
                        detail="has a member name with NUL or half a surrogate pair",
                        pointer=pointer_to(path),
                    )
                )
            remaining.extend((item, (*path, name)) for name, item in value.items())
        elif isinstance(value, list):
            remaining.extend((item, (*path, index)) for index, item in enumerate(value))
    if problems:
        raise ProblemError(VALIDATION_FAILED, errors=problems)


def _unstorable(text: str) -> bool:
    if "\0" in text:
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _query_pairs(query: str) -> Iterable[tuple[str, str]]:
    try:
        return parse_qsl(
            query,
            keep_blank_values=True,
            strict_parsing=bool(query),
            errors="strict",
            max_num_fields=_QUERY_FIELD_LIMIT,
        )
    except ValueError:
        raise ProblemError(MALFORMED_REQUEST, "The query string cannot be read.") from None


def _refuse_parameter(name: str, detail: str) -> NoReturn:
    parameter = name.encode("utf-8", "replace").decode("utf-8")[:100]
    raise ProblemError(VALIDATION_FAILED, errors=[FieldProblem(detail=detail, parameter=parameter)])


def problems_of(error: ValidationError) -> list[FieldProblem]:
    """Return what is wrong with the fields of a body, without quoting them."""
    return [
        FieldProblem(detail=plain_message(item["msg"]), pointer=pointer_to(item["loc"]))
        for item in _errors_of(error)
    ]


def _errors_of(error: ValidationError) -> Sequence[Any]:
    # Inputs stay out: a password that is too long must not come back in the answer.
    return error.errors(include_url=False, include_input=False, include_context=False)[
        :_ERROR_LIMIT
    ]
