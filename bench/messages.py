"""How many messages a second are accepted, sent and received, as far as storage goes.

    python -m bench.messages                          # SQLite in a temporary directory
    python -m bench.messages postgresql://host/name   # a database to be thrown away afterwards
    python -m bench.messages --directory /data        # SQLite on the disk that matters

*Accepted* is a message in the queue, bounds checked and its chat up to date. *With a key* is the
same for a request with an Idempotency-Key, which is a second transaction. *Life* is all that the
gateway writes about a message that is sent: accepted, handed over, sent, delivered, an event for
each of the last three. *Received* is an inbound message with its event. *Next* is the question
what an instance sends next while 10,000 of its messages wait. All writes are counted when their
commit is durable. *Statistics* is what counting adds to accepting, living and receiving: the same
with and without it, in turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from statistics import median
from typing import Any

from bench.storage import measure, measure_databases, prepare
from wavisor.clock import SystemClock
from wavisor.domain import ChatKind, MessageStatus
from wavisor.storage import (
    Database,
    InboundMessage,
    NewEvent,
    NewMessage,
    Party,
    QueueLimits,
    Scope,
    events,
    idempotency,
    messages,
    statistics,
)

_TEXT = "hello " * 10
_CHATS = 50
_WAITING = 10_000
_ROUNDS = 3
_UNBOUNDED = QueueLimits(instance=10**9, subscription=10**9)
_numbers = count(1)


def new_message(number: int) -> NewMessage:
    return NewMessage(
        chat=f"{15550100 + number % _CHATS}@s.whatsapp.net",
        kind="text",
        text=_TEXT,
        content={"type": "text", "text": _TEXT},
    )


def new_inbound(number: int) -> InboundMessage:
    sender = Party(f"{number % _CHATS + 1}@lid", None, f"+{15550100 + number % _CHATS}")
    return InboundMessage(
        whatsapp_id=f"3A{next(_numbers):018X}",
        chat=sender,
        chat_kind=ChatKind.PERSON,
        sender=sender,
        from_me=False,
        kind="text",
        text=_TEXT,
        content={"type": "text", "text": _TEXT},
        timestamp=datetime.now(UTC),
    )


def accept_with_key(scope: Scope, instance: str, number: int, key: str, token: str) -> None:
    message = messages.enqueue(scope, instance, new_message(number), limits=_UNBOUNDED)
    idempotency.finish(scope, key, token, status=202, response={"id": message.id})


def tell(instance: str, kind: str, message_id: str) -> None:
    events.append(instance, [NewEvent(kind, {"messageId": message_id, "status": "sent"})])


def hand_over(instance: str, message_id: str) -> None:
    messages.mark_sending(message_id, secret="x" * 44)
    tell(instance, "message:status:changed", message_id)


def sent(instance: str, message_id: str) -> None:
    messages.mark_sent(message_id, whatsapp_id=f"3EB0{message_id}")
    tell(instance, "message:status:changed", message_id)


def delivered(instance: str, message_id: str) -> None:
    messages.apply_receipt(
        instance,
        [f"3EB0{message_id}"],
        MessageStatus.DELIVERED,
        datetime.now(UTC),
        recipient=Party("1@lid", "1@lid"),
    )
    tell(instance, "message:status:changed", message_id)


def receive(scope: Scope, instance: str, number: int) -> None:
    message = messages.receive(scope, instance, new_inbound(number))
    assert message is not None
    tell(instance, "message:received", message.id)


class Bench:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._scope, self._ids = prepare(database)

    def _instance(self, number: int) -> str:
        return self._ids[number % len(self._ids)]

    def accept(self, number: int) -> Future[Any]:
        return self._database.write(
            messages.enqueue,
            self._scope,
            self._instance(number),
            new_message(number),
            limits=_UNBOUNDED,
        )

    def accept_for_one(self, number: int) -> Future[Any]:
        return self._database.write(
            messages.enqueue, self._scope, self._ids[0], new_message(number), limits=_UNBOUNDED
        )

    def accept_with_key(self, number: int) -> Future[Any]:
        key, instance = f"key-{next(_numbers)}", self._instance(number)
        claimed = self._database.write(idempotency.begin, self._scope, key, "hash")
        return chained(
            claimed,
            lambda claim: self._database.write(
                accept_with_key, self._scope, instance, number, key, claim.token
            ),
        )

    def life(self, number: int) -> Future[Any]:
        instance, database = self._instance(number), self._database

        def begin(message: Any) -> Future[Any]:
            steps = [delivered, sent, hand_over]

            def step(_: Any) -> Future[Any]:
                done = database.write(steps.pop(), instance, message.id)
                return chained(done, step) if steps else done

            return step(None)

        return chained(self.accept(number), begin)

    def receive(self, number: int) -> Future[Any]:
        return self._database.write(receive, self._scope, self._instance(number), number)

    def fill(self, instance: str) -> None:
        futures = [
            self._database.write(
                messages.enqueue, self._scope, instance, new_message(number), limits=_UNBOUNDED
            )
            for number in range(_WAITING)
        ]
        for future in futures:
            future.result(300)

    def run(self, seconds: float) -> None:
        for in_flight in (1, 32, 256):
            measure("accepted", self.accept, in_flight=in_flight, seconds=seconds)
        measure("accepted by one instance", self.accept_for_one, in_flight=256, seconds=seconds)
        measure("accepted with a key", self.accept_with_key, in_flight=256, seconds=seconds)
        for in_flight in (1, 40):
            measure("life", self.life, in_flight=in_flight, seconds=seconds)
        for in_flight in (1, 256):
            measure("received", self.receive, in_flight=in_flight, seconds=seconds)
        full = self._ids[1]
        self.fill(full)

        def following(_: int) -> Future[Any]:
            return self._database.read(messages.due, full)

        measure("next of many", following, in_flight=1, seconds=seconds)
        self.run_statistics(seconds)

    def run_statistics(self, seconds: float) -> None:
        """Print how much longer writes take because of what they count."""
        for label, start, in_flight in (
            ("accepted", self.accept, 256),
            ("life", self.life, 40),
            ("received", self.receive, 256),
        ):
            with_counts, without = [], []
            for _ in range(_ROUNDS):
                rate = measure(f"{label}, counted", start, in_flight=in_flight, seconds=seconds)
                with_counts.append(rate)
                with uncounted():
                    rate = measure(label, start, in_flight=in_flight, seconds=seconds)
                without.append(rate)
            ratio = median(without) / median(with_counts)
            print(f"{label + ': statistics cost':<28} {ratio:.3f} times the time")


@contextmanager
def uncounted() -> Iterator[None]:
    """Let nothing be counted meanwhile."""
    rule = statistics.latest_happenings
    statistics.latest_happenings = lambda _: []
    try:
        yield
    finally:
        statistics.latest_happenings = rule


_chainer = ThreadPoolExecutor(1)


def chained(first: Future[Any], then: Callable[[Any], Future[Any]]) -> Future[Any]:
    """The future of what ``then`` starts with the result of ``first``.

    Started in a thread of its own: those of the pool must not wait for the pool.
    """
    whole: Future[Any] = Future()

    def ended(second: Future[Any]) -> None:
        failure = second.exception()
        if failure is None:
            whole.set_result(second.result())
        else:
            whole.set_exception(failure)

    def start(done: Future[Any]) -> None:
        try:
            then(done.result()).add_done_callback(ended)
        except BaseException as error:
            whole.set_exception(error)

    first.add_done_callback(lambda done: _chainer.submit(start, done))
    return whole


def run(url: str, seconds: float) -> None:
    database = Database(url, clock=SystemClock())
    database.open()
    print(f"-- {database.engine_name}")
    try:
        Bench(database).run(seconds)
    finally:
        database.close(timeout=60)


if __name__ == "__main__":
    measure_databases(__doc__, run)
