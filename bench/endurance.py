"""What a gateway's memory is after many messages have gone through it.

    python -m bench.endurance [--messages 100000] [--most 600]

All of the gateway runs in this process, on SQLite: HTTP listens, the tree of actors runs, events
are published. Only the sessions are scripted: they answer every send at once and forget it.
Messages are put in the queue by the function that HTTP uses, not over HTTP. Memory is that of this
process, the load generator's little included.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import tempfile
import time
from pathlib import Path
from threading import Thread
from typing import Any

from bench.process import memory
from wavisor.actors.ask import tell
from wavisor.actors.instance.messages import Deliver
from wavisor.cli import import_gateway
from wavisor.config import Settings
from wavisor.storage import Database, NewMessage, QueueLimits, Scope, accounts, instances, messages
from wavisor.whatsapp.commands import Command
from wavisor.whatsapp.scripted import ScriptedDriver, ScriptedSession

_MIB = 1024 * 1024
_INSTANCES = 5
_AT_A_TIME = 250
_REPORTS = 10
_UNBOUNDED = QueueLimits(instance=10**9, subscription=10**9)


class ForgetfulSession(ScriptedSession):
    """Answers as any other, and keeps no record."""

    def on_command(self, command: Command) -> None:
        """Answer, and forget it all."""
        super().on_command(command)
        self.sent.clear()
        self.events.clear()
        self.driver.noted.clear()


def prepare(database: Database, driver: ScriptedDriver) -> tuple[Scope, list[str]]:
    """Create an account with instances that are linked and want to be connected."""
    account = database.write_wait(
        accounts.create_subscription_with_owner,
        name="Bench",
        email="bench@example.com",
        password_hash="none",
    )
    database.write_wait(accounts.set_overrides, account.subscription.id, {"messages_per_day": None})
    scope = Scope(account.subscription.id)
    made = []
    for number in range(_INSTANCES):
        record = database.write_wait(instances.create, scope, name=str(number))
        linked = {"jid": f"1555200000{number}:1@s.whatsapp.net", "desired": "connected"}
        database.write_wait(instances.record_transition, record.id, linked, [])
        driver.keys.add(record.id)
        made.append(record.id)
    return scope, made


def send(gateway: Any, scope: Scope, ids: list[str], total: int, most: float) -> None:
    """Put messages in the queues as fast as they go out; print memory on the way."""
    started, done = time.monotonic(), 0
    report_every = max(1, total // _REPORTS)

    def report() -> None:
        gc.collect()
        used = memory(os.getpid())
        rate = done / max(0.001, time.monotonic() - started)
        print(
            f"  {done:7} messages   RSS {used['rss'] / _MIB:6.1f}   PSS {used['pss'] / _MIB:6.1f}"
            f" MiB   {rate:5.0f}/s",
            flush=True,
        )

    report()
    while done < total and time.monotonic() - started < most:
        accepted = []
        for number in range(_AT_A_TIME):
            text = f"message {done + number}"
            message = NewMessage(
                chat=f"{15550100 + number % 50}@s.whatsapp.net",
                kind="text",
                text=text,
                content={"type": "text", "text": text},
            )
            instance = ids[number % len(ids)]
            accepted.append(
                gateway.database.write(
                    messages.enqueue, scope, instance, message, limits=_UNBOUNDED
                )
            )
        for one in accepted:
            one.result(60)
        for instance in ids:
            tell(gateway.environment.directory.find(f"instances/{instance}"), Deliver())
        while gateway.database.read_wait(messages.overview):
            time.sleep(0.02)
        done += _AT_A_TIME
        if done % report_every < _AT_A_TIME:
            report()
    if done < total:
        report()


async def run(directory: Path, total: int, most: float) -> None:
    """Run a gateway, and send from a thread beside it."""
    settings = Settings(data_dir=directory, port=0, pacing_enabled=False)
    import_gateway(settings)
    from wavisor.gateway import Gateway

    loop = asyncio.get_running_loop()
    driver = ScriptedDriver(ForgetfulSession, connects_by_itself=True)
    gateway = Gateway.build(settings, loop, driver=driver)
    driver.timers = gateway.timers
    gateway.listen()
    await asyncio.to_thread(gateway.database.open)
    await asyncio.to_thread(gateway.media.open)
    scope, ids = await asyncio.to_thread(prepare, gateway.database, driver)
    root = gateway.start_actors(loop)
    await asyncio.wrap_future(root.started)
    gc.freeze()
    try:
        await asyncio.to_thread(driver.wait_for, len(ids), None, 60.0)
        work = Thread(target=send, args=(gateway, scope, ids, total, most))
        work.start()
        await asyncio.to_thread(work.join)
    finally:
        await asyncio.wrap_future(root.stop())
        driver.close()
        gateway.timers.close()
        gateway.observer.close()
        await asyncio.to_thread(gateway.media.close)
        await asyncio.to_thread(gateway.database.close, 10.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--most", type=float, default=600.0, help="seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name), options.messages, options.most))


if __name__ == "__main__":
    main()
