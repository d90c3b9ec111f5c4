"""Writes ``docs/configuration.md`` from the settings: ``python -m wavisor.config.reference FILE``.

``make docs`` calls it, and a test fails when the file is not what this would write.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from pydantic import BaseModel

from wavisor.config.groups import GROUPS
from wavisor.config.schema import allowed_values, default_text, env_name

__all__ = ["reference"]

_INTRODUCTION = """\
# Configuration

<!-- Written by `make docs` from wavisor/config/groups; do not edit. -->

Every setting has a default, and the gateway starts without any. A value is looked for in this
order, and the first one found counts:

1. the command line, for `--host`, `--port` and `--data-dir`;
2. the environment: `WAVISOR_PORT=9000`;
3. the file `.env` in the current directory, with lines of the same form;
4. the file `wavisor.toml` in the current directory, or the one named by `wavisor --config FILE`,
   with the names in lower case and without the prefix: `port = 9000`.

`wavisor config check` shows what is in force and where each value came from; passwords and other
secrets are masked. When something is wrong, everything that is wrong is said at once, and the
program ends with code 2. Names that do not exist are errors, not ignored.

Durations are numbers of seconds, sizes numbers of bytes. Lists are separated by commas in the
environment (`WAVISOR_TRUSTED_PROXIES=10.0.0.0/8,::1`) and are lists in TOML. An empty variable
counts as unset. Variables that begin with `WAVISOR_TEST_` belong to the test suite, and those that
Kubernetes makes for a Service called `wavisor` are ignored.

The number of QR codes shown for one attempt to link a phone is 3 and cannot be set.
"""


def reference() -> str:
    """Return the page that describes all settings."""
    return "\n".join([_INTRODUCTION, *(_section(group) for group in GROUPS)])


def _section(group: type[BaseModel]) -> str:
    title, _, rest = inspect.cleandoc(group.__doc__ or "").partition("\n")
    lines = [f"## {title.rstrip('.')}", ""]
    if rest.strip():
        lines += [rest.strip().replace("``", "`"), ""]
    lines += ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
    for name, field in group.model_fields.items():
        cells = (
            f"`{env_name(name)}`",
            f"`{default_text(field)}`",
            allowed_values(field),
            field.description or "",
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
