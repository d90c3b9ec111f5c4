"""What the routes under ``/api/auth`` take and answer."""

from __future__ import annotations

from typing import Annotated, Literal

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, SecretStr, WithJsonSchema

from wavisor.domain import Role, Tier
from wavisor.http.permissions import Permission
from wavisor.http.schemas import ApiModel, Name, Time

__all__ = [
    "Account",
    "AccountSubscription",
    "AccountUser",
    "ChangePassword",
    "Login",
    "Logout",
    "Me",
    "Refresh",
    "Register",
    "Session",
    "Ticket",
]

LEAST_PASSWORD_LENGTH = 10
_LONGEST_PASSWORD = 1024
# RFC 5321, section 4.5.3.1.3, less the angle brackets.
_LONGEST_EMAIL = 254

# Not only addresses of the public internet: a gateway may stand in a private network. Changing
# this list is how the library's documentation says to do it.
SPECIAL_USE_DOMAIN_NAMES[:] = sorted({*SPECIAL_USE_DOMAIN_NAMES} - {"local", "localhost", "test"})


def _email(value: str) -> str:
    try:
        return validate_email(
            value, check_deliverability=False, globally_deliverable=False
        ).normalized
    except EmailNotValidError:
        raise ValueError("is no e-mail address") from None


Email = Annotated[
    str,
    Field(min_length=3, max_length=_LONGEST_EMAIL),
    AfterValidator(_email),
    WithJsonSchema(
        {"type": "string", "format": "email", "minLength": 3, "maxLength": _LONGEST_EMAIL}
    ),
]
NewPassword = Annotated[
    SecretStr,
    Field(
        min_length=LEAST_PASSWORD_LENGTH,
        max_length=_LONGEST_PASSWORD,
        description="Any characters but NUL; all of them count.",
    ),
]
GivenPassword = Annotated[SecretStr, Field(min_length=1, max_length=_LONGEST_PASSWORD)]


class Register(ApiModel):
    """A new account."""

    email: Email
    password: NewPassword
    name: Name | None = Field(
        default=None, description="Name of the subscription; default: the e-mail."
    )


class Login(ApiModel):
    """E-mail address and password."""

    # Not checked for its form: an address that cannot exist is answered like any unknown one.
    email: str = Field(min_length=1, max_length=_LONGEST_EMAIL)
    password: GivenPassword


class Refresh(ApiModel):
    """A refresh token; it is good for one use."""

    refresh_token: SecretStr = Field(min_length=1, max_length=2048)


class Logout(ApiModel):
    """Which sessions to end."""

    everywhere: bool = Field(
        default=False, description="All sessions of the user, not only this one."
    )


class ChangePassword(ApiModel):
    """The password as it is and as it shall be."""

    current_password: GivenPassword
    new_password: NewPassword


class AccountUser(ApiModel):
    """A person who logs in."""

    id: str
    email: str
    role: Role
    is_operator: bool = Field(description="Whether the user runs the whole installation.")
    created_at: Time
    last_login_at: Time | None


class AccountSubscription(ApiModel):
    """A tenant."""

    id: str
    name: str
    tier: Tier
    instance_limit: int | None = Field(description="Null for no limit.")
    created_at: Time


class Account(ApiModel):
    """A user and the subscription it belongs to."""

    user: AccountUser
    subscription: AccountSubscription


class Me(Account):
    """Who the token belongs to, and what it permits."""

    permissions: list[Permission]


class Session(ApiModel):
    """Tokens for a session that was begun or continued."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: int = Field(description="Life of the access token, in seconds.")
    refresh_token: str
    refresh_expires_in: int = Field(description="Life of the refresh token, in seconds.")
    account: Account


class Ticket(ApiModel):
    """A one-time ticket for the websocket feed: `/ws?ticket=…`."""

    ticket: str
    expires_in: int = Field(description="Seconds until it is void.")
