"""Recipients as CSV, as spreadsheets and people write it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wavisor.http.campaigns.sheets import RECORD_LIMIT, SheetError, read_rows
from wavisor.templating import Variable

VARIABLES = (
    Variable(name="name"),
    Variable(name="amount", type="number", default=0),
    Variable(name="member", type="boolean", default=False),
)


def read(tmp_path: Path, content: str | bytes) -> list[tuple[int, str, dict[str, object]]]:
    path = tmp_path / "list.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(line, to, dict(values)) for line, to, values in read_rows(path, VARIABLES)]


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
        ("to,name\n1,a,b\n", "has more cells than columns in line 2"),
        ('to,name\n1,"a\n', "is no CSV"),
        ("to,name\n1,Jürgen\n".encode("latin-1"), "is not UTF-8 (byte 11)"),
        ("to,name\n1,Ann\n".encode("utf-16"), "is not UTF-8"),
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
