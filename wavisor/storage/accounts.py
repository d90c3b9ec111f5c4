"""Subscriptions and their users. Every function runs inside ``Database.read`` or ``write``."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from wavisor.domain import RegistrationMode, Role, Tier
from wavisor.ids import Kind, new_id
from wavisor.limits import check_overrides
from wavisor.storage import current, tokens
from wavisor.storage.current import LockKey
from wavisor.storage.errors import EmailTaken, NotFound, RegistrationClosed
from wavisor.storage.models import Subscription, User
from wavisor.storage.prepared import Prepared
from wavisor.storage.records import AccountRecord, SubscriptionRecord
from wavisor.storage.rows import subscription_record, user_record

__all__ = [
    "account_of",
    "create_subscription_with_owner",
    "find_by_email",
    "find_user",
    "normalise_email",
    "registration_allowed",
    "select_accounts",
    "set_overrides",
    "set_tier",
    "touch_login",
    "update_password",
]


_TENANT_COLUMNS = tuple(one.column_name for one in Subscription._meta.sorted_fields)


def select_accounts() -> Any:
    """Return a SELECT of users, each with its subscription, for :func:`account_of` to read."""
    tenant = [one.alias(f"tenant_{one.column_name}") for one in Subscription._meta.sorted_fields]
    return User.select(User, *tenant).join(Subscription).switch(User)


def account_of(row: Any) -> AccountRecord:
    """Return the record of a row that :func:`select_accounts` found."""
    tenant = SimpleNamespace(**{name: getattr(row, f"tenant_{name}") for name in _TENANT_COLUMNS})
    return AccountRecord(user=user_record(row), subscription=subscription_record(tenant))


_BY_EMAIL = Prepared(lambda slot: select_accounts().where(User.email == slot("email")))
_BY_ID = Prepared(lambda slot: select_accounts().where(User.id == slot("id")))


def normalise_email(email: str) -> str:
    """Return the form in which addresses are stored and compared: NFC, trimmed, case-folded."""
    return unicodedata.normalize("NFC", email.strip()).casefold()


def registration_allowed(mode: RegistrationMode) -> bool:
    """Tell whether somebody may open an account now."""
    if mode is RegistrationMode.FIRST:
        return not User.select().exists()
    return mode is RegistrationMode.OPEN


def create_subscription_with_owner(
    *,
    email: str,
    password_hash: str,
    name: str,
    tier: Tier = Tier.BASIC,
    mode: RegistrationMode = RegistrationMode.OPEN,
    operator: bool = False,
) -> AccountRecord:
    """Create a subscription and its owner. A write.

    The first account of the installation becomes the platform operator. Concurrent calls are
    put in a row, so that there is exactly one first.

    Args:
        email: As the person typed it.
        password_hash: The hash, never the password.
        name: Name of the subscription.
        tier: What the subscription has paid for.
        mode: Who may open an account; checked in the same transaction. The operator's command
            line passes ``OPEN``.
        operator: Whether the owner becomes a platform operator, first or not.

    Raises:
        RegistrationClosed: ``mode`` does not allow another account.
        EmailTaken: The address is in use, in whichever letter case.
    """
    current.transaction_lock(LockKey.FIRST_ACCOUNT)
    if not registration_allowed(mode):
        raise RegistrationClosed(f"registration is {mode.value}")
    address = normalise_email(email)
    if User.select().where(User.email == address).exists():
        raise EmailTaken("this e-mail address is in use")
    is_first = not User.select().exists()
    now = current.now()
    subscription = Subscription.create(
        id=new_id(Kind.SUBSCRIPTION), name=name, tier=tier.value, created_at=now
    )
    user = User.create(
        id=new_id(Kind.USER),
        subscription=subscription.id,
        email=address,
        password_hash=password_hash,
        role=Role.OWNER.value,
        is_operator=operator or is_first,
        created_at=now,
    )
    return AccountRecord(user=user_record(user), subscription=subscription_record(subscription))


def find_by_email(email: str) -> AccountRecord | None:
    """Return the account with this address, in whichever letter case it is given."""
    row = _BY_EMAIL.one(email=normalise_email(email))
    return None if row is None else account_of(row)


def find_user(user_id: str) -> AccountRecord | None:
    """Return the account of this user."""
    row = _BY_ID.one(id=user_id)
    return None if row is None else account_of(row)


def update_password(user_id: str, password_hash: str) -> int:
    """Set a new password hash and end every session of the user. A write.

    Returns:
        The new token version, which the access tokens made from now on carry.

    Raises:
        NotFound: There is no such user.
    """
    rows = list(
        User.update(password_hash=password_hash, token_version=User.token_version + 1)
        .where(User.id == user_id)
        .returning(User.token_version)
        .execute()
    )
    if not rows:
        raise NotFound("no such user")
    tokens.revoke_families(user_id)
    return int(rows[0].token_version)


def touch_login(user_id: str) -> None:
    """Remember that the user logged in just now. A write."""
    User.update(last_login_at=current.now()).where(User.id == user_id).execute()


def set_tier(subscription_id: str, tier: Tier) -> SubscriptionRecord:
    """Give a subscription another tier. What is above a lower limit stays. A write.

    Raises:
        NotFound: There is no such subscription.
    """
    return _set(subscription_id, tier=tier.value)


def set_overrides(subscription_id: str, overrides: Mapping[str, Any] | None) -> SubscriptionRecord:
    """Give a subscription limits of its own instead of those it had so far. A write.

    Args:
        subscription_id: Which one.
        overrides: By the names of :class:`~wavisor.limits.Limits`; a limit of None is no limit.
            None or nothing at all leaves it with those of its tier.

    Raises:
        NotFound: There is no such subscription.
        ValueError: A name or a value is none.
    """
    return _set(subscription_id, overrides=check_overrides(overrides or {}) or None)


def _set(subscription_id: str, **values: Any) -> SubscriptionRecord:
    rows = list(
        Subscription.update(**values)
        .where(Subscription.id == subscription_id)
        .returning(Subscription)
        .execute()
    )
    if not rows:
        raise NotFound("no such subscription")
    return subscription_record(rows[0])
