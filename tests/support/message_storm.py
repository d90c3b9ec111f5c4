"""Everything that can happen to messages, at random and many at a time, for tests that count.

As a process of its own, to be killed in the middle: ``message_storm.py URL SEED``. It prints a line
for every hundred writes that were acknowledged.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

from support.queueing import ALICE, BOB, GROUP, new_inbound, new_text
from wavisor.clock import Clock, SystemClock
from wavisor.domain import MessageStatus
from wavisor.storage import Database, InstanceRecord, Party, Scope, messages

KINDS = ("text", "image", "reaction")
RECEIPTS = (MessageStatus.DELIVERED, MessageStatus.READ, MessageStatus.PLAYED)
IN_FLIGHT = 40


class SpoiledError(Exception):
    """Raised at the end of a write that did its work, so that nothing of it stays."""


def spoil(task: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    task(*args, **kwargs)
    raise SpoiledError


class MessageStorm:
    """Random writes on a database; the same seed asks for the same ones."""

    def __init__(self, database: Database, clock: Clock, lines: list[InstanceRecord], seed: int):
        self._database = database
        self._clock = clock
        self._lines = {line.id: line for line in lines}
        self._random = random.Random(seed)
        self._known: dict[str, InstanceRecord] = {}
        self._heard: list[Any] = []

    def run(self, writes: int, on_done: Callable[[int], None] = lambda _: None) -> None:
        """Do so many writes, some of which fail at their end."""
        waiting: deque[Future[Any]] = deque()
        for number in range(1, writes + 1):
            waiting.append(self._begin())
            if len(waiting) >= IN_FLIGHT:
                self._end(waiting.popleft())
                on_done(number)
        while waiting:
            self._end(waiting.popleft())

    def _begin(self) -> Future[Any]:
        task, args, kwargs = self._draw()
        if self._random.random() < 0.1:
            return self._database.write(spoil, task, *args, **kwargs)
        return self._database.write(task, *args, **kwargs)

    def _end(self, future: Future[Any]) -> None:
        try:
            result = future.result(60)
        except SpoiledError:
            return
        for message in result if isinstance(result, list) else [result]:
            if message is not None:
                self._known[message.id] = self._lines[message.instance_id]

    def _draw(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        chance = self._random
        if not self._known or chance.random() < 0.15:
            line = chance.choice([*self._lines.values()])
            return self._new(Scope(line.subscription_id), line)
        known, line = chance.choice([*self._known.items()][-30:])
        scope = Scope(line.subscription_id)
        failure = {"reason": chance.choice(["timeout", "not_on_whatsapp"])}
        sent = {"whatsapp_id": f"W{known}", "recipients": chance.choice([None, 1, 2])}
        later = self._clock.now() + timedelta(seconds=chance.randint(-20, 9000))
        steps: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
            (messages.mark_sending, (known,), {"whatsapp_id": f"W{known}"}),
            (messages.mark_sending, (known,), {"whatsapp_id": f"W{known}"}),
            (messages.mark_sent, (known,), sent),
            (messages.mark_sent, (known,), sent),
            (messages.mark_sent, (known,), sent),
            (messages.mark_failed, (known, failure), {}),
            (messages.mark_uncertain, (known, failure), {}),
            (messages.requeue, (known,), {"retry_at": chance.choice([None, later])}),
            (messages.cancel, (scope, known), {}),
            (messages.retry, (scope, known), {"uncertain": chance.random() < 0.5}),
            (messages.expire_due, (line.id,), {}),
        ]
        for _ in range(8):
            who = Party(chance.choice([ALICE, BOB]))
            receipt = (line.id, [f"W{known}"], chance.choice(RECEIPTS), later)
            steps.append((messages.apply_receipt, receipt, {"recipient": who}))
        return chance.choice(steps)

    def _new(
        self, scope: Scope, line: InstanceRecord
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        chance = self._random
        chat, kind = chance.choice([ALICE, BOB, GROUP]), chance.choice(KINDS)
        if chance.random() < 0.6:
            expires = self._clock.now() + timedelta(seconds=chance.randint(1, 5))
            message = new_text(chat=chat, expires_at=chance.choice([None, expires]))
            return messages.enqueue, (scope, line.id, message), {}
        if not self._heard or chance.random() < 0.8:
            self._heard.append(
                new_inbound(
                    chat=Party(chat),
                    sender=Party(ALICE),
                    from_me=chance.random() < 0.3,
                    kind=kind,
                )
            )
        # Now and then one that was told before: WhatsApp repeats itself.
        return messages.receive, (scope, line.id, chance.choice(self._heard[-5:])), {}


def main(url: str, seed: int) -> None:
    from wavisor.storage import instances

    clock = SystemClock()
    database = Database(url, clock=clock)
    database.open()
    lines = database.read_wait(instances.list_all)

    def tell(number: int) -> None:
        if number % 100 == 0:
            print(number, flush=True)

    MessageStorm(database, clock, lines, seed).run(1_000_000, tell)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
