"""Access and refresh tokens: JSON web tokens, signed with HS256 and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

import jwt
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from wavisor.clock import Clock
from wavisor.config import AccountSettings
from wavisor.ids import Kind, new_id
from wavisor.storage import AccountRecord

__all__ = ["AccessClaims", "Issued", "RefreshClaims", "TokenError", "TokenIssuer", "TokenUse"]

_ALGORITHM = "HS256"
_ISSUER = "wavisor"
# Clocks of several nodes differ a little; more than this is no clock but a forgery.
_CLOCK_SKEW_SECONDS = 30
_LENGTH_LIMIT = 2048
_LEAST_SECRET_BYTES = 32
# Access tokens in use at the same time of which the signature is checked only once.
_REMEMBERED = 2048


class TokenUse(StrEnum):
    """What a token is good for; its audience, so that one can never stand in for another."""

    ACCESS = "wavisor:access"
    REFRESH = "wavisor:refresh"


class TokenError(Exception):
    """A token is not accepted. ``expired`` tells the one reason that clients may act upon."""

    def __init__(self, message: str, *, expired: bool = False) -> None:
        super().__init__(message)
        self.expired = expired


class RefreshClaims(BaseModel):
    """What a refresh token says."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    sub: str = Field(min_length=1, max_length=64)
    """The user's id."""
    jti: str = Field(min_length=1, max_length=64)
    iat: int
    exp: int

    @property
    def expires_at(self) -> datetime:
        """When the token ends."""
        return datetime.fromtimestamp(self.exp, UTC)


class AccessClaims(RefreshClaims):
    """What an access token says."""

    sid: str = Field(min_length=1, max_length=64)
    """The login that the token belongs to: the family of its refresh tokens."""
    ver: int
    """The user's token version when it was made; a later version voids it."""


ClaimsT = TypeVar("ClaimsT", bound=RefreshClaims)


@dataclass(frozen=True)
class Issued:
    """A token that was just made."""

    id: str
    token: str
    expires_at: datetime
    seconds: int
    """How long it lives."""

    def __repr__(self) -> str:
        return f"Issued(id={self.id!r}, expires_at={self.expires_at!r})"


class TokenIssuer:
    """Makes and reads tokens.

    Args:
        settings: how long they live.
        secret: signs them; at least 32 bytes.
        clock: dates them.

    Raises:
        ValueError: the secret is too short to be one.
    """

    def __init__(self, settings: AccountSettings, secret: SecretStr, clock: Clock) -> None:
        self._secret = secret.get_secret_value().encode("utf-8")
        if len(self._secret) < _LEAST_SECRET_BYTES:
            raise ValueError(f"the secret for tokens needs {_LEAST_SECRET_BYTES} bytes or more")
        self._access_seconds = int(settings.access_token_ttl_seconds)
        self._refresh_seconds = int(settings.refresh_token_ttl_seconds)
        self._clock = clock
        # A signature that was good stays good, and checking it is the most expensive part of
        # authentication. Tokens that are refused are not remembered.
        self._verified_access = lru_cache(maxsize=_REMEMBERED)(
            lambda token: self._verify(token, TokenUse.ACCESS, AccessClaims)
        )

    def issue_access(self, account: AccountRecord, session_id: str) -> Issued:
        """Return an access token for one login of a user."""
        claims = {"sid": session_id, "ver": account.user.token_version}
        return self._issue(TokenUse.ACCESS, account.user.id, self._access_seconds, claims)

    def issue_refresh(self, user_id: str) -> Issued:
        """Return a refresh token; its id is what storage keeps of it."""
        return self._issue(TokenUse.REFRESH, user_id, self._refresh_seconds, {})

    def read_access(self, token: str) -> AccessClaims:
        """Return what an access token says.

        Raises:
            TokenError: it is forged, expired, or no access token.
        """
        return self._in_time(self._verified_access(token))

    def read_refresh(self, token: str) -> RefreshClaims:
        """Return what a refresh token says.

        Raises:
            TokenError: it is forged, expired, or no refresh token.
        """
        return self._in_time(self._verify(token, TokenUse.REFRESH, RefreshClaims))

    def is_expired(self, claims: RefreshClaims) -> bool:
        """Tell whether a token that was good has ended since, as on a long-lived connection."""
        return claims.exp <= self._clock.now().timestamp()

    def _issue(self, use: TokenUse, user_id: str, seconds: int, more: dict[str, Any]) -> Issued:
        now = int(self._clock.now().timestamp())
        token_id = new_id(Kind.TOKEN)
        claims = {
            "iss": _ISSUER,
            "aud": use.value,
            "sub": user_id,
            "jti": token_id,
            "iat": now,
            "exp": now + seconds,
        }
        token = jwt.encode(claims | more, self._secret, algorithm=_ALGORITHM)
        return Issued(token_id, token, datetime.fromtimestamp(now + seconds, UTC), seconds)

    def _verify(self, token: str, use: TokenUse, model: type[ClaimsT]) -> ClaimsT:
        """Return the claims of a token of ours, whatever the time."""
        if len(token) > _LENGTH_LIMIT:
            raise TokenError("too long")
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=use.value,
                issuer=_ISSUER,
                options={
                    "require": ["iss", "aud", "exp", "iat", "jti", "sub"],
                    "strict_aud": True,
                    # PyJWT asks the machine for the time; ours is injected, see below.
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            return model.model_validate(claims)
        except (jwt.PyJWTError, ValidationError, ValueError) as error:
            raise TokenError(type(error).__name__) from None

    def _in_time(self, read: ClaimsT) -> ClaimsT:
        now = self._clock.now().timestamp()
        if read.iat > now + _CLOCK_SKEW_SECONDS:
            raise TokenError("issued in the future")
        if read.exp <= now:
            raise TokenError("expired", expired=True)
        return read
