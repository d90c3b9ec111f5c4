"""The console command ``wavisor``, which is also ``python main.py``.

Whatever can go wrong for a reason outside the program ends in one sentence on standard error and
an exit code: 1 for a failure, 2 for a wrong call or wrong settings. Modules are imported where
they are used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from wavisor import __version__
from wavisor.cli_admin import add_admin_commands
from wavisor.cli_parts import (
    EXIT_FAILURE,
    EXIT_OK,
    EXIT_USAGE,
    UsageError,
    add_command,
    add_group,
    load,
)

if TYPE_CHECKING:
    from wavisor.config import Settings

__all__ = ["EXIT_FAILURE", "EXIT_OK", "EXIT_USAGE", "import_gateway", "main"]

_EXIT_INTERRUPTED = 130

_REFUSALS = frozenset(
    {
        *(errno.EADDRINUSE, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO),
    }
)
_SANDBOX_ERRORS = (
    ("wavisor.sandbox.process", "SandboxStartError"),
    ("wavisor.sandbox.control_calls", "SandboxControlError"),
)


class _Version(argparse.Action):
    """Prints the versions; asks for them only when they are wanted."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        import platform
        from importlib.metadata import PackageNotFoundError, version

        try:
            neonize = version("neonize")
        except PackageNotFoundError:
            neonize = "missing"
        sys.stdout.write(
            f"wavisor {__version__} (neonize {neonize}, Python {platform.python_version()})\n"
        )
        parser.exit(EXIT_OK)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments without the program's name; default: those of the process.

    Returns:
        The exit code: 0, 1 for a failure, 2 for a wrong call or wrong settings.
    """
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return command(arguments)
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:  # `wavisor config check | head`
        sys.stderr.close()
        return EXIT_FAILURE
    except Exception as error:  # noqa: BLE001 - the last stop: becomes a sentence and a code
        code, sentence = _explain(error)
        if sentence is None:
            import structlog

            structlog.get_logger(__name__).exception("unexpected error")
            sentence = (
                f"Unexpected error ({type(error).__name__}); the log above says where. This is a "
                "bug: please report it."
            )
        sys.stderr.write(f"wavisor: {sentence}\n")
        return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wavisor",
        description="Multi-tenant, actor-supervised WhatsApp gateway.",
        epilog="Settings come from WAVISOR_* variables, then .env, then wavisor.toml; "
        "`wavisor config check` shows them. Exit codes: 0 done, 1 failure, 2 wrong call or "
        "settings.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the versions and exit")
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="TOML file to read instead of wavisor.toml in the current directory",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve = add_command(commands, "serve", "run the gateway", _serve)
    demo = add_command(commands, "demo", "run the gateway with a local WhatsApp", _demo)
    for command in (serve, demo):
        command.add_argument("--host", help="address to listen on (WAVISOR_HOST)")
        command.add_argument("--port", help="port to listen on (WAVISOR_PORT)")
    serve.add_argument(
        "--data-dir", metavar="DIR", help="where everything is kept (WAVISOR_DATA_DIR)"
    )
    demo.add_argument(
        "--data-dir", metavar="DIR", help="where the demo keeps everything until it ends"
    )

    config = add_group(commands, "config", "look at the settings")
    add_command(config, "check", "check the settings and show what is in force", _config_check)

    add_admin_commands(add_group(commands, "admin", "manage the installation"))
    return parser


def _prepare(arguments: argparse.Namespace) -> Settings:
    """Read the settings and set up the log."""
    from wavisor.config.logging import configure_logging, dump_stacks_on_signal

    settings = load(arguments)
    configure_logging(settings)
    dump_stacks_on_signal()
    return settings


def import_gateway(settings: Settings) -> None:
    """Import all that :func:`wavisor.main.serve` needs with these settings, and no more."""
    from wavisor.imports import import_leanly

    import_leanly(postgresql=not settings.effective_database_url.startswith("sqlite"))
    importlib.import_module("wavisor.main")


def _serve(arguments: argparse.Namespace) -> int:
    settings = _prepare(arguments)
    from wavisor.config import claimed_data_directory, prepare_data_directory

    prepare_data_directory(settings)
    with claimed_data_directory(settings):
        import_gateway(settings)
        from wavisor.main import serve

        return serve(settings)


def _demo(arguments: argparse.Namespace) -> int:
    settings = _prepare(arguments)
    from wavisor.config import prepare_data_directory
    from wavisor.demo import run

    # Only one that was named: the gateway's own is none of the demo's business.
    place = prepare_data_directory(settings) if arguments.data_dir is not None else None
    return run(settings, place)


def _config_check(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    values = settings.effective()
    wide = max(len(value.env) for value in values)
    for value in values:
        sys.stdout.write(f"{value.env:<{wide}}  {value.value}  ({value.source})\n")
    for warning in settings.warnings():
        sys.stderr.write(f"warning: {warning}\n")
    sys.stdout.write("The settings are good.\n")
    return EXIT_OK


def _explain(error: Exception) -> tuple[int, str | None]:
    """Return the exit code and a sentence for people, or None for what nobody foresaw."""
    from wavisor.config import DataDirectoryError, SettingsError

    if isinstance(error, SettingsError):
        lines = "\n".join(f"  {problem}" for problem in error.problems)
        return EXIT_USAGE, f"The settings cannot be used:\n{lines}"
    if isinstance(error, UsageError):
        return EXIT_USAGE, str(error)
    if isinstance(error, DataDirectoryError):
        return EXIT_FAILURE, str(error)
    if isinstance(error, OSError):
        return EXIT_FAILURE, _explain_os_error(error)
    return EXIT_FAILURE, _explain_layers(error)


def _explain_os_error(error: OSError) -> str | None:
    """Return what the system refused, where that is no mistake of the program."""
    if error.errno not in _REFUSALS:
        return None
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror}{where}."


def _explain_layers(error: Exception) -> str | None:
    """Return what the layers' own errors say: each of them is one sentence already."""
    from wavisor.admin import AdminError
    from wavisor.http.server import ListenError
    from wavisor.storage.errors import StorageError
    from wavisor.whatsapp.port import SessionError

    known: tuple[type[Exception], ...] = (AdminError, ListenError, StorageError, SessionError)
    known += tuple(_sandbox_errors())
    if not isinstance(error, known):
        return None
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def _sandbox_errors() -> Iterator[type[Exception]]:
    """Yield the local WhatsApp's errors, without importing it where it is not in use."""
    for module, name in _SANDBOX_ERRORS:
        if module in sys.modules:
            yield getattr(sys.modules[module], name)


if __name__ == "__main__":
    sys.exit(main())
