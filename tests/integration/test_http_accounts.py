"""Accounts through the API."""

from __future__ import annotations

import asyncio
from typing import Any

import bcrypt
import pytest
from structlog.testing import capture_logs

from support.http import PASSWORD, Answer, HttpLab, Member, NewHttp
from wavisor.domain import RegistrationMode
from wavisor.storage import DatabaseBusy, accounts
from wavisor.storage import tokens as token_rows
from wavisor.storage.models import Subscription, User

REGISTER = "/api/auth/register"
LOGIN = "/api/auth/login"
REFRESH = "/api/auth/refresh"
LOGOUT = "/api/auth/logout"
CHANGE = "/api/auth/change-password"
ME = "/api/auth/me"
NEW_PASSWORD = "another long password"


def login(http: HttpLab, email: str, password: str = PASSWORD, **more: Any) -> Answer:
    return http.post(LOGIN, {"email": email, "password": password}, **more)


def works(http: HttpLab, token: str) -> bool:
    answer = http.get(ME, token=token)
    if answer.status == 401:
        assert answer.problem == "invalid-token"
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        return False
    assert answer.status == 200
    return True


def count_rows(http: HttpLab) -> tuple[int, int]:
    def count() -> tuple[int, int]:
        return Subscription.select().count(), User.select().count()

    return http.run(http.database.fetch(count))


def test_registering_creates_subscription_and_owner(http_on_both: HttpLab) -> None:
    body = {"email": "Zoe@Example.COM", "password": PASSWORD, "name": " Flowers "}
    answer = http_on_both.post(REGISTER, body)
    assert answer.status == 201
    session = answer.json
    assert session["tokenType"] == "Bearer"
    assert session["expiresIn"] == 900
    user, subscription = session["account"]["user"], session["account"]["subscription"]
    assert user["email"] == "zoe@example.com"
    assert user["role"] == "OWNER"
    assert user["createdAt"] == "2026-01-01T00:00:00.000Z"
    assert (subscription["name"], subscription["tier"]) == ("Flowers", "BASIC")
    assert subscription["instanceLimit"] == 5
    me = http_on_both.get(ME, token=session["accessToken"]).json
    assert (me["user"], me["subscription"]) == (user, subscription)
    assert "instances:manage" in me["permissions"]
    assert http_on_both.audited() == ["account.registered"]


def test_only_the_first_account_is_the_operator(http_on_both: HttpLab) -> None:
    first, second = http_on_both.register(), http_on_both.register()
    assert first.subscription_id != second.subscription_id
    for member, expected in ((first, True), (second, False)):
        me = http_on_both.get(ME, token=member.token).json
        assert me["user"]["isOperator"] is expected
        assert ("operator" in me["permissions"]) is expected


def register_at_once(http: HttpLab, emails: list[str]) -> list[Answer]:
    async def race() -> list[Answer]:
        bodies = ({"email": email, "password": PASSWORD} for email in emails)
        return await asyncio.gather(*(http.send("POST", REGISTER, json=one) for one in bodies))

    return http.run(race(), timeout=60)


def test_race_for_the_first_account_has_one_winner(http_on_both: HttpLab) -> None:
    answers = register_at_once(http_on_both, [f"p{number}@example.com" for number in range(8)])
    assert [one.status for one in answers] == [201] * 8
    assert sum(one.json["account"]["user"]["isOperator"] for one in answers) == 1


def test_race_for_one_address_has_one_winner_and_leaves_nothing_half(
    http_on_both: HttpLab,
) -> None:
    spellings = ["Same@example.com", "same@EXAMPLE.com", "SAME@example.com", "same@example.com"]
    answers = register_at_once(http_on_both, spellings)
    assert sorted(one.status for one in answers) == [201, 409, 409, 409]
    assert {one.problem for one in answers if one.status == 409} == {"email-taken"}
    assert count_rows(http_on_both) == (1, 1)


def test_race_for_the_only_account_has_one_winner(new_http: NewHttp) -> None:
    http = new_http(registration=RegistrationMode.FIRST)
    answers = register_at_once(http, [f"p{number}@example.com" for number in range(6)])
    assert sorted(one.status for one in answers) == [201] + [403] * 5
    assert {one.problem for one in answers if one.status == 403} == {"registration-closed"}


