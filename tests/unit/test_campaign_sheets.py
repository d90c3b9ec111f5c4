"""Recipients as CSV, as spreadsheets and people write it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wavisor.http.campaigns.sheets import RECORD_LIMIT, BadRow, SheetError, read_rows
from wavisor.templating import Variable

VARIABLES = (
    Variable(name="name"),
    Variable(name="amount", type="number", default=0),
    Variable(name="member", type="boolean", default=False),
)


def read(tmp_path: Path, content: str | bytes) -> list[tuple[int, str, dict[str, object]]]:
    path = tmp_path / "list.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = []
    for row in read_rows(path, VARIABLES):
        assert not isinstance(row, BadRow)
        rows.append((row[0], row[1], dict(row[2])))
    return rows


def complaint(tmp_path: Path, content: str | bytes) -> str:
    with pytest.raises(SheetError) as caught:
        read(tmp_path, content)
    return str(caught.value)


def test_columns_are_named_by_the_first_line(tmp_path: Path) -> None:
    rows = read(tmp_path, 'name,to,amount,member\nAnn,+15550100,1.5,TRUE\n"B, en",15550101,2,\n')
    assert rows == [
        (2, "+15550100", {"name": "Ann", "amount": 1.5, "member": True}),
        (3, "15550101", {"name": "B, en", "amount": 2}),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_recognised(tmp_path: Path, separator: str) -> None:
    lines = "\r\n".join(separator.join(cells) for cells in (("phone", "name"), ("+1555", "Ann")))
    assert read(tmp_path, lines) == [(2, "+1555", {"name": "Ann"})]


def test_a_mark_quotes_line_breaks_and_empty_lines_are_no_harm(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbfto,name\n\n+1555,"Ann ""A"""\n+1556,"two\nlines"\n,\n'
    assert read(tmp_path, content) == [
        (3, "+1555", {"name": 'Ann "A"'}),
        (5, "+1556", {"name": "two\nlines"}),
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_what_spreadsheets_call_unicode_is_read(tmp_path: Path, encoding: str) -> None:
    content = "to\tname\r\n+1555\tJürgen 😀\r\n".encode(encoding)
    assert read(tmp_path, content) == [(2, "+1555", {"name": "Jürgen 😀"})]


def test_utf_16_of_the_other_order_is_read(tmp_path: Path) -> None:
    content = b"\xfe\xff" + "to,name\n+1555,Ann\n".encode("utf-16-be")
    assert read(tmp_path, content) == [(2, "+1555", {"name": "Ann"})]


def test_letter_case_and_emptied_columns_are_no_harm(tmp_path: Path) -> None:
    content = "To,name,,\n+1555,Ann,,\n+1556,Ben\n"
    assert [to for _, to, _ in read(tmp_path, content)] == ["+1555", "+1556"]


def test_a_column_called_like_a_variable_is_that_variable(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("to,phone\n+1555,+1556\n")
    assert list(read_rows(path, [Variable(name="phone")])) == [(2, "+1555", {"phone": "+1556"})]


def test_a_number_of_our_own_tables_is_one_again(tmp_path: Path) -> None:
    assert read(tmp_path, "to\n'+1555\n")[0][1] == "+1555"


def test_a_line_of_too_many_cells_is_bad_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("to,name\n+1555,a,b\n+1556,c\n")
    assert list(read_rows(path, VARIABLES)) == [
        BadRow(2, "has more cells than there are columns"),
        (3, "+1556", {"name": "c"}),
    ]


def test_formulas_are_texts_like_others(tmp_path: Path) -> None:
    assert read(tmp_path, "to,name\n+1555,=1+1\n")[0][2] == {"name": "=1+1"}


def test_what_is_no_number_stays_as_it_is_and_is_refused_later(tmp_path: Path) -> None:
    rows = read(tmp_path, "to,amount,member\n+1555,many,perhaps\n")
    assert rows[0][2] == {"amount": "many", "member": "perhaps"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("name\nAnn\n", "needs one column that is called to, or phone"),
        ("to,phone\n1,2\n", "needs one column that is called to, or phone"),
        ("to,nmae\n1,Ann\n", "has columns that are no variables: nmae"),
        ("to,name,name\n1,a,b\n", "has a column twice"),
        ("to,,name\n1,,a\n", "has columns that are no variables: "),
        ('to,name\n1,"a\n', "is no CSV"),
        ("to,name\n1,Jürgen\n".encode("latin-1"), "is not UTF-8 (line 2)"),
        (b"to,name\n" + b"1,Ann\n" * 5000 + b"1,J\xfcrgen\n", "is not UTF-8 (line 5002)"),
        ("to,J\xfc\n1,Ann\n".encode("latin-1"), "is not UTF-8 (line 1)"),
        ("to,name\n1,Ann\n".encode("utf-16") + b"\x00", "is not the UTF-16 that it says it is"),
    ],
)
def test_what_is_no_list_of_recipients_is_said(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    assert words in complaint(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        "," * (RECORD_LIMIT + 1),
        "to,name\n+1555,Ann\n" + "," * (RECORD_LIMIT + 1),
        "to,name\n+1555" + ',"\n"' * (RECORD_LIMIT // 4 + 1),
        "to,name\n+1555," + "x" * 140_000,
    ],
)
def test_a_line_of_any_length_is_not_taken_in(tmp_path: Path, content: str) -> None:
    assert re.search("more than 1000000 characters|field larger than", complaint(tmp_path, content))


def test_files_may_be_longer_than_a_line(tmp_path: Path) -> None:
    row = f"+1555,{'x' * 4096}\n"
    assert len(read(tmp_path, "to,name\n" + row * 500)) == 500


def test_what_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    assert "NUL" in complaint(tmp_path, "to,name\n+1555,A\0n\n")
