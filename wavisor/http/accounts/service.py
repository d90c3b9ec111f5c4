"""What can be done with an account: register, log in, stay logged in, log out, new password."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import structlog

from wavisor import metrics
from wavisor.config import AccountSettings
from wavisor.domain import RegistrationMode
from wavisor.http.accounts.authentication import unauthorized
from wavisor.http.accounts.changes import AccessChanges
from wavisor.http.accounts.passwords import PasswordHasher
from wavisor.http.accounts.principal import Principal
from wavisor.http.accounts.throttle import LoginThrottle
from wavisor.http.accounts.tokens import Issued, TokenError, TokenIssuer
from wavisor.http.problems import SUBSCRIPTION_SUSPENDED, ProblemError, ProblemKind
from wavisor.metrics import LoginOutcome
from wavisor.storage import (
    AccountRecord,
    Database,
    EmailTaken,
    NewAudit,
    NotFound,
    RegistrationClosed,
    Rotation,
    RotationOutcome,
    accounts,
    audit,
    invitations,
    tokens,
)

__all__ = [
    "EMAIL_TAKEN",
    "INVALID_CREDENTIALS",
    "REGISTRATION_CLOSED",
    "WRONG_PASSWORD",
    "Accounts",
    "Origin",
    "Tokens",
]

log = structlog.get_logger(__name__)

EMAIL_TAKEN = ProblemKind(
    "email-taken", 409, "This e-mail address is in use", "Log in with it, or use another one."
)
REGISTRATION_CLOSED = ProblemKind(
    "registration-closed",
    403,
    "Registration is closed",
    "Whoever runs the gateway opens accounts; or have somebody invite you.",
)
INVALID_CREDENTIALS = ProblemKind(
    "invalid-credentials",
    401,
    "E-mail or password is wrong",
    "Which of the two is not told. Too many failures make you wait.",
)
WRONG_PASSWORD = ProblemKind(
    "wrong-password", 403, "The current password is wrong", "The password was not changed."
)


class Action(StrEnum):
    """What the audit trail calls these things."""

    REGISTERED = "account.registered"
    JOINED = "invitation.accept"
    LOGGED_IN = "account.logged_in"
    LOGIN_FAILED = "account.login_failed"
    LOGGED_OUT = "account.logged_out"
    PASSWORD_CHANGED = "account.password_changed"  # noqa: S105 - the name of an action
    PASSWORD_CHANGE_REFUSED = "account.password_change_refused"  # noqa: S105 - likewise
    REFRESH_REPLAYED = "account.refresh_replayed"


@dataclass(frozen=True)
class Origin:
    """Where a request came from, for the audit trail."""

    address: str
    request_id: str


@dataclass(frozen=True)
class Tokens:
    """A session that was begun or continued."""

    account: AccountRecord
    access: Issued
    refresh: Issued


class Accounts:
    """The rules of accounts. All methods are for the event loop and none blocks it.

    Args:
        settings: who may register, and the rest.
        database: keeps accounts and sessions.
        hasher: works on passwords.
        tokens: makes tokens.
        throttle: counts failed attempts.
        changes: told when sessions end.
    """

    def __init__(
        self,
        *,
        settings: AccountSettings,
        database: Database,
        hasher: PasswordHasher,
        tokens: TokenIssuer,
        throttle: LoginThrottle,
        changes: AccessChanges,
    ) -> None:
        self._mode = settings.registration
        self._database = database
        self._hasher = hasher
        self._tokens = tokens
        self._throttle = throttle
        self._changes = changes

    async def register(self, email: str, password: str, name: str | None, origin: Origin) -> Tokens:
        """Create a subscription and its owner, and log them in, in one transaction.

        Raises:
            ProblemError: 403 when registration is closed, 409 when the address is in use.
        """
        # Asked before the costly hash, and again inside the transaction, where it counts.
        if not await self._database.fetch(accounts.registration_allowed, self._mode):
            raise ProblemError(REGISTRATION_CLOSED)
        digest = await self._hasher.hash(password)
        new = _NewAccount(email, digest, name or email, self._mode)
        # Its user is not known yet, and the token carries it: made inside the transaction.
        try:
            account, session_id, refresh = await self._database.commit(
                _register, new, self._tokens, origin
            )
        except RegistrationClosed:
            raise ProblemError(REGISTRATION_CLOSED) from None
        except EmailTaken:
            raise ProblemError(EMAIL_TAKEN) from None
        return Tokens(account, self._tokens.issue_access(account, session_id), refresh)

    async def join(self, digest: str, password: str, origin: Origin) -> Tokens:
        """Make the holder of an invitation a user, and log them in, in one transaction.

        Args:
            digest: of the invitation's token.
            password: to log in with from now on.
            origin: where this comes from.

        Raises:
            InvitationInvalid: there is no such invitation, or it is over.
            EmailTaken: its address belongs to an account.
            ProblemError: too many passwords wait already (503).
        """
        hashed = await self._hasher.hash(password)
        account, session_id, refresh = await self._database.commit(
            _join, digest, hashed, self._tokens, origin
        )
        return Tokens(account, self._tokens.issue_access(account, session_id), refresh)

    async def login(self, email: str, password: str, origin: Origin) -> Tokens:
        """Begin a session.

        Whether there is such an account or not, the same steps are taken, bcrypt included.

        Raises:
            ProblemError: 401 when address or password is wrong, 403 when the subscription is
                suspended, 429 after too many attempts.
        """
        address = accounts.normalise_email(email)
        self._begin_attempt(address, origin)
        try:
            tokens = await self._try_login(email, password, origin)
        except BaseException:
            self._throttle.abandon(address, origin.address)
            raise
        if tokens is None:
            metrics.observe_login(LoginOutcome.REFUSED)
            raise ProblemError(INVALID_CREDENTIALS)
        self._throttle.succeed(address, origin.address)
        metrics.observe_login(LoginOutcome.SUCCEEDED)
        return tokens

    async def _try_login(self, email: str, password: str, origin: Origin) -> Tokens | None:
        account = await self._database.fetch(accounts.find_by_email, email)
        stored = account.user.password_hash if account else None
        proven = await self._hasher.verify(password, stored)
        if account is None or not proven:
            await self._database.commit(_note_failure, account, Action.LOGIN_FAILED, origin)
            return None
        if account.subscription.suspended_at is not None:
            why = {"reason": "subscription_suspended"}
            await self._database.commit(_note_failure, account, Action.LOGIN_FAILED, origin, why)
            raise ProblemError(SUBSCRIPTION_SUSPENDED)
        refresh = self._tokens.issue_refresh(account.user.id)
        try:
            session_id = await self._database.commit(_begin_session, account, refresh, origin)
        except _SupersededError:
            return None
        return Tokens(account, self._tokens.issue_access(account, session_id), refresh)

    async def refresh(self, token: str, origin: Origin) -> Tokens:
        """Continue a session: a refresh token for a new pair.

        Raises:
            ProblemError: 401 when the token is not good. One that was used before was stolen, by
                whoever came first or second, and ends the session.
        """
        try:
            claims = self._tokens.read_refresh(token)
        except TokenError:
            raise unauthorized("The refresh token is not valid.", error="invalid_token") from None
        known = await self._database.fetch(accounts.find_user, claims.sub)
        if known is not None:
            _refuse_suspended(known)  # before the token is used up: it is good again afterwards
        successor = self._tokens.issue_refresh(claims.sub)
        rotation, account = await self._database.commit(_rotate, claims.jti, successor, origin)
        if rotation.outcome is RotationOutcome.REPLAYED:
            self._changes.announce(claims.sub)
            log.warning("a refresh token was used twice; its session is ended", user=claims.sub)
        if account is None or rotation.family_id is None:
            raise unauthorized("The refresh token is not valid.", error="invalid_token")
        return Tokens(account, self._tokens.issue_access(account, rotation.family_id), successor)

    async def logout(self, caller: Principal, origin: Origin, *, everywhere: bool) -> None:
        """End the caller's session, or all that the user has."""
        await self._database.commit(_end_session, caller, origin, everywhere)
        self._changes.announce(caller.user_id)

    async def change_password(
        self, caller: Principal, current: str, new: str, origin: Origin
    ) -> Tokens:
        """Set a new password, end every session, and begin a new one for the caller.

        Raises:
            ProblemError: 403 when the current password is wrong, 401 when another change came
                first, 429 after too many attempts.
        """
        user = caller.account.user
        self._begin_attempt(user.email, origin)
        try:
            proven = await self._hasher.verify(current, user.password_hash)
            if not proven:
                await self._database.commit(
                    _note_failure, caller.account, Action.PASSWORD_CHANGE_REFUSED, origin
                )
        except BaseException:
            self._throttle.abandon(user.email, origin.address)
            raise
        if not proven:
            raise ProblemError(WRONG_PASSWORD)
        self._throttle.succeed(user.email, origin.address)
        digest = await self._hasher.hash(new)
        refresh = self._tokens.issue_refresh(user.id)
        try:
            account, session_id = await self._database.commit(
                _change_password, caller.account, digest, refresh, origin
            )
        except _SupersededError:
            detail = "The access token was revoked."
            raise unauthorized(detail, error="invalid_token") from None
        self._changes.announce(user.id)
        return Tokens(account, self._tokens.issue_access(account, session_id), refresh)

    def _begin_attempt(self, account: str, origin: Origin) -> None:
        try:
            self._throttle.begin(account, origin.address)
        except ProblemError:
            metrics.observe_login(LoginOutcome.THROTTLED)
            raise


