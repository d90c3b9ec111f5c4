"""Lists of recipients as CSV: read strictly, line by line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from pydantic import JsonValue

from wavisor.templating import Variable

__all__ = ["RECORD_LIMIT", "Row", "SheetError", "read_rows"]

_RECIPIENT_COLUMNS = ("to", "phone")
_DELIMITERS = ",;\t|"
_SAMPLE = 8192
RECORD_LIMIT = 1_000_000
"""The longest line, in characters; 50 values of 4,096 fit, however they are quoted."""

Row = tuple[int, str, Mapping[str, JsonValue]]
"""Line in the file, recipient, and values by variable."""


class SheetError(ValueError):
    """A file that is no list of recipients; says why."""


def read_rows(path: Path, variables: Sequence[Variable]) -> Iterator[Row]:
    """Yield the recipients of a file.

    The first line names the columns: ``to`` (or ``phone``) and variables. Separators are commas,
    semicolons, tabs or bars. Empty cells are values that are not given. Blocks.

    Args:
        path: the file.
        variables: of the template; they say what is a number.

    Raises:
        SheetError: it is not UTF-8, no CSV, or has columns that nobody knows.
    """
    try:
        # utf-8-sig: spreadsheets put a mark in front of what they call UTF-8.
        with path.open(encoding="utf-8-sig", errors="strict", newline="") as stream:
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
    except UnicodeDecodeError as error:
        raise SheetError(f"is not UTF-8 (byte {error.start})") from None
    except csv.Error as error:
        raise SheetError(f"is no CSV: {error}") from None


class _Lines:
    """The lines of a file, as long as they are text and no record is longer than any need be.

    Cells are no bound: a file of nothing but commas would be millions of them in one list.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._length = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(RECORD_LIMIT + 1)
        if not line:
            raise StopIteration
        self._length += len(line)
        if self._length > RECORD_LIMIT:
            raise SheetError(f"has a line of more than {RECORD_LIMIT} characters")
        if "\0" in line:
            raise SheetError("holds NUL, which is no text")  # as in JSON
        return line

    def end_record(self) -> None:
        """Begin to count anew."""
        self._length = 0


def _delimiter(sample: str) -> str:
    first = sample.splitlines()[0] if sample else ""
    return max(_DELIMITERS, key=first.count)


def _columns(header: Sequence[str], variables: Sequence[Variable]) -> list[str]:
    names = [cell.strip() for cell in header]
    known = {variable.name for variable in variables}
    recipients = [name for name in names if name in _RECIPIENT_COLUMNS]
    if len(recipients) != 1:
        raise SheetError("needs one column that is called to, or phone")
    others = [name for name in names if name not in _RECIPIENT_COLUMNS]
    unknown = sorted(name[:100] for name in others if name not in known)
    if unknown:
        raise SheetError(f"has columns that are no variables: {', '.join(unknown[:10])}")
    if len(set(names)) != len(names):
        raise SheetError("has a column twice")
    return ["to" if name in _RECIPIENT_COLUMNS else name for name in names]


def _row(line: int, cells: Sequence[str], columns: Sequence[str], types: Mapping[str, str]) -> Row:
    if len(cells) > len(columns):
        raise SheetError(f"has more cells than columns in line {line}")
    values = dict(zip(columns, cells, strict=False))
    to = values.pop("to", "").strip()
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
