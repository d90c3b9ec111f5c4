"""Invitations: by whom somebody may join a subscription, as what, and until when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from wavisor.domain import Role
from wavisor.ids import Kind, new_id
from wavisor.storage import current
from wavisor.storage.accounts import find_by_email, find_user, normalise_email
from wavisor.storage.current import LockKey
from wavisor.storage.errors import AlreadyMember, EmailTaken, InvitationInvalid, NotFound, TooMany
from wavisor.storage.models import Invitation, Subscription, User
from wavisor.storage.people import check_rank, lock_tenant
from wavisor.storage.records import AccountRecord, InvitationRecord, Page, SubscriptionRecord
from wavisor.storage.rows import subscription_record
from wavisor.storage.scope import Scope

__all__ = [
    "accept",
    "create",
    "find_open",
    "list_page",
    "purge",
    "revoke",
]


def create(
    scope: Scope,
    *,
    email: str,
    role: Role,
    digest: str,
    creator_id: str,
    expires_at: datetime,
    limit: int,
) -> InvitationRecord:
    """Store an invitation; earlier ones to the same address are void. A write.

    Whether the address belongs to an account of another tenant is not looked at: nobody is told.

    Args:
        scope: The tenant.
        email: As the person typed it.
        role: What the invited will be; not above the creator's.
        digest: Of the token.
        creator_id: Who invites.
        expires_at: When it ends.
        limit: How many may be open.

    Raises:
        AlreadyMember: The address belongs to a user of this very tenant.
        AboveOwnRole: The role is above that of the creator.
        TooMany: So many are open.
        NotFound: The tenant or the creator is gone.
    """
    lock_tenant(scope)
    check_rank(scope, creator_id, role)
    address = normalise_email(email)
    if scope.select(User).where(User.email == address).exists():
        raise AlreadyMember("this person is a user of the subscription")
    _void(scope, Invitation.email == address)
    if _open(scope).count() >= limit:
        raise TooMany("invitations", limit)
    row = Invitation.create(
        id=new_id(Kind.INVITATION),
        subscription=scope.subscription_id,
        email=address,
        role=role.value,
        digest=digest,
        creator=creator_id,
        created_at=current.now(),
        expires_at=expires_at,
    )
    return _record(row)


def list_page(scope: Scope, *, limit: int, cursor: str | None = None) -> Page[InvitationRecord]:
    """Return the tenant's invitations, newest first, also those that are over."""
    query = scope.select(Invitation)
    if cursor is not None:
        query = query.where(Invitation.id < cursor)
    rows = list(query.order_by(Invitation.id.desc()).limit(limit + 1))
    items = tuple(_record(row) for row in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)


def revoke(scope: Scope, invitation_id: str) -> InvitationRecord | None:
    """Void an invitation; None when it was used or void before. A write.

    Raises:
        NotFound: There is no such invitation.
    """
    row = scope.select(Invitation).where(Invitation.id == invitation_id).get_or_none()
    if row is None:
        raise NotFound("no such invitation")
    return _record(row) if _void(scope, Invitation.id == invitation_id) else None


def find_open(digest: str) -> tuple[InvitationRecord, SubscriptionRecord]:
    """Return the invitation with this token, and the tenant that it is to.

    Raises:
        InvitationInvalid: There is none, or it is over.
        EmailTaken: Its address belongs to an account.
    """
    return _usable(_by_digest(digest).get_or_none())


def accept(digest: str, password_hash: str) -> tuple[InvitationRecord, AccountRecord]:
    """Make the invited a user, once. A write.

    Args:
        digest: Of the token.
        password_hash: The hash, never the password.

    Raises:
        InvitationInvalid: There is no such invitation, or it is over.
        EmailTaken: Its address belongs to an account.
    """
    # As for registrations: of two who take an address at once only one does.
    current.transaction_lock(LockKey.FIRST_ACCOUNT)
    row = current.lock_rows(_by_digest(digest)).get_or_none()
    invitation, _ = _usable(row)
    now = current.now()
    user_id = new_id(Kind.USER)
    User.create(
        id=user_id,
        subscription=invitation.subscription_id,
        email=invitation.email,
        password_hash=password_hash,
        role=invitation.role.value,
        is_operator=False,
        created_at=now,
    )
    scope = Scope(invitation.subscription_id)
    scope.update(Invitation, accepted_at=now).where(Invitation.id == invitation.id).execute()
    account = find_user(user_id)
    assert account is not None  # noqa: S101 - made in this very transaction
    return invitation, account


def purge(before: datetime, *, limit: int = 1000) -> int:
    """Forget up to ``limit`` invitations that ended before a time; return how many. A write."""
    oldest = (
        Invitation.select(Invitation.id)
        .where(Invitation.expires_at < before)
        .order_by(Invitation.expires_at)
        .limit(limit)
    )
    return int(Invitation.delete().where(Invitation.id.in_(oldest)).execute())


def _by_digest(digest: str) -> Any:
    return Invitation.select().where(Invitation.digest == digest)


def _usable(row: Any) -> tuple[InvitationRecord, SubscriptionRecord]:
    over = row is None or row.accepted_at is not None or row.revoked_at is not None
    if over or row.expires_at <= current.now():
        raise InvitationInvalid("the invitation is not good")
    if find_by_email(row.email) is not None:
        raise EmailTaken("this e-mail address is in use")
    tenant = Subscription.get_by_id(row.subscription_id)
    return _record(row), subscription_record(tenant)


def _open(scope: Scope) -> Any:
    return scope.select(Invitation).where(
        Invitation.accepted_at.is_null(),
        Invitation.revoked_at.is_null(),
        Invitation.expires_at > current.now(),
    )


def _void(scope: Scope, *which: Any) -> int:
    return int(
        scope.update(Invitation, revoked_at=current.now())
        .where(Invitation.accepted_at.is_null(), Invitation.revoked_at.is_null(), *which)
        .execute()
    )


def _record(row: Any) -> InvitationRecord:
    return InvitationRecord(
        id=row.id,
        subscription_id=row.subscription_id,
        email=row.email,
        role=Role(row.role),
        creator_id=row.creator_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        accepted_at=row.accepted_at,
        revoked_at=row.revoked_at,
    )
