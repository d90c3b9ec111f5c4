"""Texts with ``{{variables}}``: nothing but values in places, so nothing can be executed.

A template's content is a JSON document; a placeholder may stand in any of its texts. A value is
put in literally: braces that it brings along are not looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

__all__ = [
    "NAME_PATTERN",
    "TemplateError",
    "Variable",
    "check_content",
    "render",
    "resolve_values",
    "sample_values",
]

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_]{0,63}$"
VALUE_LIMIT = 4096
"""The longest value, in characters."""
RENDERED_LIMIT = 256 * 1024
"""The longest content with values in it, in characters; the longest message has a quarter."""

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z][A-Za-z0-9_]{0,63})\s*\}\}")

Path = tuple[str | int, ...]
Value = str | int | float | bool


class TemplateError(ValueError):
    """Content, variables or values do not fit; says where and why.

    Args:
        problems: path into the document that was given, and what is wrong there.
    """

    def __init__(self, problems: Sequence[tuple[Path, str]]) -> None:
        super().__init__("; ".join(detail for _, detail in problems))
        self.problems = tuple(problems)


class Variable(BaseModel):
    """A variable of a template."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    name: str = Field(pattern=NAME_PATTERN)
    type: Literal["text", "number", "boolean"] = "text"
    default: str | int | float | bool | None = Field(
        default=None, description="Used where no value is given; without one, a value is needed."
    )

    @model_validator(mode="after")
    def _default_fits(self) -> Variable:
        if self.default is not None:
            complaint = _complaint_about(self, self.default)
            if complaint is not None:
                raise ValueError(f"has a default that {complaint}")
        return self


def check_content(content: Mapping[str, JsonValue], variables: Sequence[Variable]) -> None:
    """Check that the placeholders are those of the variables, and all of them are used.

    Raises:
        TemplateError: they are not. Paths begin with ``content`` or ``variables``.
    """
    problems: list[tuple[Path, str]] = []
    declared: set[str] = set()
    for number, variable in enumerate(variables):
        if variable.name in declared:
            problems.append((("variables", number, "name"), "is declared twice"))
        declared.add(variable.name)
    used: set[str] = set()
    for path, text in _texts(content, ("content",)):
        used.update(_PLACEHOLDER.findall(text))
        undeclared = sorted(set(_PLACEHOLDER.findall(text)) - declared)
        if undeclared:
            problems.append((path, f"has variables that are not declared: {', '.join(undeclared)}"))
        if "{{" in _PLACEHOLDER.sub("", text):
            problems.append((path, "has a {{ that begins no placeholder such as {{name}}"))
    for number, variable in enumerate(variables):
        if variable.name not in used:
            problems.append((("variables", number, "name"), "is not used in the content"))
    if problems:
        raise TemplateError(problems)


def resolve_values(
    variables: Sequence[Variable], given: Mapping[str, JsonValue]
) -> dict[str, Value]:
    """Return the value of every variable.

    Args:
        variables: those of the template.
        given: values by name.

    Raises:
        TemplateError: a value is missing, does not fit its type, or belongs to no variable.
            Paths begin with the variable's name.
    """
    problems: list[tuple[Path, str]] = [
        ((name,), "is no variable of this template")
        for name in given
        if all(variable.name != name for variable in variables)
    ]
    values: dict[str, Value] = {}
    for variable in variables:
        value = given.get(variable.name)
        if value is None:
            value = variable.default
        if value is None:
            problems.append(((variable.name,), "is needed: it has no default"))
        elif (complaint := _complaint_about(variable, value)) is not None:
            problems.append(((variable.name,), complaint))
        else:
            assert isinstance(value, (str, int, float))  # noqa: S101 - what was just checked
            values[variable.name] = value
    if problems:
        raise TemplateError(problems)
    return values


def sample_values(variables: Sequence[Variable]) -> dict[str, Value]:
    """Return a value for every variable, by which a template's content can be tried."""
    values: dict[str, Value] = {}
    # All different, as the answers of a poll have to be; digits, which fit texts and numbers.
    for number, variable in enumerate(variables, 1):
        kinds: dict[str, Value] = {"text": str(number), "number": number, "boolean": True}
        default = variable.default
        values[variable.name] = kinds[variable.type] if default is None else default
    return values


def render(content: Mapping[str, JsonValue], values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the content with every placeholder replaced by its value.

    Args:
        content: as checked by :func:`check_content`.
        values: one for every variable, as of :func:`resolve_values`.

    Raises:
        TemplateError: it would be longer than any message may be.
    """
    written = {name: _written(value) for name, value in values.items()}
    # Before anything is put together: few letters of content can ask for gigabytes.
    if sum(_rendered_length(text, written) for _, text in _texts(content, ())) > RENDERED_LIMIT:
        raise TemplateError([((), "make the content too long")])
    return {name: _rendered(part, written) for name, part in content.items()}


def _rendered_length(text: str, written: Mapping[str, str]) -> int:
    values = sum(len(written[name]) for name in _PLACEHOLDER.findall(text))
    return len(_PLACEHOLDER.sub("", text)) + values


def _rendered(part: Any, written: Mapping[str, str]) -> Any:
    if isinstance(part, str):
        return _PLACEHOLDER.sub(lambda match: written[match.group(1)], part)
    if isinstance(part, list):
        return [_rendered(one, written) for one in part]
    if isinstance(part, dict):
        return {name: _rendered(one, written) for name, one in part.items()}
    return part


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _complaint_about(variable: Variable, value: object) -> str | None:
    if variable.type == "text":
        if not isinstance(value, str):
            return "must be a text"
        return "is too long" if len(value) > VALUE_LIMIT else None
    if variable.type == "boolean":
        return None if isinstance(value, bool) else "must be true or false"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "must be a number"
    # Compared and not converted: an integer may have more digits than a float can hold.
    return None if abs(value) < 1e15 else "is out of range"


def _texts(part: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(part, str):
        yield path, part
    elif isinstance(part, Mapping):
        for name, one in part.items():
            yield from _texts(one, (*path, name))
    elif isinstance(part, list):
        for number, one in enumerate(part):
            yield from _texts(one, (*path, number))
