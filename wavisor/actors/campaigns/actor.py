"""Releases the messages of running campaigns: a few of each at a time, and never one twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from pydantic import ValidationError

from wavisor.actors.ask import tell
from wavisor.actors.campaigns.window import SendingWindow
from wavisor.actors.instance.journal import EventPublisher
from wavisor.actors.instance.messages import Deliver
from wavisor.actors.supervisor import ChildContext, SupervisedActor
from wavisor.storage import (
    CampaignRecord,
    Database,
    DatabaseBusy,
    DatabaseUnavailable,
    QueueLimits,
    Release,
    StorageError,
    campaign_release,
)

__all__ = ["CAMPAIGNS", "Campaigns", "LookAtCampaigns"]

log = structlog.get_logger(__name__)

CAMPAIGNS = "campaigns"
"""Where the one actor of this kind is found in the directory."""

_PORTION = 40
"""Recipients of one campaign released in one transaction: others want to write as well."""
_TIMEOUT = 10.0


@dataclass(frozen=True)
class LookAtCampaigns:
    """A campaign was started, paused or cancelled."""


@dataclass(frozen=True)
class _Look:
    """A look is due."""


class Campaigns(SupervisedActor):
    """Looks after running campaigns at intervals; the database says which and how far they are.

    Args:
        context: from the root.
        database: where they are.
        publish: takes the events of their progress.
        limits: how many messages may wait to be sent.
        instances_path: where the supervisor of instances is found in the directory.
        interval: seconds between two looks; a tenth of it while there is something to release.
    """

    def __init__(
        self,
        context: ChildContext,
        database: Database,
        publish: EventPublisher,
        limits: QueueLimits,
        instances_path: str,
        interval: float = 2.0,
    ) -> None:
        super().__init__(context)
        self._env = context.environment
        self._database = database
        self._publish = publish
        self._limits = limits
        self._instances_path = instances_path
        self._interval = interval
        self._allowances: dict[str, _Allowance] = {}

    def on_start(self) -> None:
        """Go on where the last actor, or the last process, stopped."""
        self._schedule(self._interval)

    def handle(self, message: Any) -> Any:
        """Look when it is time, or when told to."""
        match message:
            case _Look():
                went_on = self._look()
                self._schedule(self._interval / 10 if went_on else self._interval)
            case LookAtCampaigns():
                self._look()
            case _:
                return super().handle(message)
        return None

    def _look(self) -> bool:
        """Let every campaign go on; return whether one of them did."""
        went_on = False
        try:
            running = self._database.read_wait(campaign_release.list_running, timeout=_TIMEOUT)
            for campaign in running:
                went_on = self._try_step(campaign) or went_on
        except StorageError as error:
            log.warning("campaigns put off", error=str(error))
            return False
        known = {campaign.id for campaign in running}
        self._allowances = {key: value for key, value in self._allowances.items() if key in known}
        return went_on

    def _try_step(self, campaign: CampaignRecord) -> bool:
        try:
            return self._step(campaign)
        except (DatabaseBusy, DatabaseUnavailable):
            raise  # it would be the same with the others
        except Exception:
            # One tenant's campaign must stop neither the others nor, by restarts, the gateway.
            log.exception("a campaign cannot go on", campaign=campaign.id)
            return False

    def _step(self, campaign: CampaignRecord) -> bool:
        reason = _hindrance(campaign, self._env.clock.now())
        if reason is not None:
            self._allowances.pop(campaign.id, None)  # nothing is saved up meanwhile
            if reason != campaign.waiting:
                self._after(
                    self._database.write_wait(
                        campaign_release.hold, campaign.id, reason, timeout=_TIMEOUT
                    )
                )
            return False
        allowance = self._allowances.setdefault(campaign.id, _Allowance())
        count = allowance.take(campaign.per_minute, self._env.clock.monotonic(), self._interval)
        if count == 0:
            return False
        done = self._database.write_wait(
            campaign_release.release, campaign.id, count, self._limits, timeout=_TIMEOUT
        )
        self._after(done)
        released = 0 if done is None else done.count
        allowance.give_back(count - released)
        return released > 0

    def _after(self, done: Release | None) -> None:
        if done is None:
            return
        if done.events:
            self._publish(done.events)
        for instance_id in done.instances:
            ref = self._env.directory.find(f"{self._instances_path}/{instance_id}")
            if ref is not None:
                tell(ref, Deliver())

    def _schedule(self, delay: float) -> None:
        ref = self.actor_ref

        def post() -> None:
            tell(ref, _Look())

        self._env.timers.call_later(delay, post)


class _Allowance:
    """How many recipients a campaign may write to now, by its rate; at most what two looks give."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._left = 0.0

    def take(self, per_minute: float | None, now: float, interval: float) -> int:
        """Return how many are allowed, and count them as used."""
        if per_minute is None:
            return _PORTION
        # The first look of a process gives one look's worth: nothing is owed for the time before.
        passed = interval if self._since is None else now - self._since
        self._since = now
        rate = per_minute / 60.0
        self._left = min(self._left + passed * rate, max(1.0, 2 * interval * rate), _PORTION)
        count = int(self._left)
        self._left -= count
        return count

    def give_back(self, count: int) -> None:
        """Take back what was not used."""
        self._left += count


def _hindrance(campaign: CampaignRecord, now: datetime) -> str | None:
    """Return why a campaign may write to nobody at this moment; None when it may."""
    if campaign.start_at is not None and now < campaign.start_at:
        return "start"
    if campaign.window is None:
        return None
    try:
        window = SendingWindow.model_validate(campaign.window)
    except ValidationError:
        log.warning("the window of a campaign is not valid", campaign=campaign.id)
        return "window"
    return None if window.holds(now) else "window"
