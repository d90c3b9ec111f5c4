"""The routes of accounts."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from wavisor.http.accounts.schemas import (
    ChangePassword,
    Login,
    Logout,
    Me,
    Refresh,
    Register,
    Session,
    Ticket,
)
from wavisor.http.accounts.service import (
    EMAIL_TAKEN,
    INVALID_CREDENTIALS,
    REGISTRATION_CLOSED,
    WRONG_PASSWORD,
    Origin,
)
from wavisor.http.accounts.tickets import TICKET_SECONDS
from wavisor.http.accounts.views import account_model, session_model
from wavisor.http.permissions import PUBLIC, Permission
from wavisor.http.problems import INVALID_TOKEN, SUBSCRIPTION_SUSPENDED, TOO_MANY_ATTEMPTS
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Empty

__all__ = ["router"]

router = Router("accounts", "Registering, logging in, and one's own account.")


@router.route(
    "POST",
    "/api/auth/register",
    operation="register",
    summary="Open an account",
    access=PUBLIC,
    body=Register,
    responses={201: Session},
    problems=[REGISTRATION_CLOSED, EMAIL_TAKEN],
)
async def register(call: Call[Register, None]) -> Reply:
    """Creates a subscription of tier BASIC and its owner, and logs them in.

    The first account of an installation also becomes the operator of the platform.
    """
    body = call.body
    tokens = await call.application.accounts.register(
        body.email, body.password.get_secret_value(), body.name, _origin(call)
    )
    return Reply(session_model(tokens), HTTPStatus.CREATED)


@router.route(
    "POST",
    "/api/auth/login",
    operation="login",
    summary="Log in",
    access=PUBLIC,
    body=Login,
    responses={200: Session},
    problems=[INVALID_CREDENTIALS, SUBSCRIPTION_SUSPENDED, TOO_MANY_ATTEMPTS],
)
async def login(call: Call[Login, None]) -> Reply:
    """Begins a session. Failed attempts are limited by account and by address."""
    body = call.body
    tokens = await call.application.accounts.login(
        body.email, body.password.get_secret_value(), _origin(call)
    )
    return Reply(session_model(tokens))


@router.route(
    "POST",
    "/api/auth/refresh",
    operation="refresh",
    summary="Renew the tokens",
    access=PUBLIC,
    body=Refresh,
    responses={200: Session},
    problems=[INVALID_TOKEN, SUBSCRIPTION_SUSPENDED],
)
async def refresh(call: Call[Refresh, None]) -> Reply:
    """Takes a refresh token for a new pair of tokens.

    A refresh token is good for one use. Using it again ends the session, because one of the two
    users must have stolen it.
    """
    tokens = await call.application.accounts.refresh(
        call.body.refresh_token.get_secret_value(), _origin(call)
    )
    return Reply(session_model(tokens))


@router.route(
    "POST",
    "/api/auth/logout",
    operation="logout",
    summary="Log out",
    access=Permission.ACCOUNT,
    body=Logout,
    responses={204: None},
)
async def logout(call: Call[Logout, None]) -> Reply:
    """Ends this session, or all sessions of the user; their tokens are void at once."""
    await call.application.accounts.logout(
        call.principal, _origin(call), everywhere=call.body.everywhere
    )
    return Reply(status=HTTPStatus.NO_CONTENT)


@router.route(
    "POST",
    "/api/auth/change-password",
    operation="changePassword",
    summary="Change the password",
    access=Permission.ACCOUNT,
    body=ChangePassword,
    responses={200: Session},
    problems=[WRONG_PASSWORD, TOO_MANY_ATTEMPTS],
)
async def change_password(call: Call[ChangePassword, None]) -> Reply:
    """Sets a new password. Every session ends, and the answer holds the tokens of a new one."""
    tokens = await call.application.accounts.change_password(
        call.principal,
        call.body.current_password.get_secret_value(),
        call.body.new_password.get_secret_value(),
        _origin(call),
    )
    return Reply(session_model(tokens))


@router.route(
    "GET",
    "/api/auth/me",
    operation="getMe",
    summary="Who am I",
    access=Permission.ACCOUNT,
    responses={200: Me},
)
async def get_me(call: Call[None, None]) -> Reply:
    """Tells which user the token belongs to, its subscription, and what it permits."""
    account = account_model(call.principal.account)
    return Reply(
        Me(
            user=account.user,
            subscription=account.subscription,
            permissions=sorted(call.principal.permissions),
        )
    )


@router.route(
    "POST",
    "/api/ws-ticket",
    operation="createFeedTicket",
    summary="Get a ticket for the websocket feed",
    access=Permission.ACCOUNT,
    body=Empty,
    responses={201: Ticket},
)
async def create_feed_ticket(call: Call[Empty, None]) -> Reply:
    """Gives a ticket for `/ws?ticket=…`, for clients that cannot send a header.

    It is good for one connection within 30 s.
    """
    ticket = call.application.tickets.issue(call.principal.claims)
    return Reply(Ticket(ticket=ticket, expires_in=TICKET_SECONDS), HTTPStatus.CREATED)


def _origin(call: Call[Any, Any]) -> Origin:
    return Origin(call.address, call.request_id)