# What follows runs on the database's threads, each function in one transaction.


@dataclass(frozen=True)
class _NewAccount:
    email: str
    password_hash: str
    name: str
    mode: RegistrationMode


def _register(
    new: _NewAccount, issuer: TokenIssuer, origin: Origin
) -> tuple[AccountRecord, str, Issued]:
    account = accounts.create_subscription_with_owner(
        email=new.email, password_hash=new.password_hash, name=new.name, mode=new.mode
    )
    refresh = issuer.issue_refresh(account.user.id)
    session_id = tokens.start_family(
        account.user.id, token_id=refresh.id, expires_at=refresh.expires_at
    )
    _note(account, Action.REGISTERED, origin)
    return account, session_id, refresh


def _join(
    digest: str, password_hash: str, issuer: TokenIssuer, origin: Origin
) -> tuple[AccountRecord, str, Issued]:
    invitation, account = invitations.accept(digest, password_hash)
    refresh = issuer.issue_refresh(account.user.id)
    session_id = tokens.start_family(
        account.user.id, token_id=refresh.id, expires_at=refresh.expires_at
    )
    after = {"invitation": invitation.id, "role": invitation.role.value}
    _note(account, Action.JOINED, origin, after)
    return account, session_id, refresh


class _SupersededError(Exception):
    """The account changed between the check of its password and this; nothing is stored."""


