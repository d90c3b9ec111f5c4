"""Who a request comes from: the look-up that every authenticated request makes, in one query."""

from __future__ import annotations

from peewee import fn

from wavisor.storage.accounts import account_of, select_accounts
from wavisor.storage.current import one_statement
from wavisor.storage.models import RevokedToken, TokenFamily, User
from wavisor.storage.prepared import Prepared
from wavisor.storage.records import AccountRecord

__all__ = ["find_account"]


_FIND = Prepared(
    lambda slot: (
        select_accounts()
        .join(TokenFamily, on=(TokenFamily.user == User.id))
        .where(
            User.id == slot("user"),
            TokenFamily.id == slot("session"),
            TokenFamily.revoked_at.is_null(),
            ~fn.EXISTS(RevokedToken.select().where(RevokedToken.jti == slot("token"))),
        )
    )
)


@one_statement
def find_account(user_id: str, *, session_id: str, token_id: str) -> AccountRecord | None:
    """Return the account of a user whose login and access token are still good.

    Args:
        user_id: Who the token says it belongs to.
        session_id: The family of refresh tokens that the login began.
        token_id: The access token's ``jti``.

    Returns:
        None when the user is gone, the login was ended, or the token was revoked.
    """
    row = _FIND.one(user=user_id, session=session_id, token=token_id)
    return None if row is None else account_of(row)