def test_closed_registration_costs_no_hash(
    new_http: NewHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> bytes:
        raise AssertionError("hashed for nothing")

    monkeypatch.setattr(bcrypt, "hashpw", forbidden)
    http = new_http(registration=RegistrationMode.CLOSED)
    answer = http.post(REGISTER, {"email": "a@example.com", "password": PASSWORD})
    assert (answer.status, answer.problem) == (403, "registration-closed")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["#/email", "#/password"]),
        ({"email": "a@example.com", "password": "short"}, ["#/password"]),
        ({"email": "a@example.com", "password": "x" * 1025}, ["#/password"]),
        ({"email": "nobody", "password": PASSWORD}, ["#/email"]),
        ({"email": "a b@example.com", "password": PASSWORD}, ["#/email"]),
        ({"email": "x" * 250 + "@example.com", "password": PASSWORD}, ["#/email"]),
        ({"email": 7, "password": PASSWORD}, ["#/email"]),
        ({"email": "a@example.com", "password": 1234567890}, ["#/password"]),
        ({"email": "a@example.com", "password": "nul\0 nul\0 nul\0"}, ["#/password"]),
        ({"email": "a@example.com", "password": PASSWORD, "role": "OWNER"}, ["#/role"]),
        ({"email": "a@example.com", "password": PASSWORD, "name": ""}, ["#/name"]),
        ([], ["#"]),
    ],
)
def test_wrong_registration_names_what_is_wrong(
    http: HttpLab, body: object, pointers: list[str]
) -> None:
    answer = http.post(REGISTER, body)
    assert (answer.status, answer.problem) == (422, "validation-failed")
    assert sorted(answer.pointers) == pointers
    assert count_rows(http) == (0, 0)


def test_private_and_international_addresses_are_accepted(http: HttpLab) -> None:
    for email in ("admin@gateway.local", "jörg@bücher.example", "x+tag@example.com"):
        body = {"email": email, "password": PASSWORD}
        assert http.post(REGISTER, body).status == 201
        assert login(http, email.upper()).status == 200


def test_login_in_any_letter_case(http_on_both: HttpLab) -> None:
    member = http_on_both.register("somebody@example.com")
    answer = login(http_on_both, " SomeBody@Example.com ")
    assert answer.status == 200
    assert answer.json["account"]["user"]["id"] == member.user_id
    me = http_on_both.get(ME, token=answer.json["accessToken"]).json
    assert me["user"]["lastLoginAt"] == "2026-01-01T00:00:00.000Z"
    assert http_on_both.audited() == ["account.registered", "account.logged_in"]


