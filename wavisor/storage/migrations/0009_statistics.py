"""Statistics of messages, counted from those that there are.

A copy of the models and of the rule as they were then; it must not change with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import peewee

_PORTION = 1000
_STAGES = ("sent", "delivered", "read", "played")
_ENDS = ("failed", "uncertain", "cancelled")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def up(migrator: Any, db: peewee.Database) -> None:
    """Create the table and fill it."""

    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Subscription(Base):
        id = peewee.TextField(primary_key=True)

        class Meta:
            table_name = "subscriptions"

    class Message(Base):
        position = peewee.BigAutoField()
        subscription_id = peewee.TextField()
        instance_id = peewee.TextField()
        direction = peewee.TextField()
        kind = peewee.TextField()
        history = peewee.TextField()
        from_history = peewee.BooleanField()

        class Meta:
            table_name = "messages"

    class MessageStat(Base):
        subscription = peewee.ForeignKeyField(Subscription, on_delete="CASCADE", index=False)
        instance_id = peewee.TextField()
        hour = peewee.BigIntegerField()
        direction = peewee.TextField()
        kind = peewee.TextField()
        figure = peewee.TextField()
        reason = peewee.TextField()
        number = peewee.BigIntegerField()
        timed = peewee.BigIntegerField()
        milliseconds = peewee.BigIntegerField()

        class Meta:
            table_name = "message_stats"
            primary_key = peewee.CompositeKey(
                "instance_id", "hour", "direction", "kind", "figure", "reason"
            )
            indexes = ((("subscription", "hour"), False),)

    MessageStat.create_table(safe=False)
    names = (*MessageStat._meta.sorted_field_names[:7], "number", "timed", "milliseconds")
    for key, counts in _count(Message).items():
        MessageStat.insert(dict(zip(names, (*key, *counts), strict=True))).execute()


def _count(message: Any) -> dict[tuple[Any, ...], list[int]]:
    counters: dict[tuple[Any, ...], list[int]] = {}
    last = 0
    while True:
        rows = list(
            message.select()
            .where(message.position > last, ~message.from_history)
            .order_by(message.position)
            .limit(_PORTION)
        )
        for row in rows:
            for figure, at, reason, took in _happenings(row.direction, row.history):
                hour = (at - _EPOCH) // timedelta(hours=1)
                whose = (row.subscription_id, row.instance_id)
                key = (*whose, hour, row.direction, row.kind, figure, reason)
                counter = counters.setdefault(key, [0, 0, 0])
                counter[0] += 1
                counter[1] += took is not None
                counter[2] += took or 0
        if len(rows) < _PORTION:
            return counters
        last = rows[-1].position


def _happenings(direction: str, history: str) -> Iterator[tuple[str, datetime, str, int | None]]:
    reached = 0
    sent_at: datetime | None = None
    for number, line in enumerate(history.splitlines()):
        status, stamp, *reason = line.split(" ", 2)
        at = datetime.fromisoformat(stamp)
        if direction == "inbound":
            if status == "received":
                yield status, at, "", None
        elif status in _STAGES:
            stage = _STAGES.index(status) + 1
            for figure in _STAGES[reached:stage]:
                took = None
                if figure == "delivered" and sent_at is not None:
                    took = max(0, (at - sent_at) // timedelta(milliseconds=1))
                yield figure, at, "", took
            reached = max(reached, stage)
            sent_at = at if status == "sent" else sent_at
        elif status == "queued" and number == 0:
            yield "accepted", at, "", None
        elif status in _ENDS:
            yield status, at, (reason[0] if reason else "unknown") * (status == "failed"), None
