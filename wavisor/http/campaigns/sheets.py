"""Lists of recipients as CSV: read strictly, line by line."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pydantic import JsonValue

from wavisor.templating import Variable

__all__ = ["RECORD_LIMIT", "BadRow", "Row", "SheetError", "read_rows"]

_RECIPIENT = "to"
_RECIPIENT_COLUMNS = (_RECIPIENT, "phone")
_DELIMITERS = ",;\t|"
_SAMPLE = 8192
RECORD_LIMIT = 1_000_000
"""The longest line, in characters; 50 values of 4,096 fit, however they are quoted."""

# Bytes that are no UTF-8, as `surrogateescape` shows them: nothing else decodes to these.
_UNDECODABLE = re.compile("[\udc80-\udcff]")

Row = tuple[int, str, Mapping[str, JsonValue]]
"""Line in the file, recipient, and values by variable."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A line that names nobody; the lines after it are good all the same."""

    line: int
    detail: str


class SheetError(ValueError):
    """A file that is no list of recipients; says why."""


def read_rows(path: Path, variables: Sequence[Variable]) -> Iterator[Row | BadRow]:
    """Yield the recipients of a file.

    The first line names the columns: ``to`` (or ``phone``) and variables. Separators are commas,
    semicolons, tabs or bars. Empty cells are values that are not given. Blocks.

    Args:
        path: the file.
        variables: of the template; they say what is a number.

    Raises:
        SheetError: it is neither UTF-8 nor marked as UTF-16, no CSV, or has columns that nobody
            knows.
    """
    encoding, errors = _encoding(path)
    try:
        with path.open(encoding=encoding, errors=errors, newline="") as stream:
            delimiter = _delimiter(stream.read(_SAMPLE))
            stream.seek(0)
            lines = _Lines(stream)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            header = next(reader, None)
            if header is None:
                raise SheetError("is empty")
            columns = _columns(header, variables)
            types = {variable.name: variable.type for variable in variables}
            lines.end_record()
            for cells in reader:
                lines.end_record()
                if any(cells):
                    yield _row(reader.line_num, cells, columns, types)
    except UnicodeDecodeError:
        raise SheetError("is not the UTF-16 that it says it is") from None
    except csv.Error as error:
        raise SheetError(f"is no CSV: {error}") from None


def _encoding(path: Path) -> tuple[str, str]:
    """Return how a file is to be decoded, by the mark that spreadsheets put in front."""
    with path.open("rb") as stream:
        mark = stream.read(2)
    if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16", "strict"
    # Bytes that are no UTF-8 are found line by line, so that people are told where.
    return "utf-8-sig", "surrogateescape"


class _Lines:
    """The lines of a file, as long as they are text and no record is longer than any need be.

    Cells are no bound: a file of nothing but commas would be millions of them in one list.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._length = 0
        self._number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(RECORD_LIMIT + 1)
        if not line:
            raise StopIteration
        self._number += 1
        self._length += len(line)
        if self._length > RECORD_LIMIT:
            raise SheetError(f"has a line of more than {RECORD_LIMIT} characters")
        if "\0" in line:
            raise SheetError("holds NUL, which is no text")  # as in JSON
        if _UNDECODABLE.search(line):
            raise SheetError(f"is not UTF-8 (line {self._number})")
        return line

    def end_record(self) -> None:
        """Begin to count anew."""
        self._length = 0


def _delimiter(sample: str) -> str:
    first = sample.splitlines()[0] if sample else ""
    return max(_DELIMITERS, key=first.count)


def _columns(header: Sequence[str], variables: Sequence[Variable]) -> list[str]:
    known = {variable.name for variable in variables}
    names = [_column(cell.strip(), known) for cell in header]
    while names and not names[-1]:
        names.pop()  # what a spreadsheet leaves of columns that were emptied
    if names.count(_RECIPIENT) != 1:
        raise SheetError("needs one column that is called to, or phone")
    unknown = sorted(name[:100] for name in names if name not in known | {_RECIPIENT})
    if unknown:
        raise SheetError(f"has columns that are no variables: {', '.join(unknown[:10])}")
    if len(set(names)) != len(names):
        raise SheetError("has a column twice")
    return names


def _column(name: str, known: Collection[str]) -> str:
    """Return what a column holds; one called like a variable is that variable's."""
    names_people = name.lower() in _RECIPIENT_COLUMNS and name not in known
    return _RECIPIENT if names_people or name == _RECIPIENT else name


def _row(
    line: int, cells: Sequence[str], columns: Sequence[str], types: Mapping[str, str]
) -> Row | BadRow:
    if any(cell.strip() for cell in cells[len(columns) :]):
        return BadRow(line, "has more cells than there are columns")
    values = dict(zip(columns, cells, strict=False))
    # An apostrophe is what our own tables have before a `+`, and spreadsheets where it is typed.
    to = values.pop(_RECIPIENT, "").strip().removeprefix("'")
    given = {name: _value(cell, types[name]) for name, cell in values.items() if cell.strip() != ""}
    return line, to, given


def _value(cell: str, kind: str) -> JsonValue:
    if kind == "boolean":
        return {"true": True, "false": False}.get(cell.strip().lower(), cell)
    if kind == "number":
        try:
            return float(cell) if "." in cell or "e" in cell.lower() else int(cell)
        except ValueError:
            return cell  # the template says what is wrong with it
    return cell
