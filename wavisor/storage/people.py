"""The users of one subscription, and what they make of each other.

Whoever changes a user is named, and their role is looked up in the same transaction: it may have
been taken from them a moment ago.
"""

from __future__ import annotations

from collections.abc import Collection

from wavisor.domain import Role
from wavisor.storage import current, keys, quotas
from wavisor.storage.errors import AboveOwnRole, LastOwner, NotFound
from wavisor.storage.models import Invitation, User
from wavisor.storage.records import Page, UserRecord
from wavisor.storage.rows import user_record
from wavisor.storage.scope import Scope

__all__ = ["check_rank", "list_page", "lock_tenant", "remove", "set_role"]


def list_page(scope: Scope, *, limit: int, cursor: str | None = None) -> Page[UserRecord]:
    """Return the tenant's users, oldest first."""
    query = scope.select(User).where(User.id > (cursor or ""))
    rows = list(query.order_by(User.id).limit(limit + 1))
    items = tuple(user_record(row) for row in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)


def set_role(
    scope: Scope, user_id: str, role: Role, *, by: str, may_invite: Collection[Role]
) -> tuple[UserRecord, UserRecord]:
    """Give a user another role; return them as they were and as they are. A write.

    Open invitations of theirs that the new role could not send are void.

    Args:
        scope: The tenant.
        user_id: Whose role.
        role: The new one; like the present one, not above that of whoever gives it.
        by: Who gives it.
        may_invite: The roles whose users may invite others.

    Raises:
        NotFound: There is no such user.
        AboveOwnRole: The role, or the user, is above the giver.
        LastOwner: Nobody would be left who owns the subscription.
    """
    lock_tenant(scope)
    before = _user(scope, user_id)
    check_rank(scope, by, role, before.role)
    if before.role is role:
        return before, before
    if before.role is Role.OWNER:
        _check_other_owner(scope, user_id)
    rows = scope.update(User, role=role.value).where(User.id == user_id).returning(User).execute()
    kept = [one.value for one in Role if role in may_invite and role.includes(one)]
    _void_invitations(scope, user_id, kept)
    return before, user_record(next(iter(rows)))


def remove(scope: Scope, user_id: str, *, by: str) -> tuple[UserRecord, list[str]]:
    """Delete a user with all sessions; revoke their keys and open invitations. A write.

    Args:
        scope: The tenant.
        user_id: Who goes.
        by: Who removes them; not of a role below theirs.

    Returns:
        The user as they were, and the ids of the keys that were revoked.

    Raises:
        NotFound: There is no such user.
        AboveOwnRole: The user is above whoever removes them, or an operator of the platform.
        LastOwner: Nobody would be left who owns the subscription.
    """
    lock_tenant(scope)
    before = _user(scope, user_id)
    check_rank(scope, by, before.role)
    if before.is_operator and by != user_id:
        raise AboveOwnRole("an operator of the platform goes only by their own will")
    if before.role is Role.OWNER:
        _check_other_owner(scope, user_id)
    revoked = keys.revoke_all_of(scope, user_id)
    _void_invitations(scope, user_id, [])
    scope.delete(User).where(User.id == user_id).execute()
    return before, revoked


def lock_tenant(scope: Scope) -> None:
    """Put changes of the tenant's people in a row, until the transaction ends.

    Raises:
        NotFound: The tenant is gone.
    """
    quotas.lock_subscription(scope)


def check_rank(scope: Scope, user_id: str, *roles: Role) -> None:
    """Check that a user's role includes the others, as of now.

    Raises:
        NotFound: There is no such user.
        AboveOwnRole: One of them is above it.
    """
    own = _user(scope, user_id).role
    if not all(own.includes(role) for role in roles):
        raise AboveOwnRole(f"{own.value} is below that")


def _user(scope: Scope, user_id: str) -> UserRecord:
    row = scope.select(User).where(User.id == user_id).get_or_none()
    if row is None:
        raise NotFound("no such user")
    return user_record(row)


def _check_other_owner(scope: Scope, user_id: str) -> None:
    others = scope.select(User).where(User.role == Role.OWNER.value, User.id != user_id)
    if not others.exists():
        raise LastOwner("the subscription needs an owner")


def _void_invitations(scope: Scope, creator_id: str, kept_roles: list[str]) -> None:
    scope.update(Invitation, revoked_at=current.now()).where(
        Invitation.creator == creator_id,
        Invitation.accepted_at.is_null(),
        Invitation.revoked_at.is_null(),
        Invitation.role.not_in(kept_roles),
    ).execute()
