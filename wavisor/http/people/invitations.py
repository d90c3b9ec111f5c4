"""Inviting people into a subscription."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from wavisor.http.accounts.schemas import Session
from wavisor.http.accounts.service import EMAIL_TAKEN, Origin
from wavisor.http.accounts.views import session_model
from wavisor.http.auditing import audit_entry
from wavisor.http.pagination import decode_cursor, encode_cursor
from wavisor.http.people.failures import ABOVE_OWN_ROLE, ALREADY_MEMBER, INVITATION_INVALID
from wavisor.http.people.schemas import (
    AcceptInvitation,
    Invitation,
    InvitationStatus,
    Invite,
    NewInvitation,
)
from wavisor.http.permissions import PUBLIC, Permission
from wavisor.http.problems import SUBSCRIPTION_SUSPENDED, ProblemError, ProblemKind
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Page, PageQuery
from wavisor.ids import Kind
from wavisor.storage import (
    EmailTaken,
    InvitationRecord,
    NewAudit,
    Scope,
    TooMany,
    audit,
    invitations,
)

__all__ = ["router"]

router = Router("invitations", "How people join a subscription.")

TOO_MANY_INVITATIONS = ProblemKind("too-many-invitations", 409, "Too many invitations are open")

_OPEN_LIMIT = 100
_TOKEN_BYTES = 32


@router.route(
    "GET",
    "/api/invitations",
    operation="listInvitations",
    summary="List invitations",
    access=Permission.USERS_MANAGE,
    query=PageQuery,
    responses={200: Page[Invitation]},
)
async def list_invitations(call: Call[None, PageQuery]) -> Reply:
    """Lists invitations, newest first, for 30 days also those that are over."""
    page = await call.services.database.fetch(
        invitations.list_page,
        _scope(call),
        limit=call.query.limit,
        cursor=decode_cursor(call.query.cursor, Kind.INVITATION),
    )
    now = call.services.clock.now()
    items = [Invitation(**_fields(record, now)) for record in page.items]
    return Reply(Page[Invitation](items=items, next_cursor=encode_cursor(page.next_cursor)))


@router.route(
    "POST",
    "/api/invitations",
    operation="createInvitation",
    summary="Invite somebody",
    access=Permission.USERS_MANAGE,
    body=Invite,
    responses={201: NewInvitation},
    problems=[ABOVE_OWN_ROLE, ALREADY_MEMBER, TOO_MANY_INVITATIONS],
)
async def create_invitation(call: Call[Invite, None]) -> Reply:
    """Makes an invitation. The answer holds its token, and nothing else ever will.

    No mail is sent: pass the token on. Earlier invitations to the same address are void. Whether
    the address has an account in another subscription is not told here.
    """
    body, now = call.body, call.services.clock.now()
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    expires_at = now + timedelta(seconds=call.services.settings.invitation_ttl_seconds)
    entry = audit_entry(call, "invitation.create", None)
    try:
        record = await call.services.database.commit(
            _create, _scope(call), body, _digest(token), expires_at, entry
        )
    except TooMany as error:
        raise ProblemError(
            TOO_MANY_INVITATIONS,
            f"At most {error.limit} invitations may be open; revoke one.",
            extensions={"limit": error.limit},
        ) from None
    return Reply(NewInvitation(token=token, **_fields(record, now)), HTTPStatus.CREATED)


@router.route(
    "DELETE",
    "/api/invitations/{id}",
    operation="revokeInvitation",
    summary="Revoke an invitation",
    access=Permission.USERS_MANAGE,
    parameters={"id": Kind.INVITATION},
    responses={204: None},
)
async def revoke_invitation(call: Call[None, None]) -> Reply:
    """Voids an invitation. For one that was accepted or is over already it does nothing."""
    entry = audit_entry(call, "invitation.revoke", call.path["id"])
    await call.services.database.commit(_revoke, _scope(call), call.path["id"], entry)
    return Reply(status=HTTPStatus.NO_CONTENT)


@router.route(
    "POST",
    "/api/auth/accept-invitation",
    operation="acceptInvitation",
    summary="Accept an invitation",
    access=PUBLIC,
    body=AcceptInvitation,
    responses={201: Session},
    problems=[INVITATION_INVALID, EMAIL_TAKEN, SUBSCRIPTION_SUSPENDED],
)
async def accept_invitation(call: Call[AcceptInvitation, None]) -> Reply:
    """Makes the invited a user of the subscription, and logs them in; also where registration is
    closed. An invitation is good once.

    The answer is 409 when the address has an account elsewhere. Whoever has no good token
    learns nothing: that is 404, whatever is wrong with it.
    """
    digest = _digest(call.body.token.get_secret_value())
    try:
        # Asked before the costly hash, and again inside the transaction, where it counts.
        _, tenant = await call.services.database.fetch(invitations.find_open, digest)
        if tenant.suspended_at is not None:
            raise ProblemError(SUBSCRIPTION_SUSPENDED)
        tokens = await call.application.accounts.join(
            digest, call.body.password.get_secret_value(), Origin(call.address, call.request_id)
        )
    except EmailTaken:
        raise ProblemError(EMAIL_TAKEN) from None
    return Reply(session_model(tokens), HTTPStatus.CREATED)


def _scope(call: Call[Any, Any]) -> Scope:
    return Scope(call.principal.subscription_id)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _fields(record: InvitationRecord, now: datetime) -> dict[str, Any]:
    return {
        "id": record.id,
        "email": record.email,
        "role": record.role,
        "status": _status(record, now),
        "invited_by": record.creator_id,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "accepted_at": record.accepted_at,
        "revoked_at": record.revoked_at,
    }


def _status(record: InvitationRecord, now: datetime) -> InvitationStatus:
    if record.accepted_at is not None:
        return "accepted"
    if record.revoked_at is not None:
        return "revoked"
    return "open" if record.expires_at > now else "expired"


def _create(
    scope: Scope, body: Invite, digest: str, expires_at: datetime, entry: NewAudit
) -> InvitationRecord:
    record = invitations.create(
        scope,
        email=body.email,
        role=body.role,
        digest=digest,
        creator_id=entry.actor_id or "",
        expires_at=expires_at,
        limit=_OPEN_LIMIT,
    )
    after = {"role": record.role.value}
    audit.append(scope.subscription_id, replace(entry, target=record.id, after=after))
    return record


def _revoke(scope: Scope, invitation_id: str, entry: NewAudit) -> None:
    revoked = invitations.revoke(scope, invitation_id)
    if revoked is not None:
        before = {"role": revoked.role.value}
        audit.append(scope.subscription_id, replace(entry, before=before))
