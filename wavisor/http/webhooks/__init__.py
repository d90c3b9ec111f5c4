"""Webhooks: where a tenant wants to be told of events, and what became of each of them."""

from __future__ import annotations

from wavisor.http.webhooks.deliveries import router as deliveries_router
from wavisor.http.webhooks.routes import router
from wavisor.http.webhooks.targets import TargetCheck

__all__ = ["TargetCheck", "deliveries_router", "router"]
