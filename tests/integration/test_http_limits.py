"""Rate limits over HTTP: each layer, what clients are told, and what is not limited."""

from __future__ import annotations

import re
from typing import Any

import pytest

from support.http import PASSWORD, Answer, HttpLab, Member, NewHttp
from support.tenants import new_instance
from wavisor import metrics
from wavisor.http.application import ROUTERS
from wavisor.http.routing import check_routes
from wavisor.metrics import RateLimitLayer
from wavisor.storage import Scope, accounts

LIMIT_FIELD = re.compile(r'^"[a-z]+";r=\d+;t=\d+$')
POLICY_FIELD = re.compile(r'^"[a-z]+";q=\d+;w=\d+(, "[a-z]+";q=\d+;w=\d+)*$')


def ask(http: HttpLab, member: Member, path: str = "/api/auth/me", **more: Any) -> Answer:
    return http.get(path, token=member.token, **more)


def override(http: HttpLab, member: Member, **limits: int | None) -> None:
    http.database.write_wait(accounts.set_overrides, member.subscription_id, limits)


def assert_refused(answer: Answer, layer: str, limit: int) -> int:
    """Check the whole of a 429; return the seconds to wait."""
    assert (answer.status, answer.problem) == (429, "rate-limited")
    assert (answer.json["layer"], answer.json["limit"]) == (layer, limit)
    assert LIMIT_FIELD.match(answer.headers["RateLimit"])
    assert answer.headers["RateLimit"].startswith(f'"{layer}";r=0;')
    assert POLICY_FIELD.match(answer.headers["RateLimit-Policy"])
    return int(answer.headers["Retry-After"])


def refusals(layer: RateLimitLayer) -> float:
    return float(metrics.RATE_LIMITED.labels(layer.value)._value.get())


def test_an_answer_tells_the_limits(http: HttpLab) -> None:
    member = http.register()
    answer = ask(http, member)
    assert answer.status == 200
    assert LIMIT_FIELD.match(answer.headers["RateLimit"])
    assert answer.headers["RateLimit-Policy"] == '"caller";q=800;w=10, "tenant";q=1000;w=10'
    assert answer.headers["RateLimit"].startswith('"caller";r=799;')
    # Without anybody known, it is the address's.
    assert http.get("/openapi.json").headers["RateLimit"].startswith('"address";')


def test_an_address_is_limited_before_anybody_is_known(new_http: NewHttp) -> None:
    http = new_http(rate_limit_address_per_minute=60)
    before = refusals(RateLimitLayer.ADDRESS)
    answers = [http.get(path) for path in ["/api/auth/me", "/nowhere", "/api/instances"] * 4]
    assert [one.status for one in answers[:10]] == [401, 404, 401] * 3 + [401]
    wait = assert_refused(answers[10], "address", 10)
    assert refusals(RateLimitLayer.ADDRESS) == before + 2
    http.clock.advance(wait)
    assert http.get("/nowhere").status == 404
    assert http.get("/nowhere").status == 429


def test_addresses_are_those_that_trusted_proxies_tell(new_http: NewHttp) -> None:
    http = new_http(rate_limit_address_per_minute=6, trusted_proxies="127.0.0.1")

    def status(address: str) -> int:
        return http.get("/nowhere", headers={"X-Forwarded-For": address}).status

    assert [status("192.0.2.1"), status("192.0.2.1")] == [404, 429]
    # What a client writes before the last hop changes nothing.
    assert status("192.0.2.7, 192.0.2.1") == 429
    assert status("192.0.2.2") == 404
    assert [status("2001:db8::1"), status("2001:db8::2")] == [404, 429]


def test_an_untrusted_header_names_nobody(new_http: NewHttp) -> None:
    http = new_http(rate_limit_address_per_minute=6)
    statuses = [
        http.get("/nowhere", headers={"X-Forwarded-For": f"192.0.2.{number}"}).status
        for number in range(2)
    ]
    assert statuses == [404, 429]


def test_registrations_are_limited_by_address(new_http: NewHttp) -> None:
    http = new_http(rate_limit_registrations_per_hour=2)
    http.register(), http.register()
    body = {"email": "third@example.com", "password": PASSWORD}
    refused = http.post("/api/auth/register", body)
    wait = assert_refused(refused, "registration", 2)
    assert 1700 < wait <= 1800
    # Those who have an account are not concerned.
    login = {"email": "person1@example.com", "password": PASSWORD}
    assert http.post("/api/auth/login", login).status == 200
    http.clock.advance(wait)
    assert http.post("/api/auth/register", body).status == 201


