"""What happened to messages, counted by the hour; it outlives the messages."""

# ruff: noqa: D106 - Meta is where peewee looks for options

from __future__ import annotations

import peewee

from wavisor.storage.fields import TextField
from wavisor.storage.models.tenancy import TenantModel

__all__ = ["MessageStat"]


class MessageStat(TenantModel):
    """How often something happened to an instance's messages of one kind in one hour.

    ``hour`` counts from 1970 in UTC. ``reason`` is empty where there is none. Of ``number``
    deliveries ``timed`` are known to have taken ``milliseconds`` together. It refers to no
    instance: figures stay when the instance is deleted.
    """

    instance_id = TextField()
    hour = peewee.BigIntegerField()
    direction = TextField()
    kind = TextField()
    figure = TextField()
    reason = TextField()
    number = peewee.BigIntegerField()
    timed = peewee.BigIntegerField()
    milliseconds = peewee.BigIntegerField()

    class Meta:
        table_name = "message_stats"
        primary_key = peewee.CompositeKey(
            "instance_id", "hour", "direction", "kind", "figure", "reason"
        )
        indexes = ((("subscription", "hour"), False),)
