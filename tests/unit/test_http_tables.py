"""CSV that a spreadsheet can open without harm."""

from __future__ import annotations

import pytest

from wavisor.http.tables import csv_table


def test_values_are_quoted_where_they_must_be() -> None:
    table = csv_table(["a", "b"], [["x,y", 'say "hi"'], [None, "two\nlines"], [1, -2.5]])
    assert table == b'a,b\r\n"x,y","say ""hi"""\r\n,"two\nlines"\r\n1,-2.5\r\n'


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_run_is_disarmed(text: str) -> None:
    (line,) = csv_table(["a"], [[text]]).decode().split("\r\n", 1)[1:]
    assert line.strip('"').startswith("'")
