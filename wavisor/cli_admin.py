"""The commands ``wavisor admin …``: what an operator does from the shell.

They work on the database alone, with or without a running gateway, which sees what was changed
within seconds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from wavisor.cli_parts import EXIT_OK, UsageError, add_command, load

if TYPE_CHECKING:
    from wavisor.config import Settings

__all__ = ["add_admin_commands"]

_HOW_ASKED = (
    "The password is asked for, or read from standard input; it is never an argument, because "
    "other users of the machine can see those."
)


def add_admin_commands(admin: Any) -> None:
    """Add the commands to their group."""
    create = add_command(
        admin, "create", "create a platform operator with its subscription", _create, _HOW_ASKED
    )
    create.add_argument("--name", help="name of the subscription; default: the address")
    password = add_command(
        admin,
        "password",
        "set somebody's password, and end all their sessions",
        _password,
        _HOW_ASKED,
    )
    for command in (create, password):
        command.add_argument("--email", required=True, help="address to log in with")
        command.add_argument(
            "--password-stdin", action="store_true", help="read the password from standard input"
        )
    add_command(admin, "subscriptions", "list the subscriptions", _subscriptions)
    for name, run in (("users", _users), ("instances", _instances)):
        listing = add_command(admin, name, f"list the {name}", run)
        listing.add_argument("--subscription", metavar="ID", help="only those of this one")
    _add_audit(admin)
    tier = add_command(admin, "tier", "give a subscription another tier", _tier)
    limit = add_command(
        admin,
        "limit",
        "give a subscription limits of its own",
        _limit,
        "Names are those of docs/limits.md, such as messagesPerDay=50000; `none` is no limit, "
        "`tier` the one of its tier.",
    )
    suspend = add_command(admin, "suspend", "suspend a subscription", partial(_suspend, True))
    resume = add_command(
        admin, "resume", "let a suspended subscription go on", partial(_suspend, False)
    )
    delete = add_command(
        admin,
        "delete",
        "delete a subscription with everything that it has",
        _delete,
        "It cannot be taken back. A running gateway removes it bit by bit, otherwise the next one "
        "does; the audit trail stays.",
    )
    for command in (tier, limit, suspend, resume, delete):
        command.add_argument("subscription", metavar="ID", help="its id, such as sub_01K9…")
    tier.add_argument("tier", choices=["BASIC", "PRO", "MAX"])
    limit.add_argument("limits", metavar="NAME=VALUE", nargs="+")
    delete.add_argument("--yes", action="store_true", help="do not ask")


def _add_audit(admin: Any) -> None:
    trail = add_command(admin, "audit", "show the audit trail, newest first, as CSV", _audit)
    trail.add_argument("--subscription", metavar="ID", help="only of this one")
    trail.add_argument("--action", help="only this one; `instance.*` for all that begin so")
    trail.add_argument("--limit", type=int, default=100, help="how many entries; default: 100")


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = load(arguments)
    from wavisor.config import prepare_data_directory
    from wavisor.config.logging import configure_logging

    configure_logging(settings)
    prepare_data_directory(settings)
    return settings


def _say(*columns: object) -> None:
    sys.stdout.write("  ".join(str(one) for one in columns) + "\n")


def _subscriptions(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from wavisor.admin import list_subscriptions

    for one in list_subscriptions(settings):
        record = one.subscription
        state = "active" if record.suspended_at is None else "suspended"
        if record.deleted_at is not None:
            state = "deleting"
        counts = f"{one.users} users  {one.instances} instances"
        _say(record.id, f"{record.tier.value:<5}", f"{state:<9}", counts, record.name)
    return EXIT_OK


def _users(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from wavisor.admin import list_users

    for one in list_users(settings, arguments.subscription):
        operator = "operator" if one.is_operator else "-"
        _say(one.id, one.subscription_id, f"{one.role.value:<6}", f"{operator:<8}", one.email)
    return EXIT_OK


def _instances(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from wavisor.admin import list_instances

    for one in list_instances(settings, arguments.subscription):
        _say(one.id, one.subscription_id, f"{one.status.value:<18}", one.name)
    return EXIT_OK


def _audit(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from wavisor.admin import list_audit
    from wavisor.http.admin.audit import audit_table

    if arguments.limit < 1:
        raise UsageError("The limit must be 1 or more.")
    entries = list_audit(
        settings, arguments.subscription, action=arguments.action, limit=arguments.limit
    )
    sys.stdout.write(audit_table(entries).decode())
    return EXIT_OK


def _tier(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from wavisor.admin import set_tier
    from wavisor.domain import Tier

    set_tier(settings, arguments.subscription, Tier(arguments.tier))
    _say(f"{arguments.subscription} is {arguments.tier} now.")
    return EXIT_OK


def _limit(arguments: argparse.Namespace) -> int:
    changes = _limits_of(arguments.limits)
    settings = _settings(arguments)
    from wavisor.admin import set_limits

    for name, value in set_limits(settings, arguments.subscription, changes).items():
        _say(f"{name}={'none' if value is None else value}")
    return EXIT_OK


def _limits_of(texts: Sequence[str]) -> dict[str, int | str | None]:
    changes: dict[str, int | str | None] = {}
    for text in texts:
        name, found, value = text.partition("=")
        if value.isascii() and value.isdigit():
            changes[name] = int(value)
        elif found and value in ("none", "tier"):
            changes[name] = None if value == "none" else value
        else:
            raise UsageError(f"{text!r} is no limit such as messagesPerDay=50000.")
    return changes


def _suspend(suspended: bool, arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from wavisor.admin import set_suspended

    changed = set_suspended(settings, arguments.subscription, suspended=suspended)
    state = "suspended" if suspended else "active"
    adverb = "now" if changed else "already"
    _say(f"{arguments.subscription} is {state} {adverb}.")
    return EXIT_OK


def _delete(arguments: argparse.Namespace) -> int:
    if not arguments.yes:
        _ask_to_be_sure(arguments.subscription)
    settings = _settings(arguments)
    from wavisor.admin import delete_subscription

    news = delete_subscription(settings, arguments.subscription)
    adverb = "from now on" if news else "already"
    _say(f"{arguments.subscription} is being deleted {adverb}.")
    return EXIT_OK


def _ask_to_be_sure(identifier: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("Nobody can be asked here; say --yes to delete it.")
    sys.stderr.write(f"Everything of {identifier} will be gone for good. Type its id to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != identifier.lower():
        raise UsageError("That was another id; nothing was deleted.")


def _create(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    password = _read_password(from_stdin=arguments.password_stdin)
    from wavisor.admin import create_operator

    user_id = create_operator(
        settings,
        email=arguments.email,
        name=arguments.name or arguments.email,
        password=password,
    )
    _say(f"Operator {arguments.email} created ({user_id}).")
    return EXIT_OK


def _password(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    password = _read_password(from_stdin=arguments.password_stdin)
    from wavisor.admin import set_password

    set_password(settings, email=arguments.email, password=password)
    _say(f"{arguments.email} has a new password now.")
    return EXIT_OK


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin or not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise UsageError("Standard input holds no password.")
        return password
    import getpass

    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("Once more: ")
    except EOFError:
        raise UsageError("No password was given.") from None
    if password != again:
        raise UsageError("The two passwords differ.")
    return password
