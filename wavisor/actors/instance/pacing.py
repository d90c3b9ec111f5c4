"""When an instance may send: pauses like a human's, daily limits, quiet hours, WhatsApp's stops.

Decides only; who asks does the waiting. See docs/pacing.md for why each rule is there.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day

from wavisor.actors.instance.queue_settings import PacingSettings, QuietHours
from wavisor.clock import Clock

__all__ = ["Clearance", "Pacer"]

_SHORTEST, _LONGEST = 0.2, 5.0
"""Of the average pause: what no jitter goes beyond."""


@dataclass(frozen=True)
class Clearance:
    """From when on messages may be sent; in the past or now means at once."""

    anybody: datetime
    """To people who are known, and to groups."""
    strangers: datetime
    """To people with whom no message has been exchanged; never before ``anybody``."""


class Pacer:
    """The pace of one instance; used only in its actor's thread.

    Args:
        clock: what time it is.
        rng: makes pauses uneven.
        settings: as :func:`~wavisor.actors.instance.queue_settings.pacing_of` returns them.
    """

    def __init__(self, clock: Clock, rng: random.Random, settings: PacingSettings) -> None:
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._linked_at: datetime | None = None
        self._day: date | None = None
        self._sent = 0
        self._reached = 0
        # On the monotonic clock: a wall clock that is set back must not stop the queue.
        self._pause_ends = 0.0
        self._cool_until = 0.0
        self._strangers_from: datetime | None = None

    @property
    def settings(self) -> PacingSettings:
        """What holds now."""
        return self._settings

    def apply(self, settings: PacingSettings) -> None:
        """Go by other settings from now on; a pause that has begun is cut short."""
        self._settings = settings
        self._pause_ends = 0.0

    def on_linked(self, at: datetime | None) -> None:
        """Note since when the number is linked; None when that is not known, which is long ago."""
        self._linked_at = at

    def day_began(self) -> datetime:
        """Return when the present day began in the instance's time zone."""
        local = self._clock.now().astimezone(self._settings.zone)
        return datetime.combine(local.date(), time_of_day.min, self._settings.zone)

    def restore(self, sent: int, reached: int) -> None:
        """Take over what was sent since the day began, and how many strangers were written to."""
        self._day = self.day_began().date()
        self._sent, self._reached = sent, reached

    def on_handed_over(self, *, new_contact: bool) -> None:
        """Note that a message is on its way, and choose the pause after it."""
        self._turn_day()
        self._sent += 1
        self._reached += int(new_contact)
        if self._settings.enabled:
            self._pause_ends = self._clock.monotonic() + self._pause()

    def _pause(self) -> float:
        mean, sigma = 60.0 / self._settings.messages_per_minute, self._settings.jitter
        # With this mu the average of the distribution is 1, whatever sigma is.
        factor = math.exp(self._rng.gauss(-sigma * sigma / 2, sigma)) if sigma else 1.0
        return mean * min(_LONGEST, max(_SHORTEST, factor))

    def stop_strangers(self, until: datetime | None) -> None:
        """Write to nobody new before a time, as WhatsApp demands; None lifts that."""
        self._strangers_from = until

    def cool_down(self, seconds: float) -> None:
        """Send nothing at all for so long: WhatsApp finds the rate too high."""
        self._cool_until = self._clock.monotonic() + seconds

    def clearance(self) -> Clearance:
        """Return from when on the next message may go."""
        self._turn_day()
        now, monotonic = self._clock.now(), self._clock.monotonic()
        anybody = now + timedelta(seconds=max(0.0, self._cool_until - monotonic))
        strangers = anybody
        if self._settings.enabled:
            paused = now + timedelta(seconds=max(0.0, self._pause_ends - monotonic))
            anybody = max(anybody, paused)
            if self._spent(self._sent, self._limit("messages")):
                anybody = max(anybody, self._tomorrow())
            anybody = self._awake(anybody)
            strangers = anybody
            if self._spent(self._reached, self._limit("new_contacts")):
                strangers = self._awake(max(strangers, self._tomorrow()))
        if self._strangers_from is not None:
            strangers = max(strangers, self._strangers_from)
            if self._settings.enabled:
                strangers = self._awake(strangers)
        return Clearance(anybody, strangers)

    @staticmethod
    def _spent(count: int, limit: int | None) -> bool:
        return limit is not None and count >= limit

    def _limit(self, what: str) -> int | None:
        """Return how many there may be today: the lower of what is set and the warm-up's."""
        settings, warm_up = self._settings, self._settings.warm_up
        fixed: int | None = getattr(settings, f"{what}_per_day")
        first: int = getattr(warm_up, what)
        if self._linked_at is None:
            return fixed
        days = (self._clock.now() - self._linked_at) // timedelta(days=1)
        if not 0 <= days < warm_up.days:
            return fixed
        today: int = first * 2**days
        return today if fixed is None else min(fixed, today)

    def _turn_day(self) -> None:
        today = self.day_began().date()
        if self._day != today:
            self._day, self._sent, self._reached = today, 0, 0

    def _tomorrow(self) -> datetime:
        tomorrow = self.day_began().date() + timedelta(days=1)
        # In UTC: times of one zone are compared by their digits, twice the same though they be.
        return datetime.combine(tomorrow, time_of_day.min, self._settings.zone).astimezone(UTC)

    def _awake(self, at: datetime) -> datetime:
        """Return the first time at or after ``at`` that is outside of the quiet hours."""
        quiet = self._settings.quiet_hours
        if quiet is None:
            return at
        local = at.astimezone(self._settings.zone)
        if not _within(quiet, local.time()):
            return at
        day = local.date()
        if local.time() >= quiet.end:
            day += timedelta(days=1)
        # Where the clock goes back an hour comes twice, and its end with it.
        end = quiet.end.replace(fold=local.fold)
        return max(at, datetime.combine(day, end, self._settings.zone).astimezone(UTC))


def _within(quiet: QuietHours, at: time_of_day) -> bool:
    if quiet.start <= quiet.end:
        return quiet.start <= at < quiet.end
    return at >= quiet.start or at < quiet.end
