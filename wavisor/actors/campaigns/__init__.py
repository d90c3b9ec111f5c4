"""Campaigns: released to the queues of instances step by step, within their window and rate."""

from __future__ import annotations

from wavisor.actors.campaigns.actor import CAMPAIGNS, Campaigns, LookAtCampaigns
from wavisor.actors.campaigns.window import SendingWindow

__all__ = ["CAMPAIGNS", "Campaigns", "LookAtCampaigns", "SendingWindow"]
