"""The routes of instances: the resource itself, its connection, its QR code and its events."""

from __future__ import annotations

from wavisor.http.instances.commands import router as connection_router
from wavisor.http.instances.routes import router as instances_router

__all__ = ["connection_router", "instances_router"]
