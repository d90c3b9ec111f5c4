"""Run as a process of its own by tests that kill it: delivers what a database holds.

Usage: python -m support.webhook_child URL
"""

from __future__ import annotations

import asyncio
import random
import sys

from wavisor.clock import SystemClock, ThreadedTimers
from wavisor.connector import Connector
from wavisor.netguard import TargetRule
from wavisor.observers import WebhookObserver
from wavisor.storage import Database
from wavisor.webhooks import Courier, Dispatcher, DispatchPolicy


async def deliver(url: str) -> None:
    clock = SystemClock()
    database = Database(url, clock=clock)
    await asyncio.to_thread(database.open)
    await Dispatcher(
        database,
        Courier(Connector(TargetRule(allow_private=True))),
        DispatchPolicy(),
        clock=clock,
        timers=ThreadedTimers(clock),
        rng=random.Random(),
        publish=lambda _: None,
        observer=WebhookObserver(),
    ).run()


if __name__ == "__main__":
    asyncio.run(deliver(sys.argv[1]))
