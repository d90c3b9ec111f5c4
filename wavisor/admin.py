"""What an operator does to an installation from the command line, with or without it running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from pydantic import ValidationError

from wavisor import metrics
from wavisor.clock import SystemClock
from wavisor.config import Settings
from wavisor.domain import Tier
from wavisor.http.accounts.passwords import PasswordHasher
from wavisor.http.accounts.schemas import Register
from wavisor.ids import Kind, normalise_id
from wavisor.storage import (
    AccountRecord,
    Database,
    EmailTaken,
    NewAudit,
    NotFound,
    PlatformSubscription,
    Scope,
    SubscriptionFilter,
    accounts,
    audit,
    platform,
    quotas,
)

__all__ = [
    "AdminError",
    "create_operator",
    "list_subscriptions",
    "set_suspended",
    "set_tier",
]


class AdminError(Exception):
    """What was asked for cannot be done; says why in one sentence."""


def create_operator(settings: Settings, *, email: str, name: str, password: str) -> str:
    """Create a platform operator and the subscription that it owns. Blocks.

    Registration may be closed; address and password obey the rules of a registration.

    Args:
        settings: of the installation.
        email: the address to log in with.
        name: the name of the subscription.
        password: as it was typed.

    Returns:
        The user's id.

    Raises:
        AdminError: address, name or password cannot be used, or the address is in use.
        StorageError: the database cannot be used.
    """
    try:
        form = Register.model_validate({"email": email, "name": name, "password": password})
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        found = (
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg'].removeprefix('Value error, ')}"
            for detail in details
        )
        raise AdminError("; ".join(found)) from None
    digest = asyncio.run(_hash(form.password.get_secret_value(), settings.bcrypt_rounds))
    with _opened(settings) as database:
        try:
            account = database.write_wait(
                _create,
                form.email,
                form.name or form.email,
                digest,
                timeout=settings.database_timeout_seconds,
            )
        except EmailTaken:
            raise AdminError(f"another account uses the address {form.email}") from None
    return account.user.id


def list_subscriptions(settings: Settings) -> Iterator[PlatformSubscription]:
    """Yield all subscriptions, oldest first. Blocks.

    Raises:
        StorageError: the database cannot be used.
    """
    with _opened(settings) as database:
        cursor: str | None = None
        while True:
            page = database.read_wait(
                platform.list_subscriptions, SubscriptionFilter(), limit=200, cursor=cursor
            )
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return


def set_tier(settings: Settings, subscription_id: str, tier: Tier) -> None:
    """Give a subscription another tier. Blocks.

    Raises:
        AdminError: there is no such subscription.
        StorageError: the database cannot be used.
    """

    def change(known: str) -> NewAudit | None:
        before = quotas.lock_subscription(Scope(known)).tier
        accounts.set_tier(known, tier)
        if before is tier:
            return None
        return NewAudit(
            actor_kind="system",
            actor_id=None,
            action="subscription.update",
            before={"tier": before.value},
            after={"tier": tier.value},
        )

    _change(settings, subscription_id, change)


def set_suspended(settings: Settings, subscription_id: str, *, suspended: bool) -> bool:
    """Suspend a subscription, or let it go on; a running gateway sees it within seconds. Blocks.

    Returns:
        Whether that changed anything.

    Raises:
        AdminError: there is no such subscription.
        StorageError: the database cannot be used.
    """

    def change(known: str) -> NewAudit | None:
        if not platform.set_suspended(known, suspended=suspended):
            return None
        action = "subscription.suspend" if suspended else "subscription.resume"
        return NewAudit(actor_kind="system", actor_id=None, action=action)

    return _change(settings, subscription_id, change)


def _change(
    settings: Settings, subscription_id: str, change: Callable[[str], NewAudit | None]
) -> bool:
    """Change a subscription; ``change`` returns what the audit trail says, None for no change."""
    known = normalise_id(subscription_id, Kind.SUBSCRIPTION)
    if known is None:
        raise AdminError(f"{subscription_id!r} is no id of a subscription, such as sub_01K9…")

    def apply() -> bool:
        entry = change(known)
        if entry is not None:
            audit.append(known, replace(entry, target=known))
        return entry is not None

    with _opened(settings) as database:
        try:
            return database.write_wait(apply, timeout=settings.database_timeout_seconds)
        except NotFound:
            raise AdminError(f"there is no subscription {known}") from None


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    database = Database(
        settings.effective_database_url,
        clock=SystemClock(),
        busy_timeout=settings.database_busy_timeout_seconds,
        on_query=metrics.observe_database,
    )
    database.open()
    try:
        yield database
    finally:
        database.close()


async def _hash(password: str, rounds: int) -> str:
    hasher = PasswordHasher(rounds, threads=1)
    try:
        return await hasher.hash(password)
    finally:
        hasher.close()


def _create(email: str, name: str, password_hash: str) -> AccountRecord:
    account = accounts.create_subscription_with_owner(
        email=email, password_hash=password_hash, name=name, operator=True
    )
    audit.append(
        account.subscription.id,
        NewAudit(
            actor_kind="system",
            actor_id=None,
            action="account.operator_created",
            target=account.user.id,
        ),
    )
    return account