def _check_unchanged(account: AccountRecord, version: int) -> None:
    # To be called once this transaction has written the user's row: only then no other one can
    # be changing it.
    present = accounts.find_user(account.user.id)
    if present is None or present.user.token_version != version:
        raise _SupersededError


def _begin_session(account: AccountRecord, refresh: Issued, origin: Origin) -> str:
    accounts.touch_login(account.user.id)
    _check_unchanged(account, account.user.token_version)
    _note(account, Action.LOGGED_IN, origin)
    return tokens.start_family(account.user.id, token_id=refresh.id, expires_at=refresh.expires_at)


def _refuse_suspended(account: AccountRecord) -> None:
    if account.subscription.suspended_at is not None:
        raise ProblemError(SUBSCRIPTION_SUSPENDED)


def _note_failure(
    account: AccountRecord | None,
    action: Action,
    origin: Origin,
    after: dict[str, Any] | None = None,
) -> None:
    # For unknown accounts too: an entry less would be a difference that can be measured.
    audit.append(
        account.subscription.id if account else None,
        NewAudit(
            action=action.value,
            actor_kind="user",
            target=account.user.id if account else None,
            after=after,
            address=origin.address,
            request_id=origin.request_id,
        ),
    )


def _rotate(
    token_id: str, successor: Issued, origin: Origin
) -> tuple[Rotation, AccountRecord | None]:
    rotation = tokens.rotate(token_id, new_token_id=successor.id, expires_at=successor.expires_at)
    account = accounts.find_user(rotation.user_id) if rotation.user_id else None
    if rotation.outcome is RotationOutcome.REPLAYED and account is not None:
        _note(account, Action.REFRESH_REPLAYED, origin)
    return rotation, account if rotation.outcome is RotationOutcome.ROTATED else None


def _end_session(caller: Principal, origin: Origin, everywhere: bool) -> None:
    if everywhere:
        tokens.revoke_all(caller.user_id)
    else:
        tokens.revoke_family(caller.claims.sid)
    tokens.revoke_token(caller.claims.jti, caller.claims.expires_at)
    _note(caller.account, Action.LOGGED_OUT, origin, {"everywhere": everywhere})


def _change_password(
    account: AccountRecord, digest: str, refresh: Issued, origin: Origin
) -> tuple[AccountRecord, str]:
    """Return the account as it is now, and its one session."""
    try:
        version = accounts.update_password(account.user.id, digest)
    except NotFound:
        raise _SupersededError from None
    if version != account.user.token_version + 1:
        raise _SupersededError
    session_id = tokens.start_family(
        account.user.id, token_id=refresh.id, expires_at=refresh.expires_at
    )
    _note(account, Action.PASSWORD_CHANGED, origin)
    user = replace(account.user, password_hash=digest, token_version=version)
    return replace(account, user=user), session_id


def _note(
    account: AccountRecord, action: Action, origin: Origin, after: dict[str, Any] | None = None
) -> None:
    audit.append(
        account.subscription.id,
        NewAudit(
            action=action.value,
            actor_kind="user",
            actor_id=account.user.id,
            target=account.user.id,
            after=after,
            address=origin.address,
            request_id=origin.request_id,
        ),
    )
