from __future__ import annotations

import pytest

from support.manual_clock import ManualClock
from wavisor.config import Settings
from wavisor.http.accounts.throttle import LoginThrottle
from wavisor.http.problems import TOO_MANY_ATTEMPTS, ProblemError

SETTINGS = Settings(
    login_attempts_per_account=3, login_attempts_per_address=5, login_window_seconds=60
)
HERE = "203.0.113.1"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def throttle(clock: ManualClock) -> LoginThrottle:
    return LoginThrottle(SETTINGS, clock, capacity=10)


def refused(throttle: LoginThrottle, account: str, address: str = HERE) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        throttle.begin(account, address)
    assert caught.value.kind is TOO_MANY_ATTEMPTS
    return caught.value


def test_account_is_guarded_whatever_the_address(throttle: LoginThrottle) -> None:
    for number in range(3):
        throttle.begin("a@example.com", f"203.0.113.{number}")
    error = refused(throttle, "a@example.com", "198.51.100.1")
    assert error.headers["Retry-After"] == "60"
    assert error.headers["RateLimit"] == '"login-account";r=0;t=60'
    assert '"login-account";q=3;w=60' in error.headers["RateLimit-Policy"]
    throttle.begin("b@example.com", "198.51.100.1")


def test_address_is_limited_whatever_the_account(throttle: LoginThrottle) -> None:
    for number in range(5):
        throttle.begin(f"{number}@example.com", HERE)
    error = refused(throttle, "other@example.com")
    assert error.headers["RateLimit"].startswith('"login-address"')
    throttle.begin("other@example.com", "198.51.100.1")


def test_window_ends_and_attempts_are_new(throttle: LoginThrottle, clock: ManualClock) -> None:
    for _ in range(3):
        throttle.begin("a@example.com", HERE)
    clock.advance(59.5)
    assert refused(throttle, "a@example.com").headers["Retry-After"] == "1"
    clock.advance(0.5)
    for _ in range(3):
        throttle.begin("a@example.com", HERE)
    refused(throttle, "a@example.com")


def test_success_forgets_the_failures_of_the_account(throttle: LoginThrottle) -> None:
    for _ in range(4):
        throttle.begin("a@example.com", HERE)
        throttle.begin("a@example.com", HERE)
        throttle.succeed("a@example.com", HERE)
        throttle.abandon("x@example.com", HERE)  # leaves the address as it was


def test_success_does_not_free_an_address_that_tries_many_accounts(
    throttle: LoginThrottle,
) -> None:
    for number in range(4):
        throttle.begin(f"{number}@example.com", HERE)
    throttle.begin("mine@example.com", HERE)
    throttle.succeed("mine@example.com", HERE)
    throttle.begin("mine@example.com", HERE)
    refused(throttle, "other@example.com")


def test_attempt_that_could_not_be_judged_does_not_count(throttle: LoginThrottle) -> None:
    for _ in range(10):
        throttle.begin("a@example.com", HERE)
        throttle.abandon("a@example.com", HERE)


def test_addresses_of_one_ipv6_network_are_one(throttle: LoginThrottle) -> None:
    for number in range(5):
        throttle.begin(f"{number}@example.com", f"2001:db8::{number + 1}")
    refused(throttle, "other@example.com", "2001:db8::ffff")
    throttle.begin("other@example.com", "2001:db8:0:1::1")


def test_memory_is_bounded(throttle: LoginThrottle) -> None:
    for number in range(50):
        throttle.begin(f"{number}@example.com", f"203.0.113.{number}")
    assert len(throttle._accounts._windows) == 10
    assert len(throttle._addresses._windows) == 10
