"""What the modules of the command line share: commands, their settings, and their exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavisor.config import Settings

__all__ = [
    "EXIT_FAILURE",
    "EXIT_OK",
    "EXIT_USAGE",
    "UsageError",
    "add_command",
    "add_group",
    "load",
]

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2


class UsageError(Exception):
    """The command was called in a way that cannot work; says why in one sentence."""


def add_group(commands: Any, name: str, text: str) -> Any:
    """Add a command that has commands of its own; return what those are added to."""
    parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add_command(
    commands: Any,
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        commands: what it is added to.
        name: how it is called.
        text: what it does, without a full stop.
        run: does it; returns the exit code.
        epilog: more about it, for its help.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=epilog,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


def load(arguments: argparse.Namespace) -> Settings:
    """Read the settings; what is given as arguments comes first.

    Raises:
        SettingsError: they cannot be used.
    """
    from wavisor.config import load_settings

    given = {
        name: getattr(arguments, name)
        for name in ("host", "port", "data_dir")
        if getattr(arguments, name, None) is not None
    }
    return load_settings(toml_file=arguments.config, given=given)
