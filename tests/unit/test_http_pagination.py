from __future__ import annotations

import base64

import pytest

from wavisor.http.pagination import decode_cursor, encode_cursor
from wavisor.http.problems import VALIDATION_FAILED, ProblemError
from wavisor.ids import Kind, new_id


def test_cursor_comes_back_as_the_id_it_was_made_of() -> None:
    identifier = new_id(Kind.INSTANCE)
    cursor = encode_cursor(identifier)
    assert cursor is not None
    assert identifier not in cursor
    assert decode_cursor(cursor, Kind.INSTANCE) == identifier


def test_there_is_no_cursor_before_the_first_and_after_the_last_page() -> None:
    assert encode_cursor(None) is None
    assert decode_cursor(None, Kind.INSTANCE) is None


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%%%",
        "ÄÖ",
        encode_cursor("msg_01M81VTZJMCZ6FWHJSRQ1YDTZ1"),
        base64.urlsafe_b64encode(b"ins_01M81VTZJMCZ6FWHJSRQ1YDTZ2").decode(),
        base64.urlsafe_b64encode(b"1:ins_nonsense").decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_anything_else_is_no_cursor(cursor: str) -> None:
    with pytest.raises(ProblemError) as caught:
        decode_cursor(cursor, Kind.INSTANCE)
    assert caught.value.kind is VALIDATION_FAILED
    assert caught.value.errors[0].parameter == "cursor"
