"""docs/instances.md tells every status, command and reason there is."""

from __future__ import annotations

import re
from pathlib import Path

from wavisor.domain import ALLOWED_COMMANDS, InstanceCommand, InstanceStatus, Reason

GUIDE = (Path(__file__).parents[2] / "docs" / "instances.md").read_text()
STATUSES = {status.value for status in InstanceStatus}


def rows(section: str) -> list[list[str]]:
    """The cells of all rows of a section's tables, without their heads."""
    text = re.split(rf"^## {section}$", GUIDE, flags=re.MULTILINE)[1].split("\n## ")[0]
    lines = re.findall(r"^\|(.+)\|$", text, re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    heads = {index - 1 for index, row in enumerate(cells) if set(row[0]) <= {"-"}}
    return [row for index, row in enumerate(cells) if not {index, index - 1} & heads]


def named(cell: str) -> set[str]:
    return set(re.findall(r"`([\w-]+)`", cell))


def test_every_status_is_told() -> None:
    assert [row[0].strip("`") for row in rows("Statuses")] == [one.value for one in InstanceStatus]


def test_every_command_is_told_with_the_statuses_that_allow_it() -> None:
    told = {}
    for command, _, where in rows("Commands"):
        mentioned = named(where.split(",", 1)[0] if where.startswith("all,") else where)
        told[command.strip("`")] = STATUSES - mentioned if where.startswith("all") else mentioned
    allowed = {
        command.value: {status.value for status, may in ALLOWED_COMMANDS.items() if command in may}
        for command in InstanceCommand
        if command is not InstanceCommand.QR  # a GET: see Linking
    }
    assert told == allowed


def test_every_reason_is_told_once() -> None:
    told = [name for row in rows("Reasons") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(told) == sorted(reason.value for reason in Reason)
