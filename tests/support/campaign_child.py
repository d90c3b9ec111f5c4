"""Run as a process of its own: releases a campaign until it is killed.

Usage: campaign_child.py URL CAMPAIGN
"""

from __future__ import annotations

import sys

from wavisor.clock import SystemClock
from wavisor.storage import Database, QueueLimits, campaign_release
from wavisor.storage.models import Instance


def empty_queue() -> None:
    """As if everything had been sent, so that there is room for more."""
    Instance.update(queued=0).execute()


def main(url: str, campaign_id: str) -> None:
    database = Database(url, clock=SystemClock())
    database.open()
    while True:
        done = database.write_wait(campaign_release.release, campaign_id, 7, QueueLimits())
        assert done is not None
        print(done.campaign.released, flush=True)
        database.write_wait(empty_queue)


if __name__ == "__main__":
    main(*sys.argv[1:])
