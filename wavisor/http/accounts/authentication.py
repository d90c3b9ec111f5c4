"""From a bearer token, be it of a person or of a program, to a :class:`Principal`: one query."""

from __future__ import annotations

from collections.abc import Sequence

from wavisor.clock import Clock
from wavisor.http.accounts.principal import KeyCredential, Principal
from wavisor.http.accounts.tickets import Tickets
from wavisor.http.accounts.tokens import AccessClaims, TokenError, TokenIssuer
from wavisor.http.keys.checks import address_allowed, good_until, secret_fits
from wavisor.http.keys.form import GivenKey, is_key, read_key
from wavisor.http.problems import (
    ADDRESS_NOT_ALLOWED,
    BEARER_CHALLENGE,
    INVALID_TOKEN,
    SUBSCRIPTION_SUSPENDED,
    ProblemError,
)
from wavisor.storage import AccountRecord, Database, keys, sessions

__all__ = ["Authenticator", "unauthorized"]


def unauthorized(detail: str, *, error: str | None = None) -> ProblemError:
    """Return a 401 that names the scheme (RFC 6750, section 3).

    Args:
        detail: what is wrong, for people.
        error: RFC 6750's code for it; none where no token came at all.
    """
    challenge = BEARER_CHALLENGE if error is None else f'{BEARER_CHALLENGE}, error="{error}"'
    return ProblemError(INVALID_TOKEN, detail, headers={"WWW-Authenticate": challenge})


def _refused(detail: str) -> ProblemError:
    return unauthorized(detail, error="invalid_token")


class Authenticator:
    """Tells who an access token or an API key belongs to, as of now.

    Args:
        database: knows whether the user, the login, the token and the key are still good.
        tokens: knows whether the token is ours.
        tickets: the open one-time tickets.
        clock: tells whether a key has expired.
    """

    def __init__(
        self, database: Database, tokens: TokenIssuer, tickets: Tickets, clock: Clock
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._tickets = tickets
        self._clock = clock

    async def authenticate_header(self, values: Sequence[str], address: str) -> Principal:
        """Return who sent these ``Authorization`` headers.

        Args:
            values: the values of all headers of this name.
            address: the client's.

        Raises:
            ProblemError: 401 where there is no good token; 403 for a suspended subscription, or
                a key that is not for this address.
        """
        if not values:
            raise unauthorized("Send an access token or an API key as `Authorization: Bearer …`.")
        scheme, _, token = values[0].strip().partition(" ")
        if len(values) > 1 or scheme.lower() != "bearer" or not token.strip():
            raise unauthorized("Send one token as `Authorization: Bearer …`.")
        return await self.authenticate(token.strip(), address)

    async def authenticate(self, token: str, address: str) -> Principal:
        """Return whose access token or API key this is.

        Raises:
            ProblemError: as :meth:`authenticate_header`.
        """
        if is_key(token):
            given = read_key(token)
            if given is None:
                raise _refused("The API key is not valid.")
            return await self._of_key(given, address)
        try:
            claims = self._tokens.read_access(token)
        except TokenError as error:
            detail = "has expired" if error.expired else "is not valid"
            raise _refused(f"The access token {detail}.") from None
        return await self._of_claims(claims)

    async def redeem(self, ticket: str) -> Principal:
        """Return who asked for this one-time ticket; it is used up by this.

        Raises:
            ProblemError: 401 where it is not good, 403 for a suspended subscription.
        """
        claims = self._tickets.redeem(ticket)
        if claims is None or self._tokens.is_expired(claims):
            raise _refused("The ticket is not valid, or was used.")
        return await self._of_claims(claims)

    async def confirm(self, principal: Principal, address: str) -> Principal:
        """Return the same caller as of now, as long as nobody has revoked what it came with.

        For whatever lasts longer than a moment, such as websockets and uploads.

        Raises:
            ProblemError: 401 for what was revoked or has expired, 403 as
                :meth:`authenticate_header`.
        """
        if isinstance(principal.credential, KeyCredential):
            return await self._of_key(principal.credential.given, address)
        if self._tokens.is_expired(principal.credential):
            raise _refused("The access token has expired.")
        return await self._of_claims(principal.credential)

    async def _of_claims(self, claims: AccessClaims) -> Principal:
        account = await self._database.fetch(
            sessions.find_account, claims.sub, session_id=claims.sid, token_id=claims.jti
        )
        if account is None or account.user.token_version != claims.ver:
            raise _refused("The access token was revoked.")
        return Principal(_in_good_standing(account), claims)

    async def _of_key(self, given: GivenKey, address: str) -> Principal:
        found = await self._database.fetch(keys.find, given.prefix)
        # Nothing is told about a key to whom does not have its secret, not even that it exists.
        if found is None or not secret_fits(found[0], given):
            raise _refused("The API key is not valid.")
        key, account = found
        if key.revoked_at is not None:
            raise _refused("The API key was revoked.")
        ends = good_until(key, given)
        if ends is not None and ends <= self._clock.now():
            expired = key.expires_at is not None and key.expires_at <= self._clock.now()
            raise _refused("The API key has expired." if expired else "The API key was rotated.")
        if not address_allowed(key.addresses, address):
            raise ProblemError(ADDRESS_NOT_ALLOWED)
        return Principal(_in_good_standing(account), KeyCredential(key, given))


def _in_good_standing(account: AccountRecord) -> AccountRecord:
    if account.subscription.suspended_at is not None:
        raise ProblemError(SUBSCRIPTION_SUSPENDED)
    return account
