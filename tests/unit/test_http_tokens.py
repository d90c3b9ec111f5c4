from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from support.manual_clock import ManualClock
from wavisor.config import Settings
from wavisor.domain import Role, Tier
from wavisor.http.accounts.tickets import TICKET_SECONDS, Tickets
from wavisor.http.accounts.tokens import AccessClaims, TokenError, TokenIssuer
from wavisor.storage import AccountRecord, SubscriptionRecord, UserRecord

SECRET = "s" * 40
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SUBSCRIPTION = SubscriptionRecord("sub_1", "Somebody", Tier.BASIC, NOW, None)
USER = UserRecord("usr_1", "sub_1", "a@example.com", "hash", Role.OWNER, False, 3, NOW, None)
ACCOUNT = AccountRecord(USER, SUBSCRIPTION)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def issuer(clock: ManualClock) -> TokenIssuer:
    return TokenIssuer(Settings(), SecretStr(SECRET), clock)


def payload(issuer: TokenIssuer) -> dict[str, Any]:
    token = issuer.issue_access(ACCOUNT, "tok_1").token
    decoded: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return decoded


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = (json.dumps(part).encode() for part in (header, claims))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


def test_access_token_says_whose_it_is(issuer: TokenIssuer) -> None:
    issued = issuer.issue_access(ACCOUNT, "tok_1")
    claims = issuer.read_access(issued.token)
    assert (claims.sub, claims.sid, claims.ver, claims.jti) == ("usr_1", "tok_1", 3, issued.id)
    assert claims.expires_at == issued.expires_at


def test_token_ends_with_its_time(issuer: TokenIssuer, clock: ManualClock) -> None:
    issued = issuer.issue_access(ACCOUNT, "tok_1")
    clock.advance(issued.seconds - 1)
    claims = issuer.read_access(issued.token)
    assert not issuer.is_expired(claims)
    clock.advance(1)
    with pytest.raises(TokenError) as caught:
        issuer.read_access(issued.token)
    assert caught.value.expired
    assert issuer.is_expired(claims)


def test_signature_of_an_access_token_is_checked_once(
    issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issuer.issue_access(ACCOUNT, "tok_1").token
    first = issuer.read_access(token)
    monkeypatch.setattr(jwt, "decode", None)
    assert issuer.read_access(token) == first
    with pytest.raises(TypeError):
        issuer.read_access(token + "x")  # another token: it would have to be checked


def test_neither_token_stands_in_for_the_other(issuer: TokenIssuer) -> None:
    with pytest.raises(TokenError):
        issuer.read_access(issuer.issue_refresh("usr_1").token)
    with pytest.raises(TokenError):
        issuer.read_refresh(issuer.issue_access(ACCOUNT, "tok_1").token)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
def test_unsigned_token_is_refused(issuer: TokenIssuer, algorithm: str) -> None:
    with pytest.raises(TokenError):
        issuer.read_access(unsigned({"alg": algorithm, "typ": "JWT"}, payload(issuer)))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_other_algorithm_is_refused_even_with_the_right_key(
    issuer: TokenIssuer, algorithm: str
) -> None:
    secret = SECRET * 2
    other = TokenIssuer(Settings(), SecretStr(secret), ManualClock())
    with pytest.raises(TokenError):
        other.read_access(jwt.encode(payload(issuer), secret, algorithm=algorithm))


def test_token_signed_with_another_key_is_refused(issuer: TokenIssuer) -> None:
    with pytest.raises(TokenError):
        issuer.read_access(jwt.encode(payload(issuer), "x" * 40, algorithm="HS256"))


@pytest.mark.parametrize("missing", ["iss", "aud", "exp", "iat", "jti", "sub", "sid", "ver"])
def test_token_without_a_claim_is_refused(issuer: TokenIssuer, missing: str) -> None:
    claims = payload(issuer)
    del claims[missing]
    with pytest.raises(TokenError):
        issuer.read_access(jwt.encode(claims, SECRET, algorithm="HS256"))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody"},
        {"aud": "somebody"},
        {"aud": ["wavisor:access", "wavisor:refresh"]},
        {"exp": "soon"},
        {"exp": 1e300},
        {"exp": float("inf")},
        {"exp": -1},
        {"iat": 4102444800},
        {"ver": "3"},
        {"ver": True},
        {"sub": ""},
        {"sub": "x" * 100},
        {"nbf": 4102444800},
    ],
)
def test_token_with_a_wrong_claim_is_refused(issuer: TokenIssuer, changes: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        issuer.read_access(jwt.encode(payload(issuer) | changes, SECRET, algorithm="HS256"))


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "x" * 5000, "é.é.é", "\ud800"])
def test_what_is_no_token_is_refused(issuer: TokenIssuer, token: str) -> None:
    with pytest.raises(TokenError):
        issuer.read_access(token)


def test_changed_signature_is_refused(issuer: TokenIssuer) -> None:
    head, body, signature = issuer.issue_access(ACCOUNT, "tok_1").token.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    with pytest.raises(TokenError):
        issuer.read_access(f"{head}.{body}.{flipped}")


def test_secret_must_be_long_enough() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        TokenIssuer(Settings(), SecretStr("short"), ManualClock())


def test_token_is_not_shown_by_repr(issuer: TokenIssuer) -> None:
    issued = issuer.issue_access(ACCOUNT, "tok_1")
    assert issued.token not in repr(issued)


def claims_of(user_id: str) -> AccessClaims:
    return AccessClaims(sub=user_id, jti="tok_2", iat=0, exp=10**10, sid="tok_1", ver=1)


def test_ticket_is_good_once(clock: ManualClock) -> None:
    tickets = Tickets(clock)
    ticket = tickets.issue(claims_of("usr_1"))
    assert tickets.redeem(ticket) == claims_of("usr_1")
    assert tickets.redeem(ticket) is None


def test_ticket_is_void_after_its_time(clock: ManualClock) -> None:
    tickets = Tickets(clock)
    ticket = tickets.issue(claims_of("usr_1"))
    clock.advance(TICKET_SECONDS)
    assert tickets.redeem(ticket) is None


@pytest.mark.parametrize("ticket", ["", "x", "\ud800", "ü" * 1000])
def test_what_is_no_ticket_is_refused(clock: ManualClock, ticket: str) -> None:
    assert Tickets(clock).redeem(ticket) is None


def test_one_user_voids_only_their_own_tickets(clock: ManualClock) -> None:
    tickets = Tickets(clock, capacity=100, per_user=2)
    other = tickets.issue(claims_of("usr_2"))
    mine = [tickets.issue(claims_of("usr_1")) for _ in range(3)]
    assert [tickets.redeem(one) is not None for one in mine] == [False, True, True]
    assert tickets.redeem(other) is not None


def test_tickets_take_bounded_memory(clock: ManualClock) -> None:
    tickets = Tickets(clock, capacity=3, per_user=3)
    issued = [tickets.issue(claims_of(f"usr_{number}")) for number in range(5)]
    assert [tickets.redeem(one) is not None for one in issued] == [False, False, True, True, True]
