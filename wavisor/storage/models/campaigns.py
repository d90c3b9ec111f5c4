"""Campaigns: one template to many people, each of them once; and who wants none."""

# ruff: noqa: D106 - Meta is where peewee looks for options

from __future__ import annotations

import peewee

from wavisor.storage.fields import JsonField, PositionField, TextField, TimeField
from wavisor.storage.models.base import BaseModel
from wavisor.storage.models.messaging import Media, Message
from wavisor.storage.models.tenancy import TenantModel

__all__ = ["Campaign", "CampaignRecipient", "OptOut"]


class Campaign(TenantModel):
    """A message to many. ``total`` counts the recipients that were taken in completely.

    ``released`` went to a queue, ``skipped`` did not because they had opted out.
    """

    id = TextField(primary_key=True)
    name = TextField()
    status = TextField()
    waiting = TextField(null=True)
    template_id = TextField()
    template_name = TextField()
    template_version = peewee.IntegerField()
    kind = TextField()
    instances = JsonField()
    per_minute = peewee.FloatField(null=True)
    window = JsonField(null=True)
    options = JsonField(null=True)
    file = JsonField(null=True)
    media = peewee.ForeignKeyField(
        Media, on_delete="SET NULL", backref="+", lazy_load=False, index=False, null=True
    )
    media_id: str | None
    start_at = TimeField(null=True)
    total = peewee.IntegerField(default=0)
    released = peewee.IntegerField(default=0)
    skipped = peewee.IntegerField(default=0)
    duplicates = peewee.IntegerField(default=0)
    import_token = TextField(null=True)
    import_until = TimeField(null=True)
    created_by = TextField(null=True)
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


class CampaignRecipient(BaseModel):
    """One recipient of a campaign, with what it gets; reached through the campaign."""

    campaign = peewee.ForeignKeyField(
        Campaign, on_delete="CASCADE", backref="+", lazy_load=False, index=False
    )
    campaign_id: str
    position = peewee.IntegerField()
    chat = TextField()
    recipient = TextField()
    content = JsonField()
    text = TextField(null=True)
    status = TextField()
    message = peewee.ForeignKeyField(
        Message, on_delete="SET NULL", backref="+", lazy_load=False, index=False, null=True
    )
    message_id: int | None

    class Meta:
        table_name = "campaign_recipients"
        primary_key = peewee.CompositeKey("campaign", "position")
        indexes = (
            (("campaign", "chat"), True),
            (("campaign", "status", "position"), False),
            (("message",), False),
        )


class OptOut(TenantModel):
    """Somebody who wants no campaign of this tenant."""

    id = PositionField()
    chat = TextField()
    source = TextField()
    at = TimeField()

    class Meta:
        table_name = "opt_outs"
        indexes = ((("subscription", "chat"), True),)
