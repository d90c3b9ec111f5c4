"""Templates as such: placeholders, variables, values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import ValidationError

from wavisor.templating import (
    RENDERED_LIMIT,
    VALUE_LIMIT,
    TemplateError,
    Variable,
    check_content,
    render,
    resolve_values,
    sample_values,
)

NAME, COUNT, SURE = (
    Variable(name="name"),
    Variable(name="count", type="number", default=2),
    Variable(name="sure", type="boolean", default=False),
)


def complaints(content: dict[str, Any], *variables: Variable) -> list[tuple[str, str]]:
    with pytest.raises(TemplateError) as caught:
        check_content(content, variables)
    return [("/".join(map(str, path)), detail) for path, detail in caught.value.problems]


def test_placeholders_are_found_in_every_text() -> None:
    content = {
        "text": "{{name}} and {{ name }}",
        "options": ["{{count}}", {"deep": "{{sure}}"}],
        "number": 7,
        "none": None,
    }
    check_content(content, [NAME, COUNT, SURE])
    values = resolve_values([NAME, COUNT, SURE], {"name": "Ann", "count": 1.0})
    assert render(content, values) == {
        "text": "Ann and Ann",
        "options": ["1", {"deep": "false"}],
        "number": 7,
        "none": None,
    }


def test_a_value_is_put_in_literally() -> None:
    values = {"name": r"{{count}} \1 {% x %}", "count": 3}
    assert render({"text": "{{name}}{{count}}"}, values) == {"text": r"{{count}} \1 {% x %}3"}


def test_content_and_variables_must_agree() -> None:
    assert complaints({"text": "{{who}} {{name}} {{what}}"}, NAME) == [
        ("content/text", "has variables that are not declared: what, who")
    ]
    assert complaints({"text": "hello"}, NAME) == [
        ("variables/0/name", "is not used in the content")
    ]
    assert complaints({"text": "{{name}}"}, NAME, NAME)[0] == (
        "variables/1/name",
        "is declared twice",
    )


@pytest.mark.parametrize("text", ["{{", "{{}}", "{{1st}}", "{{name", "{{ name.upper() }}", "{{{{"])
def test_a_stray_brace_is_no_literal(text: str) -> None:
    assert complaints({"list": ["fine", text]}) == [
        ("content/list/1", "has a {{ that begins no placeholder such as {{name}}")
    ]


@pytest.mark.parametrize(
    ("variable", "value", "detail"),
    [
        (NAME, 1, "must be a text"),
        (NAME, "x" * 4097, "is too long"),
        (NAME, None, "is needed: it has no default"),
        (NAME, ["x"], "must be a text"),
        (COUNT, "1", "must be a number"),
        (COUNT, True, "must be a number"),
        (COUNT, 1e15, "is out of range"),
        (COUNT, 10**400, "is out of range"),
        (COUNT, -(10**400), "is out of range"),
        (COUNT, float("inf"), "is out of range"),
        (COUNT, float("nan"), "is out of range"),
        (SURE, 1, "must be true or false"),
        (SURE, "yes", "must be true or false"),
    ],
)
def test_values_fit_their_types(variable: Variable, value: Any, detail: str) -> None:
    with pytest.raises(TemplateError) as caught:
        resolve_values([variable], {variable.name: value})
    assert caught.value.problems == (((variable.name,), detail),)


def test_missing_and_extra_values_are_all_named() -> None:
    with pytest.raises(TemplateError) as caught:
        resolve_values([NAME, COUNT], {"nmae": "Ann"})
    assert caught.value.problems == (
        (("nmae",), "is no variable of this template"),
        (("name",), "is needed: it has no default"),
    )


@pytest.mark.parametrize(
    "declared",
    [
        {"name": "1st"},
        {"name": ""},
        {"name": "a" * 65},
        {"name": "a", "type": "date"},
        {"name": "a", "type": "number", "default": "2"},
        {"name": "a", "default": 2},
        {"name": "a", "type": "number", "default": 10**400},
        {"name": "a", "more": 1},
    ],
)
def test_a_variable_is_declared_well(declared: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Variable.model_validate(declared)


@given(some.dictionaries(some.sampled_from(["name", "other"]), some.text(max_size=20), min_size=2))
def test_only_placeholders_change(values: dict[str, str]) -> None:
    rendered = render({"text": "<{{name}}|{{ other }}>"}, values)
    assert rendered == {"text": f"<{values['name']}|{values['other']}>"}


def test_a_value_cannot_be_multiplied_without_bound() -> None:
    content = {"text": "{{name}}" * 60, "options": ["{{name}}" * 5, "x"]}
    longest = {"name": "x" * VALUE_LIMIT}
    rendered = render({"text": "{{name}}" * 64}, longest)
    assert len(rendered["text"]) == RENDERED_LIMIT
    with pytest.raises(TemplateError, match="too long"):
        render(content, longest)
    with pytest.raises(TemplateError, match="too long"):
        render({"text": "{{name}}" * 60_000}, longest)


def test_samples_fit_their_own_variables() -> None:
    samples = sample_values([NAME, COUNT, SURE])
    assert resolve_values([NAME, COUNT, SURE], dict(samples)) == samples
    assert samples["count"] == 2