def test_wrong_password_and_unknown_user_are_the_same_answer_by_the_same_steps(
    http_on_both: HttpLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    http_on_both.register("known@example.com")
    checked: list[bytes] = []
    real = bcrypt.checkpw

    def spy(password: bytes, digest: bytes) -> bool:
        checked.append(digest[:7])
        return real(password, digest)

    monkeypatch.setattr(bcrypt, "checkpw", spy)
    answers, statements = [], []
    for email in ("known@example.com", "unknown@example.com"):
        with http_on_both.database.count_queries() as queries:
            answers.append(login(http_on_both, email, "wrong password"))
        statements.append(queries.statements)
    known, unknown = answers
    assert checked == [b"$2b$04$"] * 2
    assert statements[0] == statements[1]
    assert (known.status, known.problem) == (401, "invalid-credentials")
    assert known.headers["WWW-Authenticate"] == 'Bearer realm="wavisor"'
    hidden = {"requestId": ""}
    assert known.json | hidden == unknown.json | hidden
    assert http_on_both.audited()[1:] == ["account.login_failed"] * 2


def test_login_is_throttled_by_account_with_or_without_an_account(new_http: NewHttp) -> None:
    http = new_http(login_attempts_per_account=3, login_window_seconds=60)
    http.register("known@example.com")
    for email in ("known@example.com", "unknown@example.com"):
        for _ in range(3):
            assert login(http, email, "wrong password").status == 401
        for spelling in (email, email.upper()):
            answer = login(http, spelling)
            assert (answer.status, answer.problem) == (429, "too-many-attempts")
            assert answer.headers["Retry-After"] == "60"
            assert answer.headers["RateLimit"] == '"login-account";r=0;t=60'
    http.clock.advance(60)
    assert login(http, "known@example.com").status == 200


def test_login_that_could_not_be_judged_is_no_failed_one(
    new_http: NewHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = new_http(login_attempts_per_account=1, login_attempts_per_address=1)
    member = http.register()

    async def busy(*_: Any, **__: Any) -> Any:
        raise DatabaseBusy("full")

    with monkeypatch.context() as patched:
        patched.setattr(http.database, "fetch", busy)
        for _ in range(3):
            assert login(http, member.email).status == 503
    assert login(http, member.email).status == 200


def test_many_logins_at_once_do_not_slip_past_the_throttle(new_http: NewHttp) -> None:
    http = new_http(login_attempts_per_account=3)
    http.register("known@example.com")

    async def guess() -> list[Answer]:
        body = {"email": "known@example.com", "password": "wrong password"}
        return await asyncio.gather(*(http.send("POST", LOGIN, json=body) for _ in range(12)))

    statuses = sorted(one.status for one in http.run(guess(), timeout=60))
    assert statuses == [401] * 3 + [429] * 9


def test_login_is_throttled_by_address_that_only_trusted_proxies_may_tell(
    new_http: NewHttp,
) -> None:
    http = new_http(login_attempts_per_address=2, trusted_proxies="127.0.0.0/8")

    def attempt(number: int, forwarded: str) -> int:
        headers = {"X-Forwarded-For": forwarded}
        return login(http, f"{number}@example.com", "wrong password", headers=headers).status

    assert [attempt(n, "198.51.100.1") for n in range(3)] == [401, 401, 429]
    assert attempt(3, "spoofed, 198.51.100.1") == 429
    assert attempt(4, "198.51.100.2") == 401


def test_forwarded_address_is_ignored_without_trusted_proxies(new_http: NewHttp) -> None:
    http = new_http(login_attempts_per_address=2)
    statuses = [
        login(
            http, f"{n}@example.com", "wrong", headers={"X-Forwarded-For": f"198.51.100.{n}"}
        ).status
        for n in range(3)
    ]
    assert statuses == [401, 401, 429]


def test_refresh_rotates(http_on_both: HttpLab) -> None:
    member = http_on_both.register()
    answer = http_on_both.post(REFRESH, {"refreshToken": member.refresh_token})
    assert answer.status == 200
    renewed = Member.of(answer.json)
    assert renewed.refresh_token != member.refresh_token
    assert works(http_on_both, renewed.token)
    again = http_on_both.post(REFRESH, {"refreshToken": renewed.refresh_token})
    assert again.status == 200


def test_replayed_refresh_token_ends_the_session_and_no_other(http_on_both: HttpLab) -> None:
    member = http_on_both.register("somebody@example.com")
    other = Member.of(login(http_on_both, "somebody@example.com").json)
    renewed = Member.of(http_on_both.post(REFRESH, {"refreshToken": member.refresh_token}).json)
    with capture_logs() as logs:
        answer = http_on_both.post(REFRESH, {"refreshToken": member.refresh_token})
    assert (answer.status, answer.problem) == (401, "invalid-token")
    assert any("used twice" in line["event"] for line in logs)
    assert not works(http_on_both, renewed.token)
    assert not works(http_on_both, member.token)
    after = http_on_both.post(REFRESH, {"refreshToken": renewed.refresh_token})
    assert after.status == 401
    assert works(http_on_both, other.token)
    assert http_on_both.audited()[-1] == "account.refresh_replayed"


def test_of_two_refreshes_at_once_one_is_a_replay(http_on_both: HttpLab) -> None:
    member = http_on_both.register()

    async def race() -> list[Answer]:
        body = {"refreshToken": member.refresh_token}
        return await asyncio.gather(
            *(http_on_both.send("POST", REFRESH, json=body) for _ in range(4))
        )

    answers = http_on_both.run(race(), timeout=60)
    assert sorted(one.status for one in answers) == [200, 401, 401, 401]
    winner = next(one for one in answers if one.status == 200)
    assert not works(http_on_both, winner.json["accessToken"])


@pytest.mark.parametrize("use", ["accessToken", "nonsense", "expired"])
def test_what_is_no_good_refresh_token_is_refused(new_http: NewHttp, use: str) -> None:
    http = new_http(refresh_token_ttl_seconds=1000)
    member = http.register()
    if use == "expired":
        http.clock.advance(1000)
    token = {"accessToken": member.token, "expired": member.refresh_token}.get(use, "a.b.c")
    answer = http.post(REFRESH, {"refreshToken": token})
    assert (answer.status, answer.problem) == (401, "invalid-token")


def test_logout_ends_this_session_only(http_on_both: HttpLab) -> None:
    member = http_on_both.register("somebody@example.com")
    other = Member.of(login(http_on_both, "somebody@example.com").json)
    answer = http_on_both.post(LOGOUT, token=member.token)
    assert (answer.status, answer.body) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert not works(http_on_both, member.token)
    refused = http_on_both.post(REFRESH, {"refreshToken": member.refresh_token})
    assert refused.status == 401
    assert works(http_on_both, other.token)
    assert http_on_both.audited()[-1] == "account.logged_out"


def test_logout_everywhere_ends_all_sessions(http_on_both: HttpLab) -> None:
    member = http_on_both.register("somebody@example.com")
    other = Member.of(login(http_on_both, "somebody@example.com").json)
    assert http_on_both.post(LOGOUT, {"everywhere": True}, token=member.token).status == 204
    for one in (member, other):
        assert not works(http_on_both, one.token)
        assert http_on_both.post(REFRESH, {"refreshToken": one.refresh_token}).status == 401
    assert login(http_on_both, "somebody@example.com").status == 200


def test_changed_password_ends_all_sessions_but_a_new_one(http_on_both: HttpLab) -> None:
    member = http_on_both.register("somebody@example.com")
    other = Member.of(login(http_on_both, "somebody@example.com").json)
    stranger = http_on_both.register()
    body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    answer = http_on_both.post(CHANGE, body, token=member.token)
    assert answer.status == 200
    fresh = Member.of(answer.json)
    for one in (member, other):
        assert not works(http_on_both, one.token)
        assert http_on_both.post(REFRESH, {"refreshToken": one.refresh_token}).status == 401
    assert works(http_on_both, fresh.token)
    assert http_on_both.post(REFRESH, {"refreshToken": fresh.refresh_token}).status == 200
    assert works(http_on_both, stranger.token)
    assert login(http_on_both, "somebody@example.com").status == 401
    assert login(http_on_both, "somebody@example.com", NEW_PASSWORD).status == 200
    assert "account.password_changed" in http_on_both.audited()


def test_wrong_current_password_changes_nothing_and_counts_as_an_attempt(
    new_http: NewHttp,
) -> None:
    http = new_http(login_attempts_per_account=2)
    member = http.register("somebody@example.com")
    body = {"currentPassword": "wrong password", "newPassword": NEW_PASSWORD}
    for _ in range(2):
        answer = http.post(CHANGE, body, token=member.token)
        assert (answer.status, answer.problem) == (403, "wrong-password")
    assert http.post(CHANGE, body, token=member.token).status == 429
    assert login(http, "somebody@example.com").status == 429
    assert works(http, member.token)
    assert http.audited()[-2:] == ["account.password_change_refused"] * 2


def test_of_two_password_changes_at_once_one_is_void(http_on_both: HttpLab) -> None:
    member = http_on_both.register()

    async def race() -> list[Answer]:
        bodies = ({"currentPassword": PASSWORD, "newPassword": f"password {n}"} for n in "abc")
        return await asyncio.gather(
            *(http_on_both.send("POST", CHANGE, json=one, token=member.token) for one in bodies)
        )

    answers = http_on_both.run(race(), timeout=60)
    assert sorted(one.status for one in answers) == [200, 401, 401]
    winner = next(one for one in answers if one.status == 200)
    assert works(http_on_both, winner.json["accessToken"])


def test_access_token_ends_with_its_time(http: HttpLab) -> None:
    member = http.register()
    http.clock.advance(899)
    assert works(http, member.token)
    http.clock.advance(1)
    answer = http.get(ME, token=member.token)
    assert answer.status == 401
    assert answer.json["detail"] == "The access token has expired."


def test_one_token_can_be_revoked_by_itself(http_on_both: HttpLab) -> None:
    member = http_on_both.register()
    claims = http_on_both.application.tokens.read_access(member.token)
    http_on_both.run(
        http_on_both.database.commit(token_rows.revoke_token, claims.jti, claims.expires_at)
    )
    assert not works(http_on_both, member.token)
    assert http_on_both.post(REFRESH, {"refreshToken": member.refresh_token}).status == 200


def test_newer_version_of_the_user_voids_older_tokens_by_itself(http: HttpLab) -> None:
    member = http.register()

    def renew() -> None:
        User.update(token_version=User.token_version + 1).where(User.id == member.user_id).execute()

    http.run(http.database.commit(renew))
    assert not works(http, member.token)


def test_token_of_a_deleted_user_is_refused(http_on_both: HttpLab) -> None:
    member = http_on_both.register()

    def delete() -> None:
        User.delete().where(User.id == member.user_id).execute()

    http_on_both.run(http_on_both.database.commit(delete))
    assert not works(http_on_both, member.token)
    assert http_on_both.post(REFRESH, {"refreshToken": member.refresh_token}).status == 401


def test_suspended_subscription_is_told_so(http_on_both: HttpLab) -> None:
    member = http_on_both.register()

    def suspend() -> None:
        Subscription.update(suspended_at=http_on_both.clock.now()).execute()

    http_on_both.run(http_on_both.database.commit(suspend))
    answer = http_on_both.get(ME, token=member.token)
    assert (answer.status, answer.problem) == (403, "subscription-suspended")


def test_authentication_is_one_query(http_on_both: HttpLab) -> None:
    member = http_on_both.register()
    with http_on_both.database.count_queries() as queries:
        assert works(http_on_both, member.token)
    assert queries.count == 1, queries.statements


def test_ticket_stands_for_its_user_once_and_only_while_the_session_lives(
    http_on_both: HttpLab,
) -> None:
    member = http_on_both.register()
    answer = http_on_both.post("/api/ws-ticket", token=member.token)
    assert answer.status == 201
    assert answer.json["expiresIn"] == 30
    redeem = http_on_both.application.authenticator.redeem
    assert http_on_both.run(redeem(answer.json["ticket"])).user_id == member.user_id
    second = http_on_both.post("/api/ws-ticket", token=member.token).json["ticket"]
    http_on_both.post(LOGOUT, token=member.token)
    for ticket in (answer.json["ticket"], second):
        with pytest.raises(Exception, match=r"not valid|revoked"):
            http_on_both.run(redeem(ticket))


def test_nothing_secret_reaches_the_log(http: HttpLab) -> None:
    with capture_logs() as logs:
        member = http.register("private@example.com")
        login(http, "private@example.com", "a wrong password")
        http.post(REFRESH, {"refreshToken": member.refresh_token})
        http.post(REFRESH, {"refreshToken": member.refresh_token})
        http.get(f"{ME}?token={member.token}")
        http.get(ME, token=member.token)
    written = repr(logs)
    assert "request" in written
    for secret in (PASSWORD, "a wrong password", member.token, member.refresh_token, "private@"):
        assert secret not in written


def test_login_with_a_password_that_is_being_changed_begins_no_session(
    http_on_both: HttpLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = http_on_both.register("somebody@example.com")
    hasher = http_on_both.application.hasher
    real = hasher.verify

    async def verify_too_early(password: str, stored: str | None) -> bool:
        right = await real(password, stored)
        await http_on_both.database.commit(accounts.update_password, member.user_id, "changed")
        return right

    monkeypatch.setattr(hasher, "verify", verify_too_early)
    assert login(http_on_both, "somebody@example.com").status == 401
    assert http_on_both.audited() == ["account.registered"]
