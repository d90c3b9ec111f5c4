"""Whoever writes a line into a message's history passes the message on to be counted."""

from __future__ import annotations

import ast
from pathlib import Path

import wavisor.storage

STORAGE = Path(wavisor.storage.__file__).parent
UNCOUNTED = {
    "rows.py": "declares it",
    "incoming.py": "inserts for those two that know whether it happened here",
    "history.py": "what the phone tells of the past did not happen here",
}


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def test_modules_that_write_histories_count() -> None:
    writers = {
        path.name
        for path in STORAGE.glob("*.py")
        if "history_line" in path.read_text(encoding="utf-8")
    }
    counting = {path.name for path in STORAGE.glob("*.py") if "counted" in names_in(path)}
    assert {"queue.py", "outcomes.py", "receipts.py", "incoming.py"} <= writers
    assert writers - UNCOUNTED.keys() <= counting
    assert "inbound.py" in counting
