from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from wavisor.http.bodies import read_body, read_query
from wavisor.http.problems import (
    CONTENT_TYPE_UNSUPPORTED,
    MALFORMED_REQUEST,
    VALIDATION_FAILED,
    ProblemError,
    ProblemKind,
)
from wavisor.http.schemas import ApiModel, Empty, Name, PageQuery

JSON = "application/json"


class Inner(ApiModel):
    some_text: str = Field(max_length=5)


class Thing(ApiModel):
    display_name: Name
    count: int = 0
    inner: list[Inner] = Field(default_factory=list)


def refusal(
    raw: bytes, content_type: str | None = JSON, encoding: str | None = None
) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        read_body(raw, content_type, encoding, Thing)
    return caught.value


def kind(raw: bytes) -> ProblemKind:
    return refusal(raw).kind


def pointers(error: ProblemError) -> list[str | None]:
    return [one.pointer for one in error.errors]


class Secret(ApiModel):
    password: SecretStr = Field(min_length=10, max_length=12)


@pytest.mark.parametrize(("password", "bound"), [("x" * 9, "least 10"), ("x" * 13, "most 12")])
def test_length_of_a_secret_is_told_in_characters(password: str, bound: str) -> None:
    with pytest.raises(ProblemError) as caught:
        read_body(json.dumps({"password": password}).encode(), JSON, None, Secret)
    (problem,) = caught.value.errors
    assert problem.detail == f"Should have at {bound} characters"


def test_body_becomes_a_model() -> None:
    raw = '{"displayName": " Zoë ", "count": 3, "inner": [{"someText": "\\ud83d\\ude00"}]}'
    thing = read_body(raw.encode(), "Application/JSON; charset=UTF-8", "identity", Thing)
    assert thing == Thing(display_name="Zoë", count=3, inner=[Inner(some_text="😀")])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"displayName": "a"} trailing',
        b'{"displayName": "a", "displayName": "b"}',
        b'{"displayName": "a", "inner": [{"x": 1, "x": 1}]}',
        b'{"displayName": "a", "count": NaN}',
        b'{"displayName": "a", "count": -Infinity}',
        b'{"displayName": "a", "count": 1e999}',
        b'{"displayName": "a", "count": ' + b"9" * 5000 + b"}",
        b'{"displayName": "\xff"}',
        b'{"displayName": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"displayName": "a"}',
        b'{"displayName": "a\x00b"}',
        b'{"displayName": ' + b"[" * 40 + b"]" * 40 + b"}",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"'single'",
    ],
)
def test_what_is_no_strict_json_is_malformed(raw: bytes) -> None:
    assert kind(raw) is MALFORMED_REQUEST


@pytest.mark.parametrize("piece", ["[]", "{}", "[[],[]]", '{"a": {}}'])
def test_a_crowd_of_objects_and_lists_is_malformed_before_anybody_looks_at_it(piece: str) -> None:
    raw = '{"inner": [' + ",".join([piece] * 100_001) + "]}"
    assert kind(raw.encode()) is MALFORMED_REQUEST


def test_thousands_of_objects_are_fine_and_brackets_in_texts_are_none() -> None:
    items = ",".join(['{"someText": "x"}'] * 20_000)
    found = read_body(f'{{"displayName": "a", "inner": [{items}]}}'.encode(), JSON, None, Thing)
    assert len(found.inner) == 20_000
    brackets = "[" * 200_000
    assert kind(f'{{"displayName": "{brackets}"}}'.encode()) is VALIDATION_FAILED
    assert kind(f'"{brackets}"'.encode()) is VALIDATION_FAILED


def test_what_is_nested_in_whatever_way_is_malformed() -> None:
    for opening, closing in (('{"a":', "}"), ("[0,", "]")):
        assert kind((opening * 40 + "1" + closing * 40).encode()) is MALFORMED_REQUEST
        assert kind((opening * 30 + "1" + closing * 30).encode()) is VALIDATION_FAILED


@pytest.mark.parametrize("text", [r"a\u0000b", r"\ud800", r"x\uDFFFy", r"\udc00\ud800"])
def test_text_that_cannot_be_stored_is_named(text: str) -> None:
    error = refusal(f'{{"displayName": "a", "inner": [{{"someText": "{text}"}}]}}'.encode())
    assert error.kind is VALIDATION_FAILED
    assert pointers(error) == ["#/inner/0/someText"]


