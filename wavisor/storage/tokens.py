"""Sessions of people: refresh tokens in families, and access tokens refused before their time.

A family is one login. Every refresh token in it is good for one use; using one a second time
means that it was stolen, and revokes the family (RFC 9700, section 4.14.2).
"""

from __future__ import annotations

from datetime import datetime

import peewee

from wavisor.ids import Kind, new_id
from wavisor.storage import current
from wavisor.storage.errors import NotFound
from wavisor.storage.models import RefreshToken, RevokedToken, TokenFamily, User
from wavisor.storage.records import Rotation, RotationOutcome

__all__ = [
    "purge_expired",
    "revoke_all",
    "revoke_families",
    "revoke_family",
    "revoke_token",
    "rotate",
    "start_family",
]


def start_family(user_id: str, *, token_id: str, expires_at: datetime) -> str:
    """Store the first refresh token of a new login; return the family's id. A write.

    Args:
        user_id: Who logged in.
        token_id: Id of the refresh token; a ``jti``, or a digest of an opaque token.
        expires_at: When that token ends.
    """
    family_id = new_id(Kind.TOKEN)
    TokenFamily.insert(
        id=family_id, user=user_id, created_at=current.now(), expires_at=expires_at
    ).execute()
    RefreshToken.insert(id=token_id, family=family_id, expires_at=expires_at).execute()
    return family_id


def rotate(token_id: str, *, new_token_id: str, expires_at: datetime) -> Rotation:
    """Use up a refresh token and store its successor. A write.

    Only with :attr:`RotationOutcome.ROTATED` was the successor stored. Of two concurrent calls
    with the same token one rotates; the other is a replay and revokes the family.
    """
    token = RefreshToken.get_or_none(RefreshToken.id == token_id)
    if token is None:
        return Rotation(RotationOutcome.UNKNOWN, None, None)
    # Locking the family puts rotations and revocations of it in a row: otherwise a successor
    # that is stored while the family is being revoked would live on.
    family = current.lock_rows(
        TokenFamily.select().where(TokenFamily.id == token.family_id)
    ).get_or_none()
    if family is None:
        return Rotation(RotationOutcome.UNKNOWN, None, None)
    outcome = _use_up(token_id, family)
    if outcome is RotationOutcome.ROTATED:
        RefreshToken.insert(id=new_token_id, family=family.id, expires_at=expires_at).execute()
        TokenFamily.update(expires_at=expires_at).where(TokenFamily.id == family.id).execute()
    return Rotation(outcome, family.id, family.user_id)


def _use_up(token_id: str, family: TokenFamily) -> RotationOutcome:
    now = current.now()
    # Read again, now that the family is locked: another rotation may have finished meanwhile.
    token = RefreshToken.get_or_none(RefreshToken.id == token_id)
    if token is None:
        return RotationOutcome.UNKNOWN
    if token.used_at is not None:
        revoke_family(family.id)
        return RotationOutcome.REPLAYED
    if family.revoked_at is not None:
        return RotationOutcome.REVOKED
    if token.expires_at <= now:
        return RotationOutcome.EXPIRED
    RefreshToken.update(used_at=now).where(RefreshToken.id == token_id).execute()
    return RotationOutcome.ROTATED


def revoke_family(family_id: str) -> bool:
    """End one login, as logging out does; tell whether it was alive. A write."""
    changed = (
        TokenFamily.update(revoked_at=current.now())
        .where(TokenFamily.id == family_id, TokenFamily.revoked_at.is_null())
        .execute()
    )
    return bool(changed)


def revoke_families(user_id: str) -> int:
    """End all logins of a user, but leave access tokens to their token version. A write."""
    return int(
        TokenFamily.update(revoked_at=current.now())
        .where(TokenFamily.user == user_id, TokenFamily.revoked_at.is_null())
        .execute()
    )


def revoke_all(user_id: str) -> int:
    """End all logins of a user and void all its access tokens. A write.

    Returns:
        The user's new token version.

    Raises:
        NotFound: There is no such user.
    """
    rows = list(
        User.update(token_version=User.token_version + 1)
        .where(User.id == user_id)
        .returning(User.token_version)
        .execute()
    )
    if not rows:
        raise NotFound("no such user")
    revoke_families(user_id)
    return int(rows[0].token_version)


def revoke_token(jti: str, expires_at: datetime) -> None:
    """Refuse an access token until it would have ended anyway. A write; repeating is harmless."""
    RevokedToken.insert(jti=jti, expires_at=expires_at).on_conflict_ignore().execute()


def purge_expired() -> int:
    """Forget tokens and families that have ended by themselves; return how many. A write."""
    now = current.now()
    models: tuple[tuple[type[peewee.Model], peewee.Field], ...] = (
        (RevokedToken, RevokedToken.expires_at),
        (TokenFamily, TokenFamily.expires_at),
        # Of families that go on; a login that is kept alive for years would gather them.
        (RefreshToken, RefreshToken.expires_at),
    )
    return sum(int(model.delete().where(ends <= now).execute()) for model, ends in models)
