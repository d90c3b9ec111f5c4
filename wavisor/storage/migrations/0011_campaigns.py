"""Campaigns, their recipients, and who wants none.

A copy of the models as they were then; it must not change with them.
"""

from __future__ import annotations

from typing import Any

import peewee

from wavisor.storage.fields import JsonField, PositionField, TimeField


def up(migrator: Any, db: peewee.Database) -> None:
    """Create the tables."""

    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Subscription(Base):
        id = peewee.TextField(primary_key=True)

        class Meta:
            table_name = "subscriptions"

    class Media(Base):
        id = peewee.TextField(primary_key=True)

        class Meta:
            table_name = "media"

    class Message(Base):
        position = PositionField()

        class Meta:
            table_name = "messages"

    class Campaign(Base):
        subscription = peewee.ForeignKeyField(Subscription, on_delete="CASCADE", index=False)
        id = peewee.TextField(primary_key=True)
        name = peewee.TextField()
        status = peewee.TextField()
        waiting = peewee.TextField(null=True)
        template_id = peewee.TextField()
        template_name = peewee.TextField()
        template_version = peewee.IntegerField()
        kind = peewee.TextField()
        instances = JsonField()
        per_minute = peewee.FloatField(null=True)
        window = JsonField(null=True)
        options = JsonField(null=True)
        file = JsonField(null=True)
        media = peewee.ForeignKeyField(Media, on_delete="SET NULL", index=False, null=True)
        start_at = TimeField(null=True)
        total = peewee.IntegerField()
        released = peewee.IntegerField()
        skipped = peewee.IntegerField()
        duplicates = peewee.IntegerField()
        import_token = peewee.TextField(null=True)
        import_until = TimeField(null=True)
        created_by = peewee.TextField(null=True)
        created_at = TimeField()
        started_at = TimeField(null=True)
        finished_at = TimeField(null=True)

        class Meta:
            table_name = "campaigns"
            indexes = (
                (("subscription", "id"), False),
                (("status", "id"), False),
                (("media",), False),
            )

    class CampaignRecipient(Base):
        campaign = peewee.ForeignKeyField(Campaign, on_delete="CASCADE", index=False)
        position = peewee.IntegerField()
        chat = peewee.TextField()
        recipient = peewee.TextField()
        content = JsonField()
        text = peewee.TextField(null=True)
        status = peewee.TextField()
        message = peewee.ForeignKeyField(Message, on_delete="SET NULL", index=False, null=True)

        class Meta:
            table_name = "campaign_recipients"
            primary_key = peewee.CompositeKey("campaign", "position")
            indexes = (
                (("campaign", "chat"), True),
                (("campaign", "status", "position"), False),
                (("message",), False),
            )

    class OptOut(Base):
        subscription = peewee.ForeignKeyField(Subscription, on_delete="CASCADE", index=False)
        id = PositionField()
        chat = peewee.TextField()
        source = peewee.TextField()
        at = TimeField()

        class Meta:
            table_name = "opt_outs"
            indexes = ((("subscription", "chat"), True),)

    for table in (Campaign, CampaignRecipient, OptOut):
        table.create_table(safe=False)
