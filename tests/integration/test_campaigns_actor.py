"""The actor of campaigns: what one of them does to the others."""

from __future__ import annotations

import random
from typing import Any

import pytest

from support.manual_clock import ManualClock
from support.tenants import new_instance, new_scope
from wavisor.actors.ask import ask_sync
from wavisor.actors.campaigns import Campaigns, LookAtCampaigns
from wavisor.actors.supervisor import ChildContext, Environment
from wavisor.domain import CampaignStatus, InstanceStatus
from wavisor.storage import (
    Database,
    NewCampaign,
    NewRecipient,
    QueueLimits,
    campaign_recipients,
    campaign_release,
    campaigns,
    instances,
)
from wavisor.storage.models import Message


def running(database: Database) -> tuple[str, str]:
    """Return a campaign that has just been started, and the instance that sends it."""
    scope = new_scope(database)
    instance = new_instance(database, scope).id
    write = database.write_wait
    write(instances.record_transition, instance, {"status": InstanceStatus.CONNECTED}, [])
    new = NewCampaign(
        name="Spring",
        template_id=f"tpl_{'0' * 26}",
        template_name="Offer",
        template_version=1,
        kind="text",
        instances=(instance,),
    )
    campaign = write(campaigns.create, scope, new).id
    token = write(campaign_recipients.begin_import, scope, campaign)
    chat = "15550101@s.whatsapp.net"
    to = [NewRecipient(chat, chat, {"type": "text", "text": "hello"}, "hello")]
    write(campaign_recipients.add_recipients, scope, campaign, token, 0, to)
    write(campaign_recipients.finish_import, scope, campaign, token, length=1, duplicates=0)
    drafts = [CampaignStatus.DRAFT]
    write(campaigns.set_status, scope, campaign, CampaignStatus.RUNNING, out_of=drafts)
    return campaign, instance


def test_a_campaign_that_cannot_go_on_stops_no_other(
    database: Database, storage_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, _ = running(database)
    _, instance = running(database)
    release = campaign_release.release

    def fails(campaign_id: str, *more: Any) -> Any:
        if campaign_id == broken:
            raise ValueError("a row that nobody can read")
        return release(campaign_id, *more)

    monkeypatch.setattr(campaign_release, "release", fails)
    context = ChildContext(
        id="campaigns",
        kind="campaigns",
        path="campaigns",
        generation=1,
        environment=Environment(storage_clock, storage_clock, random.Random(1)),
        parent=None,
        notify=lambda notice: None,
    )
    actor = Campaigns.start(context, database, lambda records: None, QueueLimits(), "instances")
    try:
        ask_sync(actor, LookAtCampaigns(), 10.0)
        assert actor.is_alive()
    finally:
        actor.stop()
    senders = database.read_wait(lambda: [row.instance_id for row in Message.select()])
    assert senders == [instance]