def test_member_name_that_cannot_be_stored_is_refused() -> None:
    assert kind(rb'{"displayName": "a", "\u0000": 1}') is VALIDATION_FAILED


def test_surrogates_in_a_member_name_do_not_break_the_answer() -> None:
    error = refusal(rb'{"displayName": "a", "\ud800": {"x": "\u0000"}}')
    json.dumps(error.document(path="/", request_id="r"), ensure_ascii=False).encode()


def test_every_wrong_field_is_named_at_once() -> None:
    error = refusal(
        b'{"count": "3", "unknown": 1, "inner": [{"someText": "toolong"}], "display_name": "x"}'
    )
    assert error.kind is VALIDATION_FAILED
    assert sorted(pointers(error), key=str) == [
        "#/count",
        "#/displayName",
        "#/display_name",
        "#/inner/0/someText",
        "#/unknown",
    ]


def test_pointers_are_escaped() -> None:
    assert pointers(refusal(b'{"displayName": "a", "a/b~c": 1}')) == ["#/a~1b~0c"]


def test_wrong_input_never_comes_back() -> None:
    error = refusal(b'{"displayName": "a", "inner": [{"someText": "very-secret"}]}')
    assert "very-secret" not in str(error.document(path="/", request_id="r"))


@pytest.mark.parametrize("name", ["", "   ", "two\\nlines", "x" * 101])
def test_names_are_one_bounded_line(name: str) -> None:
    assert pointers(refusal(f'{{"displayName": "{name}"}}'.encode())) == ["#/displayName"]


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        (None, None),
        ("text/plain", None),
        ("application/x-www-form-urlencoded", None),
        ("application/json; charset=latin-1", None),
        ("application/jsonx", None),
        (";;;", None),
        (JSON, "gzip"),
    ],
)
def test_other_content_is_refused(content_type: str | None, encoding: str | None) -> None:
    error = refusal(b'{"displayName": "a"}', content_type, encoding)
    assert error.kind is CONTENT_TYPE_UNSUPPORTED


def test_no_body_is_fine_where_no_field_is_needed() -> None:
    assert read_body(b"", None, None, Empty) == Empty()


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_model_or_a_problem(raw: bytes) -> None:
    try:
        read_body(raw, JSON, None, Thing)
    except ProblemError as error:
        json.dumps(error.document(path="/", request_id="r"), ensure_ascii=False).encode()


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


# The first text of a checkout waits for hypothesis to make its tables of characters.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(["displayName", "count", "inner", "x"]), _values))
def test_any_json_ends_in_a_model_or_a_problem(document: object) -> None:
    try:
        read_body(json.dumps(document).encode(), JSON, None, Thing)
    except ProblemError as error:
        json.dumps(error.document(path="/", request_id="r"), ensure_ascii=False).encode()


def test_query_becomes_a_model() -> None:
    assert read_query("limit=7&cursor=abc", PageQuery) == PageQuery(limit=7, cursor="abc")
    assert read_query("", PageQuery) == PageQuery()


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=", "cursor"),
        ("cursor=a%00b", "cursor"),
        ("surprise=1", "surprise"),
    ],
)
def test_wrong_parameter_is_named(query: str, parameter: str) -> None:
    with pytest.raises(ProblemError) as caught:
        read_query(query, PageQuery)
    assert caught.value.kind is VALIDATION_FAILED
    assert [one.parameter for one in caught.value.errors] == [parameter]


@pytest.mark.parametrize("query", ["%ff=1", "cursor=%ff", "limit", "a=1&" * 60])
def test_unreadable_query_is_malformed(query: str) -> None:
    with pytest.raises(ProblemError) as caught:
        read_query(query, PageQuery)
    assert caught.value.kind is MALFORMED_REQUEST


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=60))
def test_any_query_ends_in_a_model_or_a_problem(query: str) -> None:
    try:
        read_query(query, PageQuery)
    except ProblemError as error:
        assert error.kind in (MALFORMED_REQUEST, VALIDATION_FAILED)
