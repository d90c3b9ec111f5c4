"""Accounts and sessions as they stand on the wire."""

from __future__ import annotations

from wavisor.http.accounts.schemas import Account, AccountSubscription, AccountUser, Session
from wavisor.http.accounts.service import Tokens
from wavisor.limits import limits_of
from wavisor.storage import AccountRecord

__all__ = ["account_model", "session_model"]


def account_model(record: AccountRecord) -> Account:
    """Return a user and their subscription."""
    user, subscription = record.user, record.subscription
    return Account(
        user=AccountUser(
            id=user.id,
            email=user.email,
            role=user.role,
            is_operator=user.is_operator,
            created_at=user.created_at,
            last_login_at=user.last_login_at,
        ),
        subscription=AccountSubscription(
            id=subscription.id,
            name=subscription.name,
            tier=subscription.tier,
            instance_limit=limits_of(subscription).instances,
            created_at=subscription.created_at,
        ),
    )


def session_model(tokens: Tokens) -> Session:
    """Return a session that was begun or continued."""
    return Session(
        access_token=tokens.access.token,
        expires_in=tokens.access.seconds,
        refresh_token=tokens.refresh.token,
        refresh_expires_in=tokens.refresh.seconds,
        account=account_model(tokens.account),
    )