def test_logins_and_renewals_are_limited_by_address(new_http: NewHttp) -> None:
    http = new_http(rate_limit_accounts_per_minute=3)
    member = http.register()
    renewals = [http.post("/api/auth/refresh", {"refreshToken": "none of ours"}) for _ in range(3)]
    assert [one.status for one in renewals] == [401, 401, 429]
    assert_refused(renewals[2], "accounts", 3)
    login = {"email": member.email, "password": PASSWORD}
    assert http.post("/api/auth/login", login).status == 429
    assert ask(http, member).status == 200
    http.clock.advance(20)
    assert http.post("/api/auth/login", login).status == 200


def test_a_tenant_is_limited_by_its_subscription(http_on_both: HttpLab) -> None:
    http = http_on_both
    member, other = http.register(), http.register()
    override(http, member, requests_per_minute=30)
    answers = [ask(http, member) for _ in range(5)]
    # Four of the five that the subscription has in ten seconds: a caller may take 80 percent.
    assert [one.status for one in answers] == [200] * 4 + [429]
    wait = assert_refused(answers[4], "caller", 4)
    assert ask(http, other).status == 200
    http.clock.advance(wait)
    assert ask(http, member).status == 200
    override(http, member, requests_per_minute=None)
    assert [ask(http, member).status for _ in range(20)] == [200] * 20


def test_callers_of_a_tenant_share_its_rate(new_http: NewHttp) -> None:
    http = new_http(rate_limit_caller_percent=100)
    member = http.register()
    override(http, member, requests_per_minute=30)
    answers = [ask(http, member) for _ in range(6)]
    assert [one.status for one in answers] == [200] * 5 + [429]
    assert_refused(answers[5], "tenant", 5)
    assert answers[0].headers["RateLimit-Policy"] == '"tenant";q=5;w=10'


def test_sends_are_limited_apart(http: HttpLab) -> None:
    member = http.register()
    instance = new_instance(http.database, Scope(member.subscription_id))
    override(http, member, sends_per_minute=12)

    def send() -> Answer:
        return http.post(
            "/api/messages/text",
            {"to": "+15550199", "text": "hello"},
            token=member.token,
            headers={"X-Instance-Id": instance.id},
        )

    answers = [send() for _ in range(3)]
    assert [one.status for one in answers] == [202, 202, 429]
    wait = assert_refused(answers[2], "sends", 2)
    assert ask(http, member, "/api/messages").status == 200
    http.clock.advance(wait)
    assert send().status == 202


def test_whoever_watches_the_gateway_is_not_limited(new_http: NewHttp) -> None:
    http = new_http(rate_limit_address_per_minute=6)
    statuses = {http.get(path).status for path in ["/health", "/health/live", "/health/ready"] * 5}
    assert 429 not in statuses
    assert "RateLimit" not in http.get("/health/live").headers
    exempt = {route.tag for route in check_routes(ROUTERS) if not route.limited}
    assert exempt == {"operations"}


def test_a_preflight_is_not_limited(new_http: NewHttp) -> None:
    http = new_http(rate_limit_address_per_minute=6, cors_origins="https://app.example.com")
    for _ in range(5):
        answer = http.request("OPTIONS", "/api/auth/me")
        assert answer.status == 204


def test_limits_can_be_switched_off(new_http: NewHttp) -> None:
    http = new_http(
        rate_limits_enabled=False,
        rate_limit_address_per_minute=1,
        rate_limit_registrations_per_hour=1,
    )
    member, _ = http.register(), http.register()
    override(http, member, requests_per_minute=1)
    answers = [ask(http, member) for _ in range(5)]
    assert [one.status for one in answers] == [200] * 5
    assert "RateLimit" not in answers[0].headers


def test_zero_switches_single_limits_off(new_http: NewHttp) -> None:
    http = new_http(
        rate_limit_address_per_minute=0,
        rate_limit_accounts_per_minute=0,
        rate_limit_registrations_per_hour=0,
    )
    assert "RateLimit" not in http.get("/nowhere").headers
    assert "RateLimit" not in http.post("/api/auth/refresh", {"refreshToken": "x"}).headers
    assert "RateLimit" in ask(http, http.register()).headers


def test_the_feed_is_limited_by_address(new_http: NewHttp) -> None:
    http = new_http(rate_limit_address_per_minute=6)
    assert http.get("/ws").status == 426
    refused = http.get("/ws")
    assert (refused.status, refused.problem) == (429, "rate-limited")


def test_a_refused_body_is_still_read(new_http: NewHttp) -> None:
    http = new_http(rate_limit_address_per_minute=6)
    assert http.get("/nowhere").status == 404
    refused = http.post("/api/auth/login", {"email": "x" * 100_000, "password": "y"})
    assert (refused.status, refused.problem) == (429, "rate-limited")


@pytest.mark.parametrize("route", check_routes(ROUTERS), ids=lambda route: route.operation)
def test_every_limited_route_says_so_in_its_document(route: Any) -> None:
    slugs = {kind.slug for kind in route.all_problems}
    assert ("rate-limited" in slugs) == route.limited
