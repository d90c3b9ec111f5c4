"""Campaigns: one template to many people; and who wants none."""

from __future__ import annotations

from wavisor.http.campaigns.opt_outs import router as opt_outs_router
from wavisor.http.campaigns.recipients import router as recipients_router
from wavisor.http.campaigns.routes import router

__all__ = ["opt_outs_router", "recipients_router", "router"]
