"""Accounts, from the shell: a first operator, a password that was forgotten."""

from __future__ import annotations

import asyncio

from pydantic import ValidationError

from wavisor.admin.common import AdminError, opened
from wavisor.config import Settings
from wavisor.http.accounts.passwords import PasswordHasher
from wavisor.http.accounts.schemas import Register
from wavisor.http.schemas import plain_message
from wavisor.storage import AccountRecord, EmailTaken, NewAudit, accounts, audit

__all__ = ["create_operator", "set_password"]


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
    form = _checked({"email": email, "name": name, "password": password})
    digest = _hashed(settings, form)
    with opened(settings) as database:
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


def set_password(settings: Settings, *, email: str, password: str) -> None:
    """Give somebody another password, and end all their sessions. Blocks.

    Args:
        settings: of the installation.
        email: of the account, in any letter case.
        password: as it was typed; it obeys the rules of a registration.

    Raises:
        AdminError: there is no such account, or the password cannot be used.
        StorageError: the database cannot be used.
    """
    form = _checked({"email": email, "password": password})
    digest = _hashed(settings, form)
    with opened(settings) as database:
        changed = database.write_wait(
            _set_password, form.email, digest, timeout=settings.database_timeout_seconds
        )
    if not changed:
        raise AdminError(f"no account has the address {form.email}")


def _checked(given: dict[str, str]) -> Register:
    try:
        return Register.model_validate(given)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        found = (
            f"{'.'.join(map(str, detail['loc']))}: {plain_message(detail['msg'])}"
            for detail in details
        )
        raise AdminError("; ".join(found)) from None


def _hashed(settings: Settings, form: Register) -> str:
    return asyncio.run(_hash(form.password.get_secret_value(), settings.bcrypt_rounds))


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


def _set_password(email: str, password_hash: str) -> bool:
    account = accounts.find_by_email(email)
    if account is None:
        return False
    accounts.update_password(account.user.id, password_hash)
    entry = NewAudit(
        actor_kind="system",
        actor_id=None,
        action="account.password_set",
        target=account.user.id,
    )
    audit.append(account.subscription.id, entry)
    return True
