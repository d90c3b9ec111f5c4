"""What the routes of people take and answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from wavisor.domain import Role
from wavisor.http.accounts.schemas import Email, NewPassword
from wavisor.http.schemas import ApiModel, Time

__all__ = [
    "AcceptInvitation",
    "ChangeRole",
    "Invitation",
    "InvitationStatus",
    "Invite",
    "NewInvitation",
    "SubscriptionUser",
]

InvitationStatus = Literal["open", "accepted", "revoked", "expired"]


class SubscriptionUser(ApiModel):
    """A person of the subscription."""

    id: str
    email: str
    role: Role
    created_at: Time
    last_login_at: Time | None


class ChangeRole(ApiModel):
    """Another role."""

    role: Role = Field(description="Not above your own.")


class Invite(ApiModel):
    """Whom to invite."""

    email: Email
    role: Role = Field(description="What they will be; not above your own role.")


class Invitation(ApiModel):
    """An invitation; its token is not kept, and never shown again."""

    id: str
    email: str
    role: Role
    status: InvitationStatus
    invited_by: str | None = Field(description="Null once that user is gone.")
    created_at: Time
    expires_at: Time
    accepted_at: Time | None
    revoked_at: Time | None


class NewInvitation(Invitation):
    """An invitation with its token, which is shown this once."""

    token: str = Field(description="For the invited; no mail is sent. It is good for one use.")


class AcceptInvitation(ApiModel):
    """The token of an invitation, and the password to log in with from then on."""

    token: SecretStr = Field(min_length=1, max_length=200)
    password: NewPassword
