"""From a template and values to the request that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue, ValidationError

from wavisor.http.messages.kinds import KINDS
from wavisor.http.messages.requests import SendBody
from wavisor.http.problems import VALIDATION_FAILED, FieldProblem, ProblemError, pointer_to
from wavisor.http.schemas import plain_message
from wavisor.storage import TemplateRecord
from wavisor.templating import (
    TemplateError,
    Variable,
    check_content,
    render,
    resolve_values,
    sample_values,
)

__all__ = ["body_of", "check_template", "content_with"]

_ANYBODY = "+4915112345678"
# A file goes by its URL: a template is no place to keep one.
_OF_EACH_SEND = {field.alias or name for name, field in SendBody.model_fields.items()}
_NOT_KEPT = _OF_EACH_SEND | {"base64"}


def check_template(
    kind: str, content: Mapping[str, JsonValue], variables: Sequence[Variable]
) -> None:
    """Check that a template can be sent, given the right values.

    Raises:
        ProblemError: its content, or its variables, do not fit.
    """
    problems = [
        FieldProblem(detail="belongs to each send, not to a template", pointer=f"#/content/{name}")
        for name in content
        if name in _NOT_KEPT
    ]
    if problems:
        raise ProblemError(VALIDATION_FAILED, errors=problems)
    try:
        check_content(content, variables)
    except TemplateError as error:
        raise _problem(error) from None
    try:
        rendered = render(content, sample_values(variables))
    except TemplateError as error:
        raise _problem(error, "variables") from None
    try:
        KINDS[kind].body.model_validate({**rendered, "to": _ANYBODY}, by_alias=True, by_name=False)
    except ValidationError as error:
        raise ProblemError(
            VALIDATION_FAILED, errors=list(_field_problems(error, "content"))
        ) from None


def content_with(template: TemplateRecord, values: Mapping[str, JsonValue]) -> dict[str, Any]:
    """Return what a template says with these values.

    Raises:
        ProblemError: a value is missing, does not fit, or belongs to no variable.
    """
    variables = [Variable.model_validate(one) for one in template.variables]
    try:
        return render(template.content, resolve_values(variables, values))
    except TemplateError as error:
        raise _problem(error, "variables") from None


def body_of(template: TemplateRecord, values: Mapping[str, JsonValue], sent: SendBody) -> SendBody:
    """Return the request that sends a template.

    Args:
        template: what it says.
        values: of its variables.
        sent: to whom it goes, and how.

    Raises:
        ProblemError: the values do not fit, or what they make of the message cannot be sent.
    """
    content = content_with(template, values)
    options = {
        name: getattr(sent, name) for name in sent.model_fields_set if name in SendBody.model_fields
    }
    model = KINDS[template.kind].body
    aliased = {model.model_fields[name].alias or name: value for name, value in options.items()}
    try:
        body = model.model_validate({**content, **aliased}, by_alias=True, by_name=False)
    except ValidationError as error:
        # What the values made of the content does not fit: a text too long, a number out of range.
        raise ProblemError(
            VALIDATION_FAILED, errors=list(_field_problems(error, "variables", whole=True))
        ) from None
    assert isinstance(body, SendBody)  # noqa: S101 - no template is a reaction
    return body


def _problem(error: TemplateError, *prefix: str) -> ProblemError:
    return ProblemError(
        VALIDATION_FAILED,
        errors=[
            FieldProblem(detail=detail, pointer=pointer_to((*prefix, *path)))
            for path, detail in error.problems
        ],
    )


def _field_problems(
    error: ValidationError, under: str, *, whole: bool = False
) -> Sequence[FieldProblem]:
    found = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        detail = plain_message(item["msg"])
        where = ".".join(map(str, item["loc"]))
        if whole:
            # The fault is in the values, whichever of them; the field is named in words.
            found.append(FieldProblem(detail=f"{where}: {detail}", pointer=f"#/{under}"))
        else:
            found.append(FieldProblem(detail=detail, pointer=pointer_to((under, *item["loc"]))))
    return found
