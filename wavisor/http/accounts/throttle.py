"""Slows down guessing of passwords: failed logins are counted by account and by address."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from wavisor.clock import Clock
from wavisor.config import AccountSettings
from wavisor.http.limits.fields import limit_field, place_of, policy_field
from wavisor.http.problems import TOO_MANY_ATTEMPTS, ProblemError

__all__ = ["AttemptCounter", "LoginThrottle"]


@dataclass
class _Window:
    ends: float
    attempts: int


class AttemptCounter:
    """Attempts by key, each in a window that begins with the key's first one.

    Args:
        name: of the limit, for clients.
        clock: tells the time.
        limit: attempts in a window.
        seconds: its length.
        capacity: keys remembered.
    """

    def __init__(self, name: str, clock: Clock, limit: int, seconds: float, capacity: int) -> None:
        self._name = name
        self._clock = clock
        self._limit = limit
        self._seconds = seconds
        self._capacity = capacity
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    @property
    def policy(self) -> str:
        """As ``RateLimit-Policy`` has it."""
        return policy_field(self._name, self._limit, self._seconds)

    def refusal(self, wait: float) -> str:
        """As ``RateLimit`` has it while there are ``wait`` seconds to go."""
        return limit_field(self._name, 0, wait)

    def wait(self, key: str) -> float:
        """Return the seconds until the key may try again; 0 when it may now."""
        window = self._windows.get(key)
        if window is None or window.attempts < self._limit:
            return 0.0
        return max(0.0, window.ends - self._clock.monotonic())

    def add(self, key: str) -> None:
        """Count an attempt."""
        now = self._clock.monotonic()
        window = self._windows.get(key)
        if window is None or window.ends <= now:
            window = self._windows[key] = _Window(now + self._seconds, 0)
        window.attempts += 1
        self._windows.move_to_end(key)
        while len(self._windows) > self._capacity:
            self._windows.popitem(last=False)

    def take_back(self, key: str) -> None:
        """Count one attempt less."""
        window = self._windows.get(key)
        if window is not None:
            window.attempts = max(0, window.attempts - 1)

    def forget(self, key: str) -> None:
        """Count none."""
        self._windows.pop(key, None)


class LoginThrottle:
    """Counts failed attempts to prove a password, in bounded memory. Used on the loop only.

    An attempt counts from its beginning, so that many at once do not slip through, and is taken
    back when it succeeds.

    Args:
        settings: how many attempts, in which window.
        clock: tells the time.
        capacity: how many accounts and how many addresses are remembered; beyond that the ones
            seen longest ago are forgotten.
    """

    def __init__(self, settings: AccountSettings, clock: Clock, *, capacity: int = 20_000) -> None:
        seconds = settings.login_window_seconds
        self._accounts = AttemptCounter(
            "login-account", clock, settings.login_attempts_per_account, seconds, capacity
        )
        self._addresses = AttemptCounter(
            "login-address", clock, settings.login_attempts_per_address, seconds, capacity
        )

    def begin(self, account: str, address: str) -> None:
        """Count an attempt.

        Args:
            account: the normalised e-mail address, whether there is such an account or not.
            address: the client's IP address.

        Raises:
            ProblemError: there were too many (429 with ``Retry-After``); this one is not counted.
        """
        place = place_of(address)
        for counter, key in ((self._addresses, place), (self._accounts, account)):
            wait = counter.wait(key)
            if wait > 0:
                raise ProblemError(
                    TOO_MANY_ATTEMPTS,
                    "Too many failed attempts; wait and try again.",
                    headers={
                        "Retry-After": str(math.ceil(wait)),
                        "RateLimit": counter.refusal(wait),
                        "RateLimit-Policy": f"{self._accounts.policy}, {self._addresses.policy}",
                    },
                )
        self._accounts.add(account)
        self._addresses.add(place)

    def succeed(self, account: str, address: str) -> None:
        """Forget the failures of an account that has just been proved."""
        self._accounts.forget(account)
        self._addresses.take_back(place_of(address))

    def abandon(self, account: str, address: str) -> None:
        """Take back an attempt that was neither right nor wrong, because we could not tell."""
        self._accounts.take_back(account)
        self._addresses.take_back(place_of(address))
